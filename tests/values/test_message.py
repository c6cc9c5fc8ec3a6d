"""Messages before they are decoded, and the encoding of values."""

from __future__ import annotations

import typing as t

import pytest
from google.protobuf import any_pb2
from google.protobuf import wrappers_pb2

from statefun_flask import FunctionType
from statefun_flask import INT
from statefun_flask import LONG
from statefun_flask import Message
from statefun_flask import MessageTypeError
from statefun_flask import raw_type
from statefun_flask import STRING
from statefun_flask.values.message import encode

ONE = Message("io.statefun.types/long", LONG.serialize(1))


def error(function: t.Any, *args: t.Any) -> str:
    with pytest.raises((TypeError, ValueError)) as caught:
        function(*args)
    return str(caught.value)


def test_a_message_has_a_type() -> None:
    assert ONE.is_type(int)
    assert ONE.is_type(LONG)
    assert not ONE.is_type(INT)
    assert not ONE.is_type(str)
    assert ONE.as_type(int) == ONE.as_type(LONG) == 1


def test_messages_are_values() -> None:
    assert Message("a/b") == Message("a/b", b"")
    assert Message("a/b") != Message("a/b", b"", False)
    assert len({ONE, Message(ONE.typename, ONE.value)}) == 1
    with pytest.raises(AttributeError):
        ONE.value = b""  # type: ignore[misc]


def test_a_message_is_not_read_as_another_type() -> None:
    with pytest.raises(MessageTypeError) as caught:
        ONE.as_type(str)

    assert str(caught.value) == (
        "A message of type 'io.statefun.types/long' cannot be read as 'io.statefun.types/string'."
        " Check with 'is_type' first, or read the message as its own type."
    )


def test_a_message_without_a_value_is_not_a_default() -> None:
    nothing = Message("io.statefun.types/long", b"", has_value=False)

    assert not nothing.is_type(int)
    with pytest.raises(MessageTypeError) as caught:
        nothing.as_type(int)
    assert str(caught.value) == (
        "The message of type 'io.statefun.types/long' has no value."
        " Send one with a value, or take it as 'Message'."
    )


def test_a_malformed_message_is_refused() -> None:
    with pytest.raises(MessageTypeError) as caught:
        Message("io.statefun.types/long", b"\x09\x01").as_type(int)

    assert str(caught.value) == (
        "The message of type 'io.statefun.types/long' cannot be read: its 2 bytes (0901) are not"
        " the wire form of long. Check what its sender writes under that typename."
    )


def test_plain_text_from_kafka_under_the_string_type_is_explained() -> None:
    with pytest.raises(MessageTypeError) as caught:
        Message("io.statefun.types/string", b"Bob").as_type(str)

    assert str(caught.value) == (
        "The message of type 'io.statefun.types/string' cannot be read: its 3 bytes (426f62) are"
        " not the wire form of string; it looks like the plain text 'Bob', as a Kafka ingress"
        " delivers it. Give the topic a valueType of your own and read it with"
        " utf8_type('namespace/name')."
        " Check what its sender writes under that typename."
    )


def test_a_message_is_encoded_unchanged() -> None:
    assert encode(Message("who/knows", b"\0")) == ("who/knows", b"\0")


def test_a_message_without_a_value_cannot_be_sent() -> None:
    assert error(encode, Message("who/knows", b"", has_value=False)) == (
        "Message(typename='who/knows', value=b'', has_value=False) has no value."
        " Send one that has a value, such as the empty b''."
    )


@pytest.mark.parametrize("args", [("who/knows", "text"), (7, b""), ("who/knows", None)])
def test_a_message_must_consist_of_text_and_bytes(args: t.Any) -> None:
    assert error(encode, Message(*args)) == (
        f"{Message(*args)!r} does not consist of text and bytes. Write Message('a/b', b'…')."
    )


def test_a_messages_typename_is_any_text_that_encodes() -> None:
    assert encode(Message("wér/knows", b""))[0] == "wér/knows"
    assert encode(Message(FunctionType("a/b"), b""))[0] == "a/b"
    assert error(encode, Message("a/\ud800")) == (
        "'a/\\ud800' cannot be written as UTF-8, so it cannot be the typename of a message."
        " Remove the lone surrogates."
    )


def test_a_given_type_is_used_in_place_of_the_values_own() -> None:
    assert encode(1) == ("io.statefun.types/long", LONG.serialize(1))
    assert encode(1, INT) == ("io.statefun.types/int", INT.serialize(1))
    assert encode(1, float)[0] == "io.statefun.types/double"
    assert encode(b"x", raw_type("a/b")) == ("a/b", b"x")
    with pytest.raises(TypeError, match="Expected str, got int 1"):
        encode(1, STRING)


def test_a_message_is_not_reinterpreted_under_a_given_type() -> None:
    with pytest.raises(TypeError, match="Expected int, got Message"):
        encode(ONE, INT)


def test_any_stands_for_its_content() -> None:
    carrier = any_pb2.Any()
    carrier.Pack(wrappers_pb2.StringValue(value="hi"))

    typename, payload = encode(carrier)
    assert typename == "type.googleapis.com/google.protobuf.StringValue"
    assert Message(typename, payload).as_type(str) == "hi"
