"""The Flask view: the endpoint with the app's logging, signals and testing switches."""

from __future__ import annotations

import collections.abc as cabc

from flask import current_app
from flask import Flask
from flask import got_request_exception
from flask import request
from flask import Response
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from .core.endpoint import Endpoint
from .core.health import Health


def handling(endpoint: Endpoint) -> cabc.Callable[[], Response]:
    """Return the view that answers requests of the runtime."""

    def handle() -> Response:
        environ = request.environ
        # Read from the server's own stream: the app's MAX_CONTENT_LENGTH is for its other routes.
        # One of unknown length is read to its end only where the server says that it has one.
        given = environ.get("CONTENT_LENGTH", "")
        if given.isdecimal() and "HTTP_TRANSFER_ENCODING" not in environ:
            length, body = int(given), environ["wsgi.input"]
        else:
            length = None
            body = environ["wsgi.input"] if environ.get("wsgi.input_terminated") else request.stream
        reply = endpoint(environ.get("CONTENT_TYPE"), length, body)
        if reply.error is not None:
            report(reply.error)
        # With headers given, Response need not work out a content type.
        headers = Headers()
        headers["Content-Type"] = reply.content_type
        headers["Content-Length"] = str(len(reply.body))
        return Response([reply.body], reply.status, headers)

    return handle


def telling(health: Health) -> cabc.Callable[[], Response]:
    """Return the view that tells a probe or a load balancer how the worker is."""

    def tell() -> Response:
        reply = health(request.path)
        return Response(reply.body, reply.status, content_type=reply.content_type)

    return tell


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
