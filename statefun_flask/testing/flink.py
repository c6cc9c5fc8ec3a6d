"""StateFun on Flink, with Kafka, for tests."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import time
import typing as t
import uuid

import flask

from ..core.registry import FunctionRegistry
from ..embedded.errors import UnknownTargetError
from ..flink import Cluster
from ..flink import FlinkError
from ..flink import Kafka
from ..flink.explain import job_failure
from ..flink.serving import WorkerServer
from ..module_yaml import dump
from ..transport.direct import Servable
from ..transport.wsgi import application
from ..values.address import Address
from ..values.state import ValueSpec
from . import sender
from .engine import TestEngine
from .engine import wait
from .record import Record
from .wiring import ModuleSource
from .wiring import wire

T = t.TypeVar("T")

#: The time between two checkpoints. Records of an exactly-once egress appear after the next one.
CHECKPOINTS = dt.timedelta(milliseconds=500)

#: The time between two checks of a condition, in seconds.
_PAUSE = 0.05

#: The time limit for the restart of a job, in seconds. Flink takes long to detect a failure.
_RECOVERY = 60.0


class FlinkTestEngine(TestEngine):
    """An app on StateFun with Flink and Kafka. The app is served in the process of the test.

    :param served: The app, or a registry.
    :param module: A module.yaml. The addresses of the brokers and of the app's endpoints in it are
        replaced by those of the test.
    :param cluster: A running cluster with Kafka and without a job.
    """

    name = "flink"

    def __init__(self, served: Servable, module: ModuleSource = None, *, cluster: Cluster) -> None:
        super().__init__()
        self._cluster = cluster
        self._topics: dict[str, _Topic] = {}
        self._since = _now()
        self._served = served
        self._worker = WorkerServer(application(served, direct=False)[0])
        self._sender = WorkerServer(application(sender.registry(), direct=True)[0], threads=2)
        if not isinstance(served, FunctionRegistry):
            flask.got_request_exception.connect(self._note, served)
        self._worker.start()
        self._sender.start()
        try:
            self._wiring = wire(
                served,
                module,
                worker=self._worker.url,
                sender_url=self._sender.url,
                kafka=cluster.kafka.bootstrap,
                tag=f"-{uuid.uuid4().hex[:8]}",
            )
            self._job = cluster.submit(dump(self._wiring.module))
            self._job.wait_running()
            self._job.wait_checkpoint()
        except BaseException:
            self.stop_servers()
            raise
        self._producer = _client().Producer(
            {"bootstrap.servers": cluster.kafka.bootstrap, "linger.ms": 0, "log_level": 0}
        )

    def _note(self, app: flask.Flask, exception: BaseException, **_: t.Any) -> None:
        self.errors.append(exception)

    # -- input ----------------------------------------------------------------------------

    def _check_target(self, target: Address) -> None:
        module = self._wiring.module
        if module.endpoint_for(target.type) is None:
            known = {each.functions for each in module.endpoints} - {sender.FUNCTION}
            raise UnknownTargetError(target.type, tuple(sorted(known)))

    def _send(self, target: Address, payload: bytes) -> None:
        self.produce(sender.TOPIC, str(target), payload)

    def produce(self, topic: str, key: str, value: bytes | str) -> None:
        """Write a record to a topic that an ingress reads."""
        self._producer.produce(self._wiring.topic(topic).topic, key=key, value=value)
        left = self._producer.flush(30)
        if left:
            raise FlinkError(
                f"Kafka did not accept a record for '{topic}' within 30 s. Check whether the broker"
                " named at the start of the test's output still runs."
            )

    # -- time and failures ----------------------------------------------------------------

    def advance(self, duration: dt.timedelta) -> None:
        """Let the time pass."""
        wait(duration)

    def run_until_idle(self, timeout: float = 10.0) -> None:
        """Not available on Flink.

        :raises RuntimeError: Always.
        """
        raise RuntimeError(
            "Flink does not report that it is idle. Wait for a result with 'records' or"
            " 'eventually', or run the test on the embedded engine."
        )

    def fail(self) -> None:
        """Kill the TaskManager, start another one, and wait until the job runs again."""
        killed = _now()
        self._cluster.kill_taskmanager()
        self._cluster.start_taskmanager()

        def has_recovered() -> bool:
            failure = self._job.failure()
            return failure is not None and failure[0] >= killed and self._job.running()

        if not self._poll(has_recovered, _RECOVERY):
            raise FlinkError(
                f"The job does not run {_RECOVERY:g} s after its TaskManager was killed. See the"
                " JobManager's log for the reason."
            )

    def stop_worker(self) -> None:
        """Close the worker's port and its connections, answered or not."""
        self._worker.stop()

    def start_worker(self) -> None:
        """Serve the app at the same port again."""
        self._worker.start()

    # -- output ---------------------------------------------------------------------------

    def _stored(self, target: Address) -> dict[str, tuple[str, bytes]]:
        raise RuntimeError(
            "Flink does not give access to the state of a function. Have the function write the"
            " state to an egress, or run the test on the embedded engine."
        )

    def _declared(self, target: Address) -> dict[str, ValueSpec[t.Any]]:
        return {}

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

    @property
    def now(self) -> dt.datetime:
        """The machine's time."""
        return dt.datetime.now(dt.UTC)

    # -- life -----------------------------------------------------------------------------

    def begin_test(self) -> None:
        """Forget the records and errors so far."""
        self._since = _now()
        super().begin_test()

    def close(self) -> None:
        """Cancel the job, so that another one can run.

        A job cannot be cancelled while its functions fail. Then the TaskManager is killed first.
        """
        try:
            self._job.cancel(timeout=10)
        except FlinkError:
            self._cluster.kill_taskmanager()
            self._cluster.start_taskmanager()
            self._job.cancel()
        self.stop_servers()

    def stop_servers(self) -> None:
        """Stop the servers and consumers in this process. The job ends with its cluster."""
        self._worker.stop()
        self._sender.stop()
        for each in self._topics.values():
            each.close()
        if not isinstance(self._served, FunctionRegistry):
            flask.got_request_exception.disconnect(self._note, self._served)


class _Topic:
    """The records of a topic that belong to committed transactions."""

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
        """Return the records so far, each with its time in milliseconds since 1970."""
        while messages := self._consumer.consume(500, timeout=0.1):
            for message in messages:
                if message.error() is not None:
                    raise FlinkError(
                        f"The topic '{self._name}' cannot be read: {message.error()}. Check"
                        " whether the broker still runs."
                    )
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
