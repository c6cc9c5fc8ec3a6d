"""The data classes that the engine passes between its parts and stores."""

from __future__ import annotations

import msgspec

from ..values.address import Address
from ..values.message import Message


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """A message with its addresses.

    :param seq: A unique number in the order of sending, which stays the same after a restart.
    :param trace: The number of the message from outside that this message results from.
    :param caller: None for a message from outside.
    """

    seq: int
    trace: int
    target: Address
    caller: Address | None
    message: Message


class Delay(msgspec.Struct, frozen=True, gc=False):
    """A message that is delivered later.

    :param due: The instant of delivery, in milliseconds since 1970.
    :param token: The cancellation token, which names the delay together with the caller's id; None
        for a delay that cannot be cancelled.
    """

    seq: int
    trace: int
    due: int
    target: Address
    caller: Address
    message: Message
    token: str | None = None


class EgressRecord(msgspec.Struct, frozen=True, gc=False):
    """A record that a function wrote to an egress.

    :param seq: The number of the record. The numbers of all egresses together have no gap, so a
        reader can skip records that it has seen.
    :param egress: The identifier of the egress, ``namespace/name``.
    :param topic: The topic or stream; the identifier of an egress without topics.
    :param key: None for a record without a key.
    :param value: The payload; the value of a Kafka record.
    :param typename: The type of the message that the function sent to the egress.
    """

    seq: int
    trace: int
    egress: str
    topic: str
    key: str | None
    value: bytes
    typename: str


class Parked(msgspec.Struct, frozen=True):
    """A parked address.

    :param seq: The number of the message that failed.
    :param trace: The trace of the message that failed.
    :param error: The error as text.
    :param since: The instant of the failure, in milliseconds since 1970.
    """

    address: Address
    seq: int
    trace: int
    error: str
    since: int


class Dead(msgspec.Struct, frozen=True):
    """A dead letter: a dropped message, which can be sent again.

    :param since: The instant at which it was dropped, in milliseconds since 1970.
    """

    envelope: Envelope
    error: str
    since: int


class StoredValue(msgspec.Struct, frozen=True, gc=False):
    """The stored value of a state.

    :param stamp: The start of its time to live, in milliseconds since 1970.
    """

    value: bytes
    stamp: int


class KeyUse(msgspec.Struct, frozen=True):
    """The message that was sent under an idempotency key.

    :param digest: The digest of the message.
    :param trace: The trace of the message.
    :param at: The instant of sending, in milliseconds since 1970.
    """

    digest: bytes
    trace: int
    at: int
