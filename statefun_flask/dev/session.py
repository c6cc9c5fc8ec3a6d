"""One run of the embedded engine for an app: what ``flask statefun dev`` starts and ends."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import socket
import sqlite3
import time
import typing as t

from flask import Flask

from .. import module_yaml
from ..embedded import Control
from ..embedded import Engine
from ..embedded import InProcess
from ..embedded import LocalRoutes
from ..embedded import open_store
from ..embedded import Store
from ..embedded.endpoints.module_routes import ModuleRoutes
from ..embedded.endpoints.routes import Routes
from ..embedded.engine import CALL_TIMEOUT
from ..embedded.errors import DataFolderError
from ..embedded.retention import Retention
from ..module_yaml import declared
from .api import Api
from .application import Application
from .codec import MessageCodec
from .file_input import FileInput
from .file_input import LineParser
from .history import History
from .server import Server
from .skipping_clock import SkippingClock

if t.TYPE_CHECKING:
    from ..embedded.kafka import Links
    from .isolate import Children


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a run.

    :param port: The port of the HTTP API; 0 takes a free port.
    :param data: A data folder; None keeps everything in memory.
    :param module: The path of a module.yaml; None for the app's functions alone.
    :param kafka: The addresses of the brokers of its Kafka topics, or ``module`` for the addresses
        in module.yaml; None does not connect the topics.
    :param group: The consumer group that offsets are read from and committed to.
    :param concurrency: The number of concurrent calls.
    :param skipping: Skip the time in which nothing happens.
    :param remote: Call the app's own functions by the URL of module.yaml.
    :param finite: The run ends when its inputs are read and everything is done.
    :param temporary: The data is deleted after the run.
    :param retention: How long egress records and dead letters are kept; None for the defaults.
    :param call_timeout: How long a call of one of the app's functions may take, in seconds; None
        for any time.
    :param isolate: In how many child processes the app's functions run; 0 for this process.
    """

    port: int = 8090
    data: str | None = None
    module: str | None = None
    kafka: str | None = None
    group: str | None = None
    concurrency: int = 8
    skipping: bool = False
    remote: bool = False
    finite: bool = False
    temporary: bool = False
    retention: Retention | None = None
    call_timeout: float | None = CALL_TIMEOUT
    isolate: int = 0


class Source(t.Protocol):
    """An input: a file, or a Kafka ingress.

    :param finished: Whether everything that the input had at the start was sent.
    :param bad: The number of skipped lines or records.
    :param error: Why the input was not read to its end.
    """

    finished: bool
    bad: int
    error: BaseException | None

    def stop(self) -> None:
        """Stop sending messages."""


class Session:
    """An engine with its HTTP API, for one app.

    :param app: Its functions are called in this process, with an application context for each
        request and no request context, as on every direct path.
    :param listening: A socket to answer on, in place of the port.
    :raises ModuleError: module.yaml is wrong.
    :raises ValueError: module.yaml or the app speaks only the protocol of StateFun 2.x.
    :raises DataFolderError: The data folder cannot be used.
    :raises RuntimeError: Kafka's client is not installed.
    :raises ListenError: The port is taken.
    """

    def __init__(
        self, app: Flask, options: Options, listening: socket.socket | None = None
    ) -> None:
        self.options = options
        self.statefun = app.extensions["statefun"]
        if self.statefun.settings.protocol == "v2":
            raise ValueError(
                "The embedded engine speaks 3.x, and STATEFUN_PROTOCOL is 'v2'. Set it to 'auto',"
                " or run the app with 'flask statefun flink --release 2.2.2'."
            )
        self.registry = self.statefun.registry
        self.module = None if options.module is None else module_yaml.load(options.module)
        self.codec = MessageCodec(self.registry)
        self.history = History()
        self.clock = SkippingClock()
        self.children: Children | None = None
        store = _store(options.data)
        try:
            routes = self._isolated(self._routes(app))
        except BaseException:
            store.close()
            raise
        try:
            self.engine = Engine(
                routes,
                store,
                self.clock,
                concurrency=options.concurrency,
                retention=options.retention,
                call_timeout=options.call_timeout,
            )
        except BaseException:
            self._close_children()
            raise
        self.control = Control(self.engine)
        self.inputs: list[FileInput] = []
        self.links: Links | None = None
        self.engine.listeners.append(self.history.add)
        try:
            self.links = self._connect()
            api = Api(self.engine, self.codec, self.history, self.topics())
            self.server = Server(Application(api, self.history), options.port, listening)
        except BaseException:
            if self.links is not None:
                self.links.stop()
            self.engine.close()
            self._close_children()
            raise

    def _routes(self, app: Flask) -> Routes:
        def handle(body: bytes) -> bytes:
            with app.app_context():
                answer: bytes = self.statefun.endpoint.call(body)
            return answer

        functions = list(self.registry)
        if self.module is None:
            return LocalRoutes(InProcess(handle), functions, declared.egresses(self.registry))
        return ModuleRoutes(self.module, None if self.options.remote else handle, functions)

    def _isolated(self, routes: Routes) -> Routes:
        """Return routes with the app's functions in child processes, if the options say so."""
        if not self.options.isolate:
            return routes
        from .isolate import Children
        from .isolate import IsolatedRoutes

        self.children = Children(
            self.options.isolate, self.options.concurrency, self.statefun.settings.url
        )
        return IsolatedRoutes(routes, self.children, self.options.call_timeout)

    def _close_children(self) -> None:
        if self.children is not None:
            self.children.close()

    def _connect(self) -> Links | None:
        """Connect the Kafka topics of module.yaml if the options say so."""
        if self.options.kafka is None or self.module is None:
            return None
        from ..embedded.kafka import connect

        return connect(self.engine, self.module, self.options.kafka, self.options.group)

    def topics(self) -> dict[str, tuple[str, cabc.Sequence[str]]]:
        """Return the Kafka topics of module.yaml, each with its value type and targets."""
        ingresses = () if self.module is None else self.module.ingresses
        return {
            topic.topic: (topic.value_type or "", topic.targets)
            for ingress in ingresses
            if isinstance(ingress, module_yaml.KafkaIngress)
            for topic in ingress.topics
        }

    @property
    def sources(self) -> list[Source]:
        """All inputs."""
        return [*self.inputs, *(self.links.ingresses if self.links is not None else ())]

    @property
    def url(self) -> str:
        """The URL of the HTTP API."""
        return f"http://127.0.0.1:{self.server.port}"

    def start(self) -> None:
        """Start to handle messages and to answer requests."""
        self.control.report_held()
        self.engine.start()
        self.server.start()
        if self.links is not None:
            self.links.start()

    def add_input(self, lines: LineParser, path: str, **options: t.Any) -> FileInput:
        """Start to send the messages of a file."""
        source = FileInput(self.engine, lines, path, **options)
        self.inputs.append(source)
        source.start()
        return source

    def close(self) -> None:
        """Accept no more messages, finish the calls in flight, and keep all other messages."""
        for source in self.inputs:
            source.stop()
        if self.links is not None:
            self.links.stop()
        self.server.drain()
        self.history.close()
        try:
            self.engine.close()
        finally:
            self.server.stop()
            self._close_children()

    # -- idleness -------------------------------------------------------------------------

    def is_idle(self) -> bool:
        """Return whether all inputs are read and only delays are left."""
        return all(source.finished for source in self.sources) and self.engine.status().idle

    def next_due(self) -> float | None:
        """Return in how many seconds the next delay is due, or None without one."""
        delays = self.control.delays(1)
        return (delays[0].due - self.clock.now()) / 1000 if delays else None

    def skip(self) -> bool:
        """Move a skipping clock to the next delay. Return whether a delay was pending."""
        delays = self.control.delays(1)
        if not delays:
            return False
        # The clock shows the millisecond that has just started.
        self.clock.skip_to(delays[0].due + 1)
        self.control.deliver_due()
        return True

    def wait_until_done(self, linger: float, max_jumps: int, tick: cabc.Callable[[], None]) -> None:
        """Wait until the session is idle and no delay is due soon.

        :param linger: Wait for delays that are due within so many seconds.
        :param max_jumps: How often a skipping clock is moved at most.
        :param tick: Called repeatedly meanwhile.
        """
        jumps = 0
        while True:
            tick()
            if not self.is_idle():
                time.sleep(0.02)
                continue
            due = self.next_due()
            if due is None or (due > linger and not self.options.skipping):
                # The inputs are finished, so no message can have arrived in between.
                if self.is_idle():
                    return
            elif self.options.skipping:
                if jumps >= max_jumps:
                    return
                jumps += 1
                self.skip()
            else:
                time.sleep(min(0.05, max(0.0, due)))


def _store(folder: str | None) -> Store:
    """Return the store of a data folder; None for one in memory.

    :raises DataFolderError: The folder cannot be used.
    """
    try:
        return open_store(folder)
    except (OSError, sqlite3.OperationalError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise DataFolderError(
            f"The data folder '{folder}' cannot be used: {reason}. Free some space on its disk if"
            " it is full, or name a folder that this user can write to with --data."
        ) from None
