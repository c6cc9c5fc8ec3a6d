"""The Flask views of the endpoint, with the app's logging, error trackers and testing switches."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from flask import current_app
from flask import Flask
from flask import request
from flask import Response
from flask.sansio.app import App
from werkzeug.datastructures import Headers

from .core.endpoint import Endpoint
from .transport.direct import report
from .transport.wsgi import respond

View: t.TypeAlias = cabc.Callable[[], Response]


def add_rules(app: App, endpoint: Endpoint) -> None:
    """Add the URL rules of the endpoint and of its health paths to an app.

    The endpoint answers every method at its paths, so that Flask's answers to a wrong method, and
    the app's error handlers for them, are not used.
    """
    view = make_view(endpoint)
    _add_rule(app, endpoint.path, "handle", view)
    for path in sorted(endpoint.health_paths):
        _add_rule(app, path, "health", view)


def _add_rule(app: App, path: str, name: str, view: View) -> None:
    """Add a rule for all methods, which ``add_url_rule`` cannot do."""
    name = f"statefun.{name}"
    app.url_map.add(app.url_rule_class(path, endpoint=name, strict_slashes=False))
    app.view_functions.setdefault(name, view)


def make_view(endpoint: Endpoint) -> View:
    """Return the view that answers requests of the runtime, and probes and load balancers."""

    def answer() -> Response:
        # The body is read from the server: the app's MAX_CONTENT_LENGTH is for its other routes.
        reply = respond(endpoint, request.environ)
        if reply.error is not None:
            app = app_itself()
            reply = report(app, reply, is_handled=lambda error: _is_handled(app, error))
        # With Headers, Response does not compute a content type.
        return Response([reply.body], reply.status, Headers(reply.headers))

    return answer


def _is_handled(app: Flask, error: Exception) -> bool:
    """Return whether an error handler of the app would answer an exception of the view."""
    return app._find_error_handler(error, request.blueprints) is not None


def app_itself() -> Flask:
    """Return the object behind ``current_app``, which can be used outside of its context."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined,unused-ignore]
    return app
