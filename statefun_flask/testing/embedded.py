"""The embedded engine for tests, in the process of the test."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import os
import time
import types
import typing as t

from .. import module_yaml
from ..core.handler import RequestHandler
from ..core.registry import table_of
from ..embedded import events
from ..embedded.clock import milliseconds
from ..embedded.clock import RealClock
from ..embedded.clock import VirtualClock
from ..embedded.control import Control
from ..embedded.endpoints.module_routes import ModuleRoutes
from ..embedded.endpoints.routes import EgressFormat
from ..embedded.endpoints.routes import FunctionEndpoint
from ..embedded.endpoints.routes import InProcess
from ..embedded.endpoints.routes import LocalRoutes
from ..embedded.endpoints.routes import Routes
from ..embedded.engine import Engine
from ..embedded.errors import EndpointDownError
from ..embedded.records import EgressRecord
from ..embedded.retention import KEEP_ALL
from ..embedded.store import MemoryStore
from ..embedded.store import SqliteStore
from ..embedded.store.base import Changes
from ..module_yaml import declared
from ..transport.direct import DirectEndpoint
from ..transport.direct import Servable
from ..values.address import Address
from ..values.egress import KAFKA
from ..values.egress import KINESIS
from ..values.egress import PLAYGROUND
from ..values.message import Message
from ..values.state import ValueSpec
from . import sender
from .engine import check_duration
from .engine import TestEngine
from .engine import wait
from .record import Record
from .wiring import functions
from .wiring import load
from .wiring import ModuleSource
from .wiring import Wiring

if t.TYPE_CHECKING:
    from ..embedded.kafka import Links

T = t.TypeVar("T")

#: The time between two checks of a condition on a real clock, in seconds.
_PAUSE = 0.01

#: The types of the records whose payload has no type of its own.
_UNTYPED = frozenset({KAFKA, KINESIS, PLAYGROUND})


class EmbeddedTestEngine(TestEngine):
    """An app on the embedded engine, in the process of the test.

    ::

        with app.statefun.runtime() as engine:
            engine.send("example/greeter/bob", GreetRequest("bob"))
            assert engine.state("example/greeter/bob") == {"seen_count": 1}

    With the virtual clock everything happens in the calling thread, in an order that depends on the
    test alone. A method that reads a result handles the waiting messages first.

    :param served: The app, or a registry.
    :param module: The path or the text of a module.yaml. Endpoints for the app's functions are
        called in process. Without one, the engine has the app's functions and accepts every egress.
    :param clock: ``"virtual"`` stands still until the test moves it; ``"real"`` has threads.
    :param data: A data folder, so that another engine can continue with the data; None keeps
        everything in memory.
    :param kafka: ``host:port`` of the brokers that the Kafka topics of `module` are read from and
        written to, or ``"module"`` for the brokers that it names. Needs the real clock.
    :param errors: ``"raise"`` raises the exception of a function from the next method that runs the
        engine; ``"park"`` only adds it to :attr:`errors`. The address is parked in both cases, as
        under ``flask statefun dev``.
    :raises ValueError: The parameters do not fit together.
    """

    name = "embedded"

    def __init__(
        self,
        served: Servable,
        module: ModuleSource = None,
        *,
        clock: t.Literal["virtual", "real"] = "virtual",
        data: str | os.PathLike[str] | None = None,
        kafka: str | None = None,
        errors: t.Literal["raise", "park"] = "raise",
    ) -> None:
        if kafka is not None and (module is None or clock != "real"):
            raise ValueError(
                "Kafka topics need a module.yaml and the real clock. Start the engine with"
                " module='…' and clock='real'."
            )
        super().__init__()
        self._registry = functions(served)
        self._module = None if module is None else load(module)
        self._routes = self._make_routes(DirectEndpoint(served, skip_hooks=True))
        self._raises = errors == "raise"
        self._unraised: list[BaseException] = []
        self._down: dict[str, str] = {}
        self._worker_stopped = False
        self._last_record = self._first_record = 0
        #: The events so far, see :mod:`statefun_flask.embedded.events`.
        self.events: list[events.Event] = []
        self._clock = RealClock() if clock == "real" else VirtualClock()
        self._data = data
        self._kafka = kafka
        self._memory = _CrashingMemoryStore()
        self._open()

    def _make_routes(self, direct: DirectEndpoint) -> Routes:
        def call(body: bytes) -> bytes:
            if self._worker_stopped:
                raise EndpointDownError("worker", "it was stopped")
            return direct.call(body)

        if self._module is None:
            egresses = declared.egresses(self._registry)
            return _RoutesWithSender(LocalRoutes(InProcess(call), self._registry, egresses))
        return _RoutesWithSender(ModuleRoutes(self._module, call, self._registry))

    def _open(self) -> None:
        self._memory.has_crashed = False
        self._store = self._memory if self._data is None else _CrashingFileStore(self._data)
        #: The engine itself.
        # A test reads what it has written, however long ago that is on the virtual clock.
        self.engine = Engine(self._routes, self._store, self._clock, retention=KEEP_ALL)
        self.engine.listeners.append(self._note)
        #: Reads and changes parked addresses, queues, delays and more.
        self.control = Control(self.engine)
        try:
            self._links = self._connect()
        except BaseException:
            self.engine.close()
            raise
        if self._is_real:
            self.engine.start()
        if self._links is not None:
            self._links.start()

    def _connect(self) -> Links | None:
        if self._kafka is None or self._module is None:
            return None
        from ..embedded.kafka import connect

        return connect(self.engine, self._module, self._kafka)

    @property
    def _is_real(self) -> bool:
        return isinstance(self._clock, RealClock)

    def _note(self, event: events.Event) -> None:
        if self._store.has_crashed:
            return
        self.events.append(event)
        if isinstance(event, events.Invocation):
            for record in event.records:
                self._last_record = max(self._last_record, record.seq)
        elif isinstance(event, events.Failed):
            self.errors.append(event.error)
            if event.parked and self._raises:
                self._unraised.append(event.error)
        elif isinstance(event, events.Down):
            self._down[event.typename] = f"'{event.typename}' cannot be called: {event.reason}."
        elif isinstance(event, events.Up):
            self._down.pop(event.typename, None)

    # -- input ----------------------------------------------------------------------------

    def _check_target(self, target: Address) -> None:
        self._routes.endpoint(target.type)

    def _send(self, target: Address, payload: bytes) -> None:
        message = Message(sender.TYPENAME, payload)
        self.engine.send(Address(sender.FUNCTION, str(target)), message)

    def produce(self, topic: str, key: str, value: bytes | str) -> None:
        """Send a record to the functions that the ingress of its topic names."""
        read = Wiring(self._module or module_yaml.Module("3.1", ())).topic(topic)
        payload = value.encode() if isinstance(value, str) else value
        message = Message(read.value_type or "", payload)
        self.engine.submit([(Address(target, key), message) for target in read.targets]).result()

    # -- time and failures ----------------------------------------------------------------

    def advance(self, duration: dt.timedelta) -> None:
        """Move the virtual clock; on the real one, let the time pass."""
        if self._is_real:
            wait(duration)
        else:
            check_duration(duration)
            self.engine.advance(milliseconds(duration))
        self._raise_first()

    def run_until_idle(self, timeout: float = 10.0) -> None:
        """Handle messages until none is left that can be handled now."""
        if self._is_real:
            self.engine.wait_idle(timeout)
        else:
            self.engine.run_until_idle()
        self._raise_first()

    def fail(self) -> None:
        """Simulate a crash, and recover from the last commit.

        The messages that wait now are handled twice: before the crash, which discards the results,
        and after it.
        """
        self.engine.flush()
        self._store.has_crashed = True
        if not self._is_real:
            self.engine.run_until_idle()
        self._stop()
        self._down.clear()
        self._open()

    def stop_worker(self) -> None:
        """Make the app's functions unreachable."""
        self._worker_stopped = True

    def start_worker(self) -> None:
        """Make the app's functions reachable again."""
        self._worker_stopped = False

    # -- output ---------------------------------------------------------------------------

    def _stored(self, target: Address) -> dict[str, tuple[str, bytes]]:
        self._check_target(target)
        self.run_until_idle()
        found = self.control.state(target)
        return {name: (each.typename, each.value) for name, each in found.items()}

    def _declared(self, target: Address) -> dict[str, ValueSpec[t.Any]]:
        known = target.type in self._registry
        return table_of(self._registry, target.type).specs if known else {}

    def _read(self, topic: str) -> list[Record]:
        self._run()
        found: list[EgressRecord] = []
        while page := self.control.egress(topic, found[-1].seq if found else self._first_record):
            found += page
        return [_record(each) for each in found]

    def _poll(self, condition: cabc.Callable[[], T | None], timeout: float) -> T | None:
        end = self._clock.now() + round(timeout * 1000)
        while True:
            self._run()
            value = condition()
            if value or not self._go_on(end):
                return value

    def _run(self) -> None:
        """Handle the waiting messages, in the calling thread if the engine has no thread."""
        if not self._is_real:
            self.engine.run_until_idle()
        self._raise_first()

    def _go_on(self, end: int) -> bool:
        """Let time pass until the next event; return whether the deadline has not passed."""
        now = self._clock.now()
        if self._is_real:
            time.sleep(_PAUSE)
            return now < end
        instant = self.control.next_instant()
        if instant is None or instant > end:
            self.engine.advance(max(0, end - now))
            return False
        self.engine.advance(max(0, instant - now))
        return True

    def _troubles(self) -> list[str]:
        parked = [each.parked for each in self.control.parked()]
        waiting = [f"'{each.address}' is parked: {each.error}" for each in parked]
        return [*waiting, *self._down.values()]

    @property
    def now(self) -> dt.datetime:
        """The time of the engine's clock."""
        return dt.datetime.fromtimestamp(self._clock.now() / 1000, dt.UTC)

    def _raise_first(self) -> None:
        unraised, self._unraised = self._unraised, []
        if unraised:
            raise unraised[0]

    # -- life -----------------------------------------------------------------------------

    def begin_test(self) -> None:
        """Forget the records and errors so far."""
        self.engine.flush()  # so that the events are reported
        self._first_record = self._last_record
        self._unraised.clear()
        super().begin_test()

    def close(self) -> None:
        """Stop the engine, and commit all changes."""
        self._stop()

    def _stop(self) -> None:
        if self._links is not None:
            self._links.stop()
        self.engine.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        try:
            if exc is None:
                self.run_until_idle()
        finally:
            self.close()


def _record(stored: EgressRecord) -> Record:
    typename = None if stored.typename in _UNTYPED else stored.typename
    return Record(stored.topic, stored.key, stored.value, typename)


class _RoutesWithSender:
    """Routes to the functions of an app, and to the sender beside them."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._sender = InProcess(RequestHandler(sender.registry()), name="sender")

    def endpoint(self, typename: str) -> FunctionEndpoint:
        return self._sender if typename == sender.FUNCTION else self._routes.endpoint(typename)

    def egress(self, identifier: str) -> EgressFormat:
        return self._routes.egress(identifier)

    def close(self) -> None:
        self._routes.close()


class _CrashingMemoryStore(MemoryStore):
    """A store in memory that discards all changes after a simulated crash."""

    has_crashed = False

    def commit(self, changes: Changes) -> None:
        if not self.has_crashed:
            super().commit(changes)


class _CrashingFileStore(SqliteStore):
    """A store in a data folder that discards all changes after a simulated crash."""

    has_crashed = False

    def commit(self, changes: Changes) -> None:
        if not self.has_crashed:
            super().commit(changes)
