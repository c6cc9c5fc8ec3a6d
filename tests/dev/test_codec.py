from __future__ import annotations

import datetime as dt
import enum
import struct
import typing as t

import pytest
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.type_pb2 import Option
from greeter_pb2 import GreetRequest
from hypothesis import given
from hypothesis import strategies as st

from statefun_flask import Context
from statefun_flask import custom_type
from statefun_flask import Effects
from statefun_flask import INT
from statefun_flask import Message
from statefun_flask import StateFunFlask
from statefun_flask import ValueSpec
from statefun_flask.core.registry import functions_of
from statefun_flask.dev import banner
from statefun_flask.dev.codec import MessageCodec
from statefun_flask.dev.codec import plain_bytes
from statefun_flask.dev.codec import RequestError
from statefun_flask.values.message import encode

TYPES = "io.statefun.types"


@pytest.fixture
def codec(app: StateFunFlask) -> MessageCodec:
    return MessageCodec(app.statefun.registry)


def refusal(
    codec: MessageCodec, function: str, body: bytes, content_type: str | None = None
) -> str:
    with pytest.raises(RequestError) as caught:
        codec.message(function, body, content_type)
    return f"{caught.value.status} {caught.value}"


# -- in -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "body", "typename", "shown"),
    [
        ("dev/words", b"hello", f"{TYPES}/string", "hello"),
        ("dev/words", b'"quoted"', f"{TYPES}/string", '"quoted"'),
        ("dev/words", "größe".encode(), f"{TYPES}/string", "größe"),
        ("dev/words", b"", f"{TYPES}/string", ""),
        ("dev/later", b"-7", f"{TYPES}/long", -7),
        ("dev/flag", b"true", f"{TYPES}/bool", True),
        ("dev/ratio", b"1.5", f"{TYPES}/double", 1.5),
        ("dev/ratio", b"2", f"{TYPES}/double", 2.0),
        (
            "dev/blob",
            b"\x00\xff",
            "type.googleapis.com/google.protobuf.BytesValue",
            {"base64": "AP8="},
        ),
        ("dev/order", b'{"item": "tea"}', "example/Order", {"item": "tea"}),
        (
            "dev/greet",
            b'{"name": "bob"}',
            "type.googleapis.com/example.GreetRequest",
            {"name": "bob"},
        ),
        ("dev/greet", b"{}", "type.googleapis.com/example.GreetRequest", {"name": ""}),
    ],
)
def test_a_body_becomes_a_message_and_is_shown_again(
    codec: MessageCodec, function: str, body: bytes, typename: str, shown: t.Any
) -> None:
    message = codec.message(function, body, "application/x-www-form-urlencoded")
    assert message.typename == typename
    assert codec.plain(message) == shown


class Color(enum.Enum):
    RED = "red"


class Level(enum.Enum):
    LOW = 1


@pytest.mark.parametrize(
    ("python", "body", "typename", "shown"),
    [
        (dict[str, int], b'{"a": 1}', "statefun_flask.json/dict", {"a": 1}),
        (list[Color], b'["red"]', "statefun_flask.json/list", ["red"]),
        (dt.datetime, b'"2026-01-02T00:00:00Z"', "statefun_flask.json/datetime", ...),
        (dt.timedelta, b'"PT1S"', "statefun_flask.json/timedelta", "PT1S"),
        (Color, b"red", f"{TYPES}/string", "red"),
        (Level, b"1", f"{TYPES}/long", 1),
    ],
)
def test_a_derived_type_is_read_and_shown(
    python: t.Any, body: bytes, typename: str, shown: t.Any
) -> None:
    app = StateFunFlask("app")

    def function(context: t.Any, message: t.Any) -> Effects:
        return Effects()

    function.__annotations__["message"] = python
    app.statefun("dev/derived")(function)
    codec = MessageCodec(app.statefun.registry)

    for content_type in (None, f"application/vnd.{typename}"):
        message = codec.message("dev/derived", body, content_type)
        assert message.typename == typename
        assert isinstance(message.as_type(python), t.get_origin(python) or python)
        assert shown is ... or codec.plain(message) == shown
    assert refusal(codec, "dev/derived", b"{]").startswith("400 ")
    sample = banner._sample(functions_of(app.statefun.registry, "dev/derived")[0])
    codec.message("dev/derived", sample.encode())


def test_protobuf_is_written_as_its_bytes(codec: MessageCodec) -> None:
    message = codec.message("dev/greet", b'{"name": "bob"}')
    assert GreetRequest.FromString(message.value) == GreetRequest(name="bob")


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    app = StateFunFlask("app")

    @app.statefun("dev/words")
    def words(context: t.Any, message: str) -> Effects:
        return Effects()

    codec = MessageCodec(app.statefun.registry)
    assert codec.message("dev/words", text.encode()).as_type(str) == text


def test_the_content_type_names_one_of_several_types(codec: MessageCodec) -> None:
    order = codec.message("dev/either", b'{"item": "tea"}', "application/vnd.example/Order")
    text = codec.message("dev/either", b"tea", f"application/vnd.{TYPES}/string; charset=utf-8")
    assert (order.typename, text.typename) == ("example/Order", f"{TYPES}/string")
    assert text.as_type(str) == "tea"


@pytest.mark.parametrize("name", ["int", "long"])
def test_every_name_that_a_function_of_int_takes_carries_the_number(
    codec: MessageCodec, name: str
) -> None:
    message = codec.message("dev/later", b"7", f"application/vnd.{TYPES}/{name}")
    assert message.as_type(int) == 7


def test_a_message_of_an_unknown_type_is_passed_on_unchanged(codec: MessageCodec) -> None:
    message = codec.message("dev/any", b"\x01", "application/vnd.other/Thing")
    assert (message.typename, message.value) == ("other/Thing", b"\x01")


# -- refused --------------------------------------------------------------------------------


def test_several_types_need_a_content_type(codec: MessageCodec) -> None:
    assert refusal(codec, "dev/either", b"x") == (
        "415 'dev/either' takes several types, so the type must be named. Add"
        " -H 'Content-Type: application/vnd.io.statefun.types/string' or"
        " -H 'Content-Type: application/vnd.example/Order'."
    )


def test_a_function_of_any_type_needs_a_content_type(codec: MessageCodec) -> None:
    assert refusal(codec, "dev/any", b"x") == (
        "415 'dev/any' takes messages of any type, so the type must be named."
        " Add for example -H 'Content-Type: application/vnd.namespace/name'."
    )


def test_the_error_for_an_unknown_function_has_similar_names(codec: MessageCodec) -> None:
    assert refusal(codec, "dev/word", b"x") == (
        "404 The function 'dev/word' does not exist. Did you mean 'dev/words' or 'dev/order' or"
        " 'dev/out'? Run 'flask statefun routes' to list the functions."
    )


@pytest.mark.parametrize(
    ("function", "body", "told"),
    [
        (
            "dev/order",
            b'{"item": 5}',
            (
                """b'{"item": 5}' is not a 'example/Order' for 'dev/order': Expected `str`, got"""
                " `int` - at `$.item`. Send the value as JSON."
            ),
        ),
        (
            "dev/order",
            b"{tea}",
            (
                "b'{tea}' is not a 'example/Order' for 'dev/order': JSON is malformed: object keys"
                " must be strings (byte 1). Send the value as JSON."
            ),
        ),
        (
            "dev/later",
            b'"x"',
            (
                "b'\"x\"' is not a 'io.statefun.types/long' for 'dev/later': Expected `int`, got"
                " `str`. Send the value as JSON."
            ),
        ),
        (
            "dev/words",
            b"\xff",
            (
                r"b'\xff' is not a 'io.statefun.types/string' for 'dev/words': 'utf-8' codec can't"
                " decode byte 0xff in position 0: invalid start byte. Send UTF-8 text."
            ),
        ),
    ],
)
def test_the_error_for_a_body_has_the_path_and_the_expected_type(
    codec: MessageCodec, function: str, body: bytes, told: str
) -> None:
    assert refusal(codec, function, body) == f"400 {told}"


def test_a_field_that_a_protobuf_message_does_not_have(codec: MessageCodec) -> None:
    told = refusal(codec, "dev/greet", b'{"nam": "bob"}')
    assert told.startswith("400 ")
    assert "'type.googleapis.com/example.GreetRequest' for 'dev/greet'" in told
    assert '"nam"' in told


@pytest.mark.parametrize("body", [b"9223372036854775808", b"1e400", b"", b"null", b"[" * 100_000])
def test_a_number_that_is_not_a_long_is_a_bad_message(codec: MessageCodec, body: bytes) -> None:
    assert refusal(codec, "dev/later", body).startswith("400 ")
    assert refusal(codec, "dev/order", body).startswith("400 ")
    assert refusal(codec, "dev/greet", body).startswith("400 ")


def test_a_32_bit_int_is_checked_for_its_range() -> None:
    app = StateFunFlask("app")

    @app.statefun("dev/small")
    def small(context: t.Any, message: t.Annotated[int, INT]) -> Effects:
        return Effects()

    codec = MessageCodec(app.statefun.registry)
    assert codec.message("dev/small", b"2147483647").typename == f"{TYPES}/int"
    assert refusal(codec, "dev/small", b"2147483648").startswith("400 ")


# -- shown ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("hello", '"hello"'),
        (7, "7"),
        (True, "true"),
        (1.5, "1.5"),
        (GreetRequest(name="bob"), "name=bob"),
        ("x" * 100, '"' + "x" * 78 + "…"),
        ("two\nlines", '"two\\nlines"'),
        (GreetRequest(name="two\nlines"), 'name="two\\nlines"'),
        (GreetRequest(name="\x1b[2J"), 'name="\\u001b[2J"'),
    ],
)
def test_a_value_fits_on_part_of_a_line(codec: MessageCodec, value: t.Any, shown: str) -> None:
    assert codec.show(Message(*encode(value))) == shown


def test_the_label_is_short_for_known_types(codec: MessageCodec) -> None:
    assert codec.label(Message("example/Order", b"")) == "Order"
    assert codec.label(Message("other/Thing", b"")) == "other/Thing"


def test_an_unreadable_value_is_shown_as_bytes(codec: MessageCodec) -> None:
    assert codec.plain(Message("other/Thing", b"text")) == "text"
    assert codec.plain(Message(f"{TYPES}/int", b"\xff\xff")) == {"base64": "//8="}


@given(st.binary())
def test_bytes_are_text_or_base64(data: bytes) -> None:
    plain = plain_bytes(data)
    assert plain == data.decode() if isinstance(plain, str) else set(plain) == {"base64"}


def test_a_record_is_text_or_the_message_that_it_could_be(codec: MessageCodec) -> None:
    assert codec.record(b"hello") == "hello"
    assert codec.record(b"\xff\xfe") == "<2 bytes>"
    assert codec.record(GreetRequest(name="bob").SerializeToString()) == "name=bob"


# -- what cannot be shown ---------------------------------------------------------------------


class Point:
    """A value whose repr raises an exception."""

    def __repr__(self) -> str:
        raise ZeroDivisionError


POINT = ValueSpec(
    "point", custom_type("example/Point", lambda point: b"\xff", lambda data: Point())
)
GOOGLE = "type.googleapis.com/google.protobuf."


@pytest.fixture
def odd() -> MessageCodec:
    """MessageCodec of types that cannot always be shown."""
    app = StateFunFlask("odd")

    @app.statefun("dev/odd", states=[POINT])
    def odd(context: Context, message: Option | Timestamp | Value) -> Effects:
        return Effects()

    return MessageCodec(app.statefun.registry)


def unknown_any() -> bytes:
    option = Option(name="a")
    option.value.type_url = "type.googleapis.com/un.known"
    option.value.value = b"\xff"
    return option.SerializeToString()


@pytest.mark.parametrize(
    ("typename", "data"),
    [
        (f"{GOOGLE}Option", unknown_any()),
        (f"{GOOGLE}Timestamp", Timestamp(seconds=10**15).SerializeToString()),
        (f"{GOOGLE}Value", Value(number_value=float("nan")).SerializeToString()),
        ("example/Point", b"\xff"),
    ],
)
def test_a_value_that_cannot_be_shown_is_its_bytes(
    odd: MessageCodec, typename: str, data: bytes
) -> None:
    message = Message(typename, data)
    assert odd.plain(message) == plain_bytes(data)
    assert odd.show(message)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_has_not_is_text(codec: MessageCodec, number: float) -> None:
    message = Message(f"{TYPES}/double", struct.pack("<Bd", 9, number))
    assert codec.plain(message) == str(number)
    assert codec.show(message) == f'"{number}"'
