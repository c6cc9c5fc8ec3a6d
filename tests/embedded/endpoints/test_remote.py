"""Endpoints over HTTP, against a server on loopback."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import gzip
import http.server
import re
import socket
import socketserver
import threading
import tracemalloc
import typing as t
import zlib

import pytest

from statefun_flask.embedded import Remote
from statefun_flask.embedded.errors import EndpointDownError
from statefun_flask.embedded.errors import EndpointError
from statefun_flask.embedded.errors import RequestTooLargeError

OCTETS = "application/octet-stream"


class Server:
    """Sends prepared responses, and keeps the requests."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 200, {"Content-Type": OCTETS}, b"answer"
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.connections: set[object] = set()
        self.close_after = False
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.connections.add(self.client_address)
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.requests.append((self.command, self.path, headers, body))
                self.send_response(server.status)
                for name, value in server.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(server.body)))
                self.end_headers()
                self.wfile.write(server.body)
                self.close_connection = server.close_after

            def log_message(self, *args: t.Any) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.handler = Handler
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server() -> cabc.Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def remote(server: Server) -> cabc.Iterator[t.Any]:
    made: list[Remote] = []

    def make(path: str = "/statefun", **options: t.Any) -> Remote:
        made.append(Remote(server.url + path, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_request_is_as_the_runtimes(server: Server, remote: t.Any) -> None:
    assert remote("/a/b?c=d")(b"body") == b"answer"
    ((method, path, headers, body),) = server.requests
    assert (method, path, body) == ("POST", "/a/b?c=d", b"body")
    assert headers["content-type"] == headers["accept"] == OCTETS
    assert headers["content-length"] == "4"
    assert headers["user-agent"] == "statefun"


def test_path_is_a_slash_without_one(server: Server, remote: t.Any) -> None:
    remote("")(b"")
    assert server.requests[0][1] == "/"


def test_characters_that_a_request_line_cannot_contain_are_quoted(
    server: Server, remote: t.Any
) -> None:
    remote("/a b/é%20?c=d e")(b"")
    assert server.requests[0][1] == "/a%20b/%C3%A9%20?c=d%20e"


def test_connection_is_kept(server: Server, remote: t.Any) -> None:
    endpoint = remote()
    for _ in range(5):
        endpoint(b"")
    assert len(server.connections) == 1


def test_connection_that_the_server_ended_is_opened_again(server: Server, remote: t.Any) -> None:
    server.close_after = True
    endpoint = remote()
    for _ in range(3):
        assert endpoint(b"") == b"answer"
    assert len(server.connections) == 3


@pytest.mark.parametrize("content_type", [OCTETS, "Application/Octet-Stream"])
@pytest.mark.parametrize("status", [200, 201])
def test_any_success_with_the_content_type_is_a_reply(
    server: Server, remote: t.Any, status: int, content_type: str
) -> None:
    server.status, server.headers = status, {"Content-Type": content_type}
    assert remote()(b"") == b"answer"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_answers(server: Server, remote: t.Any, encoding: str) -> None:
    server.headers["Content-Encoding"] = encoding
    server.body = gzip.compress(b"answer") if encoding == "gzip" else zlib.compress(b"answer")
    assert remote()(b"") == b"answer"
    server.body = server.body[:-1]
    with pytest.raises(EndpointError, match="cannot be decompressed: it is cut off"):
        remote()(b"")
    server.body = b"nonsense"
    with pytest.raises(EndpointError, match="cannot be decompressed"):
        remote()(b"")


@pytest.mark.parametrize("content_type", ["text/html", f"{OCTETS}; charset=utf-8"])
def test_other_content_types(server: Server, remote: t.Any, content_type: str) -> None:
    server.headers = {"Content-Type": content_type}
    with pytest.raises(EndpointError) as info:
        remote()(b"")
    assert str(info.value) == (
        f"{server.url}/statefun answered with the content type '{content_type}'. The runtime"
        f" takes only '{OCTETS}', without a parameter: set it in the worker."
    )


@pytest.mark.parametrize("status", [408, 420, 429, 499, 502, 503, 504])
def test_statuses_of_trouble(server: Server, remote: t.Any, status: int) -> None:
    server.status = status
    with pytest.raises(EndpointDownError) as info:
        remote()(b"")
    assert str(info.value) == (
        f"The endpoint {server.url}/statefun is down: status {status}."
        " The engine tries it again automatically."
    )


@pytest.mark.parametrize("status", [302, 400, 404, 500])
def test_statuses_about_the_message(server: Server, remote: t.Any, status: int) -> None:
    server.status, server.body = status, b"ValueError: no\nmore"
    with pytest.raises(EndpointError) as info:
        remote()(b"")
    assert str(info.value) == (
        f"{server.url}/statefun answered with the status {status}: ValueError: no."
        " The worker's log says more."
    )


def test_answer_that_is_too_large(server: Server, remote: t.Any) -> None:
    server.body = b"x" * 101
    with pytest.raises(EndpointError, match="answered with more than 100 bytes"):
        remote(largest=100)(b"")
    server.body = b"x" * 100
    assert remote(largest=100)(b"") == server.body


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_answer_that_is_too_large_when_it_is_decompressed(
    server: Server, remote: t.Any, encoding: str
) -> None:
    compress = gzip.compress if encoding == "gzip" else zlib.compress
    server.headers["Content-Encoding"] = encoding
    server.body = compress(bytes(20_000_000))
    assert len(server.body) < 20_000
    tracemalloc.start()
    try:
        with pytest.raises(EndpointError, match="answered with more than 50000 bytes"):
            remote(largest=50_000)(b"")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    server.body = compress(bytes(50_000))
    assert remote(largest=50_000)(b"") == bytes(50_000)


def test_gzip_in_several_members(server: Server, remote: t.Any) -> None:
    server.headers["Content-Encoding"] = "gzip"
    server.body = gzip.compress(b"ans") + gzip.compress(b"wer")
    assert remote(largest=100)(b"") == b"answer"
    server.body = gzip.compress(bytes(40)) * 2
    with pytest.raises(EndpointError, match="answered with more than 60 bytes"):
        remote(largest=60)(b"")


def test_status_413_is_said_in_a_sentence(server: Server, remote: t.Any) -> None:
    server.status = 413
    with pytest.raises(RequestTooLargeError) as info:
        remote()(b"x" * 100)
    assert re.fullmatch(
        rf"{server.url}/statefun answered with the status 413: a request of \d+ bytes is too large"
        r" for the worker or for a proxy before it. Raise the limit there, or send a smaller"
        r" message and keep less state in the address.",
        str(info.value),
    )


def test_call_after_a_connection_that_was_said_to_end_has_its_own_timeout(
    server: Server, remote: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.headers["Connection"] = "close"
    endpoint = remote(timeout=0.05, connect=60)
    assert endpoint(b"") == b"answer"
    asked: list[object] = []
    over = threading.Event()

    def never_answer(handler: t.Any) -> None:
        asked.append(handler)
        over.wait(2)
        handler.close_connection = True  # for which a kept connection is tried again

    monkeypatch.setattr(server.handler, "do_POST", never_answer, raising=False)
    try:
        with pytest.raises(EndpointDownError) as info:
            endpoint(b"")
    finally:
        over.set()
    assert len(asked) == 1
    assert info.value.reason == "timeout"


def test_closed_endpoint_may_be_called_and_closed_again(server: Server, remote: t.Any) -> None:
    endpoint = remote()
    for _ in range(2):
        endpoint(b"")
        endpoint.close()
    assert len(server.connections) == 2


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (
        contextlib.closing(Remote(f"http://127.0.0.1:{port}")) as endpoint,
        pytest.raises(EndpointDownError) as info,
    ):
        endpoint(b"")
    assert info.value.reason == "connection refused"
    assert not info.value.is_cut_off


def test_answer_that_does_not_come() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with (
            contextlib.closing(Remote(url, timeout=0.05)) as endpoint,
            pytest.raises(EndpointDownError) as info,
        ):
            endpoint(b"")
    assert info.value.reason == "timeout"


def test_unix_socket(server: Server, tmp_path: t.Any) -> None:
    path = tmp_path / "worker.sock"

    class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

        def get_request(self) -> tuple[socket.socket, t.Any]:
            connection, _ = super().get_request()
            return connection, ("unix", 0)

    with UnixServer(str(path), server.handler) as unix:
        thread = threading.Thread(target=unix.serve_forever, args=(0.01,))
        thread.start()
        endpoint = Remote(f"http+unix://{path}/statefun")
        try:
            assert endpoint(b"body") == b"answer"
        finally:
            endpoint.close()
            unix.shutdown()
            thread.join()
    assert server.requests[0][1] == "/statefun"
