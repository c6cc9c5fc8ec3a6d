"""The last events of an engine: for those who ask what a message has caused, and for listeners."""

from __future__ import annotations

import collections
import collections.abc as cabc
import contextlib
import queue
import threading

from ..embedded import events

#: How many events are kept, and of how many bytes in all.
KEPT = 10_000
SIZE = 32 << 20

#: What a message or record takes beside its payload, in bytes.
_OVERHEAD = 400

#: How many events may wait for a listener that is slow; it then misses the oldest.
BEHIND = 10_000


class History:
    """Keeps the last events, and passes them on. Its ``add`` is a listener of the engine."""

    def __init__(self) -> None:
        #: Each with its size in bytes.
        self._events: collections.deque[tuple[events.Event, int]] = collections.deque()
        self._size = 0
        self._followers: set[queue.Queue[events.Event | None]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def add(self, event: events.Event) -> None:
        """Keep an event. Called by the engine's thread, so it never waits."""
        self._keep(event)
        with self._lock:
            for follower in self._followers:
                _put(follower, event)

    def _keep(self, event: events.Event) -> None:
        size = _size(event)
        self._events.append((event, size))
        self._size += size
        while len(self._events) > KEPT or (self._size > SIZE and len(self._events) > 1):
            self._size -= self._events.popleft()[1]

    def of(self, trace: int) -> list[events.Event]:
        """Return the kept events of one cause, in their order."""
        return [event for event, _ in list(self._events) if getattr(event, "trace", None) == trace]

    @contextlib.contextmanager
    def follow(self) -> cabc.Iterator[queue.Queue[events.Event | None]]:
        """Return a queue of the events from now on; None on it is the end."""
        follower: queue.Queue[events.Event | None] = queue.Queue(BEHIND)
        with self._lock:
            self._followers.add(follower)
            if self._closed:
                follower.put_nowait(None)
        try:
            yield follower
        finally:
            with self._lock:
                self._followers.discard(follower)

    def close(self) -> None:
        """Tell all followers that there is no more."""
        with self._lock:
            self._closed = True
            for follower in self._followers:
                _put(follower, None)


def _size(event: events.Event) -> int:
    """Return about how many bytes an event takes: messages are taken to be like the first."""
    if not isinstance(event, events.Invocation):
        return _OVERHEAD
    size = _OVERHEAD
    for messages in (event.batch, event.sends, event.delays):
        if messages:
            size += len(messages) * (_OVERHEAD + len(messages[0].message.value))
    if event.records:
        size += len(event.records) * (_OVERHEAD + len(event.records[0].value))
    return size


def _put(follower: queue.Queue[events.Event | None], event: events.Event | None) -> None:
    """Give a follower an event; one that is too far behind loses its oldest."""
    if follower.full():
        with contextlib.suppress(queue.Empty):
            follower.get_nowait()
    follower.put_nowait(event)
