"""The contestants of the HTTP benchmark, each on a server of its own."""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import typing as t

from . import peers
from . import programs
from .cases import Case

HERE = pathlib.Path(__file__).parent / "contestants"
_HEADERS = {"Content-Type": "application/octet-stream"}


class Contestant(t.NamedTuple):
    """A contestant, and how it is started.

    :param group: The group, which determines the colour in the plot.
    :param python: The environment of :mod:`benchmarks.peers`, or None for a program of
        :mod:`benchmarks.programs`.
    :param cases: The cases in which it is measured.
    :param quick: Whether it is part of a quick run.
    :param batch: Whether its threads are put under SCHED_BATCH, as our transports do.
    """

    key: str
    title: str
    group: str
    python: str | None
    arguments: tuple[str, ...]
    cases: str = "abcde"
    quick: bool = False
    batch: bool = False

    def command(self, port: int) -> tuple[list[str], pathlib.Path | None]:
        """Return the command that serves at a port, and the folder where it runs."""
        if self.python is not None:
            script, *rest = self.arguments
            policy = ["chrt", "--batch", "0"] if self.batch else []
            command = [*policy, peers.python(self.python), str(HERE / script), *rest, str(port)]
            return command, None
        name = self.arguments[0]
        return [*programs.PROGRAMS[name].run, str(port)], programs.folder(name)

    def missing(self) -> list[str]:
        """Return the tools that it needs and that are missing."""
        if self.python is None:
            return programs.missing(self.arguments[0])
        return ["chrt"] if self.batch and shutil.which("chrt") is None else []


def _ours(key: str, title: str, cases: str = "abcde", quick: bool = False) -> Contestant:
    return Contestant(f"ours {key}", title, "ours", "ours", ("ours_http.py", key), cases, quick)


def _floor(kind: str, key: str, title: str, cases: str = "abcd", quick: bool = False) -> Contestant:
    arguments = ("floor_http.py", kind, key)
    return Contestant(f"{kind} {key}", title, kind, "ours", arguments, cases, quick)


def _batch(kind: str, key: str, title: str, quick: bool = False) -> Contestant:
    arguments = ("floor_http.py", kind, key)
    title = f"{title}, SCHED_BATCH"
    return Contestant(
        f"{kind} {key} batch", title, kind, "ours", arguments, "abcd", quick, batch=True
    )


def _sdk(name: str, key: str, title: str, cases: str = "abcde", quick: bool = False) -> Contestant:
    arguments = ("sdk_http.py", key)
    return Contestant(f"{name} {key}", title, name, f"{name}-http", arguments, cases, quick)


def _program(name: str, title: str) -> Contestant:
    return Contestant(name, title, "other", None, (name,), quick=True)


CONTESTANTS = [
    _ours("granian-direct", "granian, direct", "abcd", quick=True),
    _ours("granian-threads", "granian, direct, 256 threads", "e"),
    _ours("granian", "granian, Flask view", "abcd"),
    _ours("granian-asgi", "granian, ASGI", quick=True),
    _ours("uvicorn", "uvicorn"),
    _ours("waitress-direct", "waitress, direct", "abcd"),
    _ours("waitress", "waitress, Flask view", quick=True),
    _program("java", "Java 3.3.0, Undertow"),
    _program("rust", "Rust 0.2.0-alpha.2, hyper"),
    _program("go", "Go 3.3.0, net/http"),
    _program("js", "JavaScript 3.3.0, node"),
    _sdk("fork", "uvicorn", "flink-statefun 3.5.0, uvicorn", quick=True),
    _sdk("fork", "aiohttp", "flink-statefun 3.5.0, aiohttp"),
    _sdk("fork", "granian", "flink-statefun 3.5.0, granian WSGI", "abcd"),
    _sdk("fork", "flask-waitress", "flink-statefun 3.5.0, Flask on waitress"),
    _sdk("apache", "aiohttp", "apache-flink-statefun 3.3.0, aiohttp", quick=True),
    _sdk("apache", "flask-waitress", "apache-flink-statefun 3.3.0, Flask on waitress"),
    _floor("typed", "granian", "raw protobuf, granian WSGI", quick=True),
    _batch("typed", "granian", "raw protobuf, granian WSGI", quick=True),
    _floor("typed", "granian-asgi", "raw protobuf, granian ASGI", "abcde"),
    _floor("typed", "uvicorn", "raw protobuf, uvicorn", "abcde"),
    _floor("typed", "waitress", "raw protobuf, waitress"),
    _floor("typed", "flask-waitress", "raw protobuf, Flask on waitress", quick=True),
    _batch("typed", "waitress", "raw protobuf, waitress"),
    _batch("typed", "flask-waitress", "raw protobuf, Flask on waitress"),
    _floor("constant", "granian", "constant answer, granian WSGI"),
    _floor("constant", "waitress", "constant answer, waitress"),
    _floor("constant", "flask-waitress", "constant answer, Flask on waitress", quick=True),
]


class Server:
    """A running contestant, on one core if the machine has several.

    :param core: The core, or None for any.
    """

    def __init__(self, contestant: Contestant, core: int | None) -> None:
        self.contestant = contestant
        self.port = _free_port()
        command, folder = contestant.command(self.port)
        pin = [] if core is None else ["taskset", "-c", str(core)]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [*pin, *command], cwd=folder, stdout=self._log, stderr=subprocess.STDOUT
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/statefun"

    def wait(self) -> None:
        """Wait until it listens.

        :raises RuntimeError: It ended, or takes more than half a minute.
        """
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            if self._listens():
                return
            time.sleep(0.02)
        raise RuntimeError(f"{self.contestant.key} does not serve: {self.said()}")

    def _listens(self) -> bool:
        with socket.socket() as client:
            client.bind(("127.0.0.1", 0))
            if client.getsockname()[1] == self.port:
                # The connection would be to itself.
                return False
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def said(self) -> str:
        """Return its output."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-3000:]

    def ask(self, case: Case) -> bytes:
        """Return the answer to a request.

        :raises RuntimeError: The response is an error.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", "/statefun", case.body, _HEADERS)
            response = connection.getresponse()
            body = response.read()
        if response.status != 200:
            raise RuntimeError(f"{self.contestant.key}: {response.status} {body!r}: {self.said()}")
        return body

    def cpu(self) -> float | None:
        """Return its CPU seconds so far, with its workers; None if unknown."""
        return cpu(self.process.pid) if sys.platform == "linux" else None

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process and its children so far, on Linux."""
    return sum(map(_ticks, family(pid))) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    """Return the resident memory of a process in megabytes, on Linux."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    (line,) = (each for each in status.splitlines() if each.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    children = pathlib.Path(f"/proc/{pid}/task").glob("*/children")
    pids = [int(child) for path in children for child in path.read_text().split()]
    return [pid, *(each for child in pids for each in family(child))]


def _ticks(pid: int) -> int:
    """Return the CPU time of a process, in its own code and in the kernel."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def cores() -> tuple[int | None, int | None]:
    """Return the core for servers and the core for the load; None without two cores."""
    if sys.platform != "linux" or shutil.which("taskset") is None:
        return None, None
    available = sorted(os.sched_getaffinity(0))
    return (available[0], available[1]) if len(available) > 1 else (None, None)
