"""The Flask view: the endpoint with the app's logging, signals and testing switches."""

from __future__ import annotations

import typing as t

from flask import current_app
from flask import Flask
from flask import got_request_exception
from flask import request
from flask import Response
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from .health import Health

if t.TYPE_CHECKING:
    from .extension import StateFun


def health() -> Response:
    """Tell a probe or a load balancer how the worker is."""
    statefun: StateFun = current_app.extensions["statefun"]
    reply = Health(statefun.endpoint)(request.path)
    return Response(reply.body, reply.status, content_type=reply.content_type)


def handle() -> Response:
    """Answer a request of the runtime."""
    statefun: StateFun = current_app.extensions["statefun"]
    environ = request.environ
    # Read from the server's own stream: the app's MAX_CONTENT_LENGTH is for its other routes. A
    # stream of unknown length is read to its end only where the server says that it has one.
    given = environ.get("CONTENT_LENGTH", "")
    if given.isdecimal() and "HTTP_TRANSFER_ENCODING" not in environ:
        length, body = int(given), environ["wsgi.input"]
    else:
        length = None
        body = environ["wsgi.input"] if environ.get("wsgi.input_terminated") else request.stream
    reply = statefun.endpoint(environ.get("CONTENT_TYPE"), length, body)
    if reply.error is not None:
        report(reply.error)
    answer = reply.body
    # With headers given, Response need not work out a content type.
    headers = Headers([("Content-Type", reply.content_type), ("Content-Length", str(len(answer)))])
    return Response([answer], reply.status, headers)


def report(error: Exception) -> None:
    """Log a function's error and tell the app's trackers, or raise it under testing.

    The app's error handlers never see it: one that answers every exception with a page would tell
    the runtime that all is well.
    """
    app = app_itself()
    propagate = app.config["PROPAGATE_EXCEPTIONS"]

    if propagate if propagate is not None else (app.testing or app.debug):
        if isinstance(error, HTTPException):
            # Flask would answer with it.
            raise RuntimeError(f"A stateful function raised {error!r}") from error
        raise error

    got_request_exception.send(app, _async_wrapper=app.ensure_sync, exception=error)
    app.logger.error("A stateful function failed", exc_info=error)


def app_itself() -> Flask:
    """Return what ``current_app`` stands for, to be used outside of its context."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined,unused-ignore]
    return app
