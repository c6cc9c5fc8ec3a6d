"""The engine: one owner of everything, which is the loop's thread or, without one, the caller."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import contextlib
import enum
import logging
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
from .endpoints.connection import HttpCall
from .endpoints.http_client import HttpClient
from .endpoints.pool import Call
from .endpoints.pool import CallPool
from .endpoints.pool import SlowCall
from .endpoints.remote import Remote
from .endpoints.routes import Routes
from .error_text import text_of
from .errors import DiskFullError
from .errors import EngineStoppedError
from .in_flight import InFlight
from .reactor import Reactor
from .retention import Retention
from .retention import SweepSchedule
from .store import MemoryStore
from .store import Store

T = t.TypeVar("T")

logger = logging.getLogger("statefun_flask")

#: Commit after this many steps. Larger batches mean that more messages are consumed before they
#: would be written.
STEPS = 2048

#: How long a call of a function in this process may take, in seconds: the runtime's default too.
CALL_TIMEOUT = 120.0

#: Commit at the latest this many seconds after the first change.
COMMIT_INTERVAL = 0.05

#: The same while a sender waits and only calls in flight keep the engine busy: a short call ends
#: within that time, and its changes are in the same commit.
ACKNOWLEDGE_INTERVAL = 0.002

#: How many calls are made without workers before the inbox is looked at.
_CALLS_A_TURN = 32

#: The time between two looks at the clock while the disk is full, in seconds.
_FULL_INTERVAL = 1.0

#: How much longer than its calls the loop may take to end, in seconds.
_GRACE = 2.0


class EngineState(enum.Enum):
    """The life of an engine."""

    #: It has no thread: whoever calls it is its owner.
    NEW = "new"
    RUNNING = "running"
    #: It accepts nothing more from outside, and commits what it has accepted.
    CLOSING = "closing"
    CLOSED = "closed"
    #: Its loop has ended by an exception, see :attr:`Engine.failure`.
    FAILED = "failed"


class Status(t.NamedTuple):
    """How busy an engine is.

    :param ready: Addresses that could be called now.
    :param in_flight: Calls in flight.
    :param queued: Messages that wait, without those of parked addresses.
    :param retrying: Addresses whose first message failed and is repeated in a moment.
    :param parked: Addresses that wait for a person.
    :param down: Function types whose endpoint is down.
    :param held: Function types that a person holds back.
    :param undelivered: Whether egress records wait for their sink.
    :param full: The path of the store if it cannot be written to.
    :param slow: Calls in this process that have been running for 10 seconds.
    """

    ready: int
    in_flight: int
    queued: int
    retrying: int
    parked: int
    down: tuple[str, ...]
    held: tuple[str, ...]
    undelivered: bool
    full: str | None
    slow: tuple[SlowCall, ...] = ()

    @property
    def idle(self) -> bool:
        """Whether nothing more happens by itself, except delays and probes of endpoints."""
        return not (self.ready or self.in_flight or self.retrying or self.undelivered or self.full)


class Engine:
    """Runs stateful functions: routes their messages, keeps their state, fires their delays.

    With a :class:`VirtualClock` there are no threads: :meth:`run_until_idle` and :meth:`advance`
    handle messages, in an order that depends only on the input. With a real clock :meth:`start`
    begins a thread that handles messages as they come.

    One owner at a time works on the core: the loop's thread, or the caller of an engine without
    one. All other threads post functions to the owner's inbox.

    :param routes: Finds endpoints and egresses.
    :param store: Closed with the engine, also if the engine cannot be made because the store cannot
        be read. The default keeps everything in memory.
    :param concurrency: How many calls are made at a time: to functions in this process in all, and
        to each endpoint over HTTP. With 1 there are no worker threads, and one call at a time in
        all.
    :param retention: How long egress records and dead letters are kept. The default has limits.
    :param call_timeout: How long a call of a function in this process may take, in seconds; None
        for any time. Without worker threads it is not observed.
    """

    def __init__(
        self,
        routes: Routes,
        store: Store | None = None,
        clock: Clock | None = None,
        *,
        concurrency: int = 8,
        retention: Retention | None = None,
        call_timeout: float | None = CALL_TIMEOUT,
    ) -> None:
        self.clock = clock or RealClock()
        self.store = store or MemoryStore()
        self._virtual = isinstance(self.clock, VirtualClock)
        self._inline = concurrency == 1 or self._virtual
        self._concurrency = concurrency
        self._inbox: queue.SimpleQueue[cabc.Callable[[], None] | Call] = queue.SimpleQueue()
        self._state = EngineState.NEW
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None
        #: The thread that may work on the core; None for any, as long as there is no loop.
        self._owner: threading.Thread | None = None
        self._closing = threading.RLock()
        self._committing = threading.Lock()
        self._call_timeout = call_timeout
        self._reactor = Reactor()
        self._pool: CallPool | None = None
        self._client: HttpClient | None = None
        self._first_change: float | None = None
        self._sweeps = SweepSchedule()
        self._waiters: list[concurrent.futures.Future[None]] = []
        self._futures = _Futures()
        limit = 0 if self._inline else concurrency
        kept = retention or Retention()
        self._in_flight = InFlight.beside(self.store.path)
        suspects = None if self._in_flight is None else self._in_flight.suspects
        try:
            self._core = Core(
                routes, self.store, self.clock, self._start, kept, limit=limit, suspects=suspects
            )
        except BaseException:
            if self._in_flight is not None:
                self._in_flight.close()
            self.store.close()  # it cannot be read
            raise

    # -- for any thread -------------------------------------------------------------------

    @property
    def state(self) -> EngineState:
        """Where the engine is in its life."""
        return self._state

    @property
    def failure(self) -> BaseException | None:
        """The exception that ended the loop; None for an engine that runs or was closed."""
        return self._failure if self._state in (EngineState.FAILED, EngineState.CLOSED) else None

    @property
    def listeners(self) -> list[t.Any]:
        """Functions that are called with every :mod:`event <.events>`; add to it before start."""
        return self._core.listeners

    def send(self, address: Address, message: Message) -> int:
        """Send a message from outside and return its number, the trace of all that it causes.

        With a loop it returns when the message is on disk.

        :raises UnknownTargetError: No endpoint serves the address's function type.
        :raises EngineStoppedError: The engine is closing, was closed or has failed.
        """
        return self.submit([(address, message)]).result()[0]

    def submit(
        self,
        messages: cabc.Sequence[tuple[Address, Message]],
        positions: cabc.Mapping[str, str] | None = None,
    ) -> concurrent.futures.Future[list[int]]:
        """Send messages from outside, all of them or none, and return at once.

        :param positions: How far inputs are read, by their names. They are written in the same
            commit, see :meth:`position`.
        :return: The numbers of the messages, once they are on disk; without a loop, at once. A
            future that is cancelled before the loop takes its messages sends nothing; later it
            cannot be cancelled.
        """
        future: concurrent.futures.Future[list[int]] = self._futures.make()

        def accept() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                traces = self._core.accept(messages, positions)
            except Exception as exc:
                future.set_exception(exc)
                return
            self._resolve_when_committed(future, traces)

        self._post(accept, future)
        return future

    def send_once(self, address: Address, message: Message, key: str) -> tuple[int, bool]:
        """Send a message from outside unless its idempotency key was used in the last 24 hours.

        :return: The trace of the first message under that key for the address, once it is on disk,
            and whether this call has sent it.
        :raises KeyReusedError: The key was used for another message to the address.
        :raises UnknownTargetError: No endpoint serves the address's function type.
        :raises EngineStoppedError: The engine is closing, was closed or has failed.
        """
        return self.act(lambda core: core.accept_once(address, message, key))

    def look(self, question: cabc.Callable[[Core], T], timeout: float | None = None) -> T:
        """Return the result of a function of the core, which changes nothing.

        The owner calls it between two steps. It sees whole steps, also those that are not on disk
        yet.

        :param timeout: In seconds.
        :raises TimeoutError: A function that runs in the loop itself has not returned in time.
        """
        future: concurrent.futures.Future[T] = self._futures.make()

        def answer() -> None:
            try:
                future.set_result(question(self._core))
            except BaseException as exc:
                future.set_exception(exc)

        self._post(answer, future)
        return future.result(timeout)

    def act(self, deed: cabc.Callable[[Core], T]) -> T:
        """Return the result of a function that changes the core, once all changes are on disk.

        The owner calls it between two steps. Without a loop this returns at once.
        """
        future: concurrent.futures.Future[T] = self._futures.make()

        def perform() -> None:
            try:
                found = deed(self._core)
            except BaseException as exc:
                future.set_exception(exc)
                return
            self._resolve_when_committed(future, found)
            if self._owner is not None and not self._core.has_changes:
                self._commit()  # else the loop commits soon, or when the disk has space

        self._post(perform, future)
        return future.result()

    def _resolve_when_committed(self, future: concurrent.futures.Future[T], result: T) -> None:
        if self._owner is None:
            future.set_result(result)
        else:
            self._core.committed.append(lambda: future.set_result(result))

    def flush(self) -> None:
        """Return when everything that has happened so far is on disk.

        :raises DiskFullError: There is no loop, and the store cannot be written to.
        """
        if self._owner is None and self._state is EngineState.NEW:
            self._commit_or_raise()
        else:
            self.act(lambda core: None)

    def position(self, source: str) -> str | None:
        """Return how far an input was read; None if it was never read."""
        return self.look(lambda core: core.transaction.position(source))

    def positions(self, sources: cabc.Iterable[str]) -> dict[str, str | None]:
        """Return how far inputs were read, by their names."""
        names = list(sources)
        return self.look(lambda core: {name: core.transaction.position(name) for name in names})

    def check_target(self, typename: str) -> None:
        """Check that a function type is served.

        :raises UnknownTargetError: No endpoint serves it.
        """
        self.look(lambda core: core.routes.endpoint(typename))

    def status(self, timeout: float | None = None) -> Status:
        """Return how busy the engine is.

        :param timeout: In seconds.
        :raises TimeoutError: A function that runs in the loop itself has not returned in time.
        """
        return self.look(lambda core: self._status(), timeout)

    @property
    def queued(self) -> int:
        """How many messages wait, as any thread may read at any time."""
        return self._core.addresses.queued

    @property
    def queued_bytes(self) -> int:
        """How many bytes their payloads have, as any thread may read at any time."""
        return self._core.addresses.queued_bytes

    @property
    def undelivered(self) -> bool:
        """Whether records wait for a sink. This also works after the engine has ended."""
        return self._core.sinks.pending

    def tell(self, event: events.Event) -> None:
        """Call the listeners with an event, soon and in the engine's thread."""
        self._post(lambda: self._core.notify_now(event))

    def wait_idle(self, timeout: float | None = None) -> None:
        """Wait until nothing more happens by itself.

        :param timeout: In seconds.
        :raises TimeoutError: It took longer.
        """
        future: concurrent.futures.Future[None] = self._futures.make()
        self._post(lambda: self._waiters.append(future), future)
        future.result(timeout)

    # -- egress ---------------------------------------------------------------------------

    def attach(self, egress: str, sink: Sink) -> None:
        """Give an egress a sink, before the start. It is closed with the engine."""
        self._core.sinks.attach(egress, sink)

    def acknowledge(self, egress: str, seq: int) -> None:
        """Note that the sink of an egress has written all records up to a number."""
        self._put(lambda: self._core.sinks.acknowledge(egress, seq))

    # -- with a loop ----------------------------------------------------------------------

    def start(self) -> None:
        """Begin to handle messages in a thread."""
        self._reactor.open()
        if not self._inline:
            self._pool = CallPool(self._concurrency, self._put, self._call_timeout)
            self._client = HttpClient(self._reactor, self._put, self._responded)
        self._thread = threading.Thread(target=self._serve, name="statefun-engine", daemon=True)
        self._owner = self._thread
        self._state = EngineState.RUNNING
        self._thread.start()

    def close(self, timeout: float = 2.0) -> None:
        """Stop, commit what was accepted, and release the store. It raises no exception.

        While it closes, senders are refused with :class:`.errors.EngineStoppedError`. A failure is
        logged.

        :param timeout: How long calls in flight may take, in seconds, and again how long each sink
            may take. A call that takes longer is repeated after the next start.
        """
        with self._closing:
            if self._state in (EngineState.CLOSING, EngineState.CLOSED):
                return
            if self._state is not EngineState.FAILED:
                self._state = EngineState.CLOSING
                if self._in_flight is not None:
                    self._in_flight.closing()
            try:
                self._attempt(lambda: self._stop(timeout))
            finally:
                self._state = EngineState.CLOSED
                self._futures.break_all(self._refusal)
                self._attempt(self._core.routes.close)
                if self._in_flight is not None:
                    self._in_flight.close()
                with self._committing:
                    self._attempt(self.store.close)

    def _stop(self, timeout: float) -> None:
        """End the threads, and finish their work in this one."""
        thread, core = self._thread, self._core
        if thread is not None:
            self._put(lambda: None)
            thread.join(timeout + _GRACE)
        deadline = time.monotonic() + timeout
        if self._pool is not None:
            self._pool.close(timeout)
        is_owner = thread is None or not thread.is_alive()
        if is_owner:
            # This thread is the owner now, and other threads still have to post.
            self._owner = threading.current_thread()
            self._attempt(lambda: self._end_calls(deadline))
            self._attempt(self._drain)
        else:
            logger.error(
                "The engine's thread did not end in %g seconds: a function or a listener does not"
                " return. Its unfinished work is repeated after the next start.",
                timeout + _GRACE,
            )
        self._attempt(lambda: core.sinks.close(timeout))
        if is_owner:
            self._attempt(self._drain)
            self._wake_waiters()

    def _end_calls(self, deadline: float) -> None:
        """Wait for the HTTP calls in flight until an instant, and close the connections."""
        if self._failure is None and self._client is not None:
            self._receive(0.0)
            while self._client.is_busy and (left := deadline - time.monotonic()) > 0:
                self._receive(left)
        self._close_sockets()

    def _close_sockets(self) -> None:
        if self._client is not None:
            self._client.close()
        self._reactor.close()

    def _drain(self) -> None:
        """Take the items that are in the inbox now, and commit, unless the loop has failed.

        Items that come meanwhile are refused, so that senders cannot prolong a close.
        """
        if self._failure is not None:
            return
        for _ in range(self._inbox.qsize()):
            self._take(self._inbox.get_nowait())
        self._commit()

    def _attempt(self, act: cabc.Callable[[], None]) -> None:
        """Do a part of closing; its failure must not keep the other parts from being done."""
        try:
            act()
        except Exception:
            logger.exception("A part of closing the engine failed. The engine is closed anyway.")

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # -- with a virtual clock ---------------------------------------------------------------

    def run_until_idle(self) -> None:
        """Handle messages until none can be handled now, and commit. The clock does not move.

        :raises DiskFullError: The store cannot be written to.
        """
        core = self._core
        while True:
            self._receive(0.0)
            core.fire()
            if not core.ready:
                break
            while core.ready:
                if not self._dispatch() or core.steps >= STEPS:
                    self._commit_or_raise()
        self._commit_or_raise()
        while self._sweep_if_due():
            pass

    def advance(self, milliseconds: int) -> None:
        """Move the virtual clock, and handle what is due on the way at the instant it is due."""
        clock = t.cast("VirtualClock", self.clock)
        end = clock.now() + milliseconds
        self.run_until_idle()
        self._sweep()  # which notes how old the records are before the clock moves
        while (instant := self._core.next_instant()) is not None and instant <= end:
            clock.move_to(instant)
            self.run_until_idle()
        clock.move_to(end)
        while self._sweep():
            pass
        self.run_until_idle()

    # -- the owner ------------------------------------------------------------------------

    def _post(
        self,
        act: cabc.Callable[[], None],
        future: concurrent.futures.Future[t.Any] | None = None,
    ) -> None:
        """Have the owner call a function: now if the caller is the owner.

        :param future: The promise to a caller from outside, who is refused while the engine closes.
        """
        owner = self._owner
        if future is not None and self._is_stopped:
            self._futures.refuse(future, self._refusal())
        elif owner is None or owner is threading.current_thread():
            act()
        else:
            self._put(act)
            if self._state in (EngineState.CLOSED, EngineState.FAILED):
                self._futures.break_all(self._refusal)  # nobody takes the item any more

    def _put(self, item: cabc.Callable[[], None] | Call) -> None:
        self._inbox.put(item)
        self._reactor.wake()

    @property
    def _is_stopped(self) -> bool:
        return self._state not in (EngineState.NEW, EngineState.RUNNING)

    def _refusal(self) -> EngineStoppedError:
        if self._failure is not None:
            error = EngineStoppedError(text_of(self._failure))
            error.__cause__ = self._failure
            return error
        return EngineStoppedError(
            "it was closed" if self._state is EngineState.CLOSED else "it closes"
        )

    def _serve(self) -> None:
        try:
            while self._state is EngineState.RUNNING:
                self._turn()
                self._receive(self._patience())
        except BaseException as exc:
            if self._state is EngineState.CLOSED:
                return  # close() did not wait for this thread any longer, and closed the store
            if self._in_flight is not None:
                self._in_flight.engine_failed()
            self._failure = exc
            self._state = EngineState.FAILED
            self._futures.break_all(self._refusal)
            raise
        finally:
            if self._state is EngineState.CLOSED:
                self._close_sockets()

    def _turn(self) -> None:
        """Do what is due, send what is ready, and commit if it is time."""
        core = self._core
        core.fire()
        if core.retry_due:
            core.retry_due = False
            self._commit()
        if core.full is None:
            if self._inline:
                for _ in range(min(_CALLS_A_TURN, core.ready)):
                    if not self._dispatch() or core.steps >= STEPS:
                        break
            else:
                while self._can_call and self._dispatch():
                    pass
            if core.has_changes and self._is_time():
                self._commit()
            if not core.has_changes:  # also between two commits of an engine that is busy
                self._sweep_if_due()
        if not core.ready and not core.in_flight and not core.has_changes:
            self._rest()

    @property
    def _can_call(self) -> bool:
        """Whether a call may be made now: while there are suspects, one at a time."""
        core = self._core
        return core.can_call and not (core.addresses.suspected and core.in_flight)

    def _dispatch(self) -> bool:
        """Call the next address. Returns False if a full disk prevents it.

        While there are suspects, everything is on disk before: if the process ends, the message in
        flight is in the store, and it is known.
        """
        core = self._core
        if core.addresses.suspected and core.has_changes and not self._commit():
            return False
        core.dispatch()
        return True

    def _is_time(self) -> bool:
        """Return whether to commit now."""
        core = self._core
        if core.steps >= STEPS or not (core.ready or core.in_flight or not self._inbox.empty()):
            return True
        if self._first_change is None:
            self._first_change = time.monotonic()
            return False
        return time.monotonic() - self._first_change >= self._interval

    @property
    def _interval(self) -> float:
        """How long changes may wait for a commit, in seconds."""
        core = self._core
        if core.committed and not core.can_call:
            return ACKNOWLEDGE_INTERVAL
        return COMMIT_INTERVAL

    def _commit(self) -> bool:
        self._first_change = None
        # The lock keeps close() from closing the store. A listener that hangs must not hold it.
        with self._committing:
            committed = self._core.commit()
        if committed:
            if self._in_flight is not None:
                self._in_flight.committed()
            self._core.announce()
        return committed

    def _commit_or_raise(self) -> None:
        if not self._commit():
            raise t.cast("DiskFullError", self._core.full)

    def _rest(self) -> None:
        """Do what an idle engine does."""
        if self._waiters and self._status().idle:
            self._wake_waiters()

    def _sweep_if_due(self) -> bool:
        """Sweep if it is time, and return whether more is left to delete."""
        is_behind = self._core.sweeper.is_behind
        return self._sweeps.is_due(self.clock.monotonic(), is_behind=is_behind) and self._sweep()

    def _sweep(self) -> bool:
        """Delete some of what is not kept, and return whether more is left."""
        begun = self.clock.monotonic()
        more = self._core.sweep()
        committed = self._commit()
        self._sweeps.swept(begun, self.clock.monotonic(), more=more)
        return more and committed

    def _wake_waiters(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():  # the end of a failed engine has broken it
                waiter.set_result(None)

    def _patience(self) -> float:
        """Return how long to wait for an item in the inbox, in seconds."""
        core = self._core
        if core.full is None:
            if self._can_call:
                return 0.0
            if core.has_changes:
                return self._interval if core.in_flight else 0.0
        sweep = self._sweeps.milliseconds_until_due(self.clock.monotonic()) / 1000
        if core.full is not None:
            sweep = max(sweep, _FULL_INTERVAL)  # nothing is swept before the disk has space
        due = core.seconds_until_due()
        return sweep if due is None else min(max(0.0, due), sweep)

    def _receive(self, timeout: float) -> None:
        """Take the items of the inbox and the answers of endpoints; wait for the first one."""
        inbox, client = self._inbox, self._client
        if timeout or (client is not None and client.is_busy):
            self._poll(timeout)
        for _ in range(min(inbox.qsize(), STEPS)):
            self._take(inbox.get_nowait())

    def _poll(self, timeout: float) -> None:
        """Go on with the HTTP calls in flight; wait until one does or the inbox has an item."""
        client = self._client
        if client is None:
            self._reactor.wait(timeout, self._inbox)
            return
        self._reactor.wait(min(timeout, client.patience()), self._inbox)
        client.tick()

    def _take(self, item: cabc.Callable[[], None] | Call) -> None:
        if isinstance(item, Call):
            self._finish(item)
        else:
            item()

    def _finish(self, call: Call) -> None:
        if self._in_flight is None:
            self._core.finish(call)
            return
        self._in_flight.finishing(call)
        suspected = self._core.addresses.suspected
        self._core.finish(call)
        self._in_flight.end(call)
        if suspected:
            self._commit()  # alone, so that it is known if that fails

    def _start(self, call: Call) -> None:
        if self._in_flight is not None:
            self._in_flight.begin(call)
        endpoint = call.endpoint
        if self._client is not None and isinstance(endpoint, Remote):
            self._client.start(endpoint.request(call.body, settle=call.settle, context=call))
            return
        if self._pool is not None:
            self._pool.put(call)
            return
        try:
            call.run()
        except BaseException as exc:
            if self._owner is None:  # such as Ctrl-C, which is not the message's fault
                if self._in_flight is not None:
                    self._in_flight.end(call)
                self._core.abandon(call)
                raise
            call.outcome = exc
        if self._virtual:
            call.duration = 0.0  # two runs have equal events
        self._finish(call)

    def _responded(self, made: HttpCall) -> None:
        call: Call = made.context
        call.duration = made.duration
        try:
            call.outcome = call.endpoint.read(made)  # type: ignore[attr-defined]
        except Exception as exc:
            call.outcome = exc
        self._finish(call)

    def _status(self) -> Status:
        core, addresses = self._core, self._core.addresses
        return Status(
            addresses.ready,
            addresses.in_flight,
            addresses.queued,
            addresses.backing_off,
            len(addresses.parked),
            addresses.paused,
            addresses.held,
            core.sinks.pending,
            None if core.full is None else core.full.path,
            () if self._pool is None else self._pool.slow(),
        )


class _Futures:
    """Futures that are resolved in any case, if only with the end of the engine."""

    def __init__(self) -> None:
        self._open: set[concurrent.futures.Future[t.Any]] = set()

    def make(self) -> concurrent.futures.Future[t.Any]:
        """Return a future."""
        future: concurrent.futures.Future[t.Any] = concurrent.futures.Future()
        self._open.add(future)
        future.add_done_callback(self._open.discard)
        return future

    def break_all(self, error: cabc.Callable[[], BaseException]) -> None:
        """Resolve the open futures with an error each."""
        for future in list(self._open):
            self.refuse(future, error())

    def refuse(self, future: concurrent.futures.Future[t.Any], error: BaseException) -> None:
        """Resolve a future with an error, unless it is resolved already."""
        # Another thread may break the same future at this moment, or its owner cancel it.
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            future.set_exception(error)
