"""The addresses that can be called, and which of them is called next. Pure."""

from __future__ import annotations

import collections
import collections.abc as cabc

from ...values.address import Address

#: How many addresses that go on are called before one that begins is.
TURNS = 8


class Ready:
    """Two queues, each first in first out: what goes on comes before what begins.

    An address goes on when a function has sent its next message, and begins when that came from
    outside. So with a backlog outside, what was begun is finished soon, most of its messages never
    wait for a commit and so leave no trace on disk, and what waits outside gathers to large
    batches. What begins has its turn too, so that functions that send to each other for ever keep
    nobody out.
    """

    def __init__(self) -> None:
        self._beginning: collections.deque[Address] = collections.deque()
        self._going_on: collections.deque[Address] = collections.deque()
        self._turns = 0

    def __len__(self) -> int:
        return len(self._beginning) + len(self._going_on)

    def __iter__(self) -> cabc.Iterator[Address]:
        yield from self._going_on
        yield from self._beginning

    def add(self, address: Address, *, begins: bool = False) -> None:
        """Add an address, behind the others of its kind."""
        (self._beginning if begins else self._going_on).append(address)

    def put_back(self, address: Address) -> None:
        """Put an address in front of the others that go on, since its call is made again."""
        self._going_on.appendleft(address)

    def take(self) -> Address:
        """Take the next address.

        :raises IndexError: There is none.
        """
        if self._going_on and (self._turns < TURNS or not self._beginning):
            self._turns += 1
            return self._going_on.popleft()
        self._turns = 0
        return self._beginning.popleft()
