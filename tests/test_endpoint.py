from __future__ import annotations

import asyncio
import concurrent.futures
import io
import typing as t

import pytest

from statefun_flask import FunctionNotFound
from statefun_flask import ProtocolError
from statefun_flask.config import Settings
from statefun_flask.endpoint import Endpoint
from statefun_flask.endpoint import Reply

OCTET_STREAM = "application/octet-stream"


class Echo:
    """Answers with the body, or raises what it was made with."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def __call__(self, body: bytes, /) -> bytes:
        if self.error is not None:
            raise self.error
        return body

    async def handle_async(
        self, body: bytes, *, executor: concurrent.futures.Executor | None = None
    ) -> bytes:
        return self(body)


def noted(error: Exception) -> Exception:
    error.add_note("while invoking a/b/c")
    return error


def ask(endpoint: Endpoint, body: bytes = b"body", length: int | None = 4) -> Reply:
    return endpoint(OCTET_STREAM, length, io.BytesIO(body))


def test_a_body_is_handled() -> None:
    assert ask(Endpoint(Echo(), Settings())) == Reply(200, b"body", OCTET_STREAM, None)


def test_only_the_bodys_bytes_are_read_of_a_connection_that_goes_on() -> None:
    stream = io.BytesIO(b"bodynext request")

    assert Endpoint(Echo(), Settings())(OCTET_STREAM, 4, stream).body == b"body"
    assert stream.read() == b"next request"


def test_a_body_of_unknown_length_is_read_to_its_end() -> None:
    endpoint = Endpoint(Echo(), Settings(max_request_bytes=10))

    assert ask(endpoint, b"0123456789", None).body == b"0123456789"
    assert ask(endpoint, b"0123456789a", None).status == 413


def test_a_body_that_is_too_large_is_not_read() -> None:
    stream = io.BytesIO(b"0123456789a")

    assert Endpoint(Echo(), Settings(max_request_bytes=10))(OCTET_STREAM, 11, stream).status == 413
    assert stream.tell() == 0


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ProtocolError("It is none. Send one.", b""), 400),
        (FunctionNotFound("a/b", []), 503),
        (noted(ProtocolError("It is none. Send one.", b"")), 500),
        (noted(FunctionNotFound("a/b", [])), 500),
        (ValueError("mine"), 500),
    ],
)
def test_the_status_follows_the_phase_and_not_the_class(error: Exception, status: int) -> None:
    endpoint = Endpoint(Echo(error), Settings())

    for reply in (ask(endpoint), asyncio.run(endpoint.answer_async(b"body"))):
        assert reply.status == status
        assert reply.error is (error if status == 500 else None)
        assert reply.content_type == "text/plain; charset=utf-8"
        assert str(error) in reply.body.decode()


def test_what_ends_the_process_is_no_answer() -> None:
    endpoint = Endpoint(t.cast("t.Any", Echo(t.cast("t.Any", KeyboardInterrupt()))), Settings())

    with pytest.raises(KeyboardInterrupt):
        ask(endpoint)
