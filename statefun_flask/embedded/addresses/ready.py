"""The addresses that can be called, in the order in which they are called."""

from __future__ import annotations

import collections
import collections.abc as cabc
import typing as t

T = t.TypeVar("T")

#: The number of entries of the first queue that are taken before one of the second.
TURNS = 8


class ReadyQueue(t.Generic[T]):
    """Two first-in, first-out queues: internal messages are handled before external ones.

    An address is internal if a function sent its next message, and external if that message came
    from outside. This order finishes started work first. As a result, most messages between
    functions are sent and consumed between two commits and never written to disk, and external
    messages form large batches. One external address follows every ``TURNS`` internal ones, so that
    functions that send messages to each other forever cannot block new messages.
    """

    def __init__(self) -> None:
        self._external: collections.deque[T] = collections.deque()
        self._internal: collections.deque[T] = collections.deque()
        self._turns = 0

    def __len__(self) -> int:
        return len(self._external) + len(self._internal)

    def __iter__(self) -> cabc.Iterator[T]:
        yield from self._internal
        yield from self._external

    def add(self, entry: T, *, external: bool = False) -> None:
        """Add an entry at the end of its queue."""
        (self._external if external else self._internal).append(entry)

    def add_first(self, entry: T) -> None:
        """Add an entry at the front of the internal queue, since its call is repeated."""
        self._internal.appendleft(entry)

    def take(self) -> T:
        """Remove the next entry and return it.

        :raises IndexError: Both queues are empty.
        """
        if self._internal and (self._turns < TURNS or not self._external):
            self._turns += 1
            return self._internal.popleft()
        self._turns = 0
        return self._external.popleft()
