from __future__ import annotations

import asyncio
import concurrent.futures
import io
import typing as t

import pytest

from statefun_flask import FunctionNotFoundError
from statefun_flask import ProtocolError
from statefun_flask.config import Settings
from statefun_flask.core.endpoint import Endpoint
from statefun_flask.core.endpoint import Reply

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
        (FunctionNotFoundError("a/b", []), 503),
        (noted(ProtocolError("It is none. Send one.", b"")), 500),
        (noted(FunctionNotFoundError("a/b", [])), 500),
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


class Speechless(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError("no file '\udcff'"), "OSError: no file '\\udcff'\n"),
        (Speechless(), "Speechless\n"),
    ],
    ids=["text that is no UTF-8", "no text at all"],
)
def test_an_error_that_cannot_be_told_is_500_too(error: Exception, told: str) -> None:
    """What left the endpoint would be the app's error handlers'."""
    reply = ask(Endpoint(Echo(noted(error)), Settings()))

    assert reply.status == 500
    assert reply.body.decode().startswith(told + "while invoking a/b/c\n")


@pytest.mark.parametrize(
    ("content_type", "shown"),
    [
        (None, "'not set'"),
        ("", "'not set'"),
        ("application/json", "'application/json'"),
        ("application/octet-streams", "'application/octet-streams'"),
        ("text/plain; a=application/octet-stream", "'text/plain; a=application/octet-stream'"),
    ],
)
def test_another_content_type_is_refused_unread(content_type: str | None, shown: str) -> None:
    stream = io.BytesIO(b"body")
    reply = Endpoint(Echo(), Settings())(content_type, 4, stream)

    assert reply.status == 415
    assert reply.body.decode() == (
        f"The content type is {shown}. Send the ToFunction as 'application/octet-stream', as the"
        " runtime does.\n"
    )
    assert stream.tell() == 0
