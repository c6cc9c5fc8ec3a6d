"""The blog post's program on StateFun 2.2.2, and on StateFun 3.3.0 at the same time."""

from __future__ import annotations

import collections
import collections.abc as cabc
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import typing as t

import blog
import blog_app
import pytest
from blog_pb2 import GreetRequest
from blog_pb2 import GreetResponse

from statefun_flask.flink import Cluster
from statefun_flask.flink.serving import WorkerServer
from statefun_flask.transport import wsgi_app

pytestmark = pytest.mark.e2e

StartCluster = cabc.Callable[..., Cluster]
Serve = cabc.Callable[..., WorkerServer]
Unique = cabc.Callable[[str], str]

MODULE = pathlib.Path(blog.__file__).with_name("module.yaml")

MODULE_OF_3 = """\
kind: io.statefun.endpoints.v2/http
spec:
  functions: example/*
  urlPathTemplate: http://127.0.0.1:1/statefun
---
kind: io.statefun.kafka.v1/ingress
spec:
  id: example/names
  address: 127.0.0.1:9092
  consumerGroupId: greeter
  startupPosition:
    type: earliest
  topics:
    - topic: names
      valueType: com.googleapis/blog.GreetRequest
      targets:
        - example/greeter
---
kind: io.statefun.kafka.v1/egress
spec:
  id: example/greets
  address: 127.0.0.1:9092
  deliverySemantic:
    type: exactly-once
    transactionTimeout: 1min
"""


def named(module: str, names: str, group: str) -> str:
    """Return a module that reads another topic, as another consumer group."""
    assert module.count("topic: names\n") == module.count("consumerGroupId: greeter\n") == 1
    module = module.replace("topic: names\n", f"topic: {names}\n")
    return module.replace("consumerGroupId: greeter\n", f"consumerGroupId: {group}\n")


def requests(prefix: str, names: int, times: int) -> list[tuple[str, bytes]]:
    return [
        (name, GreetRequest(name=name).SerializeToString())
        for name in [f"{prefix}{number}" for number in range(names)] * times
    ]


def greetings(prefix: str, names: int, times: int) -> dict[str, list[str]]:
    """Return the expected greetings of each name, numbered without a gap and in order."""
    return {
        name: [blog.greeting_for(name, seen) for seen in range(1, times + 1)]
        for name in (f"{prefix}{number}" for number in range(names))
    }


def by_name(records: list[tuple[str, bytes]]) -> dict[str, list[str]]:
    found = collections.defaultdict(list)
    for key, value in records:
        found[key].append(GreetResponse.FromString(value).greeting)
    return dict(found)


@pytest.fixture
def topic(unique: Unique, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the topic of the blog's greetings, which only this test uses."""
    monkeypatch.setattr(blog, "TOPIC", unique("greetings"))
    return blog.TOPIC


def test_ten_thousand_names_are_counted_exactly_through_a_killed_taskmanager(
    start_cluster: StartCluster,
    serve: Serve,
    unique: Unique,
    topic: str,
    produce: t.Any,
    consume: t.Any,
) -> None:
    server = serve(blog_app.app)
    module = named(MODULE.read_text(), unique("names"), unique("group"))
    cluster = start_cluster(module, release="2.2.2", endpoint=server.url)
    restarted = cluster.job.restarted()

    produce(unique("names"), requests("name", 100, 100))
    consume(topic, 1)
    cluster.kill_taskmanager()
    assert len(consume(topic, 1, quiet=1)) < 10_000, "it was done before it was killed"
    cluster.start_taskmanager()
    cluster.job.wait_restart(restarted)

    records = consume(topic, 10_000, timeout=180, quiet=3)
    assert by_name(records) == greetings("name", 100, 100)


def test_one_app_serves_both_engines_at_once(
    start_cluster: StartCluster,
    serve: Serve,
    unique: Unique,
    topic: str,
    produce: t.Any,
    consume: t.Any,
) -> None:
    server = serve(wsgi_app(blog.registry))
    of_2 = named(MODULE.read_text(), unique("names-2"), unique("group-2"))
    of_3 = named(MODULE_OF_3, unique("names-3"), unique("group-3"))
    start_cluster(of_2, release="2.2.2", endpoint=server.url)
    start_cluster(of_3, release="3.3.0", endpoint=server.url)

    # The names are the same, so that the test detects a state of the other engine.
    produce(unique("names-2"), requests("name", 50, 20))
    produce(unique("names-3"), requests("name", 50, 20))

    found = by_name(consume(topic, 2000, timeout=120, quiet=3))
    expected = greetings("name", 50, 20)
    assert {name: sorted(each) for name, each in found.items()} == {
        name: sorted(each * 2) for name, each in expected.items()
    }


def test_the_command_of_the_readme_runs_the_program() -> None:
    from confluent_kafka import Consumer
    from confluent_kafka import Producer

    arguments = ["--app", "blog_app", "statefun", "flink", "--release", "2.2.2", "--kafka"]
    assert f"flask {' '.join(arguments)}\n" in MODULE.with_name("README.md").read_text()
    with subprocess.Popen(
        [sys.executable, "-m", "flask", *arguments, "--port", "0"],
        cwd=MODULE.parent,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        watchdog = threading.Timer(240, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            said = []
            for line in process.stdout:
                said.append(line)
                if line.startswith("The job runs."):
                    break
            (bootstrap,) = re.findall(r"^Kafka listens at (\S+),", "".join(said), re.MULTILINE)

            producer = Producer({"bootstrap.servers": bootstrap})
            producer.produce("names", key="bob", value=requests("bob", 1, 1)[0][1])
            assert producer.flush(30) == 0
            consumer = Consumer(
                {
                    "bootstrap.servers": bootstrap,
                    "group.id": "test",
                    "auto.offset.reset": "earliest",
                    "isolation.level": "read_committed",
                    "allow.auto.create.topics": True,
                }
            )
            consumer.subscribe(["greetings"])
            greeting = None
            while greeting is None or greeting.error() is not None:
                assert process.poll() is None
                greeting = consumer.poll(1)
            consumer.close()
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            watchdog.cancel()
            process.kill()

    assert GreetResponse.FromString(greeting.value() or b"").greeting == (
        "Welcome bob0, I haven't met you before!"
    )
