"""The engine's time: milliseconds since 1970, from the machine or moved by hand."""

from __future__ import annotations

import datetime as dt
import time
import typing as t

#: Where a virtual clock starts: 2000-01-01, 00:00 UTC.
EPOCH = 946_684_800_000


class Clock(t.Protocol):
    """Tells the time."""

    def now(self) -> int:
        """Return the milliseconds since 1970."""


class RealClock:
    """The machine's clock. It is not monotonic, but it goes on while the engine is stopped."""

    def now(self) -> int:
        """Return the milliseconds since 1970."""
        return time.time_ns() // 1_000_000


class VirtualClock:
    """A clock that stands still until it is moved.

    :param start: Milliseconds since 1970.
    """

    def __init__(self, start: int = EPOCH) -> None:
        self._now = start

    def now(self) -> int:
        """Return the milliseconds since 1970."""
        return self._now

    def move_to(self, instant: int) -> None:
        """Move the clock forward; it never goes back."""
        self._now = max(self._now, instant)


def milliseconds(duration: dt.timedelta) -> int:
    """Return a duration in whole milliseconds."""
    return duration // dt.timedelta(milliseconds=1)
