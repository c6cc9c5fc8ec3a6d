from __future__ import annotations

import collections.abc as cabc
import io
import logging
import random
import typing as t

import flask
import pytest
from flask import got_request_exception
from werkzeug.exceptions import ImATeapot

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionNotFoundError
from statefun_flask import ProtocolError
from statefun_flask import StateFunFlask
from statefun_flask import StateTypeError
from statefun_flask import ValueSpec

OCTET_STREAM = "application/octet-stream"
TO = Address("test/sink", "a")
Post = cabc.Callable[..., t.Any]


@pytest.fixture
def app() -> StateFunFlask:
    app = StateFunFlask("app")

    @app.errorhandler(Exception)
    def catch_all(error: Exception) -> str:
        return "all is well"

    @app.errorhandler(404)
    @app.errorhandler(413)
    @app.errorhandler(500)
    def page(error: Exception) -> str:
        return "a page"

    @app.statefun("test/echo")
    def echo(context: Context, message: str) -> Effects:
        return Effects().send(TO, message)

    @app.statefun("test/fails_so")
    def fail(context: Context, message: str) -> Effects:
        raise ERRORS[message]

    return app


ERRORS: dict[str, Exception] = {
    "value": ValueError("mine"),
    "teapot": ImATeapot(),
    "protocol": ProtocolError("mine", b""),
    "unknown": FunctionNotFoundError("a/b", []),
}


@pytest.fixture
def post(app: StateFunFlask) -> Post:
    """Return a function that posts a body, by default as the runtime does."""
    client = app.test_client()

    def send(body: bytes, content_type: str | None = OCTET_STREAM, **options: t.Any) -> t.Any:
        return client.post("/statefun", data=body, content_type=content_type, **options)

    return send


def test_an_answer_has_exactly_the_content_type_that_the_runtime_takes(
    post: Post, request_body: t.Any, answered: t.Any
) -> None:
    response = post(request_body("test/echo", "hello"))

    assert response.status_code == 200
    assert response.headers.getlist("Content-Type") == ["application/octet-stream"]
    assert response.headers["Content-Length"] == str(len(response.data))
    assert answered(response.data).texts == ["hello"]


@pytest.mark.parametrize("path", ["/statefun", "/statefun/"])
def test_a_slash_behind_the_url_does_not_redirect(
    app: StateFunFlask, request_body: t.Any, path: str
) -> None:
    body = request_body("test/echo", "x")

    assert app.test_client().post(path, data=body, content_type=OCTET_STREAM).status_code == 200


def test_a_letters_case_or_a_parameter_of_the_requests_content_type_does_not_matter(
    post: Post, request_body: t.Any
) -> None:
    body = request_body("test/echo", "x")

    for content_type in ("Application/Octet-Stream", "application/octet-stream; charset=utf-8"):
        assert post(body, content_type).status_code == 200


# -- each status and its text ---------------------------------------------------------------------


def is_text(response: t.Any, status: int) -> str:
    assert response.status_code == status
    assert response.headers.getlist("Content-Type") == ["text/plain; charset=utf-8"]
    return t.cast("str", response.text)


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-octet"])
def test_another_content_type_is_415(post: Post, request_body: t.Any, content_type: str) -> None:
    assert is_text(post(request_body("test/echo", "x"), content_type), 415) == (
        f"The content type is '{content_type}'. Send the ToFunction as 'application/octet-stream',"
        " as the runtime does.\n"
    )


def test_no_content_type_is_415(post: Post, request_body: t.Any) -> None:
    assert is_text(post(request_body("test/echo", "x"), None), 415) == (
        "The content type is 'not set'. Send the ToFunction as 'application/octet-stream', as the"
        " runtime does.\n"
    )


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_another_method_is_405(app: StateFunFlask, method: str) -> None:
    response = app.test_client().open("/statefun", method=method)

    assert is_text(response, 405) == f"The method is '{method}'. Allowed here: POST.\n"
    assert response.headers["Allow"] == "POST"


def test_a_body_over_the_limit_is_413(app: StateFunFlask, post: Post) -> None:
    app.config["STATEFUN_MAX_REQUEST_BYTES"] = 100

    text = is_text(post(b"\0" * 101), 413)

    assert text == (
        "The body is larger than 100 bytes. Raise STATEFUN_MAX_REQUEST_BYTES, or lower"
        " maxNumBatchRequests in module.yaml.\n"
    )


def test_a_chunked_body_over_the_limit_is_413(app: StateFunFlask, post: Post) -> None:
    app.config["STATEFUN_MAX_REQUEST_BYTES"] = 100
    environ = {
        "wsgi.input": io.BytesIO(b"\0" * 1000),
        "wsgi.input_terminated": True,
        "HTTP_TRANSFER_ENCODING": "chunked",
        "CONTENT_LENGTH": "",
    }

    assert is_text(post(b"", environ_overrides=environ), 413)


def test_the_apps_own_limit_does_not_apply(
    app: StateFunFlask, post: Post, request_body: t.Any
) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 10
    body = request_body("test/echo", "x" * 1000)
    chunked = {
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "HTTP_TRANSFER_ENCODING": "chunked",
        "CONTENT_LENGTH": "",
    }

    assert post(body).status_code == 200
    assert post(b"", environ_overrides=chunked).status_code == 200


def test_an_unknown_function_is_503_since_a_deployment_cures_it(
    post: Post, request_body: t.Any
) -> None:
    assert is_text(post(request_body("test/ecko", "x")), 503) == (
        "No stateful function is registered for 'test/ecko'."
        " Run 'flask statefun routes' to list the registered functions.\n"
    )


@pytest.mark.parametrize("key", ["TESTING", "DEBUG"])
def test_near_names_of_an_unknown_function_are_for_developers_and_the_log(
    app: StateFunFlask,
    post: Post,
    request_body: t.Any,
    key: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app.config[key] = True

    text = is_text(post(request_body("test/ecko", "x")), 503)

    assert "Did you mean 'test/echo'?" in text
    assert caplog.messages == [text.rstrip("\n")]


def test_an_unknown_name_cannot_forge_a_line_of_the_log(
    post: Post, request_body: t.Any, caplog: pytest.LogCaptureFixture
) -> None:
    text = is_text(post(request_body("test/\x1b[31m\nERROR forged" + "x" * 5000, "x")), 503)

    (message,) = caplog.messages
    assert "'test/\\x1b[31m\\nERROR forgedxxx" in message
    assert len(message) < 2100
    assert "\x1b" not in text
    assert len(text) < 2200


def test_an_unknown_function_is_404_when_set_so(
    app: StateFunFlask, post: Post, request_body: t.Any
) -> None:
    app.config["STATEFUN_UNKNOWN_FUNCTION_STATUS"] = 404

    assert is_text(post(request_body("test/ecko", "x")), 404)


def test_a_worker_that_is_draining_answers_503(
    app: StateFunFlask, post: Post, request_body: t.Any
) -> None:
    post(b"")
    app.statefun.endpoint.draining = True

    assert is_text(post(request_body("test/echo", "x")), 503) == (
        "This worker is shutting down. Send the request to another one.\n"
    )


FAILED = (
    "A stateful function failed. The runtime tries the batch again; the worker's log has the"
    " traceback.\n"
)


@pytest.mark.parametrize("name", list(ERRORS))
def test_whatever_a_function_raises_is_500(
    post: Post, request_body: t.Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The exception is only in the log, since its text may contain a password."""
    error = ERRORS[name]

    assert is_text(post(request_body("test/fails_so", name)), 500) == FAILED

    (record,) = caplog.records
    assert record.getMessage() == "A stateful function failed"
    assert record.exc_info
    assert record.exc_info[1] is error
    assert error.__notes__ == [
        "while invoking test/fails_so/me (message 1 of 1, type 'io.statefun.types/string')"
    ]


@pytest.mark.parametrize("key", ["TESTING", "DEBUG"])
@pytest.mark.parametrize("name", list(ERRORS))
def test_an_error_handler_never_turns_a_failure_into_a_page(
    app: StateFunFlask,
    post: Post,
    request_body: t.Any,
    name: str,
    key: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The handler of the fixture answers every exception with 200."""
    app.config[key] = True
    error = ERRORS[name]

    assert is_text(post(request_body("test/fails_so", name)), 500) == (
        f"{type(error).__name__}: {error}\nwhile invoking test/fails_so/me (message 1 of 1, type"
        " 'io.statefun.types/string')\nThe runtime tries the batch again; the worker's log has the"
        " traceback.\n"
    )
    (record,) = caplog.records
    assert record.exc_info
    assert record.exc_info[1] is error


def test_a_batch_that_is_refused_before_its_function_is_logged_as_that(
    app: StateFunFlask, post: Post, request_body: t.Any, caplog: pytest.LogCaptureFixture
) -> None:
    count = ValueSpec("count", int)
    app.statefun("test/counts", states=[count])(lambda context, message: Effects())
    body = request_body("test/counts", "x", states={"count": ("test/other", b"")})

    assert is_text(post(body), 500) == (
        "A batch was refused before its function was called. The runtime tries the batch again; the"
        " worker's log has the traceback.\n"
    )
    (record,) = caplog.records
    assert record.getMessage() == "A batch was refused before its function was called"
    assert record.exc_info
    assert isinstance(record.exc_info[1], StateTypeError)


def test_a_message_that_no_function_accepts_is_500(post: Post, request_body: t.Any) -> None:
    assert is_text(post(request_body("test/echo", 3)), 500) == FAILED


def test_an_error_tracker_that_fails_does_not_change_the_answer(
    app: StateFunFlask, post: Post, request_body: t.Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(sender: flask.Flask, exception: Exception, **extra: t.Any) -> None:
        raise LookupError("tracker")

    with got_request_exception.connected_to(fail, app):
        assert is_text(post(request_body("test/fails_so", "value")), 500) == FAILED
    assert caplog.messages == [
        "A receiver of got_request_exception failed",
        "A stateful function failed",
    ]


def test_error_trackers_are_called_once(
    app: StateFunFlask, post: Post, request_body: t.Any
) -> None:
    told: list[tuple[flask.Flask, Exception]] = []

    def tell(sender: flask.Flask, exception: Exception, **extra: t.Any) -> None:
        told.append((sender, exception))

    with got_request_exception.connected_to(tell, app):
        post(request_body("test/fails_so", "value"))

    assert told == [(app, ERRORS["value"])]


@pytest.fixture
def unhandled(app: StateFunFlask) -> StateFunFlask:
    """Return the app with handlers for other exceptions only."""
    del app.error_handler_spec[None][None][Exception]
    app.register_error_handler(LookupError, lambda error: "all is well")
    return app


@pytest.mark.parametrize("key", ["TESTING", "PROPAGATE_EXCEPTIONS", "DEBUG"])
def test_an_exception_that_no_handler_answers_is_raised_again_under_testing(
    unhandled: StateFunFlask, post: Post, request_body: t.Any, key: str
) -> None:
    unhandled.config[key] = True

    with pytest.raises(ValueError, match="mine") as info:
        post(request_body("test/fails_so", "value"))

    assert info.value is ERRORS["value"]


def test_it_is_not_raised_again_when_propagation_is_off(
    app: StateFunFlask, post: Post, request_body: t.Any
) -> None:
    app.config.update(TESTING=True, PROPAGATE_EXCEPTIONS=False)

    assert is_text(post(request_body("test/fails_so", "value")), 500)


def test_an_http_exception_is_never_the_answer_under_testing(
    unhandled: StateFunFlask, post: Post, request_body: t.Any
) -> None:
    unhandled.testing = True

    with pytest.raises(RuntimeError, match="A stateful function raised") as info:
        post(request_body("test/fails_so", "teapot"))

    assert info.value.__cause__ is ERRORS["teapot"]


def test_an_answer_over_the_runtimes_limit_is_logged_and_sent(
    app: StateFunFlask, post: Post, request_body: t.Any, caplog: pytest.LogCaptureFixture
) -> None:
    app.config["STATEFUN_MAX_RESPONSE_BYTES"] = 100

    response = post(request_body("test/echo", "x" * 100))

    assert response.status_code == 200
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == (
        f"A reply of {len(response.data)} bytes is larger than STATEFUN_MAX_RESPONSE_BYTES (100),"
        " and the runtime will refuse it. Raise payload_max_bytes in module.yaml and this setting,"
        " or lower maxNumBatchRequests."
    )


# -- bad input ------------------------------------------------------------------------------------


def nested(depth: int) -> bytes:
    """Return unknown fields within unknown fields: groups, which a parser has to follow."""
    return b"\x0b" * depth + b"\x0c" * depth


def truncated(body: bytes) -> list[bytes]:
    return [body[:end] for end in range(1, len(body))]


NOISE = random.Random(8)
BAD = {
    "zeros": b"\0" * 1_000_000,
    "nested": nested(100_000),
    "no target": b"\xa2\x06\x00",
    **{f"random {size}": NOISE.randbytes(size) for size in (1, 2, 10, 100, 10_000)},
}


@pytest.mark.parametrize("name", list(BAD))
def test_an_invalid_request_is_400_and_the_next_one_is_served(
    post: Post, request_body: t.Any, answered: t.Any, name: str
) -> None:
    text = is_text(post(BAD[name]), 400)

    assert text.count(". ") >= 1
    assert answered(post(request_body("test/echo", "still here")).data).texts == ["still here"]


def test_a_truncated_request_is_refused_or_says_less_and_never_something_else(
    post: Post, request_body: t.Any, answered: t.Any
) -> None:
    body = request_body("test/echo", "hello", "world")

    for part in truncated(body):
        response = post(part)
        assert response.status_code in (400, 500, 503)
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answered(post(body).data).texts == ["hello", "world"]


def test_a_body_that_ends_early_is_400(post: Post, request_body: t.Any) -> None:
    body = request_body("test/echo", "x")

    text = is_text(post(body, environ_overrides={"CONTENT_LENGTH": str(len(body) + 5)}), 400)

    assert (
        text == f"The body ends after {len(body)} of {len(body) + 5} bytes. Send it as a whole.\n"
    )


def test_mutated_requests_are_answered_and_never_by_an_error_handler(
    post: Post, request_body: t.Any
) -> None:
    body = bytearray(request_body("test/echo", "hello"))
    for position in range(len(body)):
        for bit in (1, 0x80):
            changed = body.copy()
            changed[position] ^= bit
            response = post(bytes(changed))
            assert response.status_code in (200, 400, 500, 503)
            expected = OCTET_STREAM if response.status_code == 200 else "text/plain; charset=utf-8"
            assert response.headers["Content-Type"] == expected
