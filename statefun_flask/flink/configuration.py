"""The configuration of Flink and Kafka: their files, and the options of their JVMs."""

from __future__ import annotations

import collections.abc as cabc
import datetime
import pathlib

from . import ports
from .releases import Release

#: Packages that Flink and Kafka access, and that Java 17 closes by default.
_OPENED = (
    "java.lang",
    "java.lang.reflect",
    "java.net",
    "java.nio",
    "java.text",
    "java.time",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "java.util.concurrent.locks",
    "sun.nio.ch",
)
_EXPORTED = ("java.base/sun.net.util", "java.management/sun.management")

_ACCESS = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED] + [
    f"--add-exports={package}=ALL-UNNAMED" for package in _EXPORTED
]

#: Heap and other memory of each process: modest, for a developer's machine.
JOBMANAGER = ("-Xms128m", "-Xmx512m", "-XX:MaxMetaspaceSize=256m")
TASKMANAGER = ("-Xms256m", "-Xmx640m", "-XX:MaxDirectMemorySize=448m", "-XX:MaxMetaspaceSize=256m")
CLIENT = ("-Xmx256m", "-XX:TieredStopAtLevel=1")

#: The same memory as Flink's settings. A TaskManager does not start without all of them.
_TASKMANAGER_MEMORY = {
    "taskmanager.cpu.cores": "1.0",
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.task.heap.size": "512m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.task.off-heap.size": "256m",
    "taskmanager.memory.network.min": "64m",
    "taskmanager.memory.network.max": "64m",
    "taskmanager.memory.managed.size": "256m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "192m",
    "taskmanager.memory.jvm-overhead.max": "192m",
}

LOG4J = """\
log4j.rootLogger=INFO, console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %-5p %c - %m%n
log4j.logger.akka=WARN
log4j.logger.org.apache.kafka=WARN
"""

#: The same for Kafka, which has another version of the logging library.
LOG4J2 = """\
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %-5p %c - %m%n
rootLogger.level=INFO
rootLogger.appenderRef.console.ref=console
"""


def flink(
    release: Release,
    folder: pathlib.Path,
    rpc_port: int,
    rest_port: int,
    parallelism: int,
    checkpoint_interval: datetime.timedelta,
    restart_delay: datetime.timedelta,
    more: cabc.Mapping[str, str],
) -> dict[str, str]:
    """Return the configuration of a cluster, key by key.

    :param folder: The folder of checkpoints, savepoints and temporary files.
    :param more: Further keys, which take precedence.
    """
    return {
        "jobmanager.rpc.address": ports.HOST,
        "jobmanager.rpc.port": str(rpc_port),
        "jobmanager.bind-host": ports.HOST,
        "taskmanager.host": ports.HOST,
        "taskmanager.bind-host": ports.HOST,
        "rest.address": ports.HOST,
        "rest.bind-address": ports.HOST,
        "rest.port": str(rest_port),
        "web.tmpdir": str(folder / "tmp"),
        "io.tmp.dirs": str(folder / "tmp"),
        # The greatest age of the REST interface's information about a job, in milliseconds.
        "web.refresh-interval": "200",
        "taskmanager.numberOfTaskSlots": "1",
        **_TASKMANAGER_MEMORY,
        "parallelism.default": str(parallelism),
        # Flink 1.16 detects a killed TaskManager after two missed heartbeats, and 1.11 after the
        # timeout.
        "heartbeat.interval": "1000",
        "heartbeat.timeout": "6000",
        # The job does not start without these three on the parent's side.
        "classloader.parent-first-patterns.additional": (
            "org.apache.flink.statefun;org.apache.kafka;com.google.protobuf"
        ),
        "restart-strategy": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": "2147483647",
        "restart-strategy.fixed-delay.delay": f"{_milliseconds(restart_delay)} ms",
        "execution.checkpointing.interval": f"{_milliseconds(checkpoint_interval)} ms",
        "state.backend": "rocksdb",
        "state.backend.incremental": "true",
        "state.backend.rocksdb.timer-service.factory": "ROCKSDB",
        "state.checkpoints.dir": (folder / "checkpoints").as_uri(),
        "state.savepoints.dir": (folder / "savepoints").as_uri(),
        **dict(release.settings),
        **more,
    }


def text(settings: cabc.Mapping[str, str]) -> str:
    """Return settings as lines of ``flink-conf.yaml``."""
    return "".join(f"{key}: {value}\n" for key, value in settings.items())


def jvm(folder: pathlib.Path, *options: str) -> list[str]:
    """Return the options of a JVM whose temporary files stay in a folder."""
    logging = (folder / "log4j.properties").as_uri()
    return [
        f"-Djava.io.tmpdir={folder / 'tmp'}",
        f"-Dlog4j.configuration={logging}",
        f"-Dlog4j2.configurationFile={logging}",
        "-XX:-UsePerfData",  # which would be a file in the system's temporary folder
        "-XX:+UseSerialGC",
        *_ACCESS,
        *options,
    ]


def kafka(folder: pathlib.Path, port: int, controller_port: int) -> dict[str, str]:
    """Return the properties of a broker that is its own controller."""
    listener = f"PLAINTEXT://{ports.HOST}:{port}"
    one = dict.fromkeys(
        (
            "offsets.topic.replication.factor",
            "offsets.topic.num.partitions",
            "transaction.state.log.replication.factor",
            "transaction.state.log.min.isr",
            "transaction.state.log.num.partitions",
            "share.coordinator.state.topic.replication.factor",
            "share.coordinator.state.topic.min.isr",
        ),
        "1",
    )
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{ports.HOST}:{controller_port}",
        "listeners": f"{listener},CONTROLLER://{ports.HOST}:{controller_port}",
        "advertised.listeners": listener,
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(folder / "data"),
        "group.initial.rebalance.delay.ms": "0",
        # The longest transaction timeout that a module.yaml may ask for.
        "transaction.max.timeout.ms": "900000",
        # The delay between the timeout of a transaction and its abort, which readers wait for.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
        **one,
    }


def properties(settings: cabc.Mapping[str, str]) -> str:
    """Return settings as a Java properties file."""
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def _milliseconds(duration: datetime.timedelta) -> int:
    return round(duration / datetime.timedelta(milliseconds=1))
