"""What happens later: delayed messages, which are stored, and the engine's own plans."""

from __future__ import annotations

import collections.abc as cabc
import heapq
import itertools

from .clock import Clock
from .clock import VirtualClock
from .records import Delay
from .store.store import Store

#: Delays due within so many milliseconds are in memory.
WINDOW = 60_000


class Timers:
    """All delays due before a horizon; later ones stay in the store until it moves.

    Delays fire by due time, those of one instant in the order of sending.

    :param horizon: Milliseconds since 1970.
    """

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self._heap: list[tuple[int, int]] = []
        self._delays: dict[int, Delay] = {}

    def __len__(self) -> int:
        return len(self._delays)

    def add(self, delay: Delay) -> None:
        """Take a delay, unless it is due beyond the horizon."""
        if delay.due < self.horizon:
            self._delays[delay.seq] = delay
            heapq.heappush(self._heap, (delay.due, delay.seq))

    def extend(self, horizon: int, delays: cabc.Iterable[Delay]) -> None:
        """Move the horizon, with all delays between the old one and the new one."""
        self.horizon = horizon
        for delay in delays:
            self.add(delay)

    def remove(self, delay: Delay) -> None:
        """Forget a delay that was cancelled or fired by hand."""
        self._delays.pop(delay.seq, None)

    @property
    def due(self) -> int | None:
        """When the next delay fires; None when none does before the horizon."""
        heap = self._heap
        while heap and heap[0][1] not in self._delays:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop(self, now: int) -> Delay | None:
        """Return the next delay that is due and forget it, or None."""
        due = self.due
        if due is None or due > now:
            return None
        return self._delays.pop(heapq.heappop(self._heap)[1])


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
