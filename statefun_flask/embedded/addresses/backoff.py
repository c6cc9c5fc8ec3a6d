"""Endpoints that are down: who waits for them, and when they are tried again. Pure."""

from __future__ import annotations

import collections

from ...values.address import Address

FIRST_DELAY = 100
LONGEST_DELAY = 5_000


class Pause:
    """A function type at an endpoint that is down.

    One address at a time probes it; the others wait until a probe succeeds.
    """

    def __init__(self) -> None:
        self.waiting: collections.deque[Address] = collections.deque()
        self.delay = FIRST_DELAY
        self.probe: Address | None = None
        self.announced = False

    def lengthen(self) -> None:
        """Wait twice as long, since a probe failed."""
        self.probe = None
        self.delay = min(2 * self.delay, LONGEST_DELAY)
