"""Records in tests."""

from __future__ import annotations

import typing as t

import pytest

from statefun_flask import BYTES
from statefun_flask import INT
from statefun_flask import json_type
from statefun_flask import kafka_record
from statefun_flask import MessageTypeError
from statefun_flask import STRING
from statefun_flask.embedded.exchange.formats import KafkaFormat
from statefun_flask.testing import Record
from statefun_flask.values.message import encode


@json_type("example/Thing")
class Thing(t.NamedTuple):
    name: str


@pytest.mark.parametrize(
    ("value", "type"),
    [("☃", None), (b"\xff", None), (Thing("x"), None), (7, INT), ("☃", STRING), (b"x", BYTES)],
)
def test_a_kafka_record_is_read_as_it_was_written(value: object, type: t.Any) -> None:
    record = Record("out", "key", _payload(value, type))
    assert record.as_type(type or value.__class__) == value


def _payload(value: object, type: t.Any) -> bytes:
    """Return the payload that the engine takes from a record for a Kafka egress."""
    written = kafka_record("out", key="key", value=value, type=type)
    return KafkaFormat("example/out").read(written).value


def test_the_text_of_a_kafka_record_is_its_value() -> None:
    assert Record("out", None, "☃".encode()).text == "☃"


def test_the_text_of_a_typed_record_is_decoded_from_its_type() -> None:
    typename, payload = encode("☃")
    assert Record("example/any", None, payload, typename).text == "☃"


def test_a_typed_record_is_not_read_as_another_type() -> None:
    typename, payload = encode("text")
    with pytest.raises(MessageTypeError, match=r"cannot be read as 'io\.statefun\.types/int'"):
        Record("example/any", None, payload, typename).as_type(INT)


def test_a_malformed_payload_is_an_error() -> None:
    with pytest.raises(MessageTypeError, match="cannot be read"):
        Record("out", None, b"\xff").as_type(INT)


@pytest.mark.parametrize(("key", "text"), [("bob", "bob: b'x'"), (None, "(no key): b'x'")])
def test_an_error_message_shows_key_and_value(key: str | None, text: str) -> None:
    assert str(Record("out", key, b"x")) == text
