from __future__ import annotations

import http.client
import threading
import typing as t
import urllib.request

import pytest

from statefun_flask.flink import FlinkError
from statefun_flask.flink.ports import free
from statefun_flask.flink.serving import is_loopback
from statefun_flask.flink.serving import WorkerServer


def app(environ: dict[str, t.Any], start_response: t.Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url) as response:
        body = response.read()
    assert isinstance(body, bytes)
    return body


def test_a_server_answers_until_it_is_stopped_and_again_at_the_same_port() -> None:
    with WorkerServer(app) as server:
        url = server.url
        assert fetch(url) == b"hello"
        server.stop()
        with pytest.raises(OSError, match="refused"):
            fetch(url)
        server.start()
        assert server.url == url
        assert fetch(url) == b"hello"


def test_stop_closes_connections_that_are_kept_open() -> None:
    with WorkerServer(app) as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"hello"
        kept = connection.sock
        server.stop()
        assert kept.recv(1) == b""
        connection.close()
        server.start()


def test_as_many_connections_as_the_engine_opens_are_answered() -> None:
    # waitress accepts 100 by default, which stops the engine for 20 seconds.
    with WorkerServer(app) as server:
        connections = [
            http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=5)
            for _ in range(150)
        ]
        for connection in connections:
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"hello"
        for connection in connections:
            connection.close()


def test_a_taken_port_is_named() -> None:
    with WorkerServer(app) as server, pytest.raises(FlinkError) as info:
        WorkerServer(app, server.url).start()
    assert str(info.value) == (
        f"Cannot serve the app at {server.url}: Address already in use. Stop the program"
        " that listens there, or choose another port."
    )


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_server_listens_at_the_host_and_port_of_a_url(host: str) -> None:
    url = f"http://{host}:{free(1)[0]}"
    with WorkerServer(app, f"{url}/statefun") as server:
        assert server.url == url
        assert fetch(f"{url}/anything") == b"hello"


def test_requests_are_answered_side_by_side() -> None:
    both = threading.Barrier(2, timeout=10)

    def meeting(environ: dict[str, t.Any], start_response: t.Any) -> list[bytes]:
        both.wait()
        return app(environ, start_response)

    with WorkerServer(meeting, threads=2) as server:
        threads = [threading.Thread(target=fetch, args=(server.url,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not both.broken


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:5000/statefun", True),
        ("http://localhost/x", True),
        ("http://[::1]:5000/", True),
        ("https://127.0.0.1:5000/", False),
        ("http://worker:5000/", False),
        ("http://10.0.0.1:5000/", False),
    ],
)
def test_urls_of_this_machine_alone_are_known(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected
