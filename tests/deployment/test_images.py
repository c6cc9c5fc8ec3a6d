"""Every Dockerfile is built unchanged, and its image is run."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import contextlib
import http.client
import os
import pathlib
import signal
import typing as t

import greeter
import pytest
import yaml
from greeter_pb2 import GreetRequest
from greeter_pb2 import GreetResponse
from greeter_requests import request_of

from statefun_flask.flink import Kafka
from statefun_flask.flink import ports
from statefun_flask.protocol.schema.request_reply_v3 import FromFunction

pytestmark = pytest.mark.slow

GREETER = pathlib.Path(greeter.__file__).parent
OCTET_STREAM = {"Content-Type": "application/octet-stream"}


def ask(port: int, name: str, times: int) -> list[str]:
    """Call the greeter several times with a name, and return its greetings."""
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    ) as connection:
        connection.request("POST", "/statefun", request_of(name, times), OCTET_STREAM)
        answer = connection.getresponse()
        body = answer.read()
    assert answer.status == 200, body
    result = FromFunction.FromString(body).invocation_result
    return [
        GreetResponse.FromString(each.argument.value).greeting for each in result.outgoing_messages
    ]


def status(port: int, path: str) -> int:
    """Return the status of a path, or 0 if no server listens."""
    try:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            connection.request("GET", path)
            return connection.getresponse().status
    except OSError:
        return 0


def probed() -> set[str]:
    """Return the paths of Kubernetes' probes of a worker."""
    deployment = next(yaml.safe_load_all((GREETER / "k8s" / "functions.yaml").read_text()))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    probes = [container[each] for each in ("livenessProbe", "readinessProbe", "startupProbe")]
    return {probe["httpGet"]["path"] for probe in probes}


def worked(pid: int) -> float:
    """Return the CPU seconds of a process."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_worker_is_healthy_answers_and_drains(
    buildah: t.Any, wait_for: cabc.Callable[..., None]
) -> None:
    image = buildah.build("examples/greeter/Dockerfile", "greeter-worker")
    (port,) = ports.free(1)
    serve = {"FLASK_STATEFUN_SERVE_HOST": "127.0.0.1", "FLASK_STATEFUN_SERVE_PORT": str(port)}
    with buildah.running("greeter-worker", **serve) as container:
        wait_for(lambda: status(port, "/statefun/health/ready") == 200, "the worker")
        assert container.is_healthy()
        assert ":".join(map(str, container.user)) == image["User"] == "10001:10001"
        assert {path: status(port, path) for path in probed()} == dict.fromkeys(probed(), 200)
        assert ask(port, "bob", 2) == [
            f"Say hello to bob from Flask. I've seen them {seen} times now." for seen in (1, 2)
        ]

        # A batch so large that there is time to stop the worker in the middle of it.
        before = worked(container.pid)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask, port, "alice", 200_000)
            wait_for(lambda: worked(container.pid) > before + 0.3, "the batch to begin")
            os.kill(container.pid, signal.SIGTERM)
            wait_for(lambda: status(port, "/statefun/health/ready") != 200, "the worker to drain")
            assert not container.is_healthy()
            assert len(asked.result()) == 200_000
        assert container.process.wait(30) == 0
    assert container.log == (
        "Serving 2 functions (example/greeter, example/relay) at"
        f" http://127.0.0.1:{port}/statefun on waitress with 8 threads\n"
    )


def test_datagen_is_healthy_and_delivers_what_it_sent(
    buildah: t.Any, wait_for: cabc.Callable[..., None]
) -> None:
    image = buildah.build("examples/greeter/datagen.Dockerfile", "greeter-datagen")
    with (
        Kafka(report=print) as kafka,
        buildah.running("greeter-datagen", KAFKA_BOOTSTRAP=kafka.bootstrap) as container,
    ):
        wait_for(lambda: len(names(kafka)) >= 3, "three names")
        assert container.is_healthy()
        assert ":".join(map(str, container.user)) == image["User"] == "10001:10001"
        os.kill(container.pid, signal.SIGTERM)
        assert container.process.wait(30) == 0
        assert "Traceback" not in container.log
        assert all(map(GreetRequest.FromString, names(kafka)))


def names(kafka: Kafka) -> list[bytes]:
    """Return the records of the topic of names so far."""
    from confluent_kafka import Consumer
    from confluent_kafka import TopicPartition

    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "test"})
    try:
        if "names" not in consumer.list_topics(timeout=10).topics:
            return []
        partition = TopicPartition("names", 0, 0)
        _, end = consumer.get_watermark_offsets(partition)
        consumer.assign([partition])
        return [message.value() or b"" for message in consumer.consume(end, timeout=10)]
    finally:
        consumer.close()


def test_the_runtime_has_the_module_and_the_configuration(buildah: t.Any) -> None:
    buildah.build("examples/greeter/runtime.Dockerfile", "greeter-runtime")
    expected = {
        "opt/flink/conf/flink-conf.yaml": GREETER / "flink-conf.yaml",
        "opt/statefun/modules/greeter/module.yaml": GREETER / "deployed.yaml",
    }
    with buildah.mounted("greeter-runtime") as folder:
        found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert found == expected.keys()
        for name, source in expected.items():
            assert (folder / name).read_bytes() == source.read_bytes()
