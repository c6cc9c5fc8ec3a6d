"""What happened, one object for each step; told after the commit that made it last.

All instants are milliseconds since 1970. ``trace`` is the number of the message from outside that
was the cause: what one message from outside has led to shares its number. A batch is told under the
trace of its first message, and so is all that it led to.
"""

from __future__ import annotations

import collections.abc as cabc

import msgspec

from ..values.address import Address
from ..values.message import Message
from .records import Delay
from .records import EgressRecord
from .records import Envelope

#: A state's typed value before and after; None for none.
Change = tuple[str, Message | None, Message | None]


class Event(msgspec.Struct, kw_only=True, tag_field="event", tag=str.lower):
    """Something that happened; the base of all below."""

    at: int


class Invocation(Event):
    """A batch was answered, and what it wanted was done.

    :param batch: Its messages.
    :param duration: How long the call took, in seconds; 0 under a virtual clock.
    :param changes: Of states, in the answer's order.
    :param sends: What it sent to other addresses.
    :param delays: What it sent for later.
    :param cancelled: The delays that it cancelled.
    :param records: What it wrote to egresses.
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
    """A function type named states that it has; the batch is sent again with them."""

    typename: str
    states: list[str]


class Fired(Event):
    """A delay was due and its message joined the queue of its address.

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
    """A batch was not answered with a result; nothing of it happened.

    :param error: The exception. One out of a function in this process has its traceback.
    :param parked: Whether the address waits for a person now. If not, it is tried again, message by
        message when there were several.
    :param waiting: How many messages wait behind the one that failed.
    """

    trace: int
    address: Address
    batch: list[Envelope]
    error: BaseException
    parked: bool
    waiting: int


class Retried(Event):
    """A parked address is tried again.

    :param replaced: Whether its first message was given another body.
    """

    trace: int
    address: Address
    replaced: bool


class Dropped(Event):
    """The first message of a parked address was put with the dead ones, and the others go on."""

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

    :param delay: When it is tried again, in milliseconds from now.
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
    """The store cannot be written to; nothing is called until it can."""

    path: str
    size: int
    reason: str


class Writable(Event):
    """The store can be written to again."""


class Undelivered(Event):
    """The receiver of the egress records failed; it gets them again."""

    error: BaseException
    delay: int


class Disconnected(Event):
    """Kafka brokers do not answer; their topics wait, and go on by themselves."""

    broker: str
    reason: str


class Connected(Event):
    """Kafka brokers that did not answer do so again."""

    broker: str


class TopicMissing(Event):
    """A Kafka topic that is to be read does not exist yet; it is waited for."""

    topic: str
    broker: str


class Unreadable(Event):
    """A Kafka topic exists and cannot be read; it is tried again."""

    topic: str
    broker: str
    reason: str


class LeftOut(Event):
    """Something of a Kafka ingress or egress was left out.

    :param source: A partition, ``topic/0``, or the id of an ingress or egress.
    :param what: What, and why.
    """

    source: str
    what: str


#: Is told every event, in the engine's thread; it must be quick. An exception that it raises is
#: logged.
Listener = cabc.Callable[[Event], None]
