"""Fixtures of the tests against Flink: a broker, clusters, a served app, records.

Without Java or Maven these tests are skipped; they fail if ``CI`` is set. The first run downloads
Flink.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import datetime
import itertools
import os
import time
import typing as t
import uuid

import pytest

from statefun_flask.flink import Cluster
from statefun_flask.flink import FlinkError
from statefun_flask.flink import jars
from statefun_flask.flink import java
from statefun_flask.flink import Kafka
from statefun_flask.flink.releases import KAFKA
from statefun_flask.flink.releases import RELEASES
from statefun_flask.flink.serving import WorkerServer
from statefun_flask.testing import EnginePool

Record = tuple[str, bytes]
Produce = cabc.Callable[[str, cabc.Iterable[tuple[str, bytes]]], None]
Consume = cabc.Callable[..., list[Record]]


@pytest.fixture(scope="session", autouse=True)
def require_engine() -> None:
    """Skip the tests on a machine that lacks Java or Maven; fail them there if it is CI's."""
    try:
        java.java()
        bundles = [KAFKA, *(engine.bundle for engine in RELEASES.values())]
        if not all((jars.cache() / bundle.folder).is_dir() for bundle in bundles):
            java.maven()
    except FlinkError as exc:
        if os.environ.get("CI"):
            pytest.fail(str(exc))
        pytest.skip(str(exc))


@pytest.fixture(scope="session")
def kafka(require_engine: None, statefun_engine_pool: EnginePool) -> Kafka:
    """Return the broker of all tests. Use names of your own in it, see ``unique``."""
    return statefun_engine_pool.kafka


@pytest.fixture
def unique() -> cabc.Callable[[str], str]:
    """Return a function that makes a unique name: ``unique("names")``.

    Topics and consumer groups need unique names, since all tests share one broker.
    """
    suffix = uuid.uuid4().hex[:8]
    return lambda name: f"{name}-{suffix}"


@pytest.fixture
def start_cluster(kafka: Kafka) -> cabc.Iterator[cabc.Callable[..., Cluster]]:
    """Return a function that starts a cluster, which ends with the test.

    ``start_cluster(module, release="3.3.0", endpoint=server.url, …)`` takes what
    :class:`~statefun_flask.flink.Cluster` takes; Kafka is the tests' broker, and checkpoints are
    made twice a second by default. When it returns, the module's job runs and has
    a checkpoint. Without a module, submit jobs with ``cluster.submit(module)``. The warnings in
    its logs are printed at the end, so a test that fails shows them.
    """
    with contextlib.ExitStack() as stack:

        def start(module: t.Any = None, **options: t.Any) -> Cluster:
            options.setdefault("checkpoint_interval", datetime.timedelta(milliseconds=500))
            options.setdefault("kafka", kafka)
            cluster = stack.enter_context(Cluster(module, report=print, **options))
            stack.callback(print_warnings, cluster)
            return cluster

        yield start


@pytest.fixture
def serve() -> cabc.Iterator[cabc.Callable[..., WorkerServer]]:
    """Return a function that serves a WSGI app on a free port until the test ends.

    ``server = serve(app)`` has ``server.url``, and ``server.stop()`` and ``server.start()`` for
    a worker that goes away and comes back at the same port.
    """
    with contextlib.ExitStack() as stack:
        yield lambda app, **options: stack.enter_context(WorkerServer(app, **options))


@pytest.fixture
def produce(kafka: Kafka) -> Produce:
    """Return a function that writes records: ``produce(topic, [(key, value), …])``.

    It returns when the broker has acknowledged all of them.
    """
    from confluent_kafka import Producer

    def write(topic: str, records: cabc.Iterable[tuple[str, bytes]]) -> None:
        producer = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 5})
        for key, value in records:
            producer.produce(topic, key=key, value=value)
            producer.poll(0)
        assert producer.flush(30) == 0

    return write


@pytest.fixture
def consume(kafka: Kafka) -> Consume:
    """Return a function that reads a topic from its start: ``consume(topic, count, timeout=60)``.

    Only records of committed transactions count. It returns ``(key, value)`` pairs in the order
    of each key, as soon as there are ``count`` of them, and fails if they do not arrive in time.
    To check that there are no more records, pass ``quiet=seconds``: the function continues to read
    for that time after the last one.
    """
    from confluent_kafka import Consumer

    def read(topic: str, count: int, *, timeout: float = 60.0, quiet: float = 0.0) -> list[Record]:
        consumer = Consumer(
            {
                "bootstrap.servers": kafka.bootstrap,
                "group.id": uuid.uuid4().hex,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
            }
        )
        kafka.create_topics([topic])
        consumer.subscribe([topic])
        records: list[Record] = []
        # With nothing to wait for, the last record is behind us already.
        deadline = time.monotonic() + (timeout if count else quiet)
        try:
            while time.monotonic() < deadline:
                for message in consumer.consume(500, timeout=0.1):
                    assert message.error() is None, message.error()
                    key, value = message.key() or b"", message.value() or b""
                    records.append((key.decode(), value))
                    if len(records) >= count:
                        deadline = time.monotonic() + quiet
                if len(records) >= count and not quiet:
                    break
        finally:
            consumer.close()
        assert len(records) >= count, f"{len(records)} of {count} records came from '{topic}'"
        return records

    return read


def print_warnings(cluster: Cluster) -> None:
    for name, log in cluster.logs().items():
        lines = (line for line in log.splitlines() if " WARN " in line or " ERROR " in line)
        for line in itertools.islice(lines, 40):
            print(f"{name}: {line[:300]}")
