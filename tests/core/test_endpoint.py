from __future__ import annotations

import asyncio
import collections.abc as cabc
import concurrent.futures
import io
import itertools
import typing as t

import pytest

from statefun_flask import FunctionNotFoundError
from statefun_flask import ProtocolError
from statefun_flask.config import Settings
from statefun_flask.core.endpoint import Endpoint
from statefun_flask.core.endpoint import Reply
from statefun_flask.core.invocation import InvocationFailedError

OCTET_STREAM = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"
AGAIN = "The runtime tries the batch again; the worker's log has the traceback.\n"


class Echo:
    """Replies with the body, or raises the exception that it was made with."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    def __call__(self, body: bytes, /) -> bytes:
        return self._invoke(body)

    def _invoke(self, body: bytes, /) -> bytes:
        if self.error is not None:
            raise self.error
        return body

    async def _invoke_async(
        self, body: bytes, *, executor: concurrent.futures.Executor | None = None
    ) -> bytes:
        return self._invoke(body)


def endpoint_of(error: BaseException | None = None, **settings: t.Any) -> Endpoint:
    return Endpoint(Echo(error), Settings(**settings))


def headers(length: str | None = None, content_type: str | None = OCTET_STREAM) -> dict[str, t.Any]:
    return {"content-type": content_type, "content-length": length}


def ask(endpoint: Endpoint, body: bytes = b"body", length: int | None = 4) -> Reply:
    """Return the reply, which is the same in a thread and in a loop."""
    given = headers(None if length is None else str(length))
    reply = endpoint.respond("POST", "/statefun", given, io.BytesIO(body).read)
    stream = io.BytesIO(body)

    async def read(size: int) -> bytes:
        return stream.read(size)

    answer = endpoint.respond_async("POST", "/statefun", given, read)
    assert asyncio.run(answer) == reply
    return reply


def test_a_body_is_handled() -> None:
    assert ask(endpoint_of()) == Reply(
        200, b"body", [("Content-Type", OCTET_STREAM), ("Content-Length", "4")]
    )


def test_only_the_body_is_read_from_a_connection_that_stays_open() -> None:
    stream = io.BytesIO(b"bodynext request")

    reply = endpoint_of().respond("POST", "/statefun", headers("4"), stream.read)

    assert reply.body == b"body"
    assert stream.read() == b"next request"


@pytest.mark.parametrize("length", ["8", None])
def test_a_body_that_comes_in_pieces_is_joined(length: str | None) -> None:
    pieces = [b"one", b"two", b"el", b""]
    sizes: list[int] = []

    def read(size: int) -> bytes:
        sizes.append(size)
        return pieces[len(sizes) - 1]

    endpoint = endpoint_of(max_request_bytes=9)
    assert endpoint.respond("POST", "/statefun", headers(length), read).body == b"onetwoel"
    assert sizes == ([8, 5, 2] if length else [10, 7, 4, 2])


def test_a_body_of_unknown_length_is_read_to_its_end() -> None:
    endpoint = endpoint_of(max_request_bytes=10)

    assert ask(endpoint, b"0123456789", None).body == b"0123456789"
    assert ask(endpoint, b"0123456789a", None).status == 413


def test_a_body_that_is_too_large_is_not_read() -> None:
    stream = io.BytesIO(b"0123456789a")
    endpoint = endpoint_of(max_request_bytes=10)

    assert endpoint.respond("POST", "/statefun", headers("11"), stream.read).status == 413
    assert stream.tell() == 0


def test_a_body_that_never_ends_is_read_up_to_the_limit() -> None:
    sizes = itertools.count()

    def read(size: int) -> bytes:
        next(sizes)
        return b"x" * min(size, 10)

    endpoint = endpoint_of(max_request_bytes=100)

    assert endpoint.respond("POST", "/statefun", headers(), read).status == 413
    assert next(sizes) == 11


@pytest.mark.parametrize(
    "error", [OSError("Invalid chunk header"), ConnectionResetError(), EOFError()]
)
def test_a_body_that_cannot_be_read_is_400(error: Exception) -> None:
    def read(size: int) -> bytes:
        raise error

    reply = endpoint_of().respond("POST", "/statefun", headers("4"), read)

    assert reply.status == 400
    assert reply.body.startswith(b"The body cannot be read: ")


def test_a_loop_may_give_more_bytes_than_the_length() -> None:
    async def read(size: int) -> bytes:
        return b"0123456789"

    answer = endpoint_of().respond_async("POST", "/statefun", headers("4"), read)

    assert asyncio.run(answer).status == 400


# -- the status follows the place of a failure -----------------------------------------------------


def failed(cause: Exception) -> InvocationFailedError:
    return InvocationFailedError(cause, "while invoking a/b/c")


UNKNOWN = FunctionNotFoundError("a/b", ["a/bc"])


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ProtocolError("It is none. Send one.", b""), 400),
        (UNKNOWN, 503),
        (ValueError("mine"), 500),
    ],
)
def test_a_request_that_is_refused(error: Exception, status: int) -> None:
    reply = ask(endpoint_of(error))

    assert reply.status == status
    assert reply.error is error
    assert reply.headers[0] == ("Content-Type", TEXT)
    assert bool(reply.failure) is (status == 500)


@pytest.mark.parametrize("cause", [ProtocolError("Mine", b""), UNKNOWN, ValueError("mine")])
def test_a_function_that_fails_is_500_whatever_it_raises(cause: Exception) -> None:
    reply = ask(endpoint_of(failed(cause)))

    assert reply.status == 500
    assert reply.error is cause
    assert reply.failure == "A stateful function failed"
    assert reply.body.decode() == f"A stateful function failed. {AGAIN}"
    assert reply.detailed().body.decode() == (
        f"{type(cause).__name__}: {cause}\nwhile invoking a/b/c\n{AGAIN}"
    )


def test_a_note_of_a_library_does_not_change_the_status() -> None:
    error = ProtocolError("It is none. Send one.", b"")
    error.add_note("decoded by version 7")

    assert ask(endpoint_of(error)).status == 400


def test_a_batch_that_is_refused_before_its_function_is_not_a_failed_function() -> None:
    reply = ask(endpoint_of(ValueError("hunter2")))

    failure = "A batch was refused before its function was called"
    assert (reply.status, reply.failure) == (500, failure)
    assert reply.body.decode() == f"{failure}. {AGAIN}"
    assert reply.detailed().body.decode() == f"ValueError: hunter2\n{AGAIN}"


def test_near_names_of_an_unknown_function_are_a_detail() -> None:
    reply = ask(endpoint_of(UNKNOWN))

    assert b"a/bc" not in reply.body
    assert b"Did you mean 'a/bc'?" in reply.detailed().body


def test_an_exception_that_ends_the_process_is_not_answered() -> None:
    with pytest.raises(KeyboardInterrupt):
        ask(endpoint_of(KeyboardInterrupt()))


class Speechless(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (OSError("no file '\udcff'"), "OSError: no file '\\udcff'\n"),
        (OSError("\x1b[31mred"), "OSError: \\x1b[31mred\n"),
        (Speechless(), "Speechless\n"),
    ],
    ids=["a lone surrogate", "a control character", "no text at all"],
)
def test_an_error_that_cannot_be_shown_is_500_too(error: Exception, shown: str) -> None:
    """An exception of the endpoint would reach the app's error handlers."""
    reply = ask(endpoint_of(failed(error))).detailed()

    assert reply.status == 500
    assert reply.body.decode().startswith(shown + "while invoking a/b/c\n")


def test_a_long_name_of_a_request_is_cut_in_the_answer_and_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reply = ask(endpoint_of(FunctionNotFoundError("a/" + "b" * 100_000, [])))

    assert len(reply.body) < 3000
    assert len(caplog.messages[-1]) < 3000


# -- calls from the same process -------------------------------------------------------------------


def test_a_call_returns_the_answer_or_raises_the_error() -> None:
    error = KeyError("mine")

    assert endpoint_of().call(b"body") == b"body"
    with pytest.raises(KeyError) as info:
        endpoint_of(failed(error)).call(b"body")
    assert info.value is error
    assert error.__notes__ == ["while invoking a/b/c"]
    with pytest.raises(ProtocolError):
        endpoint_of(ProtocolError("It is none. Send one.", b"")).call(b"body")
    with pytest.raises(ValueError, match="is larger than 3 bytes"):
        endpoint_of(max_request_bytes=3).call(b"body")


# -- heads; tests/transport/test_bad_heads.py has all of them, on every adapter --------------------


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
    reply = endpoint_of().respond("POST", "/statefun", headers("4", content_type), stream.read)

    assert reply.status == 415
    assert reply.body.decode() == (
        f"The content type is {shown}. Send the ToFunction as 'application/octet-stream', as the"
        " runtime does.\n"
    )
    assert stream.tell() == 0


@pytest.mark.parametrize(
    ("url", "paths"),
    [
        ("/statefun", {"/statefun", "/statefun/"}),
        ("/a/b/", {"/a/b", "/a/b/"}),
        ("/", {"", "/"}),
    ],
)
def test_the_paths_of_a_url(url: str, paths: cabc.Set[str]) -> None:
    endpoint = endpoint_of(url=url)

    assert endpoint.function_paths == paths
    for path in paths:
        reply = endpoint.respond("POST", path, headers("4"), io.BytesIO(b"body").read)
        assert reply.status == 200
