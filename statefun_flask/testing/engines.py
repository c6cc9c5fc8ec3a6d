"""The engines of a test run: each starts when it is first asked for, and one app runs on it."""

from __future__ import annotations

import collections.abc as cabc
import importlib.util
import typing as t

from ..transport.direct import Servable
from .engine import Engine
from .wiring import Source

if t.TYPE_CHECKING:
    from ..flink import Cluster
    from ..flink import Kafka
    from .flink import FlinkEngine


#: Of StateFun, on Flink.
VERSION = "3.3.0"


class Unavailable(Exception):
    """An engine cannot run on this machine; the text says what is missing."""


class Engines:
    """The engines of a test run; a context manager.

    :param report: Is called with a line of text for whoever waits.
    :param unavailable: Is called with the reason when an engine cannot run on this machine, and
        raises what is to be raised.
    :param kafka: A broker that runs; else one is started when it is needed.
    """

    def __init__(
        self,
        report: cabc.Callable[[str], None] = lambda line: None,
        unavailable: cabc.Callable[[str], t.NoReturn] | None = None,
        kafka: Kafka | None = None,
    ) -> None:
        self._report = report
        self._unavailable = unavailable or _raise
        self._running: dict[str, tuple[Servable, Source, dict[str, t.Any], Engine]] = {}
        self._kafka = kafka
        self._owns_kafka = kafka is None
        self._cluster: Cluster | None = None

    def get(
        self,
        name: str,
        served: Servable,
        module: Source = None,
        **options: t.Any,
    ) -> Engine:
        """Return an app on an engine: the one that runs, or a new one in place of another app's.

        :param name: ``"embedded"`` or ``"flink"``.
        :param served: The app, or a registry.
        :param module: The path of a module.yaml or its text; without one it is made of what the
            app declares.
        :param options: For the embedded engine, see
            :class:`~statefun_flask.testing.embedded.EmbeddedEngine`.
        :raises Unavailable: The machine lacks Java, Maven or confluent-kafka.
        """
        if name in self._running:
            app, source, chosen, engine = self._running[name]
            if app is served and source == module and chosen == options:
                return engine
            del self._running[name]
            engine.close()
        engine = self._start(name, served, module, options)
        self._running[name] = (served, module, options, engine)
        return engine

    def _start(
        self, name: str, served: Servable, module: Source, options: dict[str, t.Any]
    ) -> Engine:
        if name == "embedded":
            from .embedded import EmbeddedEngine

            return EmbeddedEngine(served, module, **options)
        if name == "flink":
            from .flink import FlinkEngine

            return FlinkEngine(served, module, cluster=self.cluster, **options)
        raise ValueError(f"There is no engine '{name}'. Use 'embedded' or 'flink'.")

    @property
    def kafka(self) -> Kafka:
        """The broker of all tests, started when it is first asked for.

        :raises Unavailable: The machine lacks what it needs.
        """
        if self._kafka is None:
            from ..flink import Kafka

            lacking = _lacking()
            if lacking is not None:
                self._unavailable(lacking)
            broker = Kafka(report=self._report)
            broker.start()
            self._kafka = broker
        return self._kafka

    @property
    def cluster(self) -> Cluster:
        """Flink for the app of the moment, started when it is first asked for.

        :raises Unavailable: The machine lacks what it needs.
        """
        if self._cluster is None:
            from ..flink import Cluster
            from .flink import CHECKPOINTS

            cluster = Cluster(
                engine=VERSION,
                kafka=self.kafka,
                checkpoint_interval=CHECKPOINTS,
                report=self._report,
            )
            cluster.start()
            self._cluster = cluster
        return self._cluster

    def close(self) -> None:
        """End all engines, the broker last."""
        flink = t.cast("FlinkEngine | None", self._running.pop("flink", (None,))[-1])
        for *_, engine in self._running.values():
            engine.close()
        self._running.clear()
        if self._cluster is not None:
            self._cluster.stop()
        if flink is not None:
            flink.leave()
        if self._kafka is not None and self._owns_kafka:
            self._kafka.stop()

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _raise(reason: str) -> t.NoReturn:
    raise Unavailable(reason)


def _lacking() -> str | None:
    """Return what the machine lacks of what Flink and Kafka need."""
    from ..flink import EngineError
    from ..flink import jars
    from ..flink import java
    from ..flink.engines import ENGINES
    from ..flink.engines import KAFKA

    try:
        java.java()
        bundles = (KAFKA, ENGINES[VERSION].bundle)
        if not all((jars.cache() / bundle.folder).is_dir() for bundle in bundles):
            java.maven()
    except EngineError as exc:
        return str(exc)
    if importlib.util.find_spec("confluent_kafka") is None:
        return (
            "The Python package confluent-kafka is not installed, which the engine 'flink' needs."
            " Install it with: pip install 'statefun-flask[kafka]'"
        )
    return None
