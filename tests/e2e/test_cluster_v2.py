"""StateFun 2.2.2 itself, with an endpoint of the 2.x protocol that is scripted byte by byte."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import pytest

from statefun_flask.flink import Cluster
from statefun_flask.flink.failure_reporter import FailureReporter
from statefun_flask.flink.process import wait_until
from statefun_flask.flink.serving import WorkerServer
from statefun_flask.protocol.schema import egress
from statefun_flask.protocol.schema import request_reply_v2 as v2

pytestmark = pytest.mark.e2e

StartCluster = cabc.Callable[..., Cluster]
Serve = cabc.Callable[..., WorkerServer]
Unique = cabc.Callable[[str], str]

# The format of the blog post, of 2020.
MODULE = """\
version: "1.0"
module:
  meta:
    type: remote
  spec:
    functions:
      - function:
          meta:
            kind: http
            type: example/counter
          spec:
            endpoint: http://127.0.0.1:1/statefun
            states:
              - seen
            maxNumBatchRequests: 100
            timeout: 1min
    ingresses:
      - ingress:
          meta:
            type: statefun.kafka.io/routable-protobuf-ingress
            id: example/in
          spec:
            address: nowhere:1
            consumerGroupId: {group}
            startupPosition:
              type: earliest
            topics:
              - topic: {source}
                typeUrl: com.googleapis/example.Raw
                targets:
                  - example/counter
    egresses:
      - egress:
          meta:
            type: statefun.kafka.io/generic-egress
            id: example/out
          spec:
            address: nowhere:1
            deliverySemantic:
              type: exactly-once
              transactionTimeoutMillis: 15000
"""


def module(unique: Unique) -> str:
    return MODULE.format(group=unique("group"), source=unique("in"))


def counting(topic: str) -> t.Any:
    """Return an endpoint that counts the messages of each id, and writes each count to a topic."""

    def app(environ: dict[str, t.Any], start_response: t.Any) -> list[bytes]:
        request = v2.ToFunction.FromString(
            environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        )
        batch = request.invocation
        seen = int(batch.state[0].state_value or b"0")
        answer = v2.FromFunction()
        result = answer.invocation_result
        for _ in batch.invocations:
            seen += 1
            record = egress.KafkaProducerRecord(
                topic=topic, key=batch.target.id, value_bytes=b"%d" % seen
            )
            out = result.outgoing_egresses.add(egress_namespace="example", egress_type="out")
            name = "org.apache.flink.statefun.flink.io.KafkaProducerRecord"
            out.argument.type_url = f"type.googleapis.com/{name}"
            out.argument.value = record.SerializeToString()
        result.state_mutations.add(state_name="seen", mutation_type=1, state_value=b"%d" % seen)
        body = answer.SerializeToString()
        headers = [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))]
        start_response("200 OK", headers)
        return [body]

    return app


def test_the_blog_posts_engine_counts_through_a_killed_taskmanager_and_a_savepoint(
    start_cluster: StartCluster, serve: Serve, unique: Unique, produce: t.Any, consume: t.Any
) -> None:
    server = serve(counting(unique("out")))
    cluster = start_cluster(module(unique), release="2.2.2", endpoint=server.url)
    restarted = cluster.job.restarted()
    produce(unique("in"), [(f"k{number % 10}", b"") for number in range(500)])
    cluster.kill_taskmanager()
    produce(unique("in"), [(f"k{number % 10}", b"") for number in range(500)])
    cluster.start_taskmanager()
    cluster.job.wait_restart(restarted)

    consume(unique("out"), 1000)

    savepoint = cluster.savepoint()
    cluster.job.cancel()
    job = cluster.submit(module(unique), savepoint=savepoint)
    job.wait_running()
    job.wait_checkpoint()
    produce(unique("in"), [(f"k{number}", b"") for number in range(10)])
    found: dict[str, list[bytes]] = {}
    for key, value in consume(unique("out"), 1010):
        found.setdefault(key, []).append(value)
    assert found == {f"k{key}": [b"%d" % each for each in range(1, 102)] for key in range(10)}


def test_a_failing_job_is_reported_in_sentences(
    start_cluster: StartCluster, serve: Serve, unique: Unique, produce: t.Any
) -> None:
    def failing(environ: dict[str, t.Any], start_response: t.Any) -> list[bytes]:
        start_response("404 Not Found", [("Content-Length", "0")])
        return []

    server = serve(failing)
    cluster = start_cluster(module(unique), release="2.2.2", endpoint=server.url)
    reporter = FailureReporter(cluster)
    produce(unique("in"), [("bob", b"")])
    told: list[str] = []

    def restarts() -> bool:
        told.extend(reporter.new_failures())
        return bool(told)

    wait_until(restarts, "the job's restart is reported", cluster.processes())
    assert told[0] == (
        "The job restarts from its last checkpoint: example/counter (id 'bob') failed: it"
        " answered 404."
    )
