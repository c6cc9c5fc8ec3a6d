"""One job per engine for the whole suite. All messages are sent at the start; the tests read the
results.

The engines are the embedded one with a virtual clock, the embedded one with threads and a real
clock, and StateFun 3.3.0. They call a Flask app, :mod:`behaving`, and an endpoint of scripted
replies, :mod:`scripted`, over HTTP."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import datetime as dt
import typing as t

import behaving
import pytest
import scripted
import stimuli

from statefun_flask import Message
from statefun_flask.flink.serving import WorkerServer
from statefun_flask.testing import EnginePool
from statefun_flask.testing import TestEngine

MODULE = """\
{endpoints}
kind: io.statefun.endpoints.v2/http
spec:
  functions: scripted/*
  urlPathTemplate: {url}/any/{{function.name}}?query=kept
---
kind: io.statefun.endpoints.v2/http
spec:
  functions: scripted/exact
  urlPathTemplate: {url}/own
---
kind: io.statefun.kafka.v1/ingress
spec:
  id: suite/ingress
  address: kafka:9092
  consumerGroupId: suite
  topics:
    - {{topic: both, valueType: suite/plain, targets: [ingress/one, ingress/two]}}
    - {{topic: ordered, valueType: suite/plain, targets: [ingress/one]}}
    - {{topic: scripted, valueType: suite/raw, targets: [scripted/plain]}}
---
kind: io.statefun.kafka.v1/egress
spec:
  id: suite/said
  address: kafka:9092
  deliverySemantic: {{type: exactly-once, transactionTimeout: 1min}}
---
kind: io.statefun.kafka.v1/egress
spec:
  id: suite/twice
  address: kafka:9092
"""
ENDPOINT = """\
kind: io.statefun.endpoints.v2/http
spec:
  functions: {namespace}/*
  urlPathTemplate: http://worker/statefun
---"""


@pytest.fixture(scope="session")
def require_engine() -> None:
    """Let the tests on the embedded engine run without Java."""


@dataclasses.dataclass
class Suite:
    """The suite on an engine.

    :param threads: Whether calls are made at a time, on a real clock.
    """

    engine: TestEngine
    worker: scripted.Worker
    threads: bool

    def said(self, address: str, count: int) -> list[str]:
        """Return the observations of a function, at least so many."""
        return [each.text for each in self.engine.records("said", count, key=address)]

    def calls(self, address: str, count: int) -> list[scripted.Call]:
        """Return the requests of the scripted endpoint for an address."""
        calls = self.worker.calls[address]
        self.engine.eventually(
            lambda: len(calls) >= count,
            f"{count} calls of '{address}'",
            so_far=lambda: [(each.values, each.states) for each in calls],
        )
        return calls

    def send(self, address: str, *values: bytes) -> None:
        """Send values to a function of the scripted endpoint."""
        for value in values:
            self.engine.send(address, Message(scripted.TYPE, value))


@pytest.fixture(
    scope="session",
    params=[
        "embedded",
        pytest.param("embedded-threads", marks=pytest.mark.slow),
        pytest.param("flink", marks=pytest.mark.e2e),
    ],
)
def suite(request: pytest.FixtureRequest, statefun_engine_pool: EnginePool) -> cabc.Iterator[Suite]:
    """Return the suite on each engine, after all messages were sent."""
    name, _, threads = request.param.partition("-")
    # The suite has its own engines, since the job of another test would replace this job.
    kafka = statefun_engine_pool.kafka if name == "flink" else None
    options: dict[str, t.Any] = {"clock": "real"} if threads else {}
    worker = scripted.Worker(threads=bool(threads) or name == "flink")
    with WorkerServer(worker, threads=16) as server, EnginePool(report=print, kafka=kafka) as pool:
        namespaces = sorted({each.partition("/")[0] for each in behaving.app.statefun.registry})
        endpoints = "\n".join(ENDPOINT.format(namespace=each) for each in namespaces)
        module = MODULE.format(endpoints=endpoints, url=server.url)
        engine = pool.get(name, behaving.app, module, **options)
        engine.begin_test()
        made = Suite(engine, worker, worker.threads)
        stimuli.send_all(made)
        yield made


@pytest.fixture(scope="session")
def aftermath(suite: Suite) -> Suite:
    """Return the suite after its worker was stopped and the engine has failed, in that order."""
    engine = suite.engine
    suite.send("scripted/relearning/one", b"before")
    suite.send("scripted/replayed/one", b"before")
    engine.send("surviving/delay/one", "plan")
    for id in range(20):
        for _ in range(10):
            engine.send(f"counting/one/survivor-{id}", "before")
    # All other scenarios are finished, and their records are in a checkpoint.
    suite.said("expiring/write/written", 6)
    suite.calls("scripted/relearning/one", 2)
    suite.calls("scripted/replayed/one", 2)
    engine.send("counting/one/checkpoint", "checkpoint")
    suite.said("counting/one/checkpoint", 1)

    engine.stop_worker()
    engine.send("counting/one/worker", "away")
    engine.advance(dt.timedelta(seconds=1))
    engine.send("counting/one/worker", "away")
    engine.start_worker()
    suite.said("counting/one/worker", 2)

    for id in range(20):
        for _ in range(10):
            engine.send(f"counting/one/survivor-{id}", "during")
    suite.send("scripted/replayed/one", b"hold")
    if suite.threads:
        suite.calls("scripted/replayed/one", 3)
    else:
        suite.worker.failed.set()
    engine.fail()
    suite.worker.failed.set()
    suite.send("scripted/relearning/one", b"after")
    return suite
