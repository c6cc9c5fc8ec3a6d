"""A record that a function wrote to an egress, as a test reads it."""

from __future__ import annotations

import typing as t

import msgspec

from ..values.derived import type_of
from ..values.message import Message
from ..values.types import Type

T = t.TypeVar("T")


class Record(msgspec.Struct, frozen=True):
    """A record that a function wrote to an egress.

    :param topic: The Kafka topic or the Kinesis stream. For an egress without topics, the
        identifier of the egress.
    :param key: None for a record without a key.
    :param value: The payload.
    :param typename: The type of the payload; None for a record of Kafka, Kinesis or the
        playground, which has no type.
    """

    topic: str
    key: str | None
    value: bytes
    typename: str | None = None

    @property
    def text(self) -> str:
        """The payload as text."""
        return self.as_type(str)

    @t.overload
    def as_type(self, type: Type[T]) -> T: ...
    @t.overload
    def as_type(self, type: type[T]) -> T: ...
    def as_type(self, type: t.Any) -> t.Any:
        """Return the payload as a value.

        :param type: A :class:`~statefun_flask.Type`, or a class that stands for one. In a record
            without a type, ``str`` and ``bytes`` stand for plain text and plain bytes, as in
            :func:`~statefun_flask.kafka_record`.
        :raises MessageTypeError: The payload is not of that type.
        :raises UnicodeDecodeError: The plain text is not UTF-8.
        """
        if self.typename is None:
            if type is bytes:
                return self.value
            if type is str:
                return self.value.decode()
        typename = self.typename or type_of(type).typename
        return Message(typename, self.value).as_type(type)

    def __str__(self) -> str:
        key = "(no key)" if self.key is None else self.key
        return f"{key}: {self.value[:80]!r}"
