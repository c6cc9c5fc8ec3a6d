"""A queue between threads that is bounded by bytes and drops its oldest items."""

from __future__ import annotations

import collections
import threading
import time
import typing as t

T = t.TypeVar("T")


class Taken(t.NamedTuple, t.Generic[T]):
    """The result of :meth:`BoundedQueue.take`.

    :param missed: The number of older items that were dropped since the last call.
    :param items: The items, oldest first. Empty after a timeout.
    :param closed: Whether the queue is closed, so that no further item follows.
    """

    missed: int
    items: list[T]
    closed: bool


class BoundedQueue(t.Generic[T]):
    """Passes items to one reader. A writer does not wait unless it asks to.

    :param limit: The size of the queue in bytes. It keeps the newest item even if that is larger.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: collections.deque[tuple[T, int]] = collections.deque()
        self._size = self._missed = 0
        self._closed = self._released = False
        self._changed = threading.Condition()

    @property
    def size(self) -> int:
        """The number of queued bytes."""
        return self._size

    def put(self, item: T, size: int, *, wait: bool = False) -> None:
        """Append an item, and drop the oldest items if the queue is too large.

        :param size: The item's size in bytes.
        :param wait: Wait for room instead of dropping items, until :meth:`release`.
        """
        with self._changed:
            while wait and self._items and self._size + size > self._limit and not self._released:
                self._changed.wait()
            self._items.append((item, size))
            self._size += size
            while self._size > self._limit and len(self._items) > 1:
                self._size -= self._items.popleft()[1]
                self._missed += 1
            self._changed.notify_all()

    def take(self, timeout: float | None = None) -> Taken[T]:
        """Return all queued items. Wait for one if the queue is empty and not closed."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._items and not self._closed:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._changed.wait(left)
            taken = Taken(self._missed, [item for item, _ in self._items], self._closed)
            self._items.clear()
            self._size = self._missed = 0
            self._changed.notify_all()
        return taken

    def release(self) -> None:
        """Let writers drop items from now on instead of waiting for room."""
        with self._changed:
            self._released = True
            self._changed.notify_all()

    def close(self) -> None:
        """Tell the reader that no item follows, and release the writers."""
        with self._changed:
            self._closed = self._released = True
            self._changed.notify_all()
