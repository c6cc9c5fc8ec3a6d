"""A waitress server in a thread of this process."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import contextlib
import http.client
import logging
import os
import pathlib
import socket
import threading
import typing as t

import pytest
from flask import Flask

from statefun_flask import Address
from statefun_flask import asgi_app
from statefun_flask import AsgiTransport
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import GranianTransport
from statefun_flask import lambda_handler
from statefun_flask import StateFun
from statefun_flask import StateFunFlask
from statefun_flask import WaitressTransport
from statefun_flask import wsgi_app
from statefun_flask.transport import WaitressServer
from statefun_flask.transport.listen import ListenAddress

OCTET_STREAM = {"Content-Type": "application/octet-stream"}
Ask: t.TypeAlias = cabc.Callable[..., list[str]]


def echo(context: Context, text: str) -> Effects:
    return Effects().send(Address("test/sink", "me"), text)


@pytest.fixture
def registry() -> FunctionRegistry:
    registry = FunctionRegistry()
    registry.register("test/echo", echo)
    return registry


@contextlib.contextmanager
def running(
    served: t.Any, listen: str = "127.0.0.1:0", **options: t.Any
) -> cabc.Iterator[ListenAddress]:
    """Serve in a thread, and yield the address of the started server."""
    server = WaitressTransport(listen, **options)._bind(served)
    told: concurrent.futures.Future[ListenAddress] = concurrent.futures.Future()
    thread = threading.Thread(target=server.run, kwargs={"started": told.set_result})
    thread.start()
    try:
        yield told.result(10)
    finally:
        server.stop()
        thread.join(10)
        assert not thread.is_alive()


def call(
    listen: ListenAddress,
    body: bytes,
    *,
    method: str = "POST",
    path: str = "/statefun",
    headers: dict[str, str] = OCTET_STREAM,
) -> tuple[int, str, str]:
    with contextlib.closing(http.client.HTTPConnection(listen.netloc, timeout=10)) as connection:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
        return response.status, response.headers["Content-Type"], text


def test_a_registry_is_served_without_an_app(registry: FunctionRegistry, ask: Ask) -> None:
    with running(registry) as listen:
        assert listen.port != 0
        assert ask(listen.url("/statefun"), "test/echo", "one", "two") == ["one", "two"]


@pytest.mark.parametrize("direct", [False, True])
def test_an_app_is_served(direct: bool, ask: Ask) -> None:
    app = StateFunFlask("example")
    app.statefun("test/echo")(echo)
    app.config["STATEFUN_URL"] = "/functions"
    with running(app, direct=direct) as listen:
        status, kind, _ = call(listen, b"", path="/functions")
        assert (status, kind) == (400, "text/plain; charset=utf-8")
        assert call(listen, b"")[0] == 404


def test_a_plain_app_is_served(ask: Ask) -> None:
    app = Flask("example")
    StateFun(app)
    app.statefun("test/echo")(echo)  # type: ignore[attr-defined]
    with running(app) as listen:
        assert ask(listen.url("/statefun"), "test/echo", "hello") == ["hello"]


def test_an_app_without_the_extension_is_refused() -> None:
    with pytest.raises(RuntimeError) as raised:
        WaitressTransport("127.0.0.1:0")._bind(Flask("example"))
    assert str(raised.value) == (
        "The app 'example' has no StateFun extension. Call 'StateFun().init_app(app)' before it is"
        " served."
    )


@pytest.mark.parametrize("kind", ["registry", "app", "direct app"])
def test_bad_requests_are_answered_and_the_next_one_is_served(
    kind: str, registry: FunctionRegistry, ask: Ask, encode: t.Any
) -> None:
    app = StateFunFlask("example")
    app.statefun("test/echo")(echo)
    app.config["STATEFUN_MAX_REQUEST_BYTES"] = 2_000_000
    served = registry if kind == "registry" else app
    options = {"max_request_bytes": 2_000_000} if kind == "registry" else {}
    good = encode("test/echo", "hello")
    with running(served, direct=kind == "direct app", **options) as listen:
        cases: list[tuple[int, bytes, dict[str, t.Any]]] = [
            (400, b"", {}),
            (400, b"\x00" * 1_000_000, {}),
            (400, good[:-1], {}),
            (415, good, {"headers": {"Content-Type": "application/json"}}),
            (415, good, {"headers": {}}),
            (405, b"", {"method": "GET"}),
            (405, good, {"method": "PUT"}),
            (503, encode("test/unknown", "hello"), {}),
            (404, good, {"path": "/other"}),
        ]
        if kind != "registry":
            # For a registry waitress itself refuses the length, and closes the connection while
            # the client may still be sending: the next test sends no body.
            cases.append((413, b"\x00" * 2_000_001, {}))
        for status, body, how in cases:
            answered, content_type, text = call(listen, body, **how)
            assert answered == status, (how, text)
            if status in (400, 413, 415, 503):
                assert content_type == "text/plain; charset=utf-8"
                assert text.count(". ") >= 1, text
            assert ask(listen.url("/statefun"), "test/echo", "hello") == ["hello"]


def test_a_registry_refuses_a_large_body_before_it_is_sent(registry: FunctionRegistry) -> None:
    with (
        running(registry, max_request_bytes=100) as listen,
        contextlib.closing(http.client.HTTPConnection(listen.netloc, timeout=10)) as connection,
    ):
        connection.putrequest("POST", "/statefun")
        for name, value in (OCTET_STREAM | {"Content-Length": "101"}).items():
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.getresponse().status == 413


def test_a_chunked_body_is_read(registry: FunctionRegistry, encode: t.Any, decode: t.Any) -> None:
    """The runtime never sends one; proxies do."""
    body = encode("test/echo", "x" * 100_000)
    pieces = (body[start : start + 1000] for start in range(0, len(body), 1000))
    with (
        running(registry) as listen,
        contextlib.closing(http.client.HTTPConnection(listen.netloc, timeout=10)) as connection,
    ):
        connection.request("POST", "/statefun", pieces, OCTET_STREAM, encode_chunked=True)
        response = connection.getresponse()
        assert response.status == 200
        assert decode(response.read()) == ["x" * 100_000]


def test_a_connection_is_kept_open(registry: FunctionRegistry, encode: t.Any) -> None:
    with (
        running(registry) as listen,
        contextlib.closing(http.client.HTTPConnection(listen.netloc, timeout=10)) as connection,
    ):
        connection.connect()
        kept = connection.sock
        for _ in range(5):
            connection.request("POST", "/statefun", encode("test/echo", "hello"), OCTET_STREAM)
            assert connection.getresponse().read()
            assert connection.sock is kept


def test_requests_at_the_same_time_are_answered_by_threads(
    registry: FunctionRegistry, ask: Ask
) -> None:
    together = threading.Barrier(4)

    def wait(context: Context, text: str) -> Effects:
        together.wait(10)
        return echo(context, text)

    registry.register("test/wait", wait)
    with (
        running(registry, threads=4) as listen,
        concurrent.futures.ThreadPoolExecutor(4) as pool,
    ):
        url = listen.url("/statefun")
        asked = [pool.submit(ask, url, "test/wait", str(each)) for each in range(4)]
        assert [each.result(10) for each in asked] == [["0"], ["1"], ["2"], ["3"]]


def test_requests_in_flight_are_answered_at_a_stop(registry: FunctionRegistry, ask: Ask) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait(context: Context, text: str) -> Effects:
        begun.set()
        assert go_on.wait(10)
        return echo(context, text)

    registry.register("test/wait", wait)
    server = WaitressTransport("127.0.0.1:0")._bind(registry)
    thread = threading.Thread(target=server.run)
    thread.start()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, server.listen.url("/statefun"), "test/wait", "late")
        assert begun.wait(10)
        server.stop()
        go_on.set()
        assert asked.result(10) == ["late"]
    thread.join(10)
    assert not thread.is_alive()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((server.listen.host, server.listen.port), timeout=5)


def test_a_server_that_never_ran_releases_its_port(registry: FunctionRegistry) -> None:
    server = WaitressTransport("127.0.0.1:0")._bind(registry)
    server.stop()
    server.run()
    with socket.create_server((server.listen.host, server.listen.port)):
        pass


def test_a_unix_socket_is_served_and_removed(
    registry: FunctionRegistry, ask: Ask, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "functions.sock"
    with running(registry, f"unix:{path}") as listen:
        assert listen.url("/statefun") == f"http+unix://{path}/statefun"
        assert ask(listen.url("/statefun"), "test/echo", "hello") == ["hello"]
    assert not path.exists()


def test_ipv6_is_served(registry: FunctionRegistry) -> None:
    if not socket.has_ipv6:
        pytest.skip("This machine has no IPv6.")
    try:
        with running(registry, "[::1]:0") as listen:
            assert listen.url("/statefun") == f"http://[::1]:{listen.port}/statefun"
            assert call(listen, b"")[0] == 400
    except OSError as exc:
        pytest.skip(f"This machine has no IPv6: {exc}")


TRANSPORTS = [WaitressTransport, GranianTransport, AsgiTransport]


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"uri": "/x"}, TypeError),
        ({"url": "functions"}, ValueError),
        ({"unknown_function_status": 200}, ValueError),
        ({"max_request_bytes": "64"}, ValueError),
        ({"protocol": "v9"}, ValueError),
    ],
)
def test_a_wrong_setting_is_refused_at_once(
    transport: t.Any, options: dict[str, t.Any], error: type[Exception]
) -> None:
    (name,) = options
    with pytest.raises(error, match=f"'{name}'"):
        transport(**options)
    for make in (wsgi_app, asgi_app, lambda_handler):
        with pytest.raises(error, match=f"'{name}'"):
            make(FunctionRegistry(), **options)


def test_asgi_is_always_direct() -> None:
    with pytest.raises(TypeError, match="'direct'"):
        AsgiTransport(direct=True)  # type: ignore[call-arg]


def test_a_wrong_address_is_refused() -> None:
    with pytest.raises(ValueError, match="'nowhere' is not an address to listen on"):
        WaitressTransport("nowhere")._bind(FunctionRegistry())


def test_a_server_is_made_without_traces_in_the_process(registry: FunctionRegistry) -> None:
    level = logging.getLogger("waitress.queue").level
    policy = os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else None

    server = WaitressTransport("127.0.0.1:0")._bind(registry)
    assert isinstance(server, WaitressServer)
    server.stop()
    server.run()
    transport = WaitressTransport("127.0.0.1:0")
    with pytest.raises(ZeroDivisionError):
        transport.run(registry, started=lambda listen: 1 // 0)  # type: ignore[arg-type,return-value]

    assert logging.getLogger("waitress.queue").level == level
    assert policy is None or os.sched_getscheduler(0) == policy
