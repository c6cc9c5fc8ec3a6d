"""The short way to the functions of a registry or an app, past Flask's dispatch of requests."""

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

    from ..extension import AppStateFun

#: What a transport serves: functions alone, or an app that has them.
Served: t.TypeAlias = "FunctionRegistry | Flask"


class Direct:
    """An endpoint with what has to be around it when no Flask request is.

    With an app, its application context is there for each request: ``current_app`` and ``g`` work,
    and functions of ``teardown_appcontext`` run. What belongs to a Flask request does not:
    ``before_request`` and its kin, ``request``, error handlers, middleware.

    :param served: A registry, or an app that has the extension.
    :param skip_hooks: Serve an app although it has hooks that would not be called.
    :param options: Settings by name, for a registry; an app has its own.
    :raises RuntimeError: The app has hooks in the way of the endpoint.
    """

    def __init__(
        self, served: Served, *, skip_hooks: bool = False, **options: t.Unpack[SettingsOptions]
    ) -> None:
        self.app: Flask | None = None
        #: Returns what has to be entered while a request is answered.
        self.context: cabc.Callable[[], contextlib.AbstractContextManager[t.Any]]
        if isinstance(served, FunctionRegistry):
            settings = Settings.read(options)
            handler = RequestHandler(served, protocol=settings.protocol)
            self.endpoint = Endpoint(handler, settings)
            self.context = contextlib.nullcontext
            return

        refuse_options(options)
        if not skip_hooks:
            _refuse_hooks(served)
        self.app = served
        self.endpoint = statefun(served).endpoint
        self.context = served.app_context

    @property
    def url(self) -> str:
        """The path that it answers at, without a slash behind it."""
        return self.endpoint.settings.url.rstrip("/")

    def call(self, body: bytes) -> bytes:
        """Answer a ToFunction in this process, within the app's context.

        No limit of the endpoint applies, and the exception of a function is raised.
        """
        with self.context():
            return self.endpoint.handle(body)

    def report(self, reply: Reply) -> None:
        """Log a function's error, and tell the app's trackers."""
        if reply.error is None:
            return
        if self.app is None:
            logger.error("A stateful function failed", exc_info=reply.error)
            return
        from ..views import report

        report(reply.error)


def statefun(app: Flask) -> AppStateFun:
    """Return what the extension keeps for an app.

    :raises RuntimeError: The app has no StateFun.
    """
    if "statefun" not in app.extensions:
        raise RuntimeError(
            f"The app '{app.name}' has no StateFun extension."
            " Call 'StateFun().init_app(app)' before it is served."
        )
    of_app: AppStateFun = app.extensions["statefun"]
    return of_app


def refuse_options(options: cabc.Mapping[str, t.Any]) -> None:
    """Refuse settings that are given beside an app, which has its own.

    :raises TypeError: There are some.
    """
    if options:
        raise TypeError(
            f"The settings {', '.join(map(repr, options))} were given for an app, which has its"
            " own. Set them in its config, in upper case with the prefix 'STATEFUN_'."
        )


def _refuse_hooks(app: Flask) -> None:
    """Refuse an app whose hooks may guard the endpoint: the direct path would pass them by.

    :raises RuntimeError: There are some; the message names them.
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
            f" call: {', '.join(names)}. Serve it through its view, or say that they may be passed"
            " by with skip_hooks=True (--skip-hooks)."
        )
