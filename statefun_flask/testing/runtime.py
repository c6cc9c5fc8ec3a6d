"""An engine to write tests with: Python values go in and out, and time is moved by hand."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import os
import types
import typing as t

import msgspec

from ..core.registry import FunctionRegistry
from ..embedded import events
from ..embedded.clock import milliseconds
from ..embedded.clock import RealClock
from ..embedded.clock import VirtualClock
from ..embedded.control import Control
from ..embedded.endpoints.module_routes import ModuleRoutes
from ..embedded.endpoints.routes import InProcess
from ..embedded.endpoints.routes import LocalRoutes
from ..embedded.endpoints.routes import Routes
from ..embedded.engine import Engine
from ..embedded.records import EgressRecord
from ..embedded.store import open_store
from ..module_yaml import load
from ..values.address import Address
from ..values.address import as_address
from ..values.message import encode
from ..values.message import Message
from ..values.types import type_of

if t.TYPE_CHECKING:
    from ..embedded.kafka import Links


class Record(msgspec.Struct, frozen=True):
    """What a function wrote to an egress.

    :param topic: The record's topic or stream; the egress's identifier if it has none.
    :param value: The payload. See :attr:`text` and :meth:`as_type`.
    """

    egress: str
    topic: str
    key: str | None
    value: bytes
    typename: str

    @property
    def text(self) -> str:
        """The payload as text."""
        return self.value.decode()

    def as_type(self, type: t.Any) -> t.Any:
        """Return the payload as a value.

        :param type: A Type, or a class that stands for one.
        """
        wanted = type_of(type)
        return wanted.readers[wanted.typename](self.value)


class EmbeddedRuntime:
    """The functions of an app on an engine in this process; a context manager.

    ::

        with app.statefun.runtime() as rt:
            rt.send("example/greeter/bob", GreetRequest("bob"))
            assert rt.state("example/greeter", "bob") == {"seen_count": 1}

    With the virtual clock everything happens in the calling thread, in an order that depends on the
    test alone; looking at something first runs what is to be run. An exception that a function
    raises comes out there, after its address was parked, as in the embedded engine.

    :param handle: The functions' door, bytes to bytes.
    :param clock: ``"virtual"`` stands still until :meth:`advance`; ``"real"`` has a thread.
    :param data: A data folder, so that another runtime can go on; None keeps all in memory.
    :param module: A module.yaml to route by; its endpoints for the app's functions are called in
        process. Without one there are the app's functions and every egress they write to.
    :param kafka: ``host:port`` of the brokers that the Kafka topics of `module` are read from and
        written to, or ``"module"`` for those that it names. The clock must be real then.
    :param errors: ``"raise"`` what functions raise; ``"park"`` leaves it in :meth:`parked`.
    :raises ValueError: The parameters do not go together.
    """

    def __init__(
        self,
        handle: cabc.Callable[[bytes], bytes],
        registry: FunctionRegistry,
        *,
        clock: t.Literal["virtual", "real"] = "virtual",
        data: str | os.PathLike[str] | None = None,
        module: str | os.PathLike[str] | None = None,
        kafka: str | None = None,
        errors: t.Literal["raise", "park"] = "raise",
    ) -> None:
        if kafka is not None and (module is None or clock != "real"):
            raise ValueError(
                "Kafka topics are named by a module.yaml and read as records come. Make the runtime"
                " with module='…' and clock='real'."
            )
        self._registry = registry
        self._raise = errors == "raise"
        self._virtual = clock == "virtual"
        routes: Routes = LocalRoutes(InProcess(handle), registry)
        loaded = None if module is None else load(module)
        if loaded is not None:
            routes = ModuleRoutes(loaded, handle, registry)
        #: What happened so far; see :mod:`statefun_flask.embedded.events`.
        self.events: list[events.Event] = []
        self._errors: list[BaseException] = []
        store = open_store(data)
        self.engine = Engine(routes, store, VirtualClock() if self._virtual else RealClock())
        self.engine.listeners.append(self._note)
        #: Parked addresses, queues, delays and more.
        self.control = Control(self.engine)
        self._links: Links | None = None
        if kafka is not None and loaded is not None:
            from ..embedded.kafka import connect

            try:
                self._links = connect(self.engine, loaded, kafka)
            except BaseException:
                self.engine.close()  # with the egresses that it has by then
                raise
        if not self._virtual:
            self.engine.start()
        if self._links is not None:
            self._links.start()

    def _note(self, event: events.Event) -> None:
        self.events.append(event)
        if isinstance(event, events.Failed) and event.parked:
            self._errors.append(event.error)

    # -- doing ----------------------------------------------------------------------------

    def send(self, address: Address | str, value: t.Any, *, type: t.Any = None) -> int:
        """Send a message from outside, and return its number.

        :param address: An :class:`Address` or ``"namespace/name/id"``.
        :param type: The type to write the value as, in place of its own.
        :raises UnknownTarget: The app has no such function.
        """
        typename, payload = encode(value, type)
        return self.engine.send(as_address(address), Message(typename, payload))

    def run_until_idle(self, timeout: float = 10.0) -> None:
        """Handle messages until none is left that can be handled now.

        :param timeout: For a real clock, in seconds.
        """
        if self._virtual:
            self.engine.run_until_idle()
        else:
            self.engine.wait_idle(timeout)
        self._raise_first()

    def advance(self, duration: dt.timedelta) -> None:
        """Move the virtual clock; what is due on the way happens at the instant it is due.

        :raises RuntimeError: The clock is real.
        """
        if not self._virtual:
            raise RuntimeError(
                "A real clock cannot be moved. Make the runtime with clock='virtual'."
            )
        if duration < dt.timedelta():
            raise ValueError(f"The clock cannot be moved by {duration}. It only goes forward.")
        self.engine.advance(milliseconds(duration))
        self._raise_first()

    def close(self) -> None:
        """Stop, and commit what has happened."""
        if self._links is not None:
            self._links.stop()
        self.engine.close()

    def __enter__(self) -> t.Self:
        return self

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

    # -- looking --------------------------------------------------------------------------

    def state(self, typename: str, id: str) -> dict[str, t.Any]:
        """Return the states of an address that have a value, by name.

        They are values of their declared types; a :class:`Message` where none is declared.
        """
        self.run_until_idle()
        specs = self._registry.table(typename).specs
        found = self.control.state(Address(typename, id))
        return {
            name: specs[name].decode((each.typename, each.value)) if name in specs else each
            for name, each in found.items()
        }

    def egress(self, name: str) -> list[Record]:
        """Return what was written so far to a topic, or to an egress by its identifier."""
        self.run_until_idle()
        records: list[EgressRecord] = []
        while page := self.control.egress(name, records[-1].seq if records else 0):
            records += page
        return [
            Record(each.egress, each.topic, each.key, each.value, each.typename) for each in records
        ]

    @property
    def now(self) -> dt.datetime:
        """The runtime's time."""
        return dt.datetime.fromtimestamp(self.engine.clock.now() / 1000, dt.UTC)

    def _raise_first(self) -> None:
        found, self._errors = self._errors, []
        if found and self._raise:
            raise found[0]
