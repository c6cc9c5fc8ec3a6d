"""The extension: functions for one or more Flask apps."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import functools
import os
import sys
import threading
import typing as t
import weakref

from flask import current_app
from flask import Flask

from . import config
from . import views
from .cli import COMMANDS
from .cli import group
from .config import Settings
from .core.endpoint import Endpoint
from .core.handler import RequestHandler
from .core.registry import FunctionRegistry
from .core.registry import refuse_bare_decorator
from .core.registry import StatefulFunction
from .typing import F

if t.TYPE_CHECKING:
    from .testing.runtime import EmbeddedRuntime
    from .typing import State


class StateFun:
    """Stateful functions of Flask apps.

    As an extension it collects functions for all apps that it is given::

        statefun = StateFun()

        @statefun("example/greeter", states=[SEEN])
        def greet(context, request): ...

        statefun.init_app(app)

    An app that has the extension has a view of it as ``app.statefun``: the same methods, with a
    registry of its own whose parent is the extension's, so that what is registered there is the
    app's alone.

    :param app: Call :meth:`init_app` with it at once.
    :param options: Defaults for settings, by the name of their key in lower case without the
        prefix: ``StateFun(app, url="/functions")``. The app's config comes before them.
    """

    def __init__(self, app: Flask | None = None, **options: t.Any) -> None:
        self.registry = FunctionRegistry()
        self._options = options
        self._settings: Settings | None = None
        self._endpoint: Endpoint | None = None
        self._app: weakref.ref[Flask] | None = None
        self._binding = threading.Lock()

        if app is not None:
            self.init_app(app)

    # -- registering ----------------------------------------------------------------------

    def __call__(
        self,
        typename: str,
        *,
        states: cabc.Iterable[State] = (),
        egresses: cabc.Iterable[str] = (),
    ) -> cabc.Callable[[F], F]:
        """Register a function under a typename, and return it unchanged.

        :param typename: ``"namespace/name"``. Several functions may share one when they take
            different messages; the annotation of the second parameter says which.
        :param states: The states it uses: :class:`ValueSpec` handles, or bare names for untyped
            ones.
        :param egresses: The egresses it writes to. Optional; with them a check of module.yaml finds
            what the file lacks.
        """
        refuse_bare_decorator(typename)
        namespace = sys._getframe(1).f_locals

        def register(function: F) -> F:
            self.registry.add(
                StatefulFunction.declare(typename, function, states, egresses, namespace=namespace)
            )
            return function

        return register

    # -- apps -----------------------------------------------------------------------------

    def init_app(self, app: Flask) -> None:
        """Give an app these functions, the endpoint and the ``flask statefun`` commands.

        The settings are read now: set the ``STATEFUN_…`` keys before.

        :raises RuntimeError: The app has the extension already.
        """
        view = StateFun(**self._options)
        view.registry = FunctionRegistry(self.registry)
        view._attach(app)
        view._bind(app)

    def _attach(self, app: Flask) -> None:
        """Make this object the app's view of the extension."""
        if "statefun" in app.extensions:
            raise RuntimeError(
                f"The app '{app.name}' has a StateFun extension already."
                " Use one StateFun object per app, and call its 'init_app' once."
            )
        self._app = weakref.ref(app)
        app.extensions["statefun"] = self
        app.statefun = self  # type: ignore[attr-defined]
        app.cli.add_command(group)

    def _bind(self, app: Flask) -> None:
        """Read the app's settings, and add the endpoint under the URL that they name.

        A server's threads bring the first requests of a StateFunFlask at the same time; none gets
        past here before the endpoint is there.
        """
        if self._endpoint is not None:
            return
        with self._binding:
            if self._endpoint is None:
                self._settings = Settings.read(self._options, config=app.config, commands=COMMANDS)
                endpoint = Endpoint(_FirstRequest(self), self._settings)
                app.register_blueprint(views.make_blueprint(endpoint))
                self._endpoint = endpoint

    def runtime(
        self,
        *,
        clock: t.Literal["virtual", "real"] = "virtual",
        data: str | os.PathLike[str] | None = None,
        module: str | os.PathLike[str] | None = None,
        kafka: str | None = None,
        errors: t.Literal["raise", "park"] = "raise",
    ) -> EmbeddedRuntime:
        """Return the app's functions on an engine in this process, for tests.

        ::

            with app.statefun.runtime() as rt:
                rt.send("example/greeter/bob", GreetRequest("bob"))
                rt.advance(timedelta(days=30))
                assert rt.state("example/greeter", "bob") == {}

        Each request has the app's context, as in production.

        The parameters are those of :class:`~statefun_flask.testing.runtime.EmbeddedRuntime`.

        :raises RuntimeError: This object belongs to no app.
        """
        from .testing.runtime import EmbeddedRuntime

        app = self._app() if self._app is not None else None
        if app is None:
            raise RuntimeError(_UNBOUND)
        self._bind(app)
        return EmbeddedRuntime(
            functools.partial(_in_context, app),
            self.registry,
            clock=clock,
            data=data,
            module=module,
            kafka=kafka,
            errors=errors,
        )

    def _make_handler(self) -> RequestHandler:
        """Take the app as it is now that its first request has come, and make its handler.

        :raises RuntimeError: A setting was changed after it was read.
        """
        key = config.changed(current_app.config, self.settings)
        if key is not None:
            raise RuntimeError(
                f"The setting {key} was changed to {current_app.config[key]!r} after it was read,"
                " which has no effect. Set it before 'init_app', or before the first request or"
                " command of a StateFunFlask."
            )
        self.endpoint.handler = handler = RequestHandler(
            self.registry,
            watch=current_app.debug or current_app.testing,
            protocol=self.settings.protocol,
        )
        return handler

    @property
    def settings(self) -> Settings:
        """The app's settings, as they were when they were read.

        :raises RuntimeError: This object belongs to no app yet.
        """
        if self._settings is None:
            raise RuntimeError(_UNBOUND)
        return self._settings

    @property
    def endpoint(self) -> Endpoint:
        """What answers the app's requests.

        :raises RuntimeError: This object belongs to no app yet.
        """
        if self._endpoint is None:
            raise RuntimeError(_UNBOUND)
        return self._endpoint


def _in_context(app: Flask, body: bytes) -> bytes:
    """Answer a request of the embedded engine, in the app's context and without Flask's request."""
    with app.app_context():
        statefun: StateFun = app.extensions["statefun"]
        return statefun.endpoint.call(body)


class _FirstRequest:
    """What an app's endpoint calls before its handler is made."""

    def __init__(self, statefun: StateFun) -> None:
        self.statefun = statefun

    def __call__(self, body: bytes) -> bytes:
        return self.statefun._make_handler()(body)

    def invoke(self, body: bytes) -> bytes:
        return self.statefun._make_handler().invoke(body)

    async def invoke_async(
        self, body: bytes, *, executor: concurrent.futures.Executor | None = None
    ) -> bytes:
        return await self.statefun._make_handler().invoke_async(body, executor=executor)


_UNBOUND = (
    "This StateFun object is not an app's. Call 'init_app(app)' and use 'app.statefun', or"
    " 'current_app.extensions[\"statefun\"]'."
)
