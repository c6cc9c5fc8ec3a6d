"""Calls of endpoints, on worker threads: bytes go in, bytes or an exception come out."""

from __future__ import annotations

import collections.abc as cabc
import itertools
import logging
import queue
import threading
import time
import typing as t

import msgspec

from ...values.address import Address
from ...values.batch_scope import engine_call
from ..addresses.mailbox import Mailbox
from ..clock import Clock
from ..errors import CallTimeoutError
from ..exchange.states import StateSpecs
from ..records import Envelope
from .line_of_thread import line_of
from .remote import Remote
from .routes import FunctionEndpoint
from .routes import InProcess

logger = logging.getLogger("statefun_flask")

#: After how many seconds a call in this process is reported.
SLOW = 10.0


class Call(msgspec.Struct, eq=False):
    """A request to an endpoint, and its outcome.

    :param mailbox: Where its messages wait until it has an outcome.
    :param attached: The states that the request has.
    :param clock: The time that functions in this process see.
    :param settle: For how long a connection to the endpoint stays open before the request is sent,
        in seconds.
    :param duration: In seconds.
    :param slot: Where its entry in the file of the calls in flight begins; None for none.
    """

    address: Address
    endpoint: FunctionEndpoint
    mailbox: Mailbox
    batch: list[Envelope]
    attached: StateSpecs
    body: bytes
    clock: Clock
    settle: float = 0.0
    outcome: bytes | BaseException = b""
    duration: float = 0.0
    slot: int | None = None

    def run(self) -> None:
        """Call the endpoint."""
        token = engine_call.set(self)
        started = time.perf_counter()
        try:
            if self.settle and isinstance(self.endpoint, Remote):
                self.outcome = self.endpoint(self.body, settle=self.settle)
            else:
                self.outcome = self.endpoint(self.body)
        except Exception as exc:
            self.outcome = exc
        finally:
            engine_call.reset(token)
        self.duration = time.perf_counter() - started

    def now(self) -> int:
        """Return the time of the engine's clock, in milliseconds since 1970."""
        return self.clock.now()

    def trace(self, position: int) -> int:
        """Return the trace of a message of the request, counted from 0."""
        return self.batch[position].trace


class SlowCall(t.NamedTuple):
    """A call that has been running for a while.

    :param where: The line of code that it is at.
    """

    function: str
    id: str
    seconds: float
    where: str


class _Worker:
    """A thread that makes one call after the other.

    The thread, or the watch when the call takes too long, removes the call from ``claim``. Whoever
    has removed it answers it, so that it is answered once.
    """

    def __init__(self) -> None:
        self.claim: list[Call] = []
        self.began = 0.0
        self.is_reported = False
        self.thread: threading.Thread

    def begin(self, call: Call) -> None:
        self.began = time.monotonic()
        self.is_reported = False
        self.claim.append(call)

    def take(self, call: Call) -> bool:
        """Remove a call. Returns False if it was removed, and perhaps followed by the next one."""
        try:
            self.claim.remove(call)
        except ValueError:
            return False
        return True


class CallPool:
    """Threads that take one call each.

    A call in this process that takes longer than the timeout fails, and its thread is replaced: a
    thread cannot be ended from outside. What the function returns later is ignored.

    :param done: Gets each call with its outcome, in the worker's thread.
    :param timeout: How long a call in this process may take, in seconds; None for any time.
    """

    def __init__(
        self, number: int, done: cabc.Callable[[Call], None], timeout: float | None = None
    ) -> None:
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._done = done
        self._timeout = timeout
        self._closing = threading.Event()
        self._names = itertools.count()
        self._workers = [self._started() for _ in range(number)]
        self._watch = threading.Thread(target=self._keep_watch, name="statefun-watch", daemon=True)
        self._watch.start()

    @property
    def threads(self) -> list[threading.Thread]:
        """The threads that make calls, without those that were replaced."""
        return [each.thread for each in self._workers]

    def put(self, call: Call) -> None:
        """Have a call made."""
        self._calls.put(call)

    def slow(self) -> tuple[SlowCall, ...]:
        """Return the calls in this process that have been running for :data:`SLOW` seconds."""
        now = time.monotonic()
        return tuple(
            _slow_call(worker, call, now - worker.began)
            for worker in self._workers
            for call in worker.claim[:1]
            if now - worker.began >= SLOW and isinstance(call.endpoint, InProcess)
        )

    def close(self, timeout: float) -> None:
        """End the threads once they have made their calls, or leave them after so many seconds."""
        self._closing.set()
        deadline = time.monotonic() + timeout
        self._watch.join(timeout)
        for _ in self._workers:
            self._calls.put(None)
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    # -- workers --------------------------------------------------------------------------

    def _started(self) -> _Worker:
        worker = _Worker()
        worker.thread = threading.Thread(
            target=self._work,
            args=(worker,),
            name=f"statefun-worker-{next(self._names)}",
            daemon=True,
        )
        worker.thread.start()
        return worker

    def _work(self, worker: _Worker) -> None:
        while (call := self._calls.get()) is not None:
            worker.begin(call)
            try:
                call.run()
            except BaseException as exc:  # a function's SystemExit must not end the worker
                call.outcome = exc
            if not worker.take(call):
                return  # the call took too long, and another thread has this one's place
            self._done(call)

    # -- the watch ------------------------------------------------------------------------

    def _keep_watch(self) -> None:
        """Report calls that take long, and fail those that take too long."""
        interval = min(SLOW, self._timeout or SLOW, 4.0) / 4
        while not self._closing.wait(interval):
            now = time.monotonic()
            for index, worker in enumerate(self._workers):
                for call in worker.claim[:1]:
                    if isinstance(call.endpoint, InProcess):
                        self._look(index, worker, call, now - worker.began)

    def _look(self, index: int, worker: _Worker, call: Call, seconds: float) -> None:
        if self._timeout is not None and seconds >= self._timeout:
            found = _slow_call(worker, call, seconds)
            if worker.take(call):
                self._workers[index] = self._started()
                error = CallTimeoutError(found.function, found.id, self._timeout, found.where)
                # A copy: the thread writes its outcome into the call when the function returns.
                self._done(msgspec.structs.replace(call, outcome=error, duration=seconds))
        elif seconds >= SLOW and not worker.is_reported:
            worker.is_reported = True
            logger.warning(
                "%r has not returned for id %r in %.0f s: it is %s.",
                *_slow_call(worker, call, seconds),
            )


def _slow_call(worker: _Worker, call: Call, seconds: float) -> SlowCall:
    address = call.address
    where = line_of(worker.thread)
    return SlowCall(str.__str__(address.type), address.id, round(seconds, 1), where)
