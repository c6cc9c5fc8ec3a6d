"""The messages that wait for one address, and which of them are in flight. Pure."""

from __future__ import annotations

import msgspec

from ..records import Envelope


class Mailbox(msgspec.Struct, eq=False):
    """One address's queue.

    At most one batch is in flight: the first ``in_flight`` messages. What comes meanwhile joins the
    next batch. After a batch has failed its messages are sent again one at a time, so that those
    before the culprit are applied and the culprit is known.

    :param again: The size of a batch that is to be sent again as it was; 0 for none.
    :param one_by_one: How many of the first messages are still to be sent one at a time. The first
        message of an idle address is: the runtime sends it as it comes (protocol 6.2).
    :param tries: How often the first message has failed on its own.
    """

    # A list: it has one message nearly always, and batches are cut from it as a whole.
    messages: list[Envelope] = []
    in_flight: int = 0
    resend: int = 0
    one_by_one: int = 1
    tries: int = 0

    def put(self, envelope: Envelope) -> bool:
        """Add a message. Returns whether the address was empty and so becomes ready."""
        self.messages.append(envelope)
        return len(self.messages) == 1

    def take(self, limit: int) -> list[Envelope]:
        """Start a batch of at most so many messages (0: all) and return it."""
        messages = self.messages
        if self.one_by_one or len(messages) == 1:
            self.in_flight = 1
            return messages[:1]
        self.in_flight = self.resend or min(limit or len(messages), len(messages))
        return messages[: self.in_flight]

    def applied(self) -> None:
        """End the batch: its messages are done with."""
        del self.messages[: self.in_flight]
        if self.one_by_one:
            self.one_by_one = max(0, self.one_by_one - self.in_flight)
        self.in_flight = self.resend = self.tries = 0

    def failed(self) -> bool:
        """End the batch: nothing of it happened. Returns whether its one message is the culprit."""
        alone = self.in_flight == 1
        if alone:
            self.tries += 1
            self.one_by_one = self.one_by_one or 1
        else:
            self.one_by_one = self.in_flight
        self.in_flight = self.resend = 0
        return alone

    def returned(self) -> None:
        """End the batch as if it had not been sent; it is sent again as it was."""
        self.resend = self.in_flight
        self.in_flight = 0
