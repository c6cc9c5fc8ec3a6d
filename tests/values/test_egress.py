"""Records for Kafka, Kinesis and the playground."""

from __future__ import annotations

import dataclasses
import enum
import json
import typing as t

import pytest

from statefun_flask import DOUBLE
from statefun_flask import Effects
from statefun_flask import json_type
from statefun_flask import kafka_record
from statefun_flask import kinesis_record
from statefun_flask import LONG
from statefun_flask import Message
from statefun_flask import playground_record
from statefun_flask import STRING
from statefun_flask.protocol.schema.egress import KafkaProducerRecord
from statefun_flask.protocol.schema.egress import KinesisEgressRecord


@json_type("example/Greeting")
@dataclasses.dataclass
class Greeting:
    text: str


class Topic(enum.StrEnum):
    NAMES = "names"


def kafka(message: Message) -> KafkaProducerRecord:
    assert message.typename == "type.googleapis.com/io.statefun.sdk.egress.KafkaProducerRecord"
    assert message.has_value
    return KafkaProducerRecord.FromString(message.value)


def kinesis(message: Message) -> KinesisEgressRecord:
    assert message.typename == "type.googleapis.com/io.statefun.sdk.egress.KinesisEgressRecord"
    return KinesisEgressRecord.FromString(message.value)


def error(function: t.Any, *args: t.Any, **kwargs: t.Any) -> str:
    with pytest.raises((TypeError, ValueError)) as caught:
        function(*args, **kwargs)
    return str(caught.value)


#: (value, type, bytes in the record)
VALUES: list[tuple[t.Any, t.Any, bytes]] = [
    ("héllo", None, "héllo".encode()),
    ("", None, b""),
    (Topic.NAMES, None, b"names"),
    (b"\0\xff", None, b"\0\xff"),
    (bytearray(b"ab"), None, b"ab"),
    (memoryview(b"ab"), None, b"ab"),
    (Greeting("hi"), None, b'{"text":"hi"}'),
    (Message("example/any", b"as it is"), None, b"as it is"),
    ("hi", STRING, b"\x0a\x02hi"),
    (1, LONG, LONG.serialize(1)),
    (0.5, DOUBLE, DOUBLE.serialize(0.5)),
    (True, bool, b"\x08\x01"),
]


@pytest.mark.parametrize(("value", "type", "written"), VALUES)
def test_a_kafka_record_carries_the_bytes_of_its_value(
    value: t.Any, type: t.Any, written: bytes
) -> None:
    record = kafka(kafka_record("names", key="bøb", value=value, type=type))

    assert record == KafkaProducerRecord(topic="names", key="bøb", value_bytes=written)


@pytest.mark.parametrize(("value", "type", "written"), VALUES)
def test_a_kinesis_record_carries_the_bytes_of_its_value(
    value: t.Any, type: t.Any, written: bytes
) -> None:
    record = kinesis(kinesis_record("names", partition_key="bøb", value=value, type=type))

    assert record == KinesisEgressRecord(stream="names", partition_key="bøb", value_bytes=written)


def test_a_kinesis_record_may_say_its_shard() -> None:
    record = kinesis(
        kinesis_record("names", partition_key="bob", value="x", explicit_hash_key="12")
    )

    assert record.explicit_hash_key == "12"


@pytest.mark.parametrize("key", [None, ""])
def test_a_kafka_record_may_have_no_key(key: str | None) -> None:
    assert kafka(kafka_record("names", key=key, value="x")).key == ""


def test_a_playground_record_is_json() -> None:
    record = playground_record("greets", 'say "hi" to Bøb')

    assert record.typename == "io.statefun.playground/EgressRecord"
    assert json.loads(record.value) == {"topic": "greets", "payload": 'say "hi" to Bøb'}


def test_a_record_keeps_its_typename() -> None:
    record = kafka_record("names", value="x")

    (written,) = Effects().egress("example/greets", record).records
    assert (written.egress, written.message) == ("example/greets", record)


@pytest.mark.parametrize("value", [1, 0.5, True])
def test_numbers_need_a_type(value: t.Any) -> None:
    message = (
        f"{value!r} has no standard form in a record, since the SDKs write numbers differently."
        " Pass str(value), or name its type, for example type=LONG."
    )

    assert error(kafka_record, "names", value=value) == message
    assert error(kinesis_record, "names", partition_key="k", value=value) == message


def test_there_are_no_tombstones() -> None:
    assert error(kafka_record, "names", key="bob", value=None) == (
        "A record's value cannot be None, since the runtime does not write tombstones."
        " Write b'' for an empty value."
    )


def test_a_value_without_a_type_is_refused() -> None:
    assert "'complex' has no StateFun type. Use bool," in error(kafka_record, "names", value=1j)


@pytest.mark.parametrize("name", ["", None, 7, b"names"])
def test_a_record_needs_a_topic_a_stream_and_a_partition_key(name: t.Any) -> None:
    for what, function, args in (
        ("topic", kafka_record, {"topic": name}),
        ("stream", kinesis_record, {"stream": name, "partition_key": "k"}),
        ("partition_key", kinesis_record, {"stream": "s", "partition_key": name}),
    ):
        assert error(function, **args, value="x") == (
            f"A record's {what} must be a non-empty string, not {name!r}. Pass it as text."
        )


@pytest.mark.parametrize("key", [7, b"bob"])
def test_a_key_is_text(key: t.Any) -> None:
    message = (
        f"A record's key must be a string, not {key!r}: the runtime reads it as UTF-8."
        f" Write it as text, for example {str(key)!r}."
    )

    assert error(kafka_record, "names", key=key, value="x") == message
    assert (
        error(kinesis_record, "s", partition_key="k", value="x", explicit_hash_key=key) == message
    )


@pytest.mark.parametrize(
    ("what", "args"),
    [
        ("topic", {"topic": "\ud800", "value": "x"}),
        ("key", {"topic": "t", "key": "\ud800", "value": "x"}),
        ("value of a record", {"topic": "t", "value": "\ud800"}),
    ],
)
def test_text_that_is_not_utf8_is_refused(what: str, args: dict[str, t.Any]) -> None:
    assert error(kafka_record, **args) == (
        f"'\\ud800' cannot be written as UTF-8, so it cannot be the {what}."
        " Remove the lone surrogates."
    )


@pytest.mark.parametrize("args", [("greets", 7), (None, "x"), ("greets", b"x")])
def test_a_playground_record_is_text(args: tuple[t.Any, t.Any]) -> None:
    assert error(playground_record, *args) == (
        "The topic and the payload of a playground record must be text, not"
        f" {args[0]!r} and {args[1]!r}. Write the payload as text, for example with json.dumps."
    )
