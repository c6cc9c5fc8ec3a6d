"""Records for the Kafka and Kinesis egresses of the runtime, and for the playground's egress.

A record is a message of the typename that the egress accepts. Its few protobuf fields are written
by hand.
"""

from __future__ import annotations

import json
import typing as t

from . import _wire
from .address import check_text
from .message import encode
from .message import Message
from .types import PROTOBUF

KAFKA = PROTOBUF + "io.statefun.sdk.egress.KafkaProducerRecord"
KINESIS = PROTOBUF + "io.statefun.sdk.egress.KinesisEgressRecord"
PLAYGROUND = "io.statefun.playground/EgressRecord"

_FIELD_1, _FIELD_2, _FIELD_3, _FIELD_4 = map(_wire.Header, range(1, 5))


def kafka_record(
    topic: str, *, key: str | None = None, value: t.Any, type: t.Any = None
) -> Message:
    """Return a record for a Kafka egress.

    :param topic: The topic to write to.
    :param key: Text, written as UTF-8. Both None and ``""`` make a record without a key, since the
        runtime writes an empty key as no key.
    :param value: A ``str`` is written as UTF-8, ``bytes`` unchanged, any other value as its type
        serialises it. The runtime cannot write tombstones.
    :param type: The type to serialise the value with. Numbers and bools need one, because the
        official SDKs disagree on their bytes.
    """
    return Message(
        KAFKA,
        _key(_FIELD_1, key) + _payload(value, type) + _required(_FIELD_3, topic, "topic"),
    )


def kinesis_record(
    stream: str,
    *,
    partition_key: str,
    value: t.Any,
    type: t.Any = None,
    explicit_hash_key: str | None = None,
) -> Message:
    """Return a record for a Kinesis egress.

    :param partition_key: Selects the shard. It must not be empty.
    :param value: As in :func:`kafka_record`.
    :param type: As in :func:`kafka_record`.
    :param explicit_hash_key: Selects the shard instead of the partition key.
    """
    return Message(
        KINESIS,
        _required(_FIELD_1, partition_key, "partition_key")
        + _payload(value, type)
        + _required(_FIELD_3, stream, "stream")
        + _key(_FIELD_4, explicit_hash_key),
    )


def playground_record(topic: str, payload: str) -> Message:
    """Return a record for the egress of the StateFun playground."""
    if not (isinstance(topic, str) and isinstance(payload, str)):
        raise TypeError(
            f"The topic and the payload of a playground record must be text, not {topic!r} and"
            f" {payload!r}. Write the payload as text, for example with json.dumps."
        )
    return Message(PLAYGROUND, json.dumps({"topic": topic, "payload": payload}).encode())


def _required(field: _wire.Header, value: object, what: str) -> bytes:
    if not isinstance(value, str) or not value:
        raise ValueError(
            f"A record's {what} must be a non-empty string, not {value!r}. Pass it as text."
        )
    data = check_text(value, what)
    return field[len(data)] + data


def _key(field: _wire.Header, key: object) -> bytes:
    if key is None:
        return b""
    if not isinstance(key, str):
        raise TypeError(
            f"A record's key must be a string, not {key!r}: the runtime reads it as UTF-8."
            f" Write it as text, for example {str(key)!r}."
        )
    data = check_text(key, "key")
    return field[len(data)] + data if data else b""


def _payload(value: t.Any, type_: t.Any) -> bytes:
    """Return field 2, or nothing for an empty value."""
    data = _serialized(value, type_)
    return _FIELD_2[len(data)] + data if data else b""


def _serialized(value: t.Any, type_: t.Any) -> bytes:
    if type_ is None:
        if isinstance(value, str):
            return check_text(value, "value of a record")
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value)
        if value is None:
            raise TypeError(
                "A record's value cannot be None, since the runtime does not write tombstones."
                " Write b'' for an empty value."
            )
        if isinstance(value, int | float):
            raise TypeError(
                f"{value!r} has no standard form in a record, since the SDKs write numbers"
                " differently. Pass str(value), or name its type, for example type=LONG."
            )
    return encode(value, type_)[1]
