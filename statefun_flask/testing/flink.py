"""StateFun on Flink for tests, with Kafka around it."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import time
import typing as t
import uuid

import flask

from ..core.registry import FunctionRegistry
from ..flink import Cluster
from ..flink import EngineError
from ..flink import Kafka
from ..flink.failures import job_failure
from ..flink.serving import Server
from ..module_yaml import dump
from ..transport.direct import Servable
from ..transport.wsgi import application
from . import inbox
from .engine import Engine
from .engine import Record
from .wiring import Source
from .wiring import wire

T = t.TypeVar("T")

#: Records of an exactly-once egress are there after the next checkpoint.
CHECKPOINTS = dt.timedelta(milliseconds=500)

#: Between two looks at a condition, in seconds.
_PAUSE = 0.05

#: How long a job may take to run again, most of which Flink needs to notice, in seconds.
_RECOVERY = 60.0


class FlinkEngine(Engine):
    """An app on a cluster: it is served in this process, and one job runs its module.

    :param served: The app, or a registry.
    :param module: A module.yaml. The app's endpoints in it, and all of Kafka, are where they are in
        the test.
    :param cluster: One that runs, with Kafka and no job.
    """

    name = "flink"

    def __init__(self, served: Servable, module: Source = None, *, cluster: Cluster) -> None:
        super().__init__()
        self._cluster = cluster
        self._topics: dict[str, _Topic] = {}
        self._since = _now()
        self._served = served
        self._worker = Server(application(served, direct=False)[0])
        self._door = Server(application(inbox.registry(), direct=True)[0], threads=2)
        if not isinstance(served, FunctionRegistry):
            flask.got_request_exception.connect(self._note, served)
        self._worker.start()
        self._door.start()
        try:
            self._wiring = wire(
                served,
                module,
                worker=self._worker.url,
                inbox_url=self._door.url,
                kafka=cluster.kafka.bootstrap,
                tag=f"-{uuid.uuid4().hex[:8]}",
            )
            self._job = cluster.submit(dump(self._wiring.module))
            self._job.wait_running()
            self._job.wait_checkpoint()
        except BaseException:
            self.leave()
            raise
        self._producer = _client().Producer(
            {"bootstrap.servers": cluster.kafka.bootstrap, "linger.ms": 0, "log_level": 0}
        )

    def _note(self, app: flask.Flask, exception: BaseException, **_: t.Any) -> None:
        self.errors.append(exception)

    def _put(self, topic: str, key: str, value: bytes) -> None:
        self._producer.produce(self._wiring.topic(topic).topic, key=key, value=value)
        left = self._producer.flush(30)
        if left:
            raise EngineError(
                f"Kafka does not take a record for '{topic}' within 30 s. Look whether the broker"
                " at the start of the test's output still runs."
            )

    def wait(self, duration: dt.timedelta) -> None:
        """Let time pass."""
        time.sleep(duration.total_seconds())

    def fail(self) -> None:
        """Kill the TaskManager, start another one, and wait until the job runs again."""
        killed = _now()
        self._cluster.kill_taskmanager()
        self._cluster.start_taskmanager()

        def has_recovered() -> bool:
            failure = self._job.failure()
            return failure is not None and failure[0] >= killed and self._job.running()

        if not self._poll(has_recovered, _RECOVERY):
            raise EngineError(
                f"The job does not run again {_RECOVERY:g} s after its TaskManager was killed."
                " Look for the reason in the JobManager's log."
            )

    def stop_worker(self) -> None:
        """Close the worker's port and its connections, answered or not."""
        self._worker.stop()

    def start_worker(self) -> None:
        """Serve the app at the same port again."""
        self._worker.start()

    def begin(self) -> None:
        """Forget the records and errors of the test before."""
        self._since = _now()
        super().begin()

    def _read(self, topic: str) -> cabc.Iterable[Record]:
        if topic not in self._topics:
            self._topics[topic] = _Topic(self._cluster.kafka, topic)
        records = self._topics[topic].read()
        return [record for stamp, record in records if stamp >= self._since]

    def _poll(self, condition: cabc.Callable[[], T | None], timeout: float) -> T | None:
        end = time.monotonic() + timeout
        while True:
            value = condition()
            if value or time.monotonic() >= end:
                return value
            self._cluster.check()
            time.sleep(_PAUSE)

    def _troubles(self) -> list[str]:
        failure = self._job.failure()
        return [] if failure is None else [f"The job failed: {job_failure(failure[1])}"]

    def close(self) -> None:
        """Cancel the job, so that another one can run.

        A job does not end while its functions are called and fail; then the TaskManager has to.
        """
        try:
            self._job.cancel(timeout=10)
        except EngineError:
            self._cluster.kill_taskmanager()
            self._cluster.start_taskmanager()
            self._job.cancel()
        self.leave()

    def leave(self) -> None:
        """End all that is in this process; the job ends with its cluster."""
        self._worker.stop()
        self._door.stop()
        for each in self._topics.values():
            each.close()
        if not isinstance(self._served, FunctionRegistry):
            flask.got_request_exception.disconnect(self._note, self._served)


class _Topic:
    """All records of a topic, those of committed transactions only."""

    def __init__(self, kafka: Kafka, name: str) -> None:
        kafka.create_topics([name])
        client = _client()
        self._name = name
        self._records: list[tuple[int, Record]] = []
        self._consumer = client.Consumer(
            {
                "bootstrap.servers": kafka.bootstrap,
                "group.id": uuid.uuid4().hex,
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        partitions = self._consumer.list_topics(name, timeout=30).topics[name].partitions
        self._consumer.assign(
            [client.TopicPartition(name, each, client.OFFSET_BEGINNING) for each in partitions]
        )

    def read(self) -> list[tuple[int, Record]]:
        """Return what has come so far, each with its time in milliseconds since 1970."""
        while messages := self._consumer.consume(500, timeout=0.1):
            for message in messages:
                if message.error() is not None:
                    raise EngineError(f"Kafka does not give '{self._name}': {message.error()}.")
                key = message.key()
                record = Record(
                    self._name, None if key is None else key.decode(), message.value() or b""
                )
                self._records.append((message.timestamp()[1], record))
        return self._records

    def close(self) -> None:
        self._consumer.close()


def _now() -> int:
    return time.time_ns() // 1_000_000


def _client() -> t.Any:
    import confluent_kafka

    return confluent_kafka
