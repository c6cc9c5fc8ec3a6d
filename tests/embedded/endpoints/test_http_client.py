"""HTTP/1.1 responses, byte for byte, over a pair of sockets."""

from __future__ import annotations

import socket
import threading
import typing as t

import hypothesis
import pytest
from hypothesis import strategies as st

from statefun_flask.embedded.endpoints.http_client import BadResponse
from statefun_flask.embedded.endpoints.http_client import Connection
from statefun_flask.embedded.endpoints.http_client import Response
from statefun_flask.embedded.endpoints.http_client import TooLarge

HEAD = b"POST / HTTP/1.1\r\nHost: here\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


def ask(*said: bytes, largest: int = 1000) -> tuple[Response, bool]:
    """Serve bytes and close; return the response, and whether the connection is kept."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(10)
        connection = Connection(ours, HEAD)

        def say() -> None:
            asked = b""
            while not asked.endswith(b"\r\n\r\n"):
                asked += theirs.recv(1000)
            for part in said:
                theirs.sendall(part)
            theirs.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=say)
        thread.start()
        try:
            answer = connection.post(b"", largest)
        finally:
            thread.join()
            connection.close()
    return answer, connection.is_kept


def test_a_request_is_sent_as_a_whole_and_the_next_on_the_same_connection() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = Connection(ours, HEAD)
        for body in (b"a body", b""):
            theirs.sendall(OK + b"Content-Length: 2\r\n\r\nhi")
            assert connection.post(body, 10) == Response(200, {"content-length": "2"}, b"hi")
            assert connection.is_kept
            sent = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            assert theirs.recv(1000) == sent
        connection.close()


#: (the bytes after the status line, the body, whether the connection is kept)
BODIES = {
    "length": (b"Content-Length: 2\r\n\r\nhi", b"hi", True),
    "names in any case": (b"CONTENT-length:2 \r\n\r\nhi", b"hi", True),
    "only newlines": (b"Content-Length: 2\n\nhi", b"hi", True),
    "nothing": (b"Content-Length: 0\r\n\r\n", b"", True),
    "to the end": (b"X: y\r\n\r\nhi", b"hi", False),
    "said to end": (b"Connection: Close\r\nContent-Length: 2\r\n\r\nhi", b"hi", False),
    "chunks": (
        b"Transfer-Encoding: Chunked\r\n\r\n1\r\nh\r\n01;x=y\r\ni\r\n0\r\n\r\n",
        b"hi",
        True,
    ),
    "trailers": (b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\n", b"hi", True),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies(name: str) -> None:
    said, body, is_kept = BODIES[name]
    answer, kept = ask(OK + said)
    assert (answer.body, kept) == (body, is_kept)
    assert ask(*(bytes([byte]) for byte in OK + said)) == (answer, kept), "byte by byte"


def test_the_first_of_several_headers_counts() -> None:
    answer, _ = ask(OK + b"A: 1\r\na: 2\r\nB: x: y\r\nContent-Length: 0\r\n\r\n")
    assert answer.headers == {"a": "1", "b": "x: y", "content-length": "0"}


def test_informational_responses_are_skipped() -> None:
    answer, kept = ask(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
    )
    assert (answer, kept) == (Response(503, {"content-length": "0"}, b""), True)


@pytest.mark.parametrize("status", [204, 304])
def test_responses_without_a_body(status: int) -> None:
    answer, kept = ask(b"HTTP/1.1 %d \r\n\r\n" % status)
    assert (answer, kept) == (Response(status, {}, b""), True)


@pytest.mark.parametrize(("said", "is_kept"), [(b"", False), (b"Connection: keep-alive\r\n", True)])
def test_http_1_0_ends_the_connection_unless_it_says_otherwise(said: bytes, is_kept: bool) -> None:
    _, kept = ask(b"HTTP/1.0 200 OK\r\n" + said + b"Content-Length: 0\r\n\r\n")
    assert kept is is_kept


OK_TEXT = OK.decode()
BAD = {
    "hello\r\n": "b'hello', which is no HTTP/1.1",
    "HTTP/2 200 OK\r\n": "b'HTTP/2 200 OK', which is no HTTP/1.1",
    "HTTP/1.1 20x OK\r\n": "b'HTTP/1.1 20x OK', which is no HTTP/1.1",
    f"{OK_TEXT}nothing\r\n\r\n": "with the header b'nothing', which is none",
    f"{OK_TEXT}Content-Length: -1\r\n\r\n": "with the length '-1', which is no number",
    f"{OK_TEXT}Transfer-Encoding: gzip\r\n\r\n": "with the transfer encoding 'gzip'",
    f"{OK_TEXT}Transfer-Encoding: chunked\r\n\r\n-2\r\nhi\r\n": (
        "with the chunk size b'-2', which is no number"
    ),
    OK_TEXT + "A: b\r\n" * 100 + "\r\n": "with more than 100 headers",
    f"{OK_TEXT}A: {'b' * 70_000}": "with a line of more than 65536 bytes",
}


@pytest.mark.parametrize("said", BAD, ids=range(len(BAD)))
def test_responses_that_are_not_http(said: str) -> None:
    with pytest.raises(BadResponse) as caught:
        ask(said.encode())
    assert str(caught.value) == f"it answers {BAD[said]}"


WHOLE = OK + b"Content-Type: x/y\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_an_answer_that_is_cut_off_is_a_lost_connection(length: int) -> None:
    with pytest.raises(ConnectionError):
        ask(WHOLE[:length])


@pytest.mark.parametrize(
    "said",
    [
        b"Content-Length: 11\r\n\r\n" + b"x" * 11,
        b"\r\n" + b"x" * 11,
        b"Transfer-Encoding: chunked\r\n\r\n6\r\nxxxxxx\r\n5\r\nxxxxx\r\n0\r\n\r\n",
    ],
)
def test_a_large_answer_is_refused(said: bytes) -> None:
    with pytest.raises(TooLarge):
        ask(OK + said, largest=10)
    answer, _ = ask(OK + said, largest=11)
    assert answer.body == b"x" * 11


@hypothesis.given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.data())
def test_chunks_make_the_body_however_they_arrive(chunks: list[bytes], data: t.Any) -> None:
    said = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    said += b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    cut = data.draw(st.integers(0, len(said)))
    answer, kept = ask(said[:cut], said[cut:])
    assert (answer.body, kept) == (b"".join(chunks), True)


def test_no_answer_in_time() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.01)
        connection = Connection(ours, HEAD)
        with pytest.raises(TimeoutError):
            connection.post(b"", 10)
        connection.close()
