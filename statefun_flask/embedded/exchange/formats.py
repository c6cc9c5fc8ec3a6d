"""The formats of the runtime's egresses: records of Kafka, Kinesis and the playground."""

from __future__ import annotations

import json
import re
import typing as t

import msgspec

from ...protocol.schema import DecodeError
from ...protocol.schema.egress import KafkaProducerRecord
from ...protocol.schema.egress import KinesisEgressRecord
from ...values.egress import KAFKA
from ...values.egress import KINESIS
from ...values.egress import PLAYGROUND
from ...values.message import Message

#: The largest overhead of a Kafka record besides its key and value, in bytes.
OVERHEAD = 100

_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")


class RecordContent(msgspec.Struct, frozen=True, gc=False):
    """The content of an egress record.

    :param key: None for a record without a key.
    """

    topic: str
    key: str | None
    value: bytes


class KafkaFormat:
    """A Kafka egress.

    :param largest: The largest size of a record in bytes; None for no limit.
    """

    def __init__(self, identifier: str, largest: int | None = None) -> None:
        self.identifier = identifier
        self._largest = largest
        self._topics: set[str] = set()

    def read(self, message: Message) -> RecordContent:
        """Return a record's topic, key and value."""
        record = _parse(self.identifier, message, KAFKA, KafkaProducerRecord, "kafka_record")
        topic, key, value = record.topic, record.key or None, record.value_bytes
        if topic not in self._topics:
            self._check(topic)
            self._topics.add(topic)
        if self._largest is not None and len(value) + len(key or "") + OVERHEAD > self._largest:
            raise ValueError(
                f"The egress '{self.identifier}' got a record of {len(value)} bytes for the topic"
                f" '{topic}', which Kafka does not accept. Make it smaller, or raise"
                f" 'max.request.size' ({self._largest}) in the egress's properties and the topic's"
                " own limit."
            )
        return RecordContent(topic, key, value)

    def _check(self, topic: str) -> None:
        if _TOPIC.fullmatch(topic) is None or topic in (".", ".."):
            raise ValueError(
                f"The egress '{self.identifier}' got a record for the topic '{topic}', which is"
                " not a name of a Kafka topic. Use 1 to 249 letters, digits, '.', '_' and '-'."
            )


class KinesisFormat:
    """A Kinesis egress; a stream is its topic."""

    def __init__(self, identifier: str) -> None:
        self.identifier = identifier

    def read(self, message: Message) -> RecordContent:
        """Return a record's stream, partition key and value."""
        record = _parse(self.identifier, message, KINESIS, KinesisEgressRecord, "kinesis_record")
        return RecordContent(record.stream, record.partition_key or None, record.value_bytes)


class PlaygroundFormat:
    """The playground's egress.

    :param topics: The topics that exist; None for all.
    """

    def __init__(self, identifier: str, topics: frozenset[str] | None = None) -> None:
        self.identifier = identifier
        self.topics = topics

    def read(self, message: Message) -> RecordContent:
        """Return a record's topic and payload."""
        if message.typename != PLAYGROUND:
            raise _other_type(self.identifier, message, PLAYGROUND, "playground_record")
        try:
            record = json.loads(message.value)
            topic, payload = record["topic"], record["payload"]
            topic.encode()  # a lone surrogate is valid in JSON only
            content = RecordContent(topic, None, payload.encode())
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ValueError(
                f"The egress '{self.identifier}' got {message.value[:60]!r}, which is not a JSON"
                " object with the strings 'topic' and 'payload'. Make it with 'playground_record'."
            ) from None
        if self.topics is not None and topic not in self.topics:
            raise ValueError(
                f"The egress '{self.identifier}' has no topic '{topic}'. Add it to the egress in"
                " module.yaml."
            )
        return content


class AnyFormat:
    """An egress that accepts every message. The type of a message determines the format."""

    def __init__(self, identifier: str) -> None:
        self.identifier = identifier
        self._by_type: dict[str, KafkaFormat | KinesisFormat | PlaygroundFormat] = {
            KAFKA: KafkaFormat(identifier),
            KINESIS: KinesisFormat(identifier),
            PLAYGROUND: PlaygroundFormat(identifier),
        }

    def read(self, message: Message) -> RecordContent:
        """Return the topic, key and value. The identifier is the topic of any other type."""
        found = self._by_type.get(message.typename)
        if found is None:
            return RecordContent(self.identifier, None, message.value)
        return found.read(message)


def _parse(identifier: str, message: Message, typename: str, cls: t.Any, maker: str) -> t.Any:
    if message.typename != typename:
        raise _other_type(identifier, message, typename, maker)
    try:
        return cls.FromString(message.value)
    except (DecodeError, UnicodeDecodeError):  # the latter by protobuf in pure Python
        raise ValueError(
            f"The egress '{identifier}' got {len(message.value)} bytes that are not a"
            f" '{typename}'. Make the record with '{maker}'."
        ) from None


def _other_type(identifier: str, message: Message, typename: str, maker: str) -> ValueError:
    return ValueError(
        f"The egress '{identifier}' accepts records of type '{typename}', not"
        f" '{message.typename}'. Make the record with '{maker}'."
    )
