"""Timers: delayed messages, which are stored, and functions that the engine calls later."""

from __future__ import annotations

import collections.abc as cabc
import heapq
import itertools

from .clock import Clock
from .clock import VirtualClock
from .records import Delay
from .store.transaction import Transaction

#: Delays due within this many milliseconds are in memory.
WINDOW = 60_000


class DelayHeap:
    """The delays due before a horizon, in the order in which they fire.

    Delays that are due at the same instant fire in the order of sending.

    :param horizon: Milliseconds since 1970.
    """

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self._heap: list[tuple[int, int]] = []
        self._delays: dict[int, Delay] = {}

    def __len__(self) -> int:
        return len(self._delays)

    def add(self, delay: Delay) -> None:
        """Add a delay, unless it is due beyond the horizon."""
        if delay.due < self.horizon:
            self._delays[delay.seq] = delay
            heapq.heappush(self._heap, (delay.due, delay.seq))

    def extend(self, horizon: int, delays: cabc.Iterable[Delay]) -> None:
        """Move the horizon, and add all delays between the old one and the new one."""
        self.horizon = horizon
        for delay in delays:
            self.add(delay)

    def remove(self, delay: Delay) -> None:
        """Remove a delay that was cancelled or delivered early."""
        self._delays.pop(delay.seq, None)

    @property
    def due(self) -> int | None:
        """The instant at which the next delay fires; None if no delay is due before the horizon."""
        heap = self._heap
        while heap and heap[0][1] not in self._delays:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop(self, now: int) -> Delay | None:
        """Remove the next delay that is due and return it, or return None."""
        due = self.due
        if due is None or due > now:
            return None
        return self._delays.pop(heapq.heappop(self._heap)[1])


class Timers:
    """The pending delays. Those that are due soon are in memory. They follow the wall clock."""

    def __init__(self, transaction: Transaction, clock: Clock) -> None:
        self._transaction = transaction
        self._clock = clock
        # The machine's clock shows the millisecond that has just started. A delay fires after the
        # millisecond in which it is due, so that it never fires too early.
        self._started = 0 if isinstance(clock, VirtualClock) else 1
        self._heap = DelayHeap(0)
        self._extend(clock.now())

    def add(self, delay: Delay) -> None:
        """Add a delay that the transaction has."""
        self._heap.add(delay)

    def remove(self, delay: Delay) -> None:
        """Remove a delay that the transaction no longer has."""
        self._heap.remove(delay)

    def pop(self) -> Delay | None:
        """Remove and return a delay that is due; None if no delay is due."""
        now = self._clock.now()
        if now > self._heap.horizon - WINDOW // 2:
            self._extend(now)
        return self._heap.pop(now - self._started)

    def milliseconds_until_due(self) -> int | None:
        """Return the time until the next delay in memory fires."""
        due = self._heap.due
        return None if due is None else due + self._started - self._clock.now()

    def _extend(self, now: int) -> None:
        heap, horizon = self._heap, now + WINDOW
        heap.extend(horizon, self._transaction.delays_between(heap.horizon, horizon))


class Plans:
    """Functions to call later. They follow the monotonic clock and end with the process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, cabc.Callable[[], None]]] = []
        self._ticket = itertools.count()

    def add(self, milliseconds: int, act: cabc.Callable[[], None]) -> None:
        """Call a function after some time, if the engine still runs then."""
        due = self._clock.monotonic() + milliseconds
        heapq.heappush(self._heap, (due, next(self._ticket), act))

    def pop(self) -> cabc.Callable[[], None] | None:
        """Remove and return a function that is due; None if no function is due."""
        if self._heap and self._heap[0][0] <= self._clock.monotonic():
            return heapq.heappop(self._heap)[2]
        return None

    def milliseconds_until_due(self) -> int | None:
        """Return the time until the next function is due."""
        return self._heap[0][0] - self._clock.monotonic() if self._heap else None
