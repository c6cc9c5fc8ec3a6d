"""The messages that wait for one address, and which of them are in flight."""

from __future__ import annotations

import enum

import msgspec

from ...values.address import Address
from ..records import Envelope
from .ready import EndpointQueue


class Condition(enum.Enum):
    """The condition of an address. An address always has exactly one."""

    #: It has no messages and no mailbox.
    IDLE = "idle"
    #: It waits in the ready queue to be called.
    READY = "ready"
    #: A batch is being handled by its function.
    IN_FLIGHT = "in flight"
    #: Its first message failed and is sent again after a delay.
    BACKING_OFF = "backing off"
    #: It waits for its endpoint, which is down.
    PAUSED = "endpoint down"
    #: A person holds back its function type.
    HELD = "held"
    #: Its first message failed, and a user decides what to do. Its messages are in the store only.
    PARKED = "parked"


class Mailbox(msgspec.Struct, eq=False):
    """The queue of one address.

    At most one batch is in flight: the first ``in_flight`` messages. Messages that come meanwhile
    join the next batch. After a batch has failed, its messages are sent again one at a time, so
    that those before the culprit are applied and the culprit is known.

    :param resend: The size of a batch that is to be sent again unchanged; 0 for none.
    :param one_by_one: How many messages are still to be sent one at a time. The number is 1 for an
        idle address, because the runtime sends the first message at once.
    :param tries: How often the first message has failed alone.
    :param cut_offs: How often the endpoint has ended the connection at the first message.
    :param suspect: Whether the process ended while it was called, so that it is called alone.
    :param queue: The ready queue of its endpoint.
    """

    address: Address
    # A list, because it usually has one message, and batches are slices.
    messages: list[Envelope] = []
    condition: Condition = Condition.READY
    in_flight: int = 0
    resend: int = 0
    one_by_one: int = 1
    tries: int = 0
    cut_offs: int = 0
    suspect: bool = False
    queue: EndpointQueue[Mailbox] = msgspec.field(default_factory=EndpointQueue)

    def put(self, envelope: Envelope) -> bool:
        """Add a message. Returns whether the mailbox was empty."""
        self.messages.append(envelope)
        return len(self.messages) == 1

    def take(self, limit: int) -> list[Envelope]:
        """Start a batch of at most this many messages (0: all) and return it."""
        messages = self.messages
        if self.one_by_one or len(messages) == 1:
            self.in_flight = 1
            return messages[:1]
        self.in_flight = self.resend or min(limit or len(messages), len(messages))
        return messages[: self.in_flight]

    def applied(self) -> None:
        """End the batch: its messages are handled."""
        del self.messages[: self.in_flight]
        if self.one_by_one:
            self.one_by_one = max(0, self.one_by_one - self.in_flight)
        self.in_flight = self.resend = self.tries = self.cut_offs = 0

    def failed(self) -> bool:
        """End a failed batch. Returns whether it had one message only, which is the culprit."""
        alone = self.in_flight == 1
        if alone:
            self.tries += 1
            self.one_by_one = self.one_by_one or 1
        else:
            self.one_by_one = self.in_flight
        self.in_flight = self.resend = self.cut_offs = 0
        return alone

    def cut_off(self) -> None:
        """End the batch: the endpoint ended the connection, and one of its messages may be why."""
        if self.in_flight == 1:
            self.cut_offs += 1
        self.one_by_one = max(self.one_by_one, self.in_flight)
        self.in_flight = self.resend = 0

    def returned(self) -> None:
        """End the batch as if it had not been sent: it is sent again unchanged."""
        self.resend = self.in_flight
        self.in_flight = 0
