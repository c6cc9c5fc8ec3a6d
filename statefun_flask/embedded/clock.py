"""The clocks of an engine, in milliseconds: the machine's clock and a virtual clock."""

from __future__ import annotations

import datetime as dt
import time
import typing as t

#: Where a virtual clock starts: 2000-01-01, 00:00 UTC.
EPOCH = 946_684_800_000


class Clock(t.Protocol):
    """The clock of an engine. Delays follow the wall clock, retries the monotonic clock."""

    def now(self) -> int:
        """Return the milliseconds since 1970."""

    def monotonic(self) -> int:
        """Return the milliseconds since some instant; this time never jumps."""


class RealClock:
    """The machine's clock. It may jump, and it continues while the engine is stopped."""

    def now(self) -> int:
        """Return the milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> int:
        """Return the milliseconds since some instant; this time never jumps."""
        return time.monotonic_ns() // 1_000_000


class VirtualClock:
    """A clock that moves only when it is moved.

    :param start: Milliseconds since 1970.
    """

    def __init__(self, start: int = EPOCH) -> None:
        self._now = start

    def now(self) -> int:
        """Return the milliseconds since 1970."""
        return self._now

    def monotonic(self) -> int:
        """Return the milliseconds since 1970: this clock is moved forward only."""
        return self._now

    def move_to(self, instant: int) -> None:
        """Move the clock forward. It never moves back."""
        self._now = max(self._now, instant)


def milliseconds(duration: dt.timedelta) -> int:
    """Return a duration in whole milliseconds."""
    return duration // dt.timedelta(milliseconds=1)
