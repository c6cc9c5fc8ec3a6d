"""Responses in HTTP/1.1, byte for byte."""

from __future__ import annotations

import typing as t

import hypothesis
import pytest
from hypothesis import strategies as st

from statefun_flask.embedded.endpoints.http_response import BadResponseError
from statefun_flask.embedded.endpoints.http_response import Response
from statefun_flask.embedded.endpoints.http_response import ResponseReader
from statefun_flask.embedded.endpoints.http_response import TooLargeError

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def read(*pieces: bytes, largest: int = 1000) -> Response | None:
    """Return the response that some pieces and the end of the connection make."""
    reader = ResponseReader(largest)
    for piece in pieces:
        if (response := reader.feed(piece)) is not None:
            return response
    return reader.end()


def single(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


#: (what comes after the status line, the body, whether the connection is kept)
BODIES = {
    "length": (b"Content-Length: 2\r\n\r\nhi", b"hi", True),
    "names in any case": (b"CONTENT-length:2 \r\n\r\nhi", b"hi", True),
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
    response = read(OK + said)
    assert response is not None
    assert (response.body, response.is_kept) == (body, is_kept)
    assert read(*single(OK + said)) == response, "byte by byte"


def test_reader_reads_the_responses_of_a_connection_one_after_the_other() -> None:
    reader = ResponseReader(10)
    for said, body, _ in BODIES.values():
        if b"X: y" not in said and b"Close" not in said:
            reader.begin()
            assert not reader.has_begun
            response = reader.feed(OK + said)
            assert response is not None
            assert response.body == body
            assert reader.has_begun


def test_the_first_of_several_headers_counts() -> None:
    response = read(OK + b"A: 1\r\na: 2\r\nB: x: y\r\nContent-Length: 0\r\n\r\n")
    assert response is not None
    assert response.headers == {b"a": b"1", b"b": b"x: y", b"content-length": b"0"}


def test_headers_after_the_body_are_not_headers_of_the_response() -> None:
    response = read(CHUNKED + b"2\r\nhi\r\n0\r\nContent-Encoding: gzip\r\n\r\n")
    assert response is not None
    assert b"content-encoding" not in response.headers


def test_what_comes_before_the_response_is_passed_over() -> None:
    response = read(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
    )
    assert response == Response(503, {b"content-length": b"0"}, b"", True)


@pytest.mark.parametrize("status", [204, 304])
def test_responses_without_a_body(status: int) -> None:
    assert read(b"HTTP/1.1 %d \r\n\r\n" % status) == Response(status, {}, b"", True)


@pytest.mark.parametrize(("said", "is_kept"), [(b"", False), (b"Connection: keep-alive\r\n", True)])
def test_http_1_0_ends_the_connection_unless_it_says_otherwise(said: bytes, is_kept: bool) -> None:
    response = read(b"HTTP/1.0 200 OK\r\n" + said + b"Content-Length: 0\r\n\r\n")
    assert response is not None
    assert response.is_kept is is_kept


@pytest.mark.parametrize("more", [b"x", OK + b"Content-Length: 0\r\nA: b\r\n\r\n", OK])
def test_connection_on_which_more_comes_than_the_response_is_not_kept(more: bytes) -> None:
    reader = ResponseReader(10)
    response = reader.feed(OK + b"Content-Length: 2\r\n\r\nhi" + more)
    assert response is not None
    assert (response.body, response.headers) == (b"hi", {b"content-length": b"2"})
    if more != OK:  # of which the beginning looks like a response: it is refused at the next call
        assert not response.is_kept


BAD = {
    "no HTTP": b"hello\r\n",
    "HTTP/2": b"HTTP/2 200 OK\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "RTSP": b"RTSP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "letters in the status": b"HTTP/1.1 20x OK\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status 0": b"HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n",
    "switched protocol": (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhi"),
    "no colon": OK + b"nothing\r\n\r\n",
    "a space before the colon": OK + b"A : b\r\n\r\n",
    "a continued header": OK + b"A: b\r\n c\r\n\r\n",
    "NUL in a header": OK + b"A: \0\r\n\r\n",
    "only newlines": OK + b"Content-Length: 2\n\nhi",
    "negative length": OK + b"Content-Length: -1\r\n\r\n",
    "signed length": OK + b"Content-Length: +2\r\n\r\nhi",
    "empty length": OK + b"Content-Length: \r\n\r\nhi",
    "a length of 5000 digits": OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
    "two lengths in one header": OK + b"Content-Length: 2, 3\r\n\r\nhi",
    "a length before chunks": (
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    ),
    "chunks before a length": (
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    ),
    "another transfer encoding": OK + b"Transfer-Encoding: gzip\r\n\r\nhi",
    "two transfer encodings": (
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    ),
    "chunks that are not the last encoding": (
        OK + b"Transfer-Encoding: chunked, identity\r\n\r\nhi"
    ),
    "negative chunk": CHUNKED + b"-2\r\nhi\r\n",
    "chunk size in another notation": CHUNKED + b"0x2\r\nhi\r\n",
    "chunk size without digits": CHUNKED + b"\r\nhi\r\n",
    "chunk size of 17 digits": CHUNKED + b"f" * 17 + b"\r\nhi\r\n",
    "chunk with more than its size": CHUNKED + b"2\r\nhiLOST\r\n0\r\n\r\n",
    "chunk with less than its size": CHUNKED + b"4\r\nhi\r\n0\r\n\r\n",
    "chunks with only newlines": CHUNKED + b"2\nhi\n0\n\n",
    "a head of more than 64 KiB": OK + b"A: bcdefgh\r\n" * 7000 + b"\r\n",
    "a long header": OK + b"A: " + b"b" * 70_000,
    "trailers of more than 64 KiB": CHUNKED + b"0\r\n" + b"A: bcdefgh\r\n" * 7000,
    "a long extension of a chunk": CHUNKED + b"2;" + b"x" * 70_000,
    "endless 1xx": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 200,
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_a_response(name: str) -> None:
    data = BAD[name]
    whole = (data,)
    pieces = [data[start : start + 1000] for start in range(0, len(data), 1000)]
    for said in (whole, pieces) if len(data) < 60_000 else (pieces,):
        with pytest.raises(BadResponseError, match=r"^it (answers|does not answer|switches)"):
            read(*said)


def test_text_of_a_bad_response_shows_where_it_begins() -> None:
    with pytest.raises(BadResponseError) as caught:
        read(b"SSH-2.0-OpenSSH\r\nmore")
    assert str(caught.value) == (
        "it does not answer in HTTP/1.1 (Expected HTTP/, RTSP/ or ICE/) near 'SSH-2.0-OpenSSH'"
    )


WHOLE = OK + b"Content-Type: x/y\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
SIZED = OK + b"Content-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize("whole", [WHOLE, SIZED])
def test_response_that_is_cut_off_anywhere_is_not_a_response(whole: bytes) -> None:
    for length in range(len(whole)):
        assert read(whole[:length]) is None, length
    assert read(whole) is not None


SIZES = [
    b"Content-Length: 11\r\n\r\n" + b"x" * 11,
    b"\r\n" + b"x" * 11,
    b"Transfer-Encoding: chunked\r\n\r\n6\r\nxxxxxx\r\n5\r\nxxxxx\r\n0\r\n\r\n",
]


@pytest.mark.parametrize("said", SIZES)
def test_large_body_is_refused(said: bytes) -> None:
    with pytest.raises(TooLargeError):
        read(OK + said, largest=10)
    with pytest.raises(TooLargeError):
        read(*single(OK + said), largest=10)
    response = read(OK + said, largest=11)
    assert response is not None
    assert response.body == b"x" * 11


def test_large_length_is_refused_before_the_body_comes() -> None:
    with pytest.raises(TooLargeError):
        read(OK + b"Content-Length: 18446744073709551615\r\n\r\n")


@hypothesis.given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.data())
def test_chunks_make_the_body_however_they_arrive(chunks: list[bytes], data: t.Any) -> None:
    said = CHUNKED
    said += b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    cut = data.draw(st.integers(0, len(said)))
    response = read(said[:cut], said[cut:])
    assert response is not None
    assert (response.body, response.is_kept) == (b"".join(chunks), True)
