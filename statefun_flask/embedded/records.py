"""The records that the engine moves around and keeps."""

from __future__ import annotations

import msgspec

from ..values.address import Address
from ..values.message import Message


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """A message on its way.

    :param seq: Its number in the order of sending; unique, and kept over a restart.
    :param trace: The number of the message from outside that caused it, in the end.
    :param caller: None for a message from outside.
    """

    seq: int
    trace: int
    target: Address
    caller: Address | None
    message: Message


class Delay(msgspec.Struct, frozen=True, gc=False):
    """A message that is delivered later.

    :param due: When, in milliseconds since 1970.
    :param token: With the caller's id it names the delay for cancelling; None when it has none.
    """

    seq: int
    trace: int
    due: int
    target: Address
    caller: Address
    message: Message
    token: str | None = None


class EgressRecord(msgspec.Struct, frozen=True, gc=False):
    """What left through an egress.

    :param seq: Its number, without a gap over all egresses; a receiver drops what it has seen.
    :param egress: The egress's identifier, ``namespace/name``.
    :param topic: The record's topic or stream; the identifier where the egress has no topics.
    :param key: None for a record without one.
    :param value: The payload, for Kafka the record's value.
    :param typename: The type of what the function sent to the egress.
    """

    seq: int
    trace: int
    egress: str
    topic: str
    key: str | None
    value: bytes
    typename: str


class Parked(msgspec.Struct, frozen=True):
    """An address that waits for a person.

    :param seq: The number of the message that failed.
    :param trace: The number of the message from outside that caused it.
    :param error: What went wrong, as text.
    :param since: Milliseconds since 1970.
    """

    address: Address
    seq: int
    trace: int
    error: str
    since: int


class Dead(msgspec.Struct, frozen=True):
    """A message that was dropped; it can be put back.

    :param since: When it was dropped, in milliseconds since 1970.
    """

    envelope: Envelope
    error: str
    since: int


class StoredValue(msgspec.Struct, frozen=True, gc=False):
    """The stored value of a state.

    :param stamp: When its time to live was last restarted, in milliseconds since 1970.
    """

    value: bytes
    stamp: int


class KeyUse(msgspec.Struct, frozen=True):
    """What was sent under an idempotency key.

    :param digest: Of the message.
    :param trace: The number that the message got.
    :param at: When it was sent, in milliseconds since 1970.
    """

    digest: bytes
    trace: int
    at: int
