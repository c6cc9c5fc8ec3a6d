"""What is to happen later: delayed messages, which are kept, and the engine's own plans."""

from __future__ import annotations

import collections.abc as cabc
import heapq
import itertools

from .clock import Clock
from .clock import VirtualClock
from .records import Delay
from .store.store import Store
from .timers import Timers

#: Delays due within so many milliseconds are in memory.
WINDOW = 60_000


class Schedule:
    """Delays by their due time, and functions to call."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        # A machine's clock shows the millisecond that has begun, so a delay that is due in it is
        # over after it: none is to be over too early.
        self._begun = 0 if isinstance(clock, VirtualClock) else 1
        self._timers = Timers(0)
        self._plans: list[tuple[int, int, cabc.Callable[[], None]]] = []
        self._ticket = itertools.count()
        self._extend(clock.now())

    def add(self, delay: Delay) -> None:
        """Keep a delay."""
        self._store.changes.schedule(delay)
        self._timers.add(delay)

    def forget(self, delay: Delay) -> None:
        """Take a delay away, and free its token."""
        self._timers.remove(delay)
        self._store.changes.unschedule(delay)

    def later(self, milliseconds: int, act: cabc.Callable[[], None]) -> None:
        """Have something done in a while, if the engine still runs then."""
        due = self._clock.now() + milliseconds
        heapq.heappush(self._plans, (due, next(self._ticket), act))

    def delay(self) -> Delay | None:
        """Return a delay that is due, or None; it stays until it is forgotten."""
        now = self._clock.now()
        if now > self._timers.horizon - WINDOW // 2:
            self._extend(now)
        return self._timers.pop(now - self._begun)

    def plan(self) -> cabc.Callable[[], None] | None:
        """Return what is to be done now, or None."""
        if self._plans and self._plans[0][0] <= self._clock.now():
            return heapq.heappop(self._plans)[2]
        return None

    def due(self) -> int | None:
        """Return the next instant at which something is to be done, if it is within the window."""
        due = self._timers.due
        over = None if due is None else due + self._begun
        return _earliest(over, self._plans[0][0] if self._plans else None)

    def next_instant(self) -> int | None:
        """Return the next instant at which something is to be done; all must be committed."""
        delays = self._store.next_delays(1)
        return _earliest(self.due(), delays[0].due if delays else None)

    def _extend(self, now: int) -> None:
        horizon = now + WINDOW
        self._timers.extend(horizon, self._store.delays(self._timers.horizon, horizon))


def _earliest(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
