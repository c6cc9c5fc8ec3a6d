"""One run of the embedded engine for an app: what ``flask statefun dev`` starts and ends."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import socket
import time
import typing as t

from flask import Flask

from .. import modules
from ..runtime import Control
from ..runtime import Engine
from ..runtime import InProcess
from ..runtime import LocalRoutes
from ..runtime import Store
from ..runtime.module import ModuleRoutes
from ..runtime.routes import Routes
from .clock import SkippingClock
from .doors import Doors
from .history import History
from .inputs import Input
from .inputs import Lines
from .server import Server
from .values import Values


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What a run is told.

    :param data: A data folder; None keeps everything in memory.
    :param module: The path of a module.yaml; None for the app's functions alone.
    :param skipping: Skip the time in which nothing happens.
    :param finite: It ends by itself, when its inputs are read and all is done.
    :param temporary: Nobody has the data after it.
    """

    port: int = 8090
    data: str | None = None
    module: str | None = None
    concurrency: int = 8
    skipping: bool = False
    remote: bool = False
    finite: bool = False
    temporary: bool = False


class Session:
    """An engine with its doors, for one app.

    :param app: Its functions are called in this process, with an application context for each
        request and no request context, as on every direct path.
    :param listening: A socket to answer on, in place of the port.
    :raises ModuleError: module.yaml is wrong.
    :raises ValueError: It, or the app, speaks 2.x only.
    :raises DataFolderError: The data folder cannot be used.
    :raises OSError: The port is taken.
    """

    def __init__(
        self, app: Flask, options: Options, listening: socket.socket | None = None
    ) -> None:
        self.options = options
        self.statefun = app.extensions["statefun"]
        if self.statefun.settings.protocol == "v2":
            raise ValueError(
                "The embedded engine speaks 3.x, and STATEFUN_PROTOCOL is 'v2'. Set it to 'auto',"
                " or run the app with 'flask statefun flink --engine 2.2.2'."
            )
        self.registry = self.statefun.registry
        self.module = None if options.module is None else modules.load(options.module)
        self.values = Values(self.registry)
        self.history = History()
        self.clock = SkippingClock()
        routes = self._routes(app)
        self.engine = Engine(
            routes, Store(options.data), self.clock, concurrency=options.concurrency
        )
        self.control = Control(self.engine)
        self.inputs: list[Input] = []
        self.engine.listeners.append(self.history.add)
        try:
            doors = Doors(self.engine, self.values, self.history, self.topics())
            self.server = Server(doors, options.port, listening)
        except BaseException:
            self.engine.close()
            raise

    def _routes(self, app: Flask) -> Routes:
        def handle(body: bytes) -> bytes:
            with app.app_context():
                answer: bytes = self.statefun.endpoint.handle(body)
            return answer

        functions = list(self.registry)
        if self.module is None:
            return LocalRoutes(InProcess(handle), functions)
        return ModuleRoutes(self.module, None if self.options.remote else handle, functions)

    def topics(self) -> dict[str, tuple[str, cabc.Sequence[str]]]:
        """Return the Kafka topics that module.yaml reads, each with its value type and targets."""
        ingresses = () if self.module is None else self.module.ingresses
        return {
            topic.topic: (topic.value_type or "", topic.targets)
            for ingress in ingresses
            if isinstance(ingress, modules.KafkaIngress)
            for topic in ingress.topics
        }

    @property
    def url(self) -> str:
        """Where its doors are."""
        return f"http://127.0.0.1:{self.server.port}"

    def start(self) -> None:
        """Begin to handle messages and to answer requests."""
        self.engine.start()
        self.server.start()

    def add_input(self, lines: Lines, path: str, **options: t.Any) -> Input:
        """Begin to send the messages of a file."""
        source = Input(self.engine, lines, path, **options)
        self.inputs.append(source)
        source.start()
        return source

    def close(self) -> None:
        """Stop taking messages, finish calls in flight, and keep the rest."""
        for source in self.inputs:
            source.stop()
        self.history.close()
        self.server.stop()
        self.engine.close()

    # -- idleness -------------------------------------------------------------------------

    def is_idle(self) -> bool:
        """Return whether all inputs are read and nothing more happens by itself, but for delays."""
        return all(source.finished for source in self.inputs) and self.engine.status().idle

    def next_due(self) -> float | None:
        """Return in how many seconds the next delay is due; None when there is none."""
        delays = self.control.delays(1)
        return (delays[0].due - self.clock.now()) / 1000 if delays else None

    def skip(self) -> bool:
        """Move a skipping clock to the next delay. Returns whether there was one."""
        delays = self.control.delays(1)
        if not delays:
            return False
        self.clock.skip_to(delays[0].due)
        self.engine.ask(lambda core: core.fire())
        return True

    def wait_until_done(self, linger: float, max_jumps: int, tick: cabc.Callable[[], None]) -> None:
        """Wait until it is idle and no delay is due soon.

        :param linger: What soon means, in seconds.
        :param max_jumps: How often a skipping clock is moved.
        :param tick: Is called now and then meanwhile.
        """
        jumps = 0
        while True:
            tick()
            if not self.is_idle():
                time.sleep(0.02)
                continue
            due = self.next_due()
            if due is None or (due > linger and not self.options.skipping):
                # Nothing can have come in between: inputs are finished.
                if self.is_idle():
                    return
            elif self.options.skipping:
                if jumps >= max_jumps:
                    return
                jumps += 1
                self.skip()
            else:
                time.sleep(min(0.05, max(0.0, due)))
