"""The StateFun releases that can be run, and the Maven artifacts that they consist of."""

from __future__ import annotations

import dataclasses
import pathlib
import zlib

from ..module_yaml import Module
from ..module_yaml.model import Version
from .errors import FlinkError


@dataclasses.dataclass(frozen=True)
class Bundle:
    """Jars that belong together.

    :param name: The name in messages: ``StateFun 3.3.0``.
    :param artifacts: Maven coordinates, ``group:artifact:version``.
    """

    name: str
    artifacts: tuple[str, ...]

    @property
    def folder(self) -> str:
        """The name of its folder in the cache, which changes with the artifacts."""
        key = zlib.crc32(" ".join(self.artifacts).encode())
        return f"{self.name.lower().replace(' ', '-')}-{key:08x}"


@dataclasses.dataclass(frozen=True)
class Release:
    """A version of StateFun and the Flink that it runs on.

    :param formats: The formats of module.yaml that it reads.
    :param settings: Lines of Flink's configuration that only this release needs.
    """

    version: str
    bundle: Bundle
    formats: tuple[Version, ...]
    settings: tuple[tuple[str, str], ...] = ()

    def core(self, jars: pathlib.Path) -> pathlib.Path:
        """Return the jar that holds the job's main class."""
        return jars / f"statefun-flink-core-{self.version}.jar"

    def check_format(self, module: Module) -> None:
        """Raise if the release does not read the format of a module.

        :raises FlinkError: The release does not read the format.
        """
        if module.version in self.formats:
            return
        which = "3.1 (several documents)" if module.version == "3.1" else module.version
        readers = [each.version for each in RELEASES.values() if module.version in each.formats]
        raise FlinkError(
            f"'{module.file}' is written in format {which}, which StateFun {self.version} does not"
            f" read. Use --release {readers[0]}, or convert the file with 'flask statefun module"
            " --from'."
        )


def _statefun(version: str, flink: str, suffix: str = "") -> Bundle:
    return Bundle(
        name=f"StateFun {version}",
        artifacts=(
            f"org.apache.flink:statefun-flink-distribution:{version}",
            f"org.apache.flink:flink-statebackend-rocksdb{suffix}:{flink}",
            f"org.apache.flink:flink-runtime-web{suffix}:{flink}",
        ),
    )


RELEASES = {
    each.version: each
    for each in (
        Release(
            version="3.3.0",
            bundle=_statefun("3.3.0", flink="1.16.2"),
            formats=("3.1", "3.0"),
            settings=(
                ("pipeline.auto-generate-uids", "false"),
                ("execution.savepoint.ignore-unclaimed-state", "true"),
            ),
        ),
        Release(
            version="2.2.2",
            bundle=_statefun("2.2.2", flink="1.11.3", suffix="_2.12"),
            formats=("1.0", "2.0"),
        ),
    )
}

KAFKA = Bundle(
    name="Kafka 4.1.2",
    artifacts=(
        "org.apache.kafka:kafka_2.13:4.1.2",
        # Without it the broker logs nothing, not even the reason of a failure.
        "org.apache.logging.log4j:log4j-slf4j-impl:2.25.3",
    ),
)


def release(version: str) -> Release:
    """Return the release of a version.

    :raises FlinkError: The version is not supported.
    """
    try:
        return RELEASES[version]
    except KeyError:
        raise FlinkError(
            f"StateFun {version} is not supported. Choose one of {', '.join(RELEASES)}."
        ) from None
