"""The last events of an engine, for traces, and subscriptions to the events that follow."""

from __future__ import annotations

import collections
import collections.abc as cabc
import contextlib
import itertools
import threading
import traceback

from ..embedded import events
from ..values.message import Message
from .bounded_queue import BoundedQueue

#: The largest number of kept events, and their largest total size in bytes.
MAX_EVENTS = 10_000
MAX_BYTES = 32 << 20

#: The bytes of events that may wait for one subscriber. Older events are dropped.
SUBSCRIPTION_BYTES = 8 << 20

#: The size of an event, a message or a record without its payload, in bytes.
_OVERHEAD = 400

#: How many bytes of events a page has at most, unless its first event has more.
PAGE_BYTES = 8 << 20

#: An event with its number, which counts the events of a history from 1.
Numbered = tuple[int, events.Event]

Subscription = BoundedQueue[events.Event]


class TraceWatch:
    """Wakes one thread for each event of one trace."""

    def __init__(self) -> None:
        self._occurred = threading.Event()
        self.closed = False

    def wait(self, timeout: float) -> bool:
        """Return whether an event occurred since the last call. Wait for one if not."""
        occurred = self._occurred.wait(timeout)
        self._occurred.clear()
        return occurred

    def wake(self) -> None:
        """Wake the thread."""
        self._occurred.set()


class History:
    """Keeps the last events and passes new events to subscribers.

    :meth:`add` is a listener of the engine. It never waits for a subscriber.
    """

    def __init__(self) -> None:
        self._events: collections.deque[tuple[events.Event, int]] = collections.deque()
        self._size = 0
        #: How many events are not kept any more.
        self._dropped = 0
        self._subscriptions: set[Subscription] = set()
        self._watches: dict[int, set[TraceWatch]] = {}
        self._lock = threading.Lock()
        self._closed = False

    @property
    def size(self) -> int:
        """The total size of the kept events in bytes."""
        return self._size

    def add(self, event: events.Event) -> None:
        """Keep an event and pass it on."""
        if isinstance(event, events.Failed):
            _clear_frames(event.error)
        size = size_of(event)
        with self._lock:
            self._events.append((event, size))
            self._size += size
            while len(self._events) > MAX_EVENTS or (
                self._size > MAX_BYTES and len(self._events) > 1
            ):
                self._size -= self._events.popleft()[1]
                self._dropped += 1
            for subscription in self._subscriptions:
                subscription.put(event, size)
            if self._watches:
                for trace in _traces(event):
                    for watch in self._watches.get(trace, ()):
                        watch.wake()

    def of_trace(self, trace: int) -> list[events.Event]:
        """Return the kept events of one trace, oldest first."""
        with self._lock:
            kept = list(self._events)
        return [event for event, _ in kept if trace in _traces(event)]

    def page(self, after: int, limit: int, trace: int | None = None) -> list[Numbered]:
        """Return kept events with a higher number, oldest first: of one trace, or all.

        :param limit: How many events there are at most. Large events make a page shorter.
        """
        with self._lock:
            start = max(0, after - self._dropped)
            first = self._dropped + start + 1
            kept = list(itertools.islice(self._events, start, None))
        found: list[Numbered] = []
        size = 0
        for number, (event, bytes_) in enumerate(kept, first):
            if trace is not None and trace not in _traces(event):
                continue
            size += bytes_
            if len(found) == limit or (found and size > PAGE_BYTES):
                break
            found.append((number, event))
        return found

    @contextlib.contextmanager
    def subscribe(self) -> cabc.Iterator[Subscription]:
        """Return a queue of the events from now on. It is closed with the history."""
        subscription: Subscription = BoundedQueue(SUBSCRIPTION_BYTES)
        with self._lock:
            self._subscriptions.add(subscription)
            if self._closed:
                subscription.close()
        try:
            yield subscription
        finally:
            with self._lock:
                self._subscriptions.discard(subscription)

    @contextlib.contextmanager
    def watch(self, trace: int) -> cabc.Iterator[TraceWatch]:
        """Return an object that wakes the caller for each event of a trace from now on."""
        watch = TraceWatch()
        with self._lock:
            self._watches.setdefault(trace, set()).add(watch)
            watch.closed = self._closed
        try:
            yield watch
        finally:
            with self._lock:
                watches = self._watches[trace]
                watches.discard(watch)
                if not watches:
                    del self._watches[trace]

    def close(self) -> None:
        """Close all subscriptions and wake all watches."""
        with self._lock:
            self._closed = True
            for subscription in self._subscriptions:
                subscription.close()
            for watches in self._watches.values():
                for watch in watches:
                    watch.closed = True
                    watch.wake()


def _clear_frames(error: BaseException) -> None:
    """Delete the variables in the tracebacks of an exception. They can be of any size."""
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        each = pending.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            traceback.clear_frames(each.__traceback__)
            pending += [each.__cause__, each.__context__]


def _traces(event: events.Event) -> set[int]:
    """Return the traces of an event. The messages of a batch can have different ones."""
    traces = {each.trace for each in getattr(event, "batch", ())}
    trace = getattr(event, "trace", None)
    return traces if trace is None else {*traces, trace}


def size_of(event: events.Event) -> int:
    """Return the approximate size of an event in bytes."""
    size = _OVERHEAD + sum(_message_size(each.message) for each in getattr(event, "batch", ()))
    if isinstance(event, events.Invocation):
        size += sum(_message_size(each.message) for each in event.sends)
        size += sum(_message_size(each.message) for each in event.delays)
        size += sum(_message_size(each.message) for each in event.cancelled)
        size += sum(_OVERHEAD + len(each.value) for each in event.records)
        for _, before, after in event.changes:
            size += sum(_message_size(each) for each in (before, after) if each is not None)
    elif isinstance(event, events.Fired | events.Cancelled):
        size += _message_size(event.delay.message)
    elif isinstance(event, events.Dropped):
        size += _message_size(event.envelope.message)
    return size


def _message_size(message: Message) -> int:
    return _OVERHEAD + len(message.value)
