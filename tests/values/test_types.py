"""Types: the types of classes, the typenames that they read, and types made by users."""

from __future__ import annotations

import enum
import typing as t

import pytest
from google.protobuf import any_pb2
from google.protobuf import descriptor_pb2
from google.protobuf import descriptor_pool
from google.protobuf import duration_pb2
from google.protobuf import message_factory
from google.protobuf import struct_pb2
from google.protobuf import timestamp_pb2
from google.protobuf import wrappers_pb2

from statefun_flask import BOOL
from statefun_flask import BYTES
from statefun_flask import custom_type
from statefun_flask import DOUBLE
from statefun_flask import FLOAT
from statefun_flask import INT
from statefun_flask import json_type
from statefun_flask import LONG
from statefun_flask import Message
from statefun_flask import MessageTypeError
from statefun_flask import protobuf_type
from statefun_flask import raw_type
from statefun_flask import STRING
from statefun_flask import Type
from statefun_flask import utf8_type
from statefun_flask.values.derived import type_of
from statefun_flask.values.derived import type_of_value
from statefun_flask.values.derived import WAYS
from statefun_flask.values.message import encode

GOOGLE = "type.googleapis.com/google.protobuf."


def private_message(name: str, package: str = "") -> t.Any:
    """Return a protobuf class ``{string text = 1;}`` in a pool of its own."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", syntax="proto3")
    if package:
        file.package = package
    field = descriptor_pb2.FieldDescriptorProto
    file.message_type.add(name=name).field.add(
        name="text", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    full_name = f"{package}.{name}" if package else name
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(full_name))


def error(function: t.Any, *args: t.Any, **kwargs: t.Any) -> str:
    with pytest.raises((TypeError, ValueError)) as caught:
        function(*args, **kwargs)
    return str(caught.value)


# -- which type a class or value has ----------------------------------------------------------


@pytest.mark.parametrize(
    ("python", "type"),
    [(bool, BOOL), (int, LONG), (float, DOUBLE), (str, STRING), (bytes, BYTES)],
)
def test_a_primitive_class_stands_for_its_type(python: t.Any, type: Type[t.Any]) -> None:
    assert type_of(python) is type
    assert type_of_value(python()) is type
    assert type_of(type) is type


def test_subclasses_of_primitives_are_sent_as_their_base() -> None:
    class Color(enum.IntEnum):
        RED = 3

    class Name(enum.StrEnum):
        BOB = "bob"

    class Ratio(float):
        pass

    assert encode(Color.RED) == encode(3)
    assert encode(Name.BOB) == encode("bob")
    assert encode(Ratio(0.5)) == encode(0.5)


@pytest.mark.parametrize("value", [None, object, 1j, range(3)])
def test_a_value_without_a_type_is_refused(value: t.Any) -> None:
    name = value.__class__.__name__

    assert error(encode, value) == f"'{name}' has no StateFun type. {WAYS}"


def test_types_are_equal_by_typename_and_class() -> None:
    assert raw_type("a/b") == raw_type("a/b")
    assert hash(raw_type("a/b")) == hash(raw_type("a/b"))
    assert raw_type("a/b") != raw_type("a/c")
    assert raw_type("a/b") != utf8_type("a/b")
    assert raw_type("a/b") != "a/b"
    assert repr(LONG) == "<Type io.statefun.types/long of int (long)>"
    assert raw_type("a/b").label == "bytes (a/b)"
    assert json_type("a/b", list[int]).label == "a/b"


# -- what reads what --------------------------------------------------------------------------

READS: dict[str, set[str]] = {
    "bool": {"io.statefun.types/bool", f"{GOOGLE}BoolValue"},
    "int": {"io.statefun.types/int", f"{GOOGLE}Int32Value"},
    "long": {
        "io.statefun.types/int",
        "io.statefun.types/long",
        f"{GOOGLE}Int32Value",
        f"{GOOGLE}UInt32Value",
        f"{GOOGLE}Int64Value",
    },
    "float": {"io.statefun.types/float", f"{GOOGLE}FloatValue"},
    "double": {
        "io.statefun.types/float",
        "io.statefun.types/double",
        f"{GOOGLE}FloatValue",
        f"{GOOGLE}DoubleValue",
    },
    "string": {"io.statefun.types/string", f"{GOOGLE}StringValue"},
    "BytesValue": {f"{GOOGLE}BytesValue"},
}

ALL: list[Type[t.Any]] = [BOOL, INT, LONG, FLOAT, DOUBLE, STRING, BYTES]
OTHERS: list[Type[t.Any]] = [
    raw_type("example/raw"),
    utf8_type("example/text"),
    json_type("example/json", dict[str, int]),
    custom_type("example/custom", str.encode, bytes.decode),
    protobuf_type(timestamp_pb2.Timestamp),
    protobuf_type(duration_pb2.Duration, typename="example/Duration"),
    protobuf_type(private_message("Lonely")),
]
EVERY = [*ALL, *OTHERS]


@pytest.mark.parametrize("type", EVERY, ids=lambda type: type.typename)
def test_a_type_reads_only_the_typenames_that_it_lists(type: Type[t.Any]) -> None:
    own = type.typename.rpartition("/")[2]
    readable = READS.get(own, {type.typename})

    typenames = {*READS["long"], *READS["double"]}.union(*READS.values())
    for typename in {*typenames, *(other.typename for other in EVERY)}:
        message = Message(typename)
        assert message.is_type(type) == (typename in readable)
        if typename not in readable:
            assert error(message.as_type, type) == (
                f"A message of type '{typename}' cannot be read as '{type.typename}'."
                " Check with 'is_type' first, or read the message as its own type."
            )


#: Pairs with one wire form, which only the typename distinguishes.
ALIKE = [{STRING, BYTES}, {LONG, DOUBLE}, {INT, FLOAT}]
SAMPLES = {BOOL: True, INT: 77, LONG: 77, FLOAT: 0.5, DOUBLE: 0.5, STRING: "hi", BYTES: b"hi"}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (written, read)
        for written in ALL
        for read in ALL
        if written is not read and {written, read} not in ALIKE
    ],
    ids=repr,
)
def test_the_bytes_of_another_primitive_are_refused(
    written: Type[t.Any], read: Type[t.Any]
) -> None:
    with pytest.raises(MessageTypeError):
        Message(read.typename, written.serialize(SAMPLES[written])).as_type(read)


@pytest.mark.parametrize("prefix", ["type.googleapis.com/", "example/", "a/b/", "/", ""])
def test_a_protobuf_message_is_read_under_any_prefix(prefix: str) -> None:
    payload = timestamp_pb2.Timestamp(seconds=7).SerializeToString()

    read = Message(f"{prefix}google.protobuf.Timestamp", payload).as_type(timestamp_pb2.Timestamp)
    assert read.seconds == 7
    text = wrappers_pb2.StringValue(value="hi").SerializeToString()
    assert Message(f"{prefix}google.protobuf.StringValue", text).as_type(str) == "hi"


@pytest.mark.parametrize("typename", ["other/bool", "bool", "io.statefun.types/x/bool"])
def test_a_name_without_a_package_is_read_under_its_prefix_only(typename: str) -> None:
    assert not Message(typename).is_type(bool)


# -- protobuf ---------------------------------------------------------------------------------


def test_a_protobuf_message_is_sent_under_its_full_name() -> None:
    stamp = timestamp_pb2.Timestamp(seconds=7)

    assert encode(stamp) == (f"{GOOGLE}Timestamp", stamp.SerializeToString())
    assert type_of(timestamp_pb2.Timestamp) is type_of(timestamp_pb2.Timestamp)


def test_a_message_without_a_package_needs_the_exact_prefix() -> None:
    lonely = private_message("Lonely")

    assert encode(lonely(text="hi")) == ("type.googleapis.com/Lonely", lonely(text="hi").SerializeToString())  # fmt: skip # noqa: E501
    message = Message("type.googleapis.com/Lonely", b"\x0a\x02hi")
    assert message.as_type(lonely) == lonely(text="hi")
    assert not Message("example/Lonely", b"\x0a\x02hi").is_type(lonely)
    assert not Message("Lonely", b"\x0a\x02hi").is_type(lonely)


def test_a_message_without_a_package_has_a_typename_of_its_own() -> None:
    lonely = private_message("Lonely")
    renamed = protobuf_type(lonely, typename="example/Lonely")

    assert encode(lonely(text="hi"), renamed) == ("example/Lonely", b"\x0a\x02hi")
    assert Message("example/Lonely", b"\x0a\x02hi").as_type(renamed) == lonely(text="hi")
    assert not Message("type.googleapis.com/Lonely", b"\x0a\x02hi").is_type(renamed)


def test_a_message_of_a_private_pool_goes_as_any_other() -> None:
    request = private_message("GreetRequest", "example")

    assert encode(request(text="hi")) == ("type.googleapis.com/example.GreetRequest", b"\x0a\x02hi")
    assert Message("com.example/example.GreetRequest", b"\x0a\x02hi").as_type(request) == request(
        text="hi"
    )


def test_any_stands_for_its_content() -> None:
    carrier = any_pb2.Any()
    carrier.Pack(timestamp_pb2.Timestamp(seconds=7))

    assert encode(carrier) == encode(timestamp_pb2.Timestamp(seconds=7))


def test_any_can_be_forced_to_go_as_itself() -> None:
    carrier = any_pb2.Any()
    carrier.Pack(timestamp_pb2.Timestamp(seconds=7))

    typename, payload = encode(carrier, any_pb2.Any)
    assert typename == f"{GOOGLE}Any"
    assert any_pb2.Any.FromString(payload) == carrier


def test_a_protobuf_value_of_another_class_is_refused() -> None:
    assert error(encode, duration_pb2.Duration(seconds=1), timestamp_pb2.Timestamp) == (
        "Expected Timestamp, got Duration seconds: 1. Convert it, or name another type."
    )


def test_a_broken_protobuf_payload_is_refused() -> None:
    message = Message(f"{GOOGLE}Struct", b"\x0a\x05")

    text = error(message.as_type, struct_pb2.Struct)
    assert text.startswith(f"The message of type '{GOOGLE}Struct' cannot be read: ")
    assert text.endswith(". Check what its sender writes under that typename.")
    assert ".." not in text


def test_only_a_protobuf_class_has_a_protobuf_type() -> None:
    assert error(protobuf_type, int) == (
        "<class 'int'> is not a generated protobuf class. Pass the class itself."
    )
    assert "is not a generated protobuf class" in error(
        protobuf_type, timestamp_pb2.Timestamp(seconds=1)
    )


# -- types that users make --------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        raw_type,
        utf8_type,
        lambda name: custom_type(name, bytes, bytes),
        lambda name: json_type(name, dict),
        json_type,
        lambda name: protobuf_type(timestamp_pb2.Timestamp, typename=name),
        lambda name: Type(name, bytes, bytes, {}),
    ],
    ids=["raw", "utf8_type", "custom", "json", "@json", "protobuf", "Type"],
)
@pytest.mark.parametrize("name", ["", "nope", "a/b/c", "/b"])
def test_a_typename_that_would_end_the_job_is_refused(make: t.Any, name: str) -> None:
    assert error(make, name) == (
        f"'{name}' is not a typename. Write it as 'namespace/name', with one slash."
    )


def test_a_raw_type_is_the_bytes_themselves() -> None:
    raw = raw_type("example/raw")

    for value in (b"\0\xff", bytearray(b"\0\xff"), memoryview(b"\0\xff")):
        assert encode(value, raw) == ("example/raw", b"\0\xff")
    assert Message("example/raw", b"\0\xff").as_type(raw) == b"\0\xff"
    assert error(encode, "text", raw) == (
        "Expected bytes, got str 'text'. Convert it, or name another type."
    )


def test_utf8_is_plain_text() -> None:
    text = utf8_type("example/text")

    assert encode("héllo", text) == ("example/text", "héllo".encode())
    assert Message("example/text", "héllo".encode()).as_type(text) == "héllo"
    assert error(encode, b"x", text) == (
        "Expected str, got bytes b'x'. Convert it, or name another type."
    )
    assert error(Message("example/text", b"a\xff").as_type, text) == (
        "The message of type 'example/text' cannot be read: its text is not UTF-8 (invalid start"
        " byte at byte 1). Check what its sender writes under that typename."
    )


def test_utf8_refuses_lone_surrogates() -> None:
    assert error(encode, "a\ud800", utf8_type("example/text")) == (
        "'a\\ud800' cannot be written as UTF-8. Remove the lone surrogates, or send bytes."
    )


def test_a_custom_type_is_made_of_two_functions() -> None:
    hexadecimal = custom_type("example/hex", bytes.fromhex, bytes.hex)

    assert encode("00ff", hexadecimal) == ("example/hex", b"\0\xff")
    assert Message("example/hex", b"\0\xff").as_type(hexadecimal) == "00ff"


def test_a_serializer_returns_bytes() -> None:
    broken: t.Any = custom_type("example/text", t.cast("t.Any", str), bytes.decode)

    assert (
        error(encode, 7, broken) == "The serializer of 'example/text' returned str. Return bytes."
    )


def test_an_exception_of_a_deserializer_is_a_value_that_cannot_be_read() -> None:
    def deserialize(data: bytes) -> t.Any:
        raise KeyError("name")

    custom = custom_type("example/custom", bytes, deserialize)

    with pytest.raises(MessageTypeError) as caught:
        Message("example/custom", b"x").as_type(custom)
    assert str(caught.value) == (
        "The message of type 'example/custom' cannot be read: its deserializer raised KeyError:"
        " 'name'. Check what its sender writes under that typename."
    )
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_exception_of_a_serializer_is_raised_unchanged() -> None:
    custom = custom_type("example/custom", bytes.fromhex, bytes.hex)

    with pytest.raises(ValueError, match="non-hexadecimal"):
        encode("zz", custom)


def test_a_custom_type_has_no_python_class() -> None:
    custom = custom_type("example/id", str.encode, int)

    assert custom.python is None
    assert custom.label == "example/id"
    assert repr(custom) == "<Type example/id of example/id>"


def test_custom_types_are_equal_when_they_have_the_same_functions() -> None:
    custom = custom_type("example/id", str.encode, bytes.decode)

    assert custom == custom_type("example/id", str.encode, bytes.decode)
    assert custom != custom_type("example/id", bytes.fromhex, bytes.decode)
    assert custom != custom_type("example/id", str.encode, int)
    assert custom != custom_type("example/other", str.encode, bytes.decode)
