"""The last events of an engine: for those who ask what a message has caused, and for listeners."""

from __future__ import annotations

import collections
import collections.abc as cabc
import contextlib
import queue
import threading

from ..runtime import events

#: How many events are kept.
KEPT = 10_000

#: How many events may wait for a listener that is slow; it then misses the oldest.
BEHIND = 10_000


class History:
    """Keeps the last events, and passes them on. Its ``add`` is a listener of the engine."""

    def __init__(self) -> None:
        self._events: collections.deque[events.Event] = collections.deque(maxlen=KEPT)
        self._followers: set[queue.Queue[events.Event | None]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def add(self, event: events.Event) -> None:
        """Keep an event. Called by the engine's thread, so it never waits."""
        self._events.append(event)
        with self._lock:
            for follower in self._followers:
                _put(follower, event)

    def of(self, trace: int) -> list[events.Event]:
        """Return the kept events of one cause, in their order."""
        return [event for event in list(self._events) if getattr(event, "trace", None) == trace]

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


def _put(follower: queue.Queue[events.Event | None], event: events.Event | None) -> None:
    """Give a follower an event; one that is too far behind loses its oldest."""
    if follower.full():
        with contextlib.suppress(queue.Empty):
            follower.get_nowait()
    follower.put_nowait(event)
