"""The extension: one object that registers functions for any number of Flask apps."""

from __future__ import annotations

import collections.abc as cabc
import os
import sys
import threading
import typing as t
import weakref

from flask import Blueprint
from flask import current_app
from flask import Flask

from . import views
from .cli import COMMANDS
from .cli import group
from .config import changed
from .config import Settings
from .config import SettingsOptions
from .core.endpoint import Endpoint
from .core.function import StatefulFunction
from .core.handler import RequestHandler
from .core.registry import add_declared
from .core.registry import FunctionRegistry
from .core.registry import refuse_bare_decorator
from .core.table import FunctionTable
from .typing import F

if t.TYPE_CHECKING:
    from .testing.embedded import EmbeddedTestEngine
    from .typing import Function
    from .typing import ListOf
    from .typing import StateLike


class FunctionScaffold:
    """The methods that register functions, with an app or with the extension.

    :param registry: Where the functions are registered.
    """

    #: The functions that are registered here, and those of the parent registry.
    registry: FunctionRegistry

    def __init__(self, registry: FunctionRegistry) -> None:
        self.registry = registry

    def __call__(
        self,
        typename: str,
        *,
        states: ListOf[StateLike] = (),
        egresses: ListOf[str] = (),
    ) -> cabc.Callable[[F], F]:
        """Register the decorated function under a typename. The function is returned unchanged.

        ::

            @statefun("example/greeter", states=[SEEN])
            def greet(context, request): ...

        :param typename: ``"namespace/name"``. Several functions may share a typename if they take
            different messages; the annotation of the second parameter decides.
        :param states: The states that the function uses: :class:`ValueSpec` handles, or names of
            untyped states.
        :param egresses: The egresses that the function writes to. They are optional; ``flask
            statefun check`` and ``flask statefun module`` use them.
        """
        refuse_bare_decorator(typename)
        namespace = sys._getframe(1).f_locals

        def register(function: F) -> F:
            add_declared(
                self.registry,
                StatefulFunction.declare(typename, function, states, egresses, namespace=namespace),
            )
            return function

        return register

    def add_function(
        self,
        typename: str,
        function: Function,
        *,
        states: ListOf[StateLike] = (),
        egresses: ListOf[str] = (),
    ) -> None:
        """Register a function under a typename, without the decorator.

        ::

            statefun.add_function("example/greeter", greet, states=[SEEN])

        The parameters are those of the decorator.

        :raises RegistrationError: The declaration is not allowed.
        :raises DuplicateFunctionError: Another function of that typename takes the same messages.
        """
        namespace = sys._getframe(1).f_locals
        add_declared(
            self.registry,
            StatefulFunction.declare(typename, function, states, egresses, namespace=namespace),
        )


class AppStateFun(FunctionScaffold):
    """The functions, settings and endpoint of one app: ``app.statefun``.

    The same object is ``app.extensions["statefun"]``. Functions that are registered here belong to
    this app only.

    :param app: The app that gets the endpoint and the ``flask statefun`` commands.
    :param parent: The registry of functions that the app shares with other apps.
    :param options: Settings by name, which the app's config overrides.
    :raises RuntimeError: The app has the extension already, or a blueprint of its name.
    """

    def __init__(
        self,
        app: Flask,
        *,
        parent: FunctionRegistry | None = None,
        options: SettingsOptions | None = None,
    ) -> None:
        _refuse_second_extension(app)
        super().__init__(FunctionRegistry(parent))
        self._app = app
        self._options = options or SettingsOptions()
        self._endpoint: Endpoint | None = None
        self._binding = threading.RLock()
        Settings.read(self._options)

        app.extensions["statefun"] = self
        app.statefun = self  # type: ignore[attr-defined]
        app.cli.add_command(group)
        # The URL rules are added with the settings. The name is reserved from now on.
        app.register_blueprint(Blueprint("statefun", __name__))

    @property
    def settings(self) -> Settings:
        """The app's settings.

        Once the app has its endpoint they are fixed. Before, which happens with a
        :class:`StateFunFlask` only, they are read from the config at each access.

        :raises ValueError: A ``STATEFUN_…`` key of the config, or its value, is not allowed.
        """
        if self._endpoint is not None:
            return self._endpoint.settings
        return _read_settings(self._app, self._options)

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint that answers the app's requests.

        The first access reads the settings and adds the URL rules.

        :raises ValueError: A ``STATEFUN_…`` key of the config, or its value, is not allowed.
        :raises RuntimeError: A setting was changed after it was read.
        """
        return self._bind()

    def _bind(self) -> Endpoint:
        """Read the settings and add the URL rules, unless that is done, and return the endpoint.

        :raises ValueError: A ``STATEFUN_…`` key of the config, or its value, is not allowed.
        :raises RuntimeError: A setting was changed after it was read.
        """
        # Several threads of a server may handle the first requests at the same time.
        with self._binding:
            if self._endpoint is None:
                settings = self.settings
                endpoint = Endpoint(AppHandler(self._app, self.registry, settings), settings)
                views.add_rules(self._app, endpoint)
                self._endpoint = endpoint
            else:
                _refuse_changed(self._app, self._endpoint.settings)
            return self._endpoint

    def runtime(
        self,
        *,
        clock: t.Literal["virtual", "real"] = "virtual",
        data: str | os.PathLike[str] | None = None,
        module: str | os.PathLike[str] | None = None,
        kafka: str | None = None,
        errors: t.Literal["raise", "park"] = "raise",
    ) -> EmbeddedTestEngine:
        """Return an embedded engine in this process that runs the app's functions, for tests.

        ::

            with app.statefun.runtime() as engine:
                engine.send("example/greeter/bob", GreetRequest("bob"))
                engine.advance(timedelta(days=30))
                assert engine.state("example/greeter/bob") == {}

        Each request has an application context, as in production. The parameters are those of
        :class:`~statefun_flask.testing.embedded.EmbeddedTestEngine`.
        """
        from .testing.embedded import EmbeddedTestEngine

        return EmbeddedTestEngine(
            self._app, module, clock=clock, data=data, kafka=kafka, errors=errors
        )

    def __repr__(self) -> str:
        url = "settings not read" if self._endpoint is None else f"url '{self.settings.url}'"
        return f"<AppStateFun of '{self._app.name}': {_count(self.registry)}, {url}>"


class StateFun(FunctionScaffold):
    """The Flask extension for stateful functions.

    ::

        statefun = StateFun()

        @statefun("example/greeter", states=[SEEN])
        def greet(context, request): ...

        def create_app():
            app = Flask(__name__)
            statefun.init_app(app)
            return app

    One object serves any number of apps, which share the functions that are registered on it.
    :attr:`settings`, :attr:`endpoint` and :meth:`runtime` belong to one of them: to the current app
    in an app context, and otherwise to the only app. ``app.statefun`` has the same methods for that
    app alone.

    :param app: An app to call :meth:`init_app` with.
    :param options: Defaults for the settings by name, such as ``StateFun(app, url="/functions")``.
        The app's config overrides them. See :meth:`init_app`.
    :raises TypeError: An option is unknown.
    :raises ValueError: The value of an option is not allowed.
    """

    def __init__(self, app: Flask | None = None, **options: t.Unpack[SettingsOptions]) -> None:
        super().__init__(FunctionRegistry())
        Settings.read(options)
        self._options = options
        self._apps: list[weakref.ref[Flask]] = []
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add the functions, the endpoint and the ``flask statefun`` commands to an app.

        These keys of the app's config are read now. Set them before; a key that is changed later is
        an error.

        ``STATEFUN_URL``
            The path of the endpoint. Default: ``"/statefun"``.
        ``STATEFUN_PROTOCOL``
            ``"v2"`` or ``"v3"`` to answer one major version of StateFun only, ``"auto"`` to detect
            the version of each request. Default: ``"auto"``.
        ``STATEFUN_MAX_REQUEST_BYTES``
            The largest request body that is read, in bytes. Default: 67108864 (64 MiB).
        ``STATEFUN_MAX_RESPONSE_BYTES``
            The largest response that the runtime is configured to accept, in bytes. A larger one
            is logged as an error. Default: 33554432 (32 MiB).
        ``STATEFUN_UNKNOWN_FUNCTION_STATUS``
            The HTTP status of the response for an unknown function, 503 or 404. Default: 503.

        :raises RuntimeError: The app has the extension already, or a blueprint of its name.
        :raises ValueError: A ``STATEFUN_…`` key, or its value, is not allowed.
        """
        _read_settings(app, self._options)  # A wrong one leaves the app unchanged.
        AppStateFun(app, parent=self.registry, options=self._options)._bind()
        self._apps.append(weakref.ref(app))

    @property
    def settings(self) -> Settings:
        """The settings of the current app, or of the only app.

        :raises RuntimeError: It is not clear which app is meant.
        """
        return self._of_app().settings

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint of the current app, or of the only app.

        :raises RuntimeError: It is not clear which app is meant, or a setting was changed.
        """
        return self._of_app().endpoint

    def runtime(
        self,
        *,
        clock: t.Literal["virtual", "real"] = "virtual",
        data: str | os.PathLike[str] | None = None,
        module: str | os.PathLike[str] | None = None,
        kafka: str | None = None,
        errors: t.Literal["raise", "park"] = "raise",
    ) -> EmbeddedTestEngine:
        """Return an embedded engine for the current app, or for the only app.

        See :meth:`AppStateFun.runtime`.

        :raises RuntimeError: It is not clear which app is meant.
        """
        return self._of_app().runtime(
            clock=clock, data=data, module=module, kafka=kafka, errors=errors
        )

    def _of_app(self) -> AppStateFun:
        apps = [app for app in (each() for each in self._apps) if app is not None]
        if current_app:
            app = views.app_itself()
            if app not in apps:
                raise RuntimeError(
                    f"The current app '{app.name}' does not have this StateFun object."
                    " Call 'init_app' with the app first."
                )
        elif not self._apps:
            raise RuntimeError("This StateFun object has no app. Call 'init_app' with one first.")
        elif len(self._apps) > 1 or not apps:
            # Count the calls of init_app: the collector decides how many apps are still alive.
            names = ", ".join(f"'{each.name}'" for each in apps)
            raise RuntimeError(
                f"This StateFun object has several apps ({names}). Use it in an app context, with"
                " 'with app.app_context():'."
            )
        else:
            app = apps[0]
        of_app: AppStateFun = app.extensions["statefun"]
        return of_app

    def __repr__(self) -> str:
        apps = [app.name for app in (each() for each in self._apps) if app is not None]
        names = f" of {', '.join(map(repr, apps))}" if apps else ""
        return f"<StateFun{names}: {_count(self.registry)}>"


class AppHandler(RequestHandler):
    """A request handler that follows an app: its debug and testing flags, and its config.

    All of them are read at the first request, with the registry.
    """

    def __init__(self, app: Flask, registry: FunctionRegistry, settings: Settings) -> None:
        super().__init__(registry, protocol=settings.protocol, logger=lambda: app.logger)
        self._app = app
        self._settings = settings

    def _compile(self) -> cabc.Mapping[tuple[str, str], FunctionTable]:
        """Compile the registry.

        :raises RuntimeError: A setting was changed after it was read.
        """
        _refuse_changed(self._app, self._settings)
        self.debug_checks = self._app.debug or self._app.testing
        return super()._compile()


def _refuse_changed(app: Flask, settings: Settings) -> None:
    """Refuse a config that no longer has the settings that were read.

    :raises RuntimeError: A setting was changed.
    """
    key = changed(app.config, settings)
    if key is not None:
        raise RuntimeError(
            f"The setting {key} was changed to {app.config[key]!r} after it was read, which has no"
            " effect. Set it before 'init_app', or before the first request of a StateFunFlask."
        )


def _read_settings(app: Flask, options: SettingsOptions) -> Settings:
    return Settings.read(options, config=app.config, commands=COMMANDS)


def _refuse_second_extension(app: Flask) -> None:
    if "statefun" in app.extensions:
        raise RuntimeError(
            f"The app '{app.name}' has the StateFun extension already. Call 'init_app' once for"
            " each app, and not at all for a StateFunFlask."
        )
    if "statefun" in app.blueprints:
        raise RuntimeError(
            f"The app '{app.name}' has a blueprint 'statefun', which is the name of the extension's"
            " own blueprint. Register yours under another name: register_blueprint(…, name='…')."
        )


def _count(registry: FunctionRegistry) -> str:
    return f"{len(registry)} function{'s' * (len(registry) != 1)}"
