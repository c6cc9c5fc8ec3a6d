"""The events of an engine. An event is reported after the commit of its step.

All instants are milliseconds since 1970. ``trace`` is the number of a message from outside, which
all messages that result from it share. The event of a batch, and all messages that result from the
batch, have the trace of the first message in the batch.
"""

from __future__ import annotations

import collections.abc as cabc

import msgspec

from ..values.address import Address
from ..values.message import Message
from .records import Delay
from .records import EgressRecord
from .records import Envelope

#: The name of a state, and its value before and after the change; None for no value.
Change = tuple[str, Message | None, Message | None]


class Event(msgspec.Struct, kw_only=True, tag_field="event", tag=str.lower):
    """The base class of all events."""

    at: int


class Invocation(Event):
    """A function handled a batch, and the engine applied its effects.

    :param batch: The messages of the batch.
    :param duration: The duration of the call in seconds; 0 under a virtual clock.
    :param changes: The changes of states, in the order of the reply.
    :param sends: The messages to other addresses.
    :param delays: The new delays.
    :param cancelled: The cancelled delays.
    :param records: The egress records.
    """

    trace: int
    address: Address
    batch: list[Envelope]
    duration: float
    changes: list[Change]
    sends: list[Envelope]
    delays: list[Delay]
    cancelled: list[Delay]
    records: list[EgressRecord]


class Registered(Event):
    """A function type registered states. The engine sends the batch again with these states."""

    typename: str
    states: list[str]


class Fired(Event):
    """A delay was due, and its message was added to the queue of its address.

    :param seq: The number of the message in the queue.
    """

    trace: int
    delay: Delay
    seq: int


class Cancelled(Event):
    """A person cancelled a delay."""

    trace: int
    delay: Delay


class Failed(Event):
    """A batch failed, and has no effects.

    :param error: The exception. If a function in this process raised it, it has a traceback.
    :param parked: Whether the address is parked now. If not, the engine sends the messages of the
        batch again, one at a time.
    :param waiting: The number of messages that wait behind the failed message.
    """

    trace: int
    address: Address
    batch: list[Envelope]
    error: BaseException
    parked: bool
    waiting: int


class Retried(Event):
    """A parked address is called again.

    :param replaced: Whether its first message has a new body.
    """

    trace: int
    address: Address
    replaced: bool


class Dropped(Event):
    """The first message of a parked address became a dead letter. The address continues."""

    trace: int
    address: Address
    envelope: Envelope


class Held(Event):
    """A person holds back a function type: it is not called until it is released.

    :param waiting: How many of its addresses have messages.
    """

    typename: str
    waiting: int


class Released(Event):
    """A function type is called again that a person has held back.

    :param waiting: How many of its addresses have messages.
    """

    typename: str
    waiting: int


class Down(Event):
    """An endpoint is down, and the addresses of a function type wait for it.

    :param delay: The time until the endpoint is called again, in milliseconds.
    """

    typename: str
    endpoint: str
    reason: str
    waiting: int
    delay: int


class Up(Event):
    """An endpoint that was down answers again."""

    typename: str
    endpoint: str


class Full(Event):
    """The store cannot be written to. The engine calls no function until it can be written to."""

    path: str
    size: int
    reason: str


class Writable(Event):
    """The store can be written to again."""


class Undelivered(Event):
    """The sink of an egress failed. The engine offers the records again."""

    error: BaseException
    delay: int


class Disconnected(Event):
    """Kafka brokers do not answer. Their topics continue automatically when the brokers answer."""

    broker: str
    reason: str


class Connected(Event):
    """Kafka brokers answer again."""

    broker: str


class TopicMissing(Event):
    """A Kafka topic of an ingress does not exist yet. The engine waits for it."""

    topic: str
    broker: str


class Unreadable(Event):
    """A Kafka topic exists but cannot be read. The engine tries again."""

    topic: str
    broker: str
    reason: str


class LeftOut(Event):
    """The engine skipped a record, an offset or a property of a Kafka ingress or egress.

    :param source: A partition, ``topic/0``, or the id of an ingress or egress.
    :param what: A description of what was skipped, with the reason.
    """

    source: str
    what: str


#: Called with every event, in the engine's thread. It must return quickly. An exception that it
#: raises is logged.
Listener = cabc.Callable[[Event], None]
