"""How long failed messages and endpoints that are down wait before they are tried again."""

from __future__ import annotations

import collections

from .mailbox import Mailbox

#: Before a message that failed on its own is tried again, in milliseconds, times its tries.
RETRY_DELAY = 100

#: Before an endpoint that is down is probed again, in milliseconds: at first, and at most.
FIRST_DELAY = 100
LONGEST_DELAY = 5_000


class Pause:
    """The addresses of a function type whose endpoint is down.

    One of them at a time probes the endpoint; the others wait until a probe succeeds.
    """

    def __init__(self) -> None:
        self.waiting: collections.deque[Mailbox] = collections.deque()
        self.delay = FIRST_DELAY
        self.probe: Mailbox | None = None

    def lengthen(self) -> None:
        """Wait twice as long, since a probe failed."""
        self.probe = None
        self.delay = min(2 * self.delay, LONGEST_DELAY)
