"""SIGTERM on each server: running requests are answered, others refused, and the status is 0."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import time
import typing as t

import pytest
from server_paths import each_path
from server_paths import each_server
from server_paths import SERVERS

OCTET_STREAM = {"Content-Type": "application/octet-stream"}
GRANIAN = {name: SERVERS[name] for name in SERVERS if "waitress" not in name}

Ask: t.TypeAlias = cabc.Callable[..., list[str]]
Serve: t.TypeAlias = cabc.Callable[..., t.Any]


def _call(connection: http.client.HTTPConnection, method: str, *request: t.Any) -> tuple[int, str]:
    connection.request(method, *request)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


@pytest.fixture
def call(connect: t.Any) -> cabc.Callable[..., tuple[int, str]]:
    """Return a function that makes a request on a connection of its own."""

    def once(url: str, method: str, *request: t.Any) -> tuple[int, str]:
        with contextlib.closing(connect(url)) as connection:
            return _call(connection, method, *request)

    return once


@pytest.fixture
def is_ready(call: t.Any) -> cabc.Callable[[str], bool]:
    """Return a function that polls as a load balancer does, where a refusal means not ready."""

    def ask(url: str) -> bool:
        try:
            return bool(call(url, "GET", "/statefun/health")[0] == 200)
        except OSError:
            return False

    return ask


@pytest.fixture
def busy(ask: Ask, wait_for: t.Any, tmp_path: pathlib.Path) -> t.Any:
    """Return a context in which a server handles a batch, which must be answered afterwards."""

    @contextlib.contextmanager
    def begin(url: str, typename: str = "test/slow") -> cabc.Iterator[None]:
        mark = tmp_path / typename.rpartition("/")[2]
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask, url, typename, str(mark))
            wait_for(mark.exists, "the slow function")
            try:
                yield
            finally:
                mark.unlink()
            assert asked.result() == ["done"]

    return begin


@each_server
@pytest.mark.parametrize("typename", ["test/slow", "test/slow_async"])
def test_running_requests_are_answered_and_the_process_ends_with_0(
    serve: Serve,
    busy: t.Any,
    is_ready: t.Any,
    wait_for: t.Any,
    options: tuple[str, ...],
    typename: str,
) -> None:
    server = serve(*options)
    assert is_ready(server.url)
    with busy(server.url, typename):
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not is_ready(server.url), "the worker to drain")
        assert server.process.poll() is None
    assert server.process.wait(10) == 0
    assert server.output.read() == ""


def test_waitress_refuses_at_once_while_its_threads_finish_requests(
    serve: Serve, busy: t.Any, call: t.Any, connect: t.Any, encode: t.Any
) -> None:
    server = serve("--threads", "1")
    request = ("/statefun", encode("test/echo", "hello"), OCTET_STREAM)
    with contextlib.closing(connect(server.url)) as waiting, busy(server.url):
        assert call(server.url, "GET", "/statefun/health") == (
            200,
            '{"live": true, "ready": true}\n',
        )
        waiting.request("POST", *request)
        server.process.send_signal(signal.SIGTERM)
        assert waiting.getresponse().status == 503
        assert call(server.url, "POST", *request) == (
            503,
            "This worker is shutting down. Send the request to another one.\n",
        )
        assert call(server.url, "GET", "/statefun/health/ready")[0] == 503
        assert call(server.url, "GET", "/statefun/health/live")[0] == 200
    assert server.process.wait(10) == 0


@pytest.mark.slow
@each_path
def test_a_worker_is_not_ready_during_its_shutdown_delay(
    serve: Serve,
    busy: t.Any,
    call: t.Any,
    is_ready: t.Any,
    wait_for: t.Any,
    encode: t.Any,
    options: tuple[str, ...],
) -> None:
    server = serve(*options, "--shutdown-delay", "1")
    start = time.monotonic()
    with busy(server.url):
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not is_ready(server.url), "the notice")
        assert json.loads(call(server.url, "GET", "/statefun/health")[1]) == {
            "live": True,
            "ready": False,
        }
        assert call(server.url, "GET", "/statefun/health/live")[0] == 200
        request = ("/statefun", encode("test/echo", "hello"), OCTET_STREAM)
        assert call(server.url, "POST", *request)[0] == 503
    assert server.process.wait(10) == 0
    assert time.monotonic() - start >= 1


@pytest.mark.slow
@each_server
def test_a_second_signal_ends_the_shutdown_delay(
    serve: Serve, is_ready: t.Any, wait_for: t.Any, options: tuple[str, ...]
) -> None:
    server = serve(*options, "--shutdown-delay", "60")
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: not is_ready(server.url), "the notice")
    server.terminate()


@pytest.mark.slow
@each_server
def test_a_request_that_does_not_end_is_abandoned(
    serve: Serve,
    wait_for: t.Any,
    connect: t.Any,
    encode: t.Any,
    tmp_path: pathlib.Path,
    options: tuple[str, ...],
) -> None:
    server = serve(*options, "--drain-seconds", "1")
    mark = tmp_path / "mark"
    with contextlib.closing(connect(server.url)) as connection:
        connection.request("POST", "/statefun", encode("test/slow", str(mark)), OCTET_STREAM)
        wait_for(mark.exists, "the function")
        assert server.terminate() == 0
        with pytest.raises((OSError, http.client.HTTPException)):
            connection.getresponse()


@pytest.mark.slow
@pytest.mark.parametrize("options", GRANIAN.values(), ids=GRANIAN)
def test_granian_stops_listening_at_once_without_a_delay(
    serve: Serve, busy: t.Any, wait_for: t.Any, options: tuple[str, ...]
) -> None:
    server = serve(*options)
    port = int(server.url.rpartition(":")[2].partition("/")[0])

    def is_closed() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            return True
        return False

    with busy(server.url):
        server.process.send_signal(signal.SIGTERM)
        wait_for(is_closed, "the socket to close")
        # Meanwhile the workers get SIGTERM again, which must not end them.
        time.sleep(1)
        assert server.process.poll() is None
    assert server.process.wait(10) == 0


@pytest.mark.slow
def test_granian_stops_after_a_worker_was_killed(
    serve: Serve, ask: Ask, is_ready: t.Any, wait_for: t.Any
) -> None:
    server = serve("--server", "granian", "--shutdown-delay", "60")
    (pid,) = ask(server.url, "test/pid", "")
    os.kill(int(pid), signal.SIGKILL)
    wait_for(lambda: is_ready(server.url), "another worker")
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: not is_ready(server.url), "the notice")
    server.terminate()
