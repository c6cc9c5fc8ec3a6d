"""Calls over HTTP, against sockets that answer as no proper server does."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import socket
import sys
import threading
import time
import typing as t

import pytest
from peer import Accepted
from peer import Behaviour
from peer import Peer
from peer import reply
from peer import serve

from statefun_flask.embedded import Remote
from statefun_flask.embedded.endpoints import resolver
from statefun_flask.embedded.errors import EndpointDownError
from statefun_flask.embedded.errors import EndpointError
from statefun_flask.embedded.errors import RequestTooLargeError


@pytest.fixture
def called() -> cabc.Iterator[cabc.Callable[..., tuple[Remote, Peer]]]:
    """Return a function that starts a peer and returns an endpoint there: ``called(behaviour)``."""
    with contextlib.ExitStack() as stack:

        def start(behaviour: Behaviour = serve, **options: t.Any) -> tuple[Remote, Peer]:
            peer = Peer(behaviour, options.pop("listener", None))
            stack.callback(peer.close)
            host = options.pop("host", None)
            url = peer.url if host is None else f"http://{host}:{peer.port}"
            return stack.enter_context(contextlib.closing(Remote(url, **options))), peer

        yield start


def down(endpoint: Remote, body: bytes = b"") -> EndpointDownError:
    with pytest.raises(EndpointDownError) as caught:
        endpoint(body)
    return caught.value


# -- answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 100_000, 5_000_000])
def test_bodies_of_any_size_go_there_and_back(called: t.Any, size: int) -> None:
    endpoint, peer = called()
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    for _ in range(3):
        assert endpoint(body) == body
    assert peer.number == 1


def test_answer_that_comes_byte_by_byte(called: t.Any) -> None:
    def drip(accepted: Accepted) -> None:
        accepted.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while accepted.request() is not None:
            for byte in reply(b"hello"):
                accepted.say(bytes([byte]))

    endpoint, peer = called(drip)
    assert [endpoint(b""), endpoint(b"")] == [b"hello", b"hello"]
    assert peer.number == 1


def test_answer_that_ends_with_its_connection(called: t.Any) -> None:
    def end(accepted: Accepted) -> None:
        accepted.request()
        accepted.say(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\nhello")

    endpoint, peer = called(end)
    assert [endpoint(b""), endpoint(b"")] == [b"hello", b"hello"]
    assert peer.number == 2


CUT = reply(b"hello")
CHUNKS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
)


@pytest.mark.parametrize("whole", [CUT, CHUNKS], ids=["length", "chunks"])
def test_answer_that_is_cut_off_anywhere(called: t.Any, whole: bytes) -> None:
    def cut(accepted: Accepted) -> None:
        accepted.request()
        accepted.say(whole[: accepted.number - 1])

    endpoint, peer = called(cut)
    for _ in whole:
        error = down(endpoint)
        assert (error.reason, error.is_cut_off) == ("connection lost", True)
    assert endpoint(b"") == b"hello"
    assert peer.number == len(whole) + 1


def test_connection_that_is_reset_before_the_reply(called: t.Any) -> None:
    def reset(accepted: Accepted) -> None:
        accepted.request()
        accepted.reset()

    error = down(called(reset)[0])
    assert (error.reason, error.is_cut_off) == ("connection lost", True)


def test_answer_that_is_not_http(called: t.Any) -> None:
    endpoint, _ = called(lambda accepted: accepted.say(b"SSH-2.0-x\r\n"))
    error = down(endpoint)
    assert error.reason.startswith("it does not answer in HTTP/1.1")
    assert error.is_cut_off


def test_chunk_with_more_than_its_size(called: t.Any) -> None:
    def lie(accepted: Accepted) -> None:
        accepted.request()
        accepted.say(CHUNKS.replace(b"5\r\nhello", b"2\r\nhiLOST"))

    assert "Expected LF after chunk data" in down(called(lie)[0]).reason


# -- time -------------------------------------------------------------------------------------


def test_answer_that_drips_has_one_deadline(called: t.Any) -> None:
    over = threading.Event()

    def drip(accepted: Accepted) -> None:
        accepted.request()
        while not over.wait(0.02):
            accepted.say(b"HTTP/1.1 103 Early Hints\r\n\r\n")

    endpoint, _ = called(drip, timeout=0.2)
    started = time.monotonic()
    try:
        error = down(endpoint)
    finally:
        over.set()
    assert (error.reason, error.is_cut_off) == ("timeout", False)
    assert 0.2 <= time.monotonic() - started < 2


def test_request_that_is_not_read_has_the_same_deadline(called: t.Any) -> None:
    endpoint, _ = called(lambda accepted: time.sleep(0.5), timeout=0.2)
    assert down(endpoint, bytes(20_000_000)).reason == "timeout"


def test_connection_that_is_not_accepted_has_the_time_to_connect(
    called: t.Any, tmp_path: t.Any
) -> None:
    """A Unix socket whose queue is full: a connection waits until there is room."""
    path = str(tmp_path / "full.sock")
    with (
        socket.socket(socket.AF_UNIX) as listener,
        contextlib.closing(Remote(f"http+unix://{path}", connect=0.15)) as endpoint,
        contextlib.ExitStack() as stack,
    ):
        listener.bind(path)
        listener.listen(0)
        for _ in range(3):  # more than the queue takes
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(path)
        error = down(endpoint)
    assert (error.reason, error.is_cut_off) == ("timeout", False)


@pytest.mark.skipif(sys.platform != "linux", reason="Other systems answer when a queue is full.")
def test_connection_that_is_not_answered_has_the_time_to_connect() -> None:
    """A queue that is full: the system answers no other connection."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        endpoint = stack.enter_context(contextlib.closing(Remote(url, timeout=20, connect=0.15)))
        started = time.monotonic()
        error = down(endpoint)
        assert time.monotonic() - started < 10
    assert (error.reason, error.is_cut_off) == ("timeout", False)


# -- connections ------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [Accepted.close, Accepted.reset])
def test_kept_connection_that_has_ended_is_replaced_once(called: t.Any, ending: t.Any) -> None:
    went = threading.Event()

    def once(accepted: Accepted) -> None:
        accepted.reply(accepted.request() or b"")
        if accepted.number < 3:
            ending(accepted)
            went.set()
        else:
            serve(accepted)

    endpoint, peer = called(once)
    for number in range(1, 5):
        assert endpoint(b"%d" % number) == b"%d" % number
        assert went.wait(10)
    assert peer.number == 3


def test_kept_connection_that_ends_at_the_request_is_replaced_once(called: t.Any) -> None:
    bodies: list[bytes | None] = []

    def die_at_the_second(accepted: Accepted) -> None:
        while (body := accepted.request()) is not None:
            bodies.append(body)
            if body == b"poison":
                return
            accepted.reply(body)

    endpoint, peer = called(die_at_the_second)
    assert endpoint(b"fine") == b"fine"
    assert down(endpoint, b"poison").is_cut_off
    assert bodies == [b"fine", b"poison", b"poison"]
    assert peer.number == 2


def test_call_is_not_repeated_when_some_of_its_reply_came(called: t.Any) -> None:
    def die_within(accepted: Accepted) -> None:
        accepted.reply(accepted.request() or b"")
        accepted.request()
        accepted.say(b"HTTP/1.1 200")

    endpoint, peer = called(die_within)
    endpoint(b"")
    assert down(endpoint).is_cut_off
    assert peer.number == 1


def test_what_comes_unasked_is_not_taken_for_the_next_answer(called: t.Any) -> None:
    got, said = threading.Event(), threading.Event()

    def babble(accepted: Accepted) -> None:
        accepted.reply(accepted.request() or b"")
        assert got.wait(10)
        got.clear()
        accepted.say(reply(b"forged"))
        said.set()
        accepted.is_over()

    endpoint, peer = called(babble)
    for body in (b"1", b"2", b"3"):
        assert endpoint(body) == body
        got.set()
        assert said.wait(10)
        said.clear()
    assert peer.number == 3


def test_status_413_is_read_though_the_server_does_not_read_the_request(called: t.Any) -> None:
    said = b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

    def refuse(accepted: Accepted) -> None:
        accepted.socket.recv(1000)
        accepted.say(said)

    endpoint, _ = called(refuse)
    with pytest.raises(RequestTooLargeError):
        endpoint(bytes(20_000_000))


def test_answer_that_is_too_large_ends_the_connection(called: t.Any) -> None:
    endpoint, peer = called(largest=10)
    with pytest.raises(EndpointError, match="answered with more than 10 bytes"):
        endpoint(bytes(11))
    assert endpoint(bytes(10)) == bytes(10)
    assert peer.number == 2


# -- hosts ------------------------------------------------------------------------------------


def test_host_is_looked_up_and_its_addresses_are_tried_in_turn(
    called: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []

    def look_up(host: str, port: int, **options: t.Any) -> t.Any:
        if options.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "not an address")
        threads.append(threading.current_thread().name)
        addresses = ["127.0.0.1", "127.0.0.1"]
        ports = [closed, port]
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", each)
            for each in zip(addresses, ports, strict=True)
        ]

    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()[1]
    endpoint, _ = called(host="worker.test")
    monkeypatch.setattr(resolver.socket, "getaddrinfo", look_up)
    assert endpoint(b"hello") == b"hello"
    assert threads == ["statefun-dns-worker.test"]


def test_host_that_does_not_exist() -> None:
    with contextlib.closing(Remote("http://worker.invalid:1")) as endpoint:
        error = down(endpoint)
    assert not error.is_cut_off
    assert error.reason


def test_look_up_that_hangs_has_the_time_to_connect(
    called: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    looked_up: list[str] = []
    real = socket.getaddrinfo

    def hang(host: str, *rest: t.Any, flags: int = 0, **options: t.Any) -> t.Any:
        if not flags:
            looked_up.append(host)
            over.wait(10)
        return real(host, *rest, flags=flags, **options)

    endpoint, _ = called(host="localhost", connect=0.05)
    monkeypatch.setattr(resolver.socket, "getaddrinfo", hang)
    try:
        for _ in range(3):
            assert down(endpoint).reason == "timeout"
        assert looked_up == ["localhost"]  # one thread for all of them
    finally:
        over.set()


def test_unix_socket(called: t.Any, tmp_path: t.Any) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "worker.sock"))
    listener.listen()
    endpoint, peer = called(listener=listener)
    for body in (b"hello", bytes(1_000_000)):
        assert endpoint(body) == body
    assert peer.number == 1


def test_unix_socket_that_does_not_exist(tmp_path: t.Any) -> None:
    with contextlib.closing(Remote(f"http+unix://{tmp_path}/no.sock")) as endpoint:
        assert "No such file" in down(endpoint).reason
    with contextlib.closing(Remote(f"http+unix://{tmp_path}/{'x' * 200}.sock")) as endpoint:
        assert "too long" in down(endpoint).reason
