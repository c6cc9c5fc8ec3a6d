"""The delays that are due soon, in the order in which they fire. Pure."""

from __future__ import annotations

import collections.abc as cabc
import heapq

from .records import Delay


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
