"""An HTTP client that makes any number of calls in one thread and never blocks it."""

from __future__ import annotations

import collections
import collections.abc as cabc
import math
import queue
import time
import typing as t

from ..reactor import Reactor
from .connection import CallFailedError
from .connection import Connection
from .connection import HttpCall
from .connection import Origin
from .http_response import Response
from .resolver import Resolver


class HttpClient:
    """Makes calls, and keeps the connections for the next ones.

    All methods are for the reactor's thread, which calls :meth:`tick` after each wait.

    :param post: Has a function called in the reactor's thread, and wakes it.
    :param done: Is called with each call that has an outcome, never within :meth:`start`.
    """

    def __init__(
        self,
        reactor: Reactor,
        post: cabc.Callable[[cabc.Callable[[], None]], None],
        done: cabc.Callable[[HttpCall], None],
    ) -> None:
        self._reactor = reactor
        self._done = done
        self._resolver = Resolver(post)
        self._busy: set[Connection] = set()
        self._idle: dict[Origin, list[Connection]] = collections.defaultdict(list)
        #: Calls that failed within :meth:`start`.
        self._failed: collections.deque[HttpCall] = collections.deque()
        self._is_starting = False
        #: No alarm of a connection is before it.
        self._alarm = math.inf

    @property
    def is_busy(self) -> bool:
        """Whether calls are in flight."""
        return bool(self._busy or self._failed)

    def start(self, call: HttpCall) -> None:
        """Make a call, on a connection that was kept if there is one."""
        call.started = time.monotonic()
        call.deadline = call.started + call.origin.timeout
        idle = self._idle.get(call.origin)
        self._begin(call, idle.pop() if idle and not call.settle else None)

    def patience(self) -> float:
        """Return how long to wait at most before the next :meth:`tick`, in seconds."""
        if self._failed:
            return 0.0
        return max(0.0, self._alarm - time.monotonic()) if self._busy else math.inf

    def tick(self) -> None:
        """End the calls that have failed at once, and those that have taken too long."""
        while self._failed:
            self._finish(self._failed.popleft())
        if self._busy and time.monotonic() >= self._alarm:
            self._ring()

    def close(self) -> None:
        """Close all connections. Calls in flight have no outcome."""
        for connection in self._busy:
            connection.close()
        for kept in self._idle.values():
            for connection in kept:
                connection.close()
        self._busy.clear()
        self._idle.clear()
        self._failed.clear()

    def _begin(self, call: HttpCall, connection: Connection | None) -> None:
        self._is_starting = True
        if connection is None:
            connection = Connection(
                call.origin, self._reactor, self._resolver, self._ended, self._scheduled
            )
            self._busy.add(connection)
            connection.open(call)
        else:
            self._busy.add(connection)
            connection.make(call)
        self._is_starting = False

    def _scheduled(self, alarm: float) -> None:
        if alarm < self._alarm:
            self._alarm = alarm

    def _ring(self) -> None:
        now = time.monotonic()
        for connection in [each for each in self._busy if each.alarm <= now]:
            if connection.call is not None:
                connection.ring()
        self._alarm = min((each.alarm for each in self._busy), default=math.inf)

    def _ended(self, connection: Connection, outcome: Response | Exception | None) -> None:
        call = connection.call
        if call is None:
            self._idle[connection.origin].remove(connection)
            connection.close()
            return
        self._busy.discard(connection)
        if isinstance(outcome, Response) and outcome.is_kept:
            connection.call = None
            self._idle[connection.origin].append(connection)
        else:
            connection.close()
            if _was_stale(connection, outcome):
                self._begin(call, None)  # a new connection, which is not tried again
                return
        call.outcome = outcome
        if self._is_starting:
            self._failed.append(call)
        else:
            self._finish(call)

    def _finish(self, call: HttpCall) -> None:
        call.duration = time.monotonic() - call.started
        self._done(call)


def _was_stale(connection: Connection, outcome: Response | Exception | None) -> bool:
    """Return whether a kept connection had ended before the server saw the request."""
    return (
        connection.is_kept
        and not connection.has_begun
        and isinstance(outcome, CallFailedError)
        and outcome.is_cut_off
    )


class BlockingClient:
    """Makes one call at a time and waits for its outcome. For one thread."""

    def __init__(self) -> None:
        self._inbox: queue.SimpleQueue[cabc.Callable[[], None]] = queue.SimpleQueue()
        self._reactor = Reactor()
        self._reactor.open()
        self._finished: list[HttpCall] = []
        self._client = HttpClient(self._reactor, self._post, self._finished.append)

    def make(self, call: HttpCall) -> Response | Exception:
        """Make a call and return its outcome."""
        self._reactor.wait(0.0, self._inbox)  # closes connections that have ended meanwhile
        self._client.start(call)
        try:
            while not self._finished:
                patience = self._client.patience()
                self._reactor.wait(None if patience == math.inf else patience, self._inbox)
                self._client.tick()
                while not self._inbox.empty():
                    self._inbox.get()()
        finally:
            if not self._finished:
                self._client.close()  # such as Ctrl-C
        self._finished.clear()
        return t.cast("Response | Exception", call.outcome)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._reactor.close()

    def _post(self, act: cabc.Callable[[], None]) -> None:
        self._inbox.put(act)
        self._reactor.wake()
