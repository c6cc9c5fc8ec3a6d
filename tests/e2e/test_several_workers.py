"""Two worker processes behind nginx, as in the deployment: one is replaced, the other is killed."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import contextlib
import functools
import http.client
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import typing as t
import uuid

import greeter
import pytest
import waiting
from confluent_kafka import Consumer
from greeter_pb2 import GreetRequest
from greeter_pb2 import GreetResponse
from greeter_requests import request_of

from statefun_flask.flink import Cluster
from statefun_flask.flink import Kafka
from statefun_flask.flink import ports

pytestmark = pytest.mark.e2e

GREETER = pathlib.Path(greeter.__file__).parent
KEYS, ROUNDS = 100, 100
#: The format of the access log: the size of each request, its status, and every worker that got it.
TRIED = "$request_length|$status|$upstream_addr|$upstream_status"

Unique = cabc.Callable[[str], str]
Greetings = cabc.Callable[[cabc.Collection[str], int], dict[str, list[str]]]


wait_for = functools.partial(waiting.wait_for, seconds=60)


def is_ready(port: int) -> bool:
    try:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            connection.request("GET", "/statefun/health/ready")
            return connection.getresponse().status == 200
    except OSError:
        return False


class Worker:
    """A worker process at a fixed port, with the command of the image."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        (line,) = re.findall(r"^CMD (\[.*\])$", (GREETER / "Dockerfile").read_text(), re.M)
        command = [word.strip(' "') for word in line.strip("[]").split(",")]
        serve = {"HOST": "127.0.0.1", "PORT": str(self.port)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command, *options],
            cwd=GREETER,
            env=os.environ
            | {"FLASK_APP": "greeter"}
            | {f"FLASK_STATEFUN_SERVE_{name}": value for name, value in serve.items()},
        )
        wait_for(lambda: is_ready(self.port), f"a worker at port {self.port}")

    def worked(self) -> float:
        """Return its CPU seconds."""
        assert self.process is not None
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def end(self, number: signal.Signals) -> int:
        """Send a signal, and return the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)


class Try(t.NamedTuple):
    """A request in the log of the load balancer."""

    size: int
    status: int
    workers: list[str]
    answers: list[int]


class Nginx:
    """nginx with the example's configuration, on ports of its own."""

    def __init__(self, folder: pathlib.Path, workers: cabc.Sequence[Worker]) -> None:
        (self.port,) = ports.free(1)
        self.folder = folder
        self._log = folder / "access.log"
        text = (GREETER / "nginx.conf").read_text()
        for number, worker in enumerate(workers, 1):
            text = self._replace(text, f"worker-{number}:8000", f"127.0.0.1:{worker.port}")
        text = self._replace(text, "listen 8000;", f"listen 127.0.0.1:{self.port};")
        own = "".join(
            f"{name}_temp_path {folder / name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        log = f"log_format tried '{TRIED}';\naccess_log {self._log} tried;\n{own}"
        text = self._replace(text, "access_log off;", log)
        self._configuration = folder / "nginx.conf"
        self._configuration.write_text(text)

    @staticmethod
    def _replace(text: str, old: str, new: str) -> str:
        assert text.count(old) == 1, old
        return text.replace(old, new)

    def without(self, pattern: str) -> None:
        """Remove a directive from the configuration."""
        text = self._configuration.read_text()
        assert len(re.findall(pattern, text)) == 1, pattern
        self._configuration.write_text(re.sub(pattern, "", text))

    def __enter__(self) -> t.Self:
        directives = (
            f"daemon off; pid {self.folder / 'pid'}; error_log {self.folder / 'error.log'};"
        )
        if os.geteuid() == 0:
            directives += " user root;"
        command = ["nginx", "-p", str(self.folder), "-c", str(self._configuration)]
        command += ["-e", str(self.folder / "error.log"), "-g", directives]
        self.process = subprocess.Popen(command)
        wait_for(self._is_listening, "nginx")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGQUIT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            self.process.wait(10)
        print((self.folder / "error.log").read_text()[-4000:])

    def _is_listening(self) -> bool:
        assert self.process.poll() is None, (self.folder / "error.log").read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except OSError:
            return False
        return True

    def tries(self, since: int = 0) -> list[Try]:
        """Return the requests in the access log after that many lines."""
        lines = self._log.read_text().split("\n")[since:-1]
        return [self._try(*line.split("|")) for line in lines]

    @staticmethod
    def _try(size: str, status: str, workers: str, answers: str) -> Try:
        codes = [int(code) for code in answers.split(", ") if code.isdecimal()]
        return Try(int(size), int(status), workers.split(", "), codes)


@pytest.fixture
def workers() -> cabc.Iterator[list[Worker]]:
    both = [Worker(port) for port in ports.free(2)]
    try:
        yield both
    finally:
        for worker in both:
            if worker.process is not None and worker.process.poll() is None:
                worker.end(signal.SIGTERM)  # SIGKILL does not end its children


@pytest.fixture
def nginx(tmp_path: pathlib.Path, workers: list[Worker]) -> Nginx:
    if shutil.which("nginx") is None:
        text = "nginx is not installed. Install it with apt."
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    return Nginx(tmp_path, workers)


@pytest.fixture
def topic(unique: Unique) -> str:
    return unique("names")


@pytest.fixture
def greetings(kafka: Kafka) -> Greetings:
    """Return a function that reads the greetings of some names: ``greetings(names, count)``.

    It continues for a moment after so many greetings, to check that there are no more.
    """

    def read(names: cabc.Collection[str], count: int) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {name: [] for name in names}
        deadline = time.monotonic() + 120
        complete = False
        consumer = Consumer(
            {
                "bootstrap.servers": kafka.bootstrap,
                "group.id": uuid.uuid4().hex,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
            }
        )
        consumer.subscribe(["greetings"])
        try:
            while time.monotonic() < deadline:
                for message in consumer.consume(500, timeout=0.1):
                    name = (message.key() or b"").decode()
                    if name in found:
                        found[name].append(
                            GreetResponse.FromString(message.value() or b"").greeting
                        )
                if not complete and sum(map(len, found.values())) >= count:
                    complete, deadline = True, time.monotonic() + 2
        finally:
            consumer.close()
        assert sum(map(len, found.values())) == count
        return found

    return read


@pytest.fixture
def start_job(
    start_cluster: cabc.Callable[..., Cluster], nginx: Nginx, unique: Unique, topic: str
) -> cabc.Callable[[], Cluster]:
    """Return a function that runs the deployed module on a topic of the test's own."""
    module = (GREETER / "deployed.yaml").read_text().replace("topic: names", f"topic: {topic}")
    module = module.replace("consumerGroupId: greeter", f"consumerGroupId: {unique('greeter')}")
    return lambda: start_cluster(module, endpoint=f"http://127.0.0.1:{nginx.port}")


def test_no_name_is_lost_while_workers_are_replaced_and_killed(
    nginx: Nginx,
    workers: list[Worker],
    start_job: cabc.Callable[[], Cluster],
    topic: str,
    unique: Unique,
    produce: cabc.Callable[..., None],
    greetings: Greetings,
) -> None:
    """10,000 names, without a failed request on either side of the load balancer."""
    names = [f"{unique('name')}-{number}" for number in range(KEYS)]
    for worker in workers:
        worker.start()

    done = threading.Event()
    rounds = 0

    def produce_all() -> None:
        """Produce 10,000 names or more, until the workers have been stopped and started."""
        nonlocal rounds
        while rounds < ROUNDS or not done.is_set():
            produce(topic, [(name, GreetRequest(name=name).SerializeToString()) for name in names])
            rounds += 1
            done.wait(0.1)

    with nginx:
        cluster = start_job()
        producing = threading.Thread(target=produce_all)
        producing.start()
        try:
            more(nginx, "the first names")
            start = len(nginx.tries())
            with long_batch(workers[0]):
                assert workers[0].end(signal.SIGTERM) == 0
            more(nginx, "names without the first worker")
            workers[0].start()
            answered_by(nginx, workers[0])
            drained = nginx.tries(start)

            workers[1].end(signal.SIGKILL)
            more(nginx, "names without the second worker")
            workers[1].start()
            answered_by(nginx, workers[1])
        finally:
            done.set()
            producing.join()
        found = greetings(names, KEYS * rounds)

    assert {each.status for each in drained} == {200}
    assert any(each.answers[0] == 503 for each in drained), "no request came in its way"
    assert cluster.job.failure() is None
    assert found == {
        name: [
            f"Say hello to {name} from Flask. I've seen them {seen} times now."
            for seen in range(1, rounds + 1)
        ]
        for name in names
    }


@contextlib.contextmanager
def long_batch(worker: Worker) -> cabc.Iterator[None]:
    """Send a worker a batch that takes seconds, and check that it is answered."""
    body = request_of("long", 200_000)  # which takes a while, and the worker works meanwhile
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(post, worker.port, body)
        before = worker.worked()
        wait_for(lambda: worker.worked() > before + 0.6, "the batch to begin")
        yield
        assert asked.result() == 200


def post(port: int, body: bytes) -> int:
    """Send a request to a worker or the load balancer, and return the status."""
    headers = {"Content-Type": "application/octet-stream"}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        connection.request("POST", "/statefun", body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status


def more(nginx: Nginx, what: str, count: int = 100) -> None:
    """Wait until that many more requests were answered."""
    start = len(nginx.tries())
    wait_for(lambda: len(nginx.tries()) >= start + count, what)


def answered_by(nginx: Nginx, worker: Worker) -> None:
    """Wait until a worker has answered again."""
    start = len(nginx.tries())
    address = f"127.0.0.1:{worker.port}"
    wait_for(
        lambda: any(
            each.workers[-1] == address and each.status == 200 for each in nginx.tries(start)
        ),
        f"an answer of the worker at {address}",
    )


def test_a_batch_of_2_mb_passes(
    nginx: Nginx,
    workers: list[Worker],
    start_job: cabc.Callable[[], Cluster],
    topic: str,
    unique: Unique,
    produce: cabc.Callable[..., None],
    greetings: Greetings,
) -> None:
    """Messages that arrive while no worker runs form one batch."""
    name = unique("long") + "g" * 10_000
    record = (name, GreetRequest(name=name).SerializeToString())
    sent = largest = 0
    with nginx:
        cluster = start_job()
        # A worker may start before a busy engine has read all messages; then the test tries again.
        while largest < 2_000_000 and sent < 3_000:
            before = len(nginx.tries())
            produce(topic, [record])
            wait_for(lambda before=before: len(nginx.tries()) > before, "a request")
            produce(topic, [record] * 299)
            sent += 300
            workers[0].start()
            found = greetings([name], sent)
            assert workers[0].end(signal.SIGTERM) == 0
            largest = max(each.size for each in nginx.tries() if each.status == 200)
    assert [text.rpartition(" seen ")[2] for text in found[name]] == [
        f"them {seen} times now." for seen in range(1, sent + 1)
    ]
    assert cluster.job.failure() is None
    assert largest > 2_000_000


@pytest.mark.parametrize(
    "options",
    [(), ("--direct",), ("--server", "granian", "--workers", "2"), ("--server", "asgi")],
    ids=["waitress", "direct", "granian", "asgi"],
)
def test_no_request_fails_while_a_worker_is_replaced(
    nginx: Nginx, workers: list[Worker], options: tuple[str, ...]
) -> None:
    for worker in workers:
        worker.start(*options)
    done = threading.Event()
    body = request_of("bob", 100)

    def ask() -> set[int]:
        statuses = set()
        while not done.is_set():
            statuses.add(post(nginx.port, body))
        return statuses

    with nginx, concurrent.futures.ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask) for _ in range(8)]
        try:
            for worker in workers:
                more(nginx, "some answers")
                assert worker.end(signal.SIGTERM) == 0
                more(nginx, "answers of the other one")
                worker.start(*options)
                answered_by(nginx, worker)
        finally:
            done.set()
        assert set().union(*(each.result() for each in asked)) == {200}
        assert any(len(each.workers) > 1 for each in nginx.tries())


@pytest.mark.parametrize("left_out", [None, r"client_max_body_size .*;"])
def test_the_size_of_a_batch_is_the_workers_affair(
    nginx: Nginx, workers: list[Worker], left_out: str | None
) -> None:
    if left_out is not None:
        nginx.without(left_out)
    workers[0].start()
    with nginx:
        answer = post(nginx.port, bytes(2_000_000))
    # The worker detects that the body is not a ToFunction.
    assert answer == (400 if left_out is None else 413)
