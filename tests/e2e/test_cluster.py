"""Flink itself, with endpoints whose replies are scripted byte by byte, without an SDK."""

from __future__ import annotations

import collections.abc as cabc
import os
import pathlib
import signal
import subprocess
import sys
import threading
import typing as t

import pytest

from statefun_flask.flink import Cluster
from statefun_flask.flink import FlinkError
from statefun_flask.flink.failure_reporter import FailureReporter
from statefun_flask.flink.process import wait_until
from statefun_flask.flink.serving import WorkerServer
from statefun_flask.protocol.schema import egress
from statefun_flask.protocol.schema import request_reply_v3 as v3

pytestmark = pytest.mark.e2e

StartCluster = cabc.Callable[..., Cluster]
Serve = cabc.Callable[..., WorkerServer]
Unique = cabc.Callable[[str], str]

MODULE = """\
kind: io.statefun.endpoints.v2/http
spec:
  functions: example/*
  urlPathTemplate: http://127.0.0.1:1/statefun
  transport:
    type: io.statefun.transports.v1/async
    call: {call}
---
kind: io.statefun.kafka.v1/ingress
spec:
  id: example/in
  address: nowhere:1
  consumerGroupId: {group}
  startupPosition:
    type: earliest
  topics:
    - topic: {source}
      valueType: example/Raw
      targets:
        - example/counter
---
kind: io.statefun.kafka.v1/egress
spec:
  id: example/out
  address: nowhere:1
  deliverySemantic:
    type: exactly-once
    transactionTimeout: 1min
"""


def module(unique: Unique, call: str = "1min") -> str:
    return MODULE.format(group=unique("group"), source=unique("in"), call=call)


def counting(topic: str) -> t.Any:
    """Return an endpoint that counts the messages of each id, and writes each count to a topic."""

    def app(environ: dict[str, t.Any], start_response: t.Any) -> list[bytes]:
        request = v3.ToFunction.FromString(
            environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        )
        body = count(request.invocation, topic).SerializeToString()
        headers = [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))]
        start_response("200 OK", headers)
        return [body]

    return app


def count(batch: t.Any, topic: str) -> t.Any:
    answer = v3.FromFunction()
    if not batch.state:
        missing = answer.incomplete_invocation_context.missing_values.add()
        missing.state_name, missing.type_typename = "seen", "example/Raw"
        return answer
    seen = int(batch.state[0].state_value.value or b"0")
    result = answer.invocation_result
    for _ in batch.invocations:
        seen += 1
        record = egress.KafkaProducerRecord(
            topic=topic, key=batch.target.id, value_bytes=b"%d" % seen
        )
        out = result.outgoing_egresses.add(egress_namespace="example", egress_type="out")
        out.argument.typename = "type.googleapis.com/io.statefun.sdk.egress.KafkaProducerRecord"
        out.argument.has_value = True
        out.argument.value = record.SerializeToString()
    mutation = result.state_mutations.add(state_name="seen", mutation_type=1)
    mutation.state_value.typename = "example/Raw"
    mutation.state_value.has_value = True
    mutation.state_value.value = b"%d" % seen
    return answer


def expected(keys: int, counts: cabc.Iterable[int]) -> dict[str, list[bytes]]:
    return {f"k{key}": [b"%d" % each for each in counts] for key in range(keys)}


def by_key(records: list[tuple[str, bytes]]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for key, value in records:
        found.setdefault(key, []).append(value)
    return found


def test_state_survives_a_killed_taskmanager_and_a_savepoint(
    start_cluster: StartCluster, serve: Serve, unique: Unique, produce: t.Any, consume: t.Any
) -> None:
    server = serve(counting(unique("out")))
    text = module(unique)
    cluster = start_cluster(text, endpoint=server.url)
    restarted = cluster.job.restarted()
    produce(unique("in"), [(f"k{number % 10}", b"") for number in range(500)])
    cluster.kill_taskmanager()
    produce(unique("in"), [(f"k{number % 10}", b"") for number in range(500)])
    cluster.start_taskmanager()
    cluster.job.wait_restart(restarted)
    assert by_key(consume(unique("out"), 1000)) == expected(10, range(1, 101))

    savepoint = cluster.savepoint()
    cluster.job.cancel()
    job = cluster.submit(text, savepoint=savepoint)
    job.wait_running()
    job.wait_checkpoint()
    produce(unique("in"), [(f"k{number}", b"") for number in range(10)])
    assert by_key(consume(unique("out"), 1010)) == expected(10, range(1, 102))


def test_failing_calls_and_jobs_are_reported_in_sentences(
    start_cluster: StartCluster, serve: Serve, unique: Unique, produce: t.Any
) -> None:
    def failing(environ: dict[str, t.Any], start_response: t.Any) -> list[bytes]:
        start_response("500 Oh No", [("Content-Length", "0")])
        return []

    server = serve(failing)
    cluster = start_cluster(module(unique, call="1s"), endpoint=server.url)
    reporter = FailureReporter(cluster)
    assert list(reporter.new_failures()) == []
    produce(unique("in"), [("bob", b"x")])

    told: list[str] = []

    def restarts() -> bool:
        told.extend(reporter.new_failures())
        return any("restarts" in sentence for sentence in told)

    wait_until(restarts, "the job's restart is reported", cluster.processes())
    assert told[0] == (
        f"A call of example/counter at {server.url}/statefun failed (id 'bob', attempt 1): it"
        " answered 500 Oh No. It is tried again."
    )
    assert told[-1] == (
        "The job restarts from its last checkpoint: example/counter (id 'bob') failed: the time"
        " that its endpoint has for a call and its retries is over."
    )


def test_a_module_that_the_engine_refuses_says_why(start_cluster: StartCluster) -> None:
    cluster = start_cluster(kafka=False)
    with pytest.raises(FlinkError) as info:
        cluster.submit("kind: example/nothing\nspec: {}\n")
    assert str(info.value) == (
        "StateFun refuses 'module.yaml': An extension with type TypeName(example, nothing) does"
        " not exist. Correct the file, and start again."
    )


def test_a_taken_kafka_port_says_so(kafka: t.Any) -> None:
    from statefun_flask.flink import Kafka

    other = Kafka(port=kafka.port)
    with pytest.raises(FlinkError) as info:
        other.start()
    assert str(info.value) == (
        f"Cannot start Kafka at {kafka.bootstrap}: the port is taken. Choose another one, or stop"
        " the program that listens there."
    )


def test_nothing_is_left_of_a_killed_command(tmp_path: pathlib.Path) -> None:
    with greeter(tmp_path) as (process, _):
        children = descendants(process.pid)
        assert len(children) >= 3, "the JobManager, the TaskManager and Kafka"
        assert list(tmp_path.iterdir())
        process.kill()
    wait_until(lambda: not any(map(alive, children)), "all processes have ended", timeout=20)
    wait_until(lambda: not list(tmp_path.iterdir()), "no file is left", timeout=20)


def test_the_command_runs_the_greeter_and_nothing_is_left_of_it(tmp_path: pathlib.Path) -> None:
    with greeter(tmp_path) as (process, said):
        bootstrap = said.partition("Kafka listens at ")[2].partition(",")[0]
        arguments = ["datagen.py", "--bootstrap", bootstrap, "--count", "20", "--rate", "1000"]
        greetings = subprocess.run(
            [sys.executable, *arguments],
            cwd=GREETER,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.splitlines()
        assert len(greetings) == 20
        assert all(greeting.startswith("Say hello to ") for greeting in greetings)

        children = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert not list(tmp_path.iterdir())
    wait_until(lambda: not any(map(alive, children)), "all processes have ended", timeout=20)


GREETER = pathlib.Path(__file__).parents[2] / "examples" / "greeter"


def greeter(temporary: pathlib.Path) -> Running:
    arguments = ["--app", "greeter", "statefun", "flink", "--kafka", "--port", "0"]
    arguments += ["--topic", "greetings"]
    return Running([sys.executable, "-m", "flask", *arguments], temporary)


class Running:
    """The command after it has reported that the job runs."""

    def __init__(self, command: list[str], temporary: pathlib.Path) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=GREETER,
            env={**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> tuple[subprocess.Popen[str], str]:
        timer = threading.Timer(120, self._process.kill)
        timer.start()
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            if line.startswith("The job runs."):
                timer.cancel()
                return self._process, "".join(said)
        timer.cancel()
        self._process.wait()
        self._process.stdout.close()
        pytest.fail("".join(said))

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def descendants(pid: int) -> list[int]:
    """Return all descendants of a process."""
    listing = subprocess.run(
        ["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True
    )
    parents = [tuple(map(int, line.split())) for line in listing.stdout.splitlines()]
    found = [pid]
    for each in found:
        found.extend(child for child, parent in parents if parent == each)
    return found[1:]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
