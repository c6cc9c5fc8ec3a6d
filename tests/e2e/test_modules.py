"""Generated modules, and the errors of the lock, on Flink."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import datetime as dt
import random
import time
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import kafka_record
from statefun_flask import raw_type
from statefun_flask import StateFunFlask
from statefun_flask import ValueSpec
from statefun_flask.flink import Cluster
from statefun_flask.flink import FlinkError
from statefun_flask.flink.job import Job
from statefun_flask.flink.process import wait_until
from statefun_flask.flink.serving import WorkerServer
from statefun_flask.module_yaml import dump
from statefun_flask.module_yaml import FormatError
from statefun_flask.module_yaml import read
from statefun_flask.module_yaml.compare import compare
from statefun_flask.module_yaml.generate import generate
from statefun_flask.module_yaml.generate import Request
from statefun_flask.module_yaml.lock import Lock
from statefun_flask.module_yaml.model import Version

pytestmark = pytest.mark.e2e

StartCluster = cabc.Callable[..., Cluster]
Serve = cabc.Callable[..., WorkerServer]
Unique = cabc.Callable[[str], str]

RAW = raw_type("example/Raw")
Raw = t.Annotated[bytes, RAW]
HOUR = dt.timedelta(hours=1)
SECOND = dt.timedelta(seconds=1)


class Switch:
    """A WSGI app that can be replaced while it is served, as in a deployment."""

    app: t.Any = None

    def __call__(self, environ: t.Any, start_response: t.Any) -> t.Any:
        return self.app(environ, start_response)


# -- what is generated runs -------------------------------------------------------------------


def random_app(number: int, topic: str) -> tuple[StateFunFlask, list[str]]:
    """Return an app of functions in some namespaces, and their names.

    The first sends every message on to all others; each counts in its states, and writes its name
    to one of its egresses.
    """
    chosen = random.Random(number)
    namespaces = [f"space{each}" for each in range(chosen.randint(1, 3))]
    names = [f"{namespace}/first" for namespace in namespaces]
    names += [f"{chosen.choice(namespaces)}/more{each}" for each in range(chosen.randint(0, 3))]
    app = StateFunFlask(f"app{number}")

    for name in names:
        life: dict[str, dt.timedelta] = chosen.choice(
            [{}, {"expire_after_call": HOUR}, {"expire_after_write": HOUR}]
        )
        count = chosen.randint(0, 2)
        states = [ValueSpec(f"count{each}", int, **life) for each in range(count)]
        egress = f"{name.partition('/')[0]}/{chosen.choice(['out', 'other'])}"

        def function(
            context: Context,
            message: Raw,
            name: str = name,
            states: list[ValueSpec[int]] = states,
            egress: str = egress,
        ) -> Effects:
            effects = Effects().egress(egress, kafka_record(topic, key="it", value=name))
            for state in states:
                effects.update_state(state, (context.get_state(state) or 0) + 1)
            for other in names[1:] if name == names[0] else []:
                effects.send(Address(other, "it"), message, type=RAW)
            return effects

        app.statefun(name, states=states, egresses=[egress])(function)
    return app, names


def written(app: StateFunFlask, request: Request) -> str:
    """Return the generated module of an app."""
    text = dump(generate(app.statefun.registry, request))
    reading = read(text)
    assert reading.findings == ()
    assert compare([reading.module], app.statefun.registry) == []
    return text


@pytest.mark.parametrize(
    ("release", "versions"), [("3.3.0", ("3.1", "3.0")), ("2.2.2", ("2.0", "1.0"))]
)
def test_the_engine_runs_what_is_written_for_ten_apps(
    release: str,
    versions: tuple[Version, Version],
    start_cluster: StartCluster,
    serve: Serve,
    unique: Unique,
    produce: t.Any,
    consume: t.Any,
) -> None:
    switch = Switch()
    server = serve(switch)
    cluster = start_cluster(release=release)
    formats = []
    for number in range(10):
        topic = unique(f"out{number}")
        switch.app, names = random_app(number, topic)
        request = Request(
            version=versions[number % 2],
            url=f"{server.url}/statefun",
            kafka="replaced:1",
            ingresses=((unique(f"in{number}"), names[0], "example/Raw"),),
            group=unique(f"group{number}"),
            exactly_once=number % 3 == 0,
        )
        try:
            text = written(switch.app, request)
        except FormatError:
            # Format 1.0 has no expiration.
            assert request.version == "1.0"
            request = dataclasses.replace(request, version="2.0")
            text = written(switch.app, request)
        formats.append(request.version)

        job = cluster.submit(text)
        job.wait_running()
        job.wait_checkpoint()
        produce(unique(f"in{number}"), [("it", b"x")])
        assert sorted(value for _, value in consume(topic, len(names))) == sorted(
            name.encode() for name in names
        )
        job.cancel()
    assert set(formats) == set(versions)


# -- what is called an error is one -----------------------------------------------------------

GOOD = """\
kind: io.statefun.endpoints.v2/http
spec:
  functions: example/*
  urlPathTemplate: http://127.0.0.1:1/statefun
---
kind: io.statefun.kafka.v1/ingress
spec:
  id: example/in
  address: nowhere:1
  consumerGroupId: group
  topics:
    - topic: names
      valueType: example/Raw
      targets:
        - example/counter
---
kind: io.statefun.kafka.v1/egress
spec:
  id: example/out
  address: nowhere:1
"""
OLD = """\
version: "3.0"
module:
  meta:
    type: remote
  spec:
    endpoints:
      - endpoint:
          meta:
            kind: http
          spec:
            functions: example/*
            urlPathTemplate: http://127.0.0.1:1/statefun
    ingresses:
      - ingress:
          meta:
            type: io.statefun.kafka/ingress
            id: example/in
          spec:
            address: nowhere:1
            consumerGroupId: group
            topics:
              - topic: names
                valueType: example/Raw
                targets:
                  - example/counter
"""
DELIVERY = "  address: nowhere:1\n  deliverySemantic:\n    type: exactly-once\n"

SECOND_ENDPOINT = """\
---
kind: io.statefun.endpoints.v2/http
spec: {functions: example/*, urlPathTemplate: http://127.0.0.1:2}
---
kind: io.statefun.kafka.v1/ingress"""
GROUP = "  consumerGroupId: group\n"
DATE = "  startupPosition: {type: date, date: 2020-02-01 04:15:00.00 Z}\n"

#: A change of a valid file, and the code of its finding. The engine finds these errors at once.
#: Others, such as placeholders in a URL, end the job when the function is first called.
BROKEN: list[tuple[str, str, str, str]] = [
    (GOOD, "example/*", "example/greet*", "bad-wildcard"),
    (GOOD, "example/*", "com/example/greeter", "bad-name"),
    (GOOD, "endpoints.v2/http", "endpoint.v2/http", "unknown-kind"),
    (GOOD, "kind: io.statefun.kafka.v1/egress\n", "", "not-a-component"),
    (GOOD, GROUP, "", "missing"),
    (GOOD, "id: example/in", "id: in", "bad-name"),
    (GOOD, "- example/counter", "- counter", "bad-name"),
    (GOOD, GROUP, GROUP + DATE, "bad-date"),
    (GOOD, GROUP, GROUP + "  startupPosition: {type: committed}\n", "bad-choice"),
    (GOOD + "@", "  address: nowhere:1\n@", DELIVERY, "missing"),
    (
        GOOD + "@",
        "  address: nowhere:1\n@",
        DELIVERY + "    transactionTimeoutMillis: 15min\n",
        "bad-milliseconds",
    ),
    (GOOD, "---\nkind: io.statefun.kafka.v1/ingress", SECOND_ENDPOINT, "duplicate"),
    (OLD, '"3.0"', "3.0", "unquoted-version"),
    (OLD, "    type: remote\n", "    type: embedded\n", "bad-choice"),
]


def test_the_engine_refuses_every_error_of_check(start_cluster: StartCluster) -> None:
    cluster = start_cluster()
    accepted = []
    for good, before, after, code in BROKEN:
        assert before in good
        text = good.replace(before, after)
        assert code in [finding.code for finding in read(text).errors]
        try:
            job = cluster.submit(text, check=False)
        except FlinkError as exc:
            print(f"{code}: {exc}")
            continue
        accepted.append((code, after))
        job.cancel()
    assert accepted == []


# -- what the lock says of a change happens ---------------------------------------------------


class Worker:
    """A function on the engine whose declaration is changed under a job.

    It counts its messages in the state ``seen`` and writes the count. After a message ``peek`` it
    writes the count without a change.
    """

    def __init__(
        self,
        cluster: Cluster,
        switch: Switch,
        url: str,
        unique: Unique,
        produce: t.Any,
        consume: t.Any,
    ) -> None:
        self.cluster, self.switch, self.url = cluster, switch, url
        self.unique, self.produce, self.consume = unique, produce, consume
        self.said = 0

    def declare(self, *states: ValueSpec[t.Any]) -> Lock:
        """Deploy the function with other states, and return their lock."""
        app = StateFunFlask("worker")
        out = self.unique("out")

        @app.statefun("example/counter", states=states, egresses=["example/out"])
        def count(context: Context, message: Raw) -> Effects:
            seen = context.get_state(states[0]) if states else "stateless"
            effects = Effects()
            if states and message != b"peek":
                one = states[0].type.python(1)
                seen = one if seen is None else seen + one
                effects.update_state(states[0], seen)
            return effects.egress("example/out", kafka_record(out, key="it", value=f"{seen}"))

        self.switch.app = app
        self.app = app
        return Lock.of(app.statefun.registry)

    def start(self, savepoint: str | None = None) -> Job:
        """Start a job."""
        request = Request(
            url=f"{self.url}/statefun",
            kafka="replaced:1",
            ingresses=((self.unique("in"), "example/counter", "example/Raw"),),
            group=self.unique("group"),
        )
        job = self.cluster.submit(written(self.app, request), savepoint=savepoint)
        job.wait_running()
        job.wait_checkpoint()
        return job

    def restart(self, job: Job) -> Job:
        """Continue from a savepoint."""
        savepoint = job.savepoint()
        job.cancel()
        return self.start(savepoint)

    def send(self, message: bytes) -> None:
        self.produce(self.unique("in"), [("it", message)])

    def ask(self, message: bytes = b"count") -> str:
        """Send a message and return the record that the function writes."""
        self.send(message)
        self.said += 1
        return str(self.consume(self.unique("out"), self.said)[-1][1].decode())


@pytest.fixture
def worker(
    start_cluster: StartCluster, serve: Serve, unique: Unique, produce: t.Any, consume: t.Any
) -> Worker:
    switch = Switch()
    server = serve(switch)
    return Worker(start_cluster(), switch, server.url, unique, produce, consume)


#: The error message of the engine.
TYPE = "TypeName(io.statefun.types, long), new type is: TypeName(io.statefun.types, double)"
EXPIRATION = "StateMigrationException: The new state serializer"


def grades(old: Lock, new: Lock) -> list[tuple[str, str]]:
    return [(each.severity, each.code) for each in old.check(new)]


@pytest.mark.parametrize(
    ("before", "after", "code", "cause"),
    [
        (ValueSpec("seen", int), ValueSpec("seen", float), "changed-type", TYPE),
        (
            ValueSpec("seen", int),
            ValueSpec("seen", int, expire_after_write=HOUR),
            "changed-expiration",
            EXPIRATION,
        ),
        (
            ValueSpec("seen", int, expire_after_write=HOUR),
            ValueSpec("seen", int),
            "changed-expiration",
            EXPIRATION,
        ),
    ],
    ids=["another type", "an expiration", "no expiration"],
)
def test_an_error_of_the_lock_ends_the_job(
    worker: Worker, before: ValueSpec[t.Any], after: ValueSpec[t.Any], code: str, cause: str
) -> None:
    old = worker.declare(before)
    job = worker.start()
    assert worker.ask() == "1"

    assert grades(old, worker.declare(after)) == [("error", code)]
    job = worker.restart(job)
    worker.send(b"count")

    wait_until(lambda: job.failure() is not None, "the job fails", worker.cluster.processes())
    failure = job.failure()
    assert failure is not None
    assert cause in failure[1]


def test_another_duration_counts_after_a_restart(worker: Worker) -> None:
    old = worker.declare(ValueSpec("seen", int, expire_after_write=HOUR))
    job = worker.start()
    assert worker.ask() == "1"

    new = worker.declare(ValueSpec("seen", int, expire_after_write=SECOND))
    assert grades(old, new) == [("warning", "changed-duration")]
    changed = time.monotonic()
    answers = [worker.ask()]
    while time.monotonic() < changed + 3:
        answers.append(worker.ask(b"peek"))
    assert set(answers) == {"2"}

    # More than a second has passed since the write, before the restart.
    worker.restart(job)
    assert worker.ask(b"peek") == "None"


def test_a_state_that_is_gone_costs_its_room(worker: Worker) -> None:
    old = worker.declare(ValueSpec("seen", int))
    job = worker.start()
    assert worker.ask() == "1"

    assert grades(old, worker.declare()) == [("warning", "vanished-state")]
    job = worker.restart(job)
    assert worker.ask() == "stateless"

    worker.declare(ValueSpec("seen", int))
    assert worker.ask() == "2"
