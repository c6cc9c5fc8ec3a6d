"""The endpoint of an app or a registry, without a Flask request."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import typing as t

from ..config import Settings
from ..config import SettingsOptions
from ..core.endpoint import Endpoint
from ..core.endpoint import logger
from ..core.endpoint import Reply
from ..core.handler import RequestHandler
from ..core.registry import FunctionRegistry

if t.TYPE_CHECKING:
    from flask import Flask

#: What a transport serves: an app that has the extension, or a registry without an app.
Servable: t.TypeAlias = "FunctionRegistry | Flask"


class DirectEndpoint:
    """An endpoint with the application context that it needs outside of a Flask request.

    With an app, each request has an application context: ``current_app`` and ``g`` work, and
    ``teardown_appcontext`` functions are called. What belongs to a Flask request is missing:
    ``before_request`` and similar hooks, ``request``, error handlers, middleware.

    :param servable: A registry, or an app that has the extension.
    :param skip_hooks: Accept an app whose hooks would not be called.
    :param options: The settings of a registry. An app has its own.
    :raises RuntimeError: The app has hooks before its endpoint.
    """

    def __init__(
        self,
        servable: Servable,
        *,
        skip_hooks: bool = False,
        **options: t.Unpack[SettingsOptions],
    ) -> None:
        self.app: Flask | None = None
        #: Returns the context in which a request is answered.
        self.context: cabc.Callable[[], contextlib.AbstractContextManager[t.Any]]
        if isinstance(servable, FunctionRegistry):
            settings = Settings.read(options)
            handler = RequestHandler(servable, protocol=settings.protocol)
            self.endpoint = Endpoint(handler, settings)
            self.context = contextlib.nullcontext
            return

        refuse_options(options)
        if not skip_hooks:
            _refuse_hooks(servable)
        self.app = servable
        self.endpoint = endpoint_of(servable)
        self.context = servable.app_context

    def report(self, reply: Reply) -> Reply:
        """Log a failure and send it to the app's error trackers; return the reply to send."""
        if self.app is not None:
            return report(self.app, reply)
        if reply.failure:
            logger.error("%s", reply.failure, exc_info=reply.error)
        return reply

    def call(self, body: bytes) -> bytes:
        """Answer a request of an engine in this process, and raise what a function raises."""
        with self.context():
            return self.endpoint.call(body)


def report(
    app: Flask,
    reply: Reply,
    *,
    is_handled: cabc.Callable[[Exception], bool] = lambda error: False,
) -> Reply:
    """Log a failure and send it to the app's error trackers; return the reply to send.

    Under testing and debug the exception is raised instead, as Flask does.

    :param is_handled: Whether an error handler of the app would answer an exception. Such an
        exception is not raised: a handler that answers every exception with a page would report
        success to the runtime.
    """
    from flask import got_request_exception
    from werkzeug.exceptions import HTTPException

    is_developed = app.testing or app.debug
    if reply.failure and reply.error is not None:
        error = reply.error
        propagate = app.config["PROPAGATE_EXCEPTIONS"]
        if propagate if propagate is not None else is_developed:
            if isinstance(error, HTTPException):
                # Flask would send an HTTPException as the response.
                error = RuntimeError(f"A stateful function raised {error!r}")
                error.__cause__ = reply.error
            if not is_handled(error):
                raise error
        try:
            got_request_exception.send(app, _async_wrapper=app.ensure_sync, exception=reply.error)
        except Exception:
            app.logger.exception("A receiver of got_request_exception failed")
        app.logger.error(reply.failure, exc_info=reply.error)
    return reply.detailed() if is_developed else reply


def endpoint_of(app: Flask) -> Endpoint:
    """Return the endpoint of an app.

    :raises RuntimeError: The app has no StateFun extension.
    """
    if "statefun" not in app.extensions:
        raise RuntimeError(
            f"The app '{app.name}' has no StateFun extension."
            " Call 'StateFun().init_app(app)' before it is served."
        )
    endpoint: Endpoint = app.extensions["statefun"].endpoint
    return endpoint


def refuse_options(options: cabc.Mapping[str, t.Any]) -> None:
    """Refuse settings beside an app.

    :raises TypeError: Settings were given.
    """
    if options:
        raise TypeError(
            f"The settings {', '.join(map(repr, options))} were given for an app, which has its"
            " own. Set them in its config, in upper case with the prefix 'STATEFUN_'."
        )


def _refuse_hooks(app: Flask) -> None:
    """Refuse an app whose hooks may guard the endpoint: they are not called on the direct path.

    :raises RuntimeError: The app has such hooks; the message names them.
    """
    names = [
        f"'{getattr(hook, '__qualname__', repr(hook))}' (before_request)"
        for scope in (None, "statefun")
        for hook in app.before_request_funcs.get(scope, ())
    ]
    if "wsgi_app" in vars(app):
        names.append(f"'{type(app.wsgi_app).__qualname__}' (around app.wsgi_app)")
    if names:
        raise RuntimeError(
            f"The app '{app.name}' has hooks before its endpoint that the direct path would not"
            f" call: {', '.join(names)}. Serve it through its view, or allow skipping them with"
            " skip_hooks=True (--skip-hooks)."
        )
