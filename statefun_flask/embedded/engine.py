"""The engine: one owner of everything, which is the loop's thread or, without one, the caller."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import contextlib
import queue
import threading
import time
import typing as t

from ..values.address import Address
from ..values.message import Message
from . import events
from .clock import Clock
from .clock import RealClock
from .clock import VirtualClock
from .core import Core
from .egress import Sink
from .endpoints.pool import Call
from .endpoints.pool import CallPool
from .endpoints.routes import Routes
from .errors import DiskFull
from .exchange import checks
from .store.store import Store

T = t.TypeVar("T")

#: A commit comes after so many steps, or so many seconds after the first step that is not written.
#: The more there are, the more messages are sent and consumed in between and never written.
STEPS = 2048
COMMIT_INTERVAL = 0.05

#: How often an idle engine deletes expired values, in seconds.
SWEEP_INTERVAL = 30.0

_CALLS_A_TURN = 32


class Status(t.NamedTuple):
    """How busy an engine is.

    :param ready: Addresses that could be called now.
    :param in_flight: Calls in flight.
    :param queued: Messages that wait, without those of parked addresses.
    :param retrying: Addresses whose first message failed and is tried again in a moment.
    :param parked: Addresses that wait for a person.
    :param down: Function types whose endpoint is down.
    :param undelivered: Whether egress records wait for their receiver.
    :param full: The path of the store when it cannot be written to.
    """

    ready: int
    in_flight: int
    queued: int
    retrying: int
    parked: int
    down: tuple[str, ...]
    undelivered: bool
    full: str | None

    @property
    def idle(self) -> bool:
        """Whether nothing more happens by itself, but for delays and endpoints that are down."""
        return not (self.ready or self.in_flight or self.retrying or self.undelivered or self.full)


class Engine:
    """Runs stateful functions: it routes their messages, keeps their state, delays and retries.

    With a :class:`VirtualClock` there are no threads: messages are handled by
    :meth:`run_until_idle` and :meth:`advance`, in an order that depends on the input alone. With
    a real clock :meth:`start` begins a thread that handles them as they come.

    :param routes: Finds endpoints and egresses.
    :param store: Closed with the engine. Without one everything is in memory.
    :param concurrency: How many calls are made at a time. With 1 there are no workers.
    """

    def __init__(
        self,
        routes: Routes,
        store: Store | None = None,
        clock: Clock | None = None,
        *,
        concurrency: int = 8,
    ) -> None:
        self.clock = clock or RealClock()
        self.store = store or Store()
        self._virtual = isinstance(self.clock, VirtualClock)
        self._inline = concurrency == 1 or self._virtual
        self._concurrency = concurrency
        self._inbox: queue.SimpleQueue[cabc.Callable[[], None] | Call] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pool: CallPool | None = None
        self._closing = False
        self._ended: BaseException | None = None
        self._failure: BaseException | None = None
        self._first_step: float | None = None
        self._last_sweep = time.monotonic()
        self._waiters: list[concurrent.futures.Future[None]] = []
        self._promises = _Promises()
        self._core = Core(routes, self.store, self.clock, self._start)

    # -- for any thread -------------------------------------------------------------------

    @property
    def listeners(self) -> list[t.Any]:
        """Those that are told every :mod:`event <.events>`; add to it before the start."""
        return self._core.listeners

    def send(self, address: Address, message: Message) -> int:
        """Send a message from outside, and return its number: the trace of all that it causes.

        With a loop it returns when the message is on disk.

        :raises UnknownTarget: No endpoint serves the address's function type.
        """
        return self.submit([(address, message)]).result()[0]

    def submit(
        self,
        messages: cabc.Sequence[tuple[Address, Message]],
        positions: cabc.Mapping[str, str] | None = None,
    ) -> concurrent.futures.Future[list[int]]:
        """Send messages from outside, all of them or none, and return at once.

        :param positions: How far inputs are read, by their names; kept in the same commit, see
            :meth:`.store.Store.position`.
        :return: Their numbers, when they are on disk; without a loop, at once. Messages whose
            future is cancelled before the loop takes them are not sent; later it cannot be.
        """
        future: concurrent.futures.Future[list[int]] = self._promises.make()

        def take() -> None:
            core = self._core
            if not future.set_running_or_notify_cancel():
                return
            try:
                checks.text_size(*(positions or ()))  # a lone surrogate cannot be stored
                traces = core.accept(messages)
            except Exception as exc:
                future.set_exception(exc)
                return
            if positions:
                core.store.changes.positions.update(positions)
            if self._thread is None:
                future.set_result(traces)
            else:
                core.committed.append(lambda: future.set_result(traces))

        self._post(take)
        return future

    def ask(self, question: cabc.Callable[[Core], T]) -> T:
        """Return what a function of the core returns; it is called by the core's owner.

        All that has happened is committed before, if it can be.
        """
        future: concurrent.futures.Future[T] = self._promises.make()

        def answer() -> None:
            try:
                self._commit()
                future.set_result(question(self._core))
            except BaseException as exc:
                future.set_exception(exc)

        self._post(answer)
        return future.result()

    def act(self, deed: cabc.Callable[[Core], T]) -> T:
        """Return what a function of the core returns, when all that happened is on disk.

        It is called by the core's owner. Without a loop this returns at once.
        """
        future: concurrent.futures.Future[T] = self._promises.make()

        def perform() -> None:
            core = self._core
            try:
                found = deed(core)
            except BaseException as exc:
                future.set_exception(exc)
                return
            if self._thread is None:
                future.set_result(found)
                return
            core.committed.append(lambda: future.set_result(found))
            if not core.store.changes:  # else the loop commits soon, or when the disk has space
                self._commit()

        self._post(perform)
        return future.result()

    def status(self) -> Status:
        """Return how busy the engine is."""
        return self.ask(lambda core: self._status())

    @property
    def queued(self) -> int:
        """How many messages wait, at a glance; :meth:`status` tells it of a committed instant."""
        return self._core.queued

    @property
    def undelivered(self) -> bool:
        """Whether records wait for a receiver, at a glance; also of an engine that has ended."""
        return self._core.sinks.pending

    @property
    def failure(self) -> BaseException | None:
        """Why the loop has ended by itself; None for an engine that runs or was closed."""
        return self._failure

    def tell(self, event: events.Event) -> None:
        """Have the listeners told of something, soon and in the engine's thread."""
        self._post(lambda: self._core.tell_now(event))

    def wait_idle(self, timeout: float | None = None) -> None:
        """Wait until nothing more happens by itself.

        :param timeout: In seconds.
        :raises TimeoutError: It took longer.
        """
        future: concurrent.futures.Future[None] = self._promises.make()
        self._post(lambda: self._waiters.append(future))
        future.result(timeout)

    # -- egress ---------------------------------------------------------------------------

    def attach(self, egress: str, sink: Sink) -> None:
        """Give an egress a sink, before the start. It is closed with the engine."""
        self._core.sinks.attach(egress, sink)

    def acknowledge(self, egress: str, seq: int) -> None:
        """Note that a receiver has the records of an egress up to a number."""
        self._inbox.put(lambda: self._core.sinks.acknowledge(egress, seq))

    # -- with a loop ----------------------------------------------------------------------

    def start(self) -> None:
        """Begin to handle messages in a thread."""
        if not self._inline:
            self._pool = CallPool(self._concurrency, self._inbox.put)
        self._thread = threading.Thread(target=self._serve, name="statefun-engine", daemon=True)
        self._thread.start()

    def close(self, timeout: float = 2.0) -> None:
        """Stop, commit what has happened, and close the store.

        :param timeout: How long calls in flight may take, in seconds, and so long again receivers
            of records. What takes longer is done again after the next start.
        """
        if self._closing:
            return
        thread, self._closing = self._thread, True
        try:
            if thread is not None and thread.is_alive():
                self._inbox.put(lambda: None)
                thread.join()
            if self._pool is not None:
                self._pool.close(timeout)
            if thread is not None:
                # This thread is the owner now: other threads still have to post.
                self._thread = threading.current_thread()
            self._finish(timeout)
        finally:
            if self._ended is None:
                self._ended = RuntimeError("it was closed")
            self._promises.break_all(self._ended)
            try:
                self._core.routes.close()
            finally:
                self.store.close()

    def _finish(self, timeout: float) -> None:
        """Commit what has come in, before and while the receivers of records are closed."""
        if self._ended is None:
            self._drain()
            self._commit()
        self._core.sinks.close(timeout)
        if self._ended is None:
            self._drain()
            self._commit()
            self._wake_waiters()

    def _drain(self) -> None:
        """Take what is in the inbox now; senders that go on sending do not prolong a close."""
        for _ in range(self._inbox.qsize()):
            self._take(self._inbox.get_nowait())

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # -- with a virtual clock ---------------------------------------------------------------

    def run_until_idle(self) -> None:
        """Handle messages until none can be handled now, and commit. The clock does not move.

        :raises DiskFull: The store cannot be written to.
        """
        core = self._core
        while True:
            core.fire()
            if not core.ready:
                break
            while core.ready:
                core.dispatch()
                if core.steps >= STEPS:
                    self._commit_or_raise()
        self._commit_or_raise()

    def advance(self, milliseconds: int) -> None:
        """Move the virtual clock, and handle what is due on the way at the instant it is due."""
        clock = t.cast("VirtualClock", self.clock)
        end = clock.now() + milliseconds
        self.run_until_idle()
        while (instant := self._core.schedule.next_instant()) is not None and instant <= end:
            clock.move_to(instant)
            self.run_until_idle()
        clock.move_to(end)
        self._core.sweep()
        self.run_until_idle()

    # -- the owner ------------------------------------------------------------------------

    def _post(self, act: cabc.Callable[[], None]) -> None:
        """Have the owner do something: now if that is the caller."""
        thread = self._thread
        if self._ended is None and thread is not None and thread is not threading.current_thread():
            self._inbox.put(act)
        elif self._ended is None:
            act()
        if self._ended is not None:
            self._promises.break_all(self._ended)

    def _serve(self) -> None:
        try:
            while not self._closing:
                self._turn()
                self._receive(self._patience())
        except BaseException as exc:
            self._failure = self._ended = exc
            self._promises.break_all(self._ended)
            raise

    def _turn(self) -> None:
        """Do what is due, send what is ready, and commit if it is time."""
        core = self._core
        core.fire()
        if core.full is None:
            if self._inline:
                for _ in range(min(_CALLS_A_TURN, len(core.ready))):
                    core.dispatch()
                    if core.steps >= STEPS:
                        break
            else:
                while core.ready and core.in_flight < self._concurrency:
                    core.dispatch()
            if core.store.changes and self._is_time():
                self._commit()
        if not core.ready and not core.in_flight and not core.store.changes:
            self._rest()

    def _is_time(self) -> bool:
        core = self._core
        if core.steps >= STEPS or not (core.ready or core.in_flight or not self._inbox.empty()):
            return True
        if self._first_step is None:
            self._first_step = time.monotonic()
            return False
        return time.monotonic() - self._first_step >= COMMIT_INTERVAL

    def _commit(self) -> bool:
        self._first_step = None
        return self._core.commit()

    def _commit_or_raise(self) -> None:
        if not self._commit():
            raise t.cast("DiskFull", self._core.full)

    def _rest(self) -> None:
        """What an idle engine does."""
        if self._waiters and self._status().idle:
            self._wake_waiters()
        if time.monotonic() - self._last_sweep >= SWEEP_INTERVAL:
            self._last_sweep = time.monotonic()
            self._core.sweep()

    def _wake_waiters(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.set_result(None)

    def _patience(self) -> float:
        """Return how long to wait for something to come in, in seconds."""
        core = self._core
        if core.full is None:
            if core.ready and (self._inline or core.in_flight < self._concurrency):
                return 0.0
            if core.store.changes:
                return COMMIT_INTERVAL if core.in_flight else 0.0
        due = core.schedule.due()
        if due is None:
            return SWEEP_INTERVAL
        return min(max(0.0, (due - self.clock.now()) / 1000), SWEEP_INTERVAL)

    def _receive(self, timeout: float) -> None:
        """Take what has come in; wait for the first of it."""
        inbox = self._inbox
        if inbox.empty() and timeout:
            try:
                self._take(inbox.get(timeout=timeout))
            except queue.Empty:
                return
        for _ in range(min(inbox.qsize(), STEPS)):
            self._take(inbox.get_nowait())

    def _take(self, item: cabc.Callable[[], None] | Call) -> None:
        if isinstance(item, Call):
            self._core.finish(item)
        else:
            item()

    def _start(self, call: Call) -> None:
        if self._pool is not None:
            self._pool.put(call)
            return
        try:
            call.run()
        except BaseException as exc:
            if self._thread is None:  # such as Ctrl-C: it is not the message's fault
                self._core.abandon(call)
                raise
            call.outcome = exc
        if self._virtual:
            call.duration = 0.0  # two runs tell the same
        self._core.finish(call)

    def _status(self) -> Status:
        core = self._core
        return Status(
            len(core.ready),
            core.in_flight,
            core.queued,
            core.failures.retrying,
            len(core.parked),
            tuple(core.pauses),
            core.sinks.pending,
            None if core.full is None else core.full.path,
        )


class _Promises:
    """Futures that are resolved in any case, if only with the engine's own end."""

    def __init__(self) -> None:
        self._open: set[concurrent.futures.Future[t.Any]] = set()

    def make(self) -> concurrent.futures.Future[t.Any]:
        """Return a future."""
        future: concurrent.futures.Future[t.Any] = concurrent.futures.Future()
        self._open.add(future)
        future.add_done_callback(self._open.discard)
        return future

    def break_all(self, cause: BaseException | None) -> None:
        """Resolve those that are open with an error."""
        for future in list(self._open):
            error = RuntimeError(f"The engine does not run any more: {cause}. Start another one.")
            error.__cause__ = cause
            # Another thread may break, or its owner cancel, the same future at this moment.
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                future.set_exception(error)
