"""The delays before failed messages are sent again, and before endpoints are probed."""

from __future__ import annotations

import collections
import collections.abc as cabc

from .mailbox import Mailbox

#: The delay before a message that failed alone is sent again, in milliseconds for each try so far.
RETRY_DELAY = 100

#: The first and the longest delay before an endpoint that is down is probed, in milliseconds.
FIRST_DELAY = 100
LONGEST_DELAY = 5_000


#: After so many ends of the connection a message is a suspect: it may be what ends the worker.
SUSPECT_AFTER = 3

#: For how long a worker that is to prove that it is there keeps a connection open, in seconds,
#: before it gets the message of the only suspect.
SETTLE = 0.2


class Pause:
    """The addresses of a function type whose endpoint is down.

    One of them at a time probes the endpoint; the others wait until a probe succeeds.

    A message at which the endpoint ends the connection again and again may be what ends the worker.
    Its address is a suspect then, and the others probe first. When the endpoint has answered one of
    them, a suspect is *on trial*: if the endpoint ends the connection even now, the message is the
    cause. So is the message of an only address, if the worker first keeps a connection open without
    a request. An endpoint that ends the connection at every message of several addresses is down.
    """

    def __init__(self) -> None:
        self.waiting: collections.deque[Mailbox] = collections.deque()
        self.suspects: collections.deque[Mailbox] = collections.deque()
        self.delay = FIRST_DELAY
        self.probe: Mailbox | None = None
        #: Whether the probe's message is the cause if the connection ends.
        self.is_trial = False
        #: For how long the probe's connection stays open before its request, in seconds.
        self.settle = 0.0
        #: Whether the endpoint has answered since a connection ended.
        self.has_answered = False
        #: The number of the plan to probe that counts; plans made before are void.
        self.plan = 0

    def __len__(self) -> int:
        return len(self.waiting) + len(self.suspects)

    def __iter__(self) -> cabc.Iterator[Mailbox]:
        yield from self.waiting
        yield from self.suspects

    def add(self, mailbox: Mailbox) -> None:
        """Have an address wait."""
        if mailbox.cut_offs >= SUSPECT_AFTER:
            self.suspects.append(mailbox)
        elif mailbox.cut_offs:
            self.waiting.appendleft(mailbox)  # it probes again, until it is a suspect or answered
        else:
            self.waiting.append(mailbox)

    def clear(self) -> list[Mailbox]:
        """Remove all addresses and return them."""
        found = list(self)
        self.waiting.clear()
        self.suspects.clear()
        return found

    def next(self) -> Mailbox:
        """Remove the address that probes now and return it.

        :raises IndexError: None waits.
        """
        is_alone = not self.waiting and len(self.suspects) == 1
        self.is_trial = bool(self.suspects) and (self.has_answered or is_alone)
        self.settle = SETTLE if is_alone and not self.has_answered else 0.0
        from_suspects = self.is_trial or not self.waiting
        self.probe = (self.suspects if from_suspects else self.waiting).popleft()
        return self.probe

    def failed(self) -> None:
        """Double the delay after a failed probe."""
        self.probe = None
        self.has_answered = False
        self.delay = min(2 * self.delay, LONGEST_DELAY)

    def answered(self, mailbox: Mailbox) -> None:
        """Note that the endpoint has answered an address."""
        self.has_answered = True
        self.delay = FIRST_DELAY
        if self.probe is mailbox:
            self.probe = None
