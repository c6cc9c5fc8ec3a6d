"""The embedded engine for tests, in this process and without a broker."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import tempfile
import time
import typing as t

from ..core.handler import RequestHandler
from ..embedded import events
from ..embedded.clock import milliseconds
from ..embedded.clock import RealClock
from ..embedded.clock import VirtualClock
from ..embedded.control import Control
from ..embedded.endpoints.module_routes import ModuleRoutes
from ..embedded.endpoints.routes import EgressFormat
from ..embedded.endpoints.routes import Endpoint
from ..embedded.endpoints.routes import InProcess
from ..embedded.engine import Engine as Runtime
from ..embedded.errors import EndpointDown
from ..embedded.records import EgressRecord
from ..embedded.store import SqliteStore
from ..embedded.store.base import Changes
from ..transport.direct import Direct
from ..transport.direct import Served
from ..values.address import Address
from ..values.message import Message
from . import inbox
from .engine import Engine
from .engine import Record
from .wiring import functions
from .wiring import Source
from .wiring import wire

T = t.TypeVar("T")

#: Between two looks at a condition on a real clock, in seconds.
_PAUSE = 0.01


class EmbeddedEngine(Engine):
    """An app on the embedded engine.

    :param served: The app, or a registry.
    :param module: A module.yaml; its endpoints for the app's functions are called in process.
    :param clock: ``"virtual"`` moves when a test waits, and everything happens in its thread, in an
        order that depends on the test alone; ``"real"`` has threads.
    """

    name = "embedded"

    def __init__(
        self,
        served: Served,
        module: Source = None,
        *,
        clock: t.Literal["virtual", "real"] = "virtual",
    ) -> None:
        super().__init__()
        direct = Direct(served, skip_hooks=True)
        self._wiring = wire(served, module)
        self._stopped = False
        self._records: list[EgressRecord] = []
        self._down: dict[str, str] = {}

        def handle(body: bytes) -> bytes:
            if self._stopped:
                raise EndpointDown("worker", "it was stopped")
            with direct.context():
                return direct.endpoint.handle(body)

        self._routes = _Routes(ModuleRoutes(self._wiring.module, handle, functions(served)))
        self._clock = VirtualClock() if clock == "virtual" else RealClock()
        self._folder = tempfile.TemporaryDirectory(prefix="statefun-testing-")
        self._open()

    def _open(self) -> None:
        self._store = _LossyStore(self._folder.name)
        self._engine = Runtime(self._routes, self._store, self._clock)
        self._engine.listeners.append(self._note)
        self._control = Control(self._engine)
        if self._is_real:
            self._engine.start()

    @property
    def _is_real(self) -> bool:
        return isinstance(self._clock, RealClock)

    def _note(self, event: events.Event) -> None:
        if self._store.failing:
            return
        if isinstance(event, events.Invocation):
            self._records += event.records
        elif isinstance(event, events.Failed):
            self.errors.append(event.error)
        elif isinstance(event, events.Down):
            self._down[event.typename] = f"'{event.typename}' cannot be called: {event.reason}."
        elif isinstance(event, events.Up):
            self._down.pop(event.typename, None)

    def _put(self, topic: str, key: str, value: bytes) -> None:
        read = self._wiring.topic(topic)
        message = Message(read.value_type, value)
        self._engine.submit([(Address(target, key), message) for target in read.targets]).result()

    def wait(self, duration: dt.timedelta) -> None:
        """Move the clock; with a real one, let the time pass."""
        if self._is_real:
            time.sleep(duration.total_seconds())
        else:
            self._engine.advance(milliseconds(duration))

    def fail(self) -> None:
        """Go on from what was there when it was called: all that waits is done, and lost."""

        self._engine.flush()
        self._store.failing = True
        if not self._is_real:
            self._engine.run_until_idle()
        self._engine.close()
        self._open()

    def stop_worker(self) -> None:
        """Have the app's functions refuse to be called."""
        self._stopped = True

    def start_worker(self) -> None:
        """Have the app's functions answer again."""
        self._stopped = False

    def begin(self) -> None:
        """Forget the records and errors of the test before."""
        self._engine.flush()
        self._records.clear()
        super().begin()

    def _read(self, topic: str) -> cabc.Iterable[Record]:
        if not self._is_real:
            self._engine.run_until_idle()
        return [
            Record(each.topic, each.key, each.value)
            for each in list(self._records)
            if each.topic == topic
        ]

    def _poll(self, condition: cabc.Callable[[], T | None], timeout: float) -> T | None:
        end = self._clock.now() + round(timeout * 1000)
        while True:
            if not self._is_real:
                self._engine.run_until_idle()
            value = condition()
            if value or not self._go_on(end):
                return value

    def _go_on(self, end: int) -> bool:
        """Let time pass up to where something may happen; return whether it may before the end."""
        now = self._clock.now()
        if self._is_real:
            time.sleep(_PAUSE)
            return now < end
        instant = self._control.next_instant()
        if instant is None or instant > end:
            self._engine.advance(max(0, end - now))
            return False
        self._engine.advance(max(0, instant - now))
        return True

    def _troubles(self) -> list[str]:
        parked = [each.parked for each in self._control.parked()]
        waiting = [f"'{each.address}' is parked: {each.error}" for each in parked]
        return [*waiting, *self._down.values()]

    def close(self) -> None:
        """Stop, and remove all files."""
        self._engine.close()
        self._folder.cleanup()


class _Routes:
    """Those of a module, with the inbox in this process."""

    def __init__(self, module: ModuleRoutes) -> None:
        self._module = module
        self._inbox = InProcess(RequestHandler(inbox.registry()), name="inbox")

    def endpoint(self, typename: str) -> Endpoint:
        return self._inbox if typename == inbox.FUNCTION else self._module.endpoint(typename)

    def egress(self, identifier: str) -> EgressFormat:
        return self._module.egress(identifier)

    def close(self) -> None:
        self._module.close()


class _LossyStore(SqliteStore):
    """A store that loses what it is given once it fails."""

    failing = False

    def commit(self, changes: Changes) -> None:
        if not self.failing:
            super().commit(changes)
