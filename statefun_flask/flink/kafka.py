"""A Kafka broker of one node."""

from __future__ import annotations

import base64
import collections.abc as cabc
import contextlib
import pathlib
import shutil
import tempfile
import types
import typing as t
import uuid

from . import configuration
from . import jars
from . import java
from . import ports
from .errors import FlinkError
from .errors import PortTakenError
from .process import Process
from .process import wait_until
from .releases import KAFKA


class Kafka:
    """A broker on the loopback interface, which is its own controller and starts out empty.

    ::

        with Kafka() as kafka:
            kafka.create_topics(["names"])
            Producer({"bootstrap.servers": kafka.bootstrap})

    Topics that do not exist are created by the first write.

    :param port: The port to listen on; 0 for a free one.
    :param topics: Topics that are created at the start.
    :param report: Called with lines of text about the progress of the start.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        topics: cabc.Iterable[str] = (),
        report: cabc.Callable[[str], None] = lambda line: None,
    ) -> None:
        self.port = port
        self._fixed = port != 0
        self._topics = tuple(topics)
        self._report = report
        self._process: Process | None = None
        self._folder: pathlib.Path | None = None

    @property
    def bootstrap(self) -> str:
        """The address for clients: ``127.0.0.1:41234``."""
        return f"{ports.HOST}:{self.port}"

    def __enter__(self) -> t.Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self.stop()

    def prepare(self) -> None:
        """Check everything that can be checked before a process starts.

        :raises FlinkError: Java, Maven or confluent-kafka is missing.
        """
        _client()
        self._java = java.java()
        jars.require(KAFKA)

    def start(self) -> None:
        """Start the broker, and return when it answers.

        :raises FlinkError: Java, Maven or confluent-kafka is missing, or the broker ended.
        """
        self.prepare()
        self._jars = jars.fetch(KAFKA, self._report)
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="statefun-kafka-"))
        try:
            folder = self._folder
            try:
                ports.retrying(lambda: self._start(folder), attempts=1 if self._fixed else 3)
            except PortTakenError as exc:
                raise FlinkError(
                    f"Cannot start Kafka at {self.bootstrap}: the port is taken. Choose another"
                    " one, or stop the program that listens there."
                ) from exc
            self.create_topics(self._topics)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the broker and remove its data."""
        if self._process is not None:
            # An orderly end is not needed, because the data is removed.
            self._process.kill()
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """End the broker as a power failure would, and keep its data for :meth:`restart`."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self) -> None:
        """Start the broker after :meth:`kill`, at its port and with its data."""
        if self._folder is None:
            raise FlinkError("Kafka was not started, so it cannot be restarted. Call start().")
        self._boot(self._folder)

    @property
    def running(self) -> bool:
        """Whether the broker was started and not stopped."""
        return self._process is not None

    def check(self) -> None:
        """Raise if the broker has ended.

        :raises FlinkError: It has ended; the message has the end of its log.
        """
        if self._process is not None:
            self._process.check()

    def create_topics(self, names: cabc.Iterable[str], partitions: int = 1) -> None:
        """Create topics, and return when they can be written to and read from.

        Topics that exist stay as they are.
        """
        from confluent_kafka import KafkaError
        from confluent_kafka import KafkaException

        topics = [_client().NewTopic(name, num_partitions=partitions) for name in names]
        if not topics:
            return
        for name, made in self._admin.create_topics(topics, operation_timeout=30).items():
            try:
                made.result(timeout=30)
            except KafkaException as exc:
                if exc.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise FlinkError(
                        f"Kafka cannot create the topic '{name}': {exc}. Correct its name."
                    ) from exc

    def topics(self) -> set[str]:
        """Return the names of the topics that exist."""
        return set(self._admin.list_topics(timeout=30).topics)

    def _start(self, folder: pathlib.Path) -> None:
        if self._process is not None:
            self._process.kill()
        shutil.rmtree(folder / "data", ignore_errors=True)
        (folder / "tmp").mkdir(exist_ok=True)
        (folder / "log4j.properties").write_text(configuration.LOG4J2)

        port, controller_port = ports.free(2)
        if not self._fixed:
            self.port = port
        settings = configuration.kafka(folder, self.port, controller_port)
        properties = str(folder / "server.properties")
        pathlib.Path(properties).write_text(configuration.properties(settings))

        # It must not begin with a dash, which would be an option.
        self._identity = f"x{base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]}"
        arguments = ["format", "-t", self._identity, "-c", properties]
        formatting = self._run(folder, "Kafka format", "kafka.tools.StorageTool", *arguments)
        if formatting.wait() != 0:
            raise FlinkError(
                f"Kafka cannot format its data folder. Its log ends with:\n{formatting.tail()}"
            )
        self._boot(folder)

    def _boot(self, folder: pathlib.Path) -> None:
        process = self._run(folder, "Kafka", "kafka.Kafka", str(folder / "server.properties"))
        self._process = process
        self._admin = _client().AdminClient(
            # The client would log errors until the broker listens.
            {"bootstrap.servers": self.bootstrap, "log_level": 0}
        )
        wait_until(lambda: self._answers(self._identity), "Kafka answers", [process])

    def _run(self, folder: pathlib.Path, name: str, main: str, *arguments: str) -> Process:
        options = configuration.CLIENT if main != "kafka.Kafka" else ("-Xmx512m",)
        jvm = configuration.jvm(folder, *options)
        command = [self._java, *jvm, "-cp", f"{self._jars}/*", main, *arguments]
        return Process(name, command, folder)

    def _answers(self, identity: str) -> bool:
        """Return whether this broker answers, not an earlier one at its port."""
        from confluent_kafka import KafkaException

        with contextlib.suppress(KafkaException):
            return bool(self._admin.list_topics(timeout=1).cluster_id == identity)
        return False


def _client() -> t.Any:
    try:
        from confluent_kafka import admin
    except ImportError:
        raise FlinkError(
            "The Python package confluent-kafka, which creates topics, is not installed."
            " Install it with: pip install 'statefun-flask[kafka]'"
        ) from None
    return admin
