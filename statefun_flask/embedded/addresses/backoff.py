"""The delays before failed messages are sent again, and before endpoints are probed."""

from __future__ import annotations

import collections

from .mailbox import Mailbox

#: The delay before a message that failed alone is sent again, in milliseconds for each try so far.
RETRY_DELAY = 100

#: The first and the longest delay before an endpoint that is down is probed, in milliseconds.
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
        """Double the delay after a failed probe."""
        self.probe = None
        self.delay = min(2 * self.delay, LONGEST_DELAY)
