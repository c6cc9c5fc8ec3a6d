"""Starts the engines of a test run when they are first used, and runs one app on each."""

from __future__ import annotations

import collections.abc as cabc
import importlib.util
import typing as t

from ..errors import StateFunError
from .engine import TestEngine

if t.TYPE_CHECKING:
    from ..flink import Cluster
    from ..flink import Kafka
    from ..transport.direct import Servable
    from .flink import FlinkTestEngine
    from .wiring import ModuleSource

#: The app, its module, the options, and the engine that runs it.
_Running: t.TypeAlias = "tuple[Servable, ModuleSource, dict[str, t.Any], TestEngine]"

#: The version of StateFun that runs on Flink.
VERSION = "3.3.0"


class EngineUnavailableError(StateFunError):
    """An engine cannot run on this machine."""


class EnginePool:
    """The engines of a test run; a context manager.

    :param report: Called with lines of text about slow steps.
    :param unavailable: Called with the reason when an engine cannot run on this machine. It raises
        an exception, by default EngineUnavailableError.
    :param kafka: A running broker; by default one is started when it is needed.
    """

    def __init__(
        self,
        report: cabc.Callable[[str], None] = lambda line: None,
        unavailable: cabc.Callable[[str], t.NoReturn] | None = None,
        kafka: Kafka | None = None,
    ) -> None:
        self._report = report
        self._unavailable = unavailable or _raise
        self._running: dict[str, _Running] = {}
        self._kafka = kafka
        self._owns_kafka = kafka is None
        self._cluster: Cluster | None = None

    def get(
        self,
        name: str,
        served: Servable,
        module: ModuleSource = None,
        **options: t.Any,
    ) -> TestEngine:
        """Return an app on an engine. It replaces another app that runs on the same engine.

        :param name: ``"embedded"`` or ``"flink"``.
        :param served: The app, or a registry.
        :param module: The path or the text of a module.yaml; None to generate one from what the
            app declares.
        :param options: Options of :class:`~statefun_flask.testing.embedded.EmbeddedTestEngine`;
            `errors` is ``"park"`` by default.
        :raises EngineUnavailableError: The machine lacks Java, Maven or confluent-kafka.
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
        self, name: str, served: Servable, module: ModuleSource, options: dict[str, t.Any]
    ) -> TestEngine:
        if name == "embedded":
            from .embedded import EmbeddedTestEngine
            from .wiring import generated

            # A generated module restricts the app to its declared egresses, as on Flink.
            chosen = generated(served) if module is None else module
            return EmbeddedTestEngine(served, chosen, **{"errors": "park", **options})
        if name == "flink":
            from .flink import FlinkTestEngine

            return FlinkTestEngine(served, module, cluster=self.cluster, **options)
        raise ValueError(f"There is no engine '{name}'. Use 'embedded' or 'flink'.")

    @property
    def kafka(self) -> Kafka:
        """The broker of all tests. It starts when it is first used.

        :raises EngineUnavailableError: The machine lacks Java, Maven or confluent-kafka.
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
        """The Flink cluster of all tests. It starts when it is first used.

        :raises EngineUnavailableError: The machine lacks Java, Maven or confluent-kafka.
        """
        if self._cluster is None:
            from ..flink import Cluster
            from .flink import CHECKPOINTS

            cluster = Cluster(
                release=VERSION,
                kafka=self.kafka,
                checkpoint_interval=CHECKPOINTS,
                report=self._report,
            )
            cluster.start()
            self._cluster = cluster
        return self._cluster

    def close(self) -> None:
        """Stop all engines, the broker last."""
        flink = t.cast("FlinkTestEngine | None", self._running.pop("flink", (None,))[-1])
        for *_, engine in self._running.values():
            engine.close()
        self._running.clear()
        if self._cluster is not None:
            self._cluster.stop()
        if flink is not None:
            flink.stop_servers()
        if self._kafka is not None and self._owns_kafka:
            self._kafka.stop()

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _raise(reason: str) -> t.NoReturn:
    raise EngineUnavailableError(reason)


def _lacking() -> str | None:
    """Return what this machine lacks to run Flink and Kafka."""
    from ..flink import FlinkError
    from ..flink import jars
    from ..flink import java
    from ..flink.releases import KAFKA
    from ..flink.releases import RELEASES

    try:
        java.java()
        bundles = (KAFKA, RELEASES[VERSION].bundle)
        if not all((jars.cache() / bundle.folder).is_dir() for bundle in bundles):
            java.maven()
    except FlinkError as exc:
        return str(exc)
    if importlib.util.find_spec("confluent_kafka") is None:
        return (
            "The engine 'flink' needs the Python package confluent-kafka. Install it with:"
            " pip install 'statefun-flask[kafka]'"
        )
    return None
