from __future__ import annotations

import collections.abc as cabc
import contextlib
import functools
import http.client
import pathlib
import re
import signal
import socket
import subprocess
import sys
import typing as t

import pytest
import waiting
from to_function import request_bytes

from statefun_flask.protocol.schema.request_reply_v3 import FromFunction
from statefun_flask.protocol.schema.types import StringWrapper

HERE = pathlib.Path(__file__).parent
OCTET_STREAM = {"Content-Type": "application/octet-stream"}


def _encode(typename: str, *texts: str) -> bytes:
    return request_bytes(*texts, target=typename, id="me")


def _decode(body: bytes) -> list[str]:
    result = FromFunction.FromString(body).invocation_result
    return [
        StringWrapper.FromString(each.argument.value).value for each in result.outgoing_messages
    ]


@pytest.fixture(scope="session")
def encode() -> cabc.Callable[..., bytes]:
    """Return a function that makes a request: ``encode(typename, *texts)``."""
    return _encode


@pytest.fixture(scope="session")
def decode() -> cabc.Callable[[bytes], list[str]]:
    """Return a function that reads the texts of a reply's messages."""
    return _decode


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def _connect(url: str) -> http.client.HTTPConnection:
    scheme, _, rest = url.partition("://")
    if scheme == "http+unix":
        return _UnixConnection(rest.removesuffix("/statefun"))
    return http.client.HTTPConnection(rest.partition("/")[0], timeout=10)


@pytest.fixture(scope="session")
def connect() -> cabc.Callable[[str], http.client.HTTPConnection]:
    """Return a function that makes a connection to a URL."""
    return _connect


def _ask(url: str, typename: str, *texts: str) -> list[str]:
    with contextlib.closing(_connect(url)) as connection:
        connection.request("POST", "/statefun", _encode(typename, *texts), OCTET_STREAM)
        response = connection.getresponse()
        body = response.read()
    assert response.status == 200, body
    assert response.headers["Content-Type"] == "application/octet-stream"
    return _decode(body)


@pytest.fixture(scope="session")
def ask() -> cabc.Callable[..., list[str]]:
    """Return a function that calls a function: ``ask(url, typename, *texts)``."""
    return _ask


wait_for = functools.partial(waiting.wait_for, seconds=15)


@pytest.fixture(scope="session", name="wait_for")
def _wait_for() -> cabc.Callable[..., None]:
    """Return a function that waits until a condition holds: ``wait_for(condition, what)``."""
    return wait_for


class Serving:
    """A server process, with the URL that it printed."""

    def __init__(self, command: cabc.Sequence[str | pathlib.Path]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=HERE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = t.cast("t.IO[str]", self.process.stdout)
        try:
            self.announced = self.output.readline()
            found = re.search(r"https?(\+unix)?://\S+", self.announced)
            assert found, self.announced + self.output.read()
            self.url = found[0]
            wait_for(self._accepts, f"a server at {self.url}")
        except BaseException:
            self.close()
            raise

    def _accepts(self) -> bool:
        with contextlib.closing(_connect(self.url)) as connection:
            try:
                connection.connect()
            except OSError:
                return False
        return True

    def terminate(self) -> int:
        """Send SIGTERM, and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=15)

    def close(self) -> None:
        if self.process.poll() is None:
            self.terminate()
        self.output.close()


def _start(stack: contextlib.ExitStack, *options: str, app: str = "served.py") -> Serving:
    where = () if "--unix" in options else ("--port", "0")
    serving = Serving(("-m", "flask", "--app", app, "statefun", "serve", *where, *options))
    stack.callback(serving.close)
    return serving


@pytest.fixture
def serve() -> cabc.Iterator[cabc.Callable[..., Serving]]:
    """Return a function that starts ``flask statefun serve`` with options until the test ends."""
    with contextlib.ExitStack() as stack:
        yield functools.partial(_start, stack)


@pytest.fixture(scope="module")
def running() -> cabc.Iterator[cabc.Callable[..., Serving]]:
    """Return a function like ``serve`` whose servers are shared by the tests of a module."""
    with contextlib.ExitStack() as stack:
        yield functools.cache(functools.partial(_start, stack))


@pytest.fixture
def run_code() -> cabc.Iterator[cabc.Callable[[str], Serving]]:
    """Return a function that runs a program which prints the URL where it serves."""
    with contextlib.ExitStack() as stack:

        def start(code: str) -> Serving:
            serving = Serving(("-c", code))
            stack.callback(serving.close)
            return serving

        yield start
