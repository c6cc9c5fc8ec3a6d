"""The engines that can be run, and the Maven artifacts that they are made of."""

from __future__ import annotations

import dataclasses
import pathlib
import zlib

from .errors import EngineError


@dataclasses.dataclass(frozen=True)
class Bundle:
    """Jars that belong together.

    :param name: What messages call it: ``StateFun 3.3.0``.
    :param artifacts: Maven coordinates, ``group:artifact:version``.
    """

    name: str
    artifacts: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Its name in the cache, another one when the artifacts are others."""
        key = zlib.crc32(" ".join(self.artifacts).encode())
        return f"{self.name.lower().replace(' ', '-')}-{key:08x}"


@dataclasses.dataclass(frozen=True)
class Engine:
    """A version of StateFun and the Flink it runs on.

    :param modules: The ``version`` of a module.yaml that it reads; None stands for the format of
        several documents.
    :param settings: Lines of Flink's configuration that only this engine wants.
    """

    version: str
    bundle: Bundle
    modules: tuple[str | None, ...]
    settings: tuple[tuple[str, str], ...] = ()

    def core(self, jars: pathlib.Path) -> pathlib.Path:
        """Return the jar that holds the job's main class."""
        return jars / f"statefun-flink-core-{self.version}.jar"


def _statefun(version: str, flink: str, suffix: str = "") -> Bundle:
    return Bundle(
        name=f"StateFun {version}",
        artifacts=(
            f"org.apache.flink:statefun-flink-distribution:{version}",
            f"org.apache.flink:flink-statebackend-rocksdb{suffix}:{flink}",
            f"org.apache.flink:flink-runtime-web{suffix}:{flink}",
        ),
    )


ENGINES = {
    engine.version: engine
    for engine in (
        Engine(
            version="3.3.0",
            bundle=_statefun("3.3.0", flink="1.16.2"),
            modules=(None, "3.0"),
            settings=(
                ("pipeline.auto-generate-uids", "false"),
                ("execution.savepoint.ignore-unclaimed-state", "true"),
            ),
        ),
        Engine(
            version="2.2.2",
            bundle=_statefun("2.2.2", flink="1.11.3", suffix="_2.12"),
            modules=("1.0", "2.0"),
        ),
    )
}

KAFKA = Bundle(
    name="Kafka 4.1.2",
    artifacts=(
        "org.apache.kafka:kafka_2.13:4.1.2",
        # Without it the broker says nothing, not even why it ends.
        "org.apache.logging.log4j:log4j-slf4j-impl:2.25.3",
    ),
)


def engine(version: str) -> Engine:
    """Return the engine of a version.

    :raises EngineError: There is none of that version.
    """
    try:
        return ENGINES[version]
    except KeyError:
        raise EngineError(
            f"There is no engine '{version}'. Choose one of {', '.join(ENGINES)}."
        ) from None
