"""Blueprints with stateful functions."""

from __future__ import annotations

import collections.abc as cabc
import inspect
import os
import sys
import typing as t

from flask import Blueprint
from flask.blueprints import BlueprintSetupState

from .core.function import StatefulFunction
from .core.registry import add_declared
from .core.registry import refuse_bare_decorator
from .typing import F
from .values.address import FunctionType

if t.TYPE_CHECKING:
    from .extension import AppStateFun
    from .typing import Function
    from .typing import ListOf
    from .typing import StateLike

# Flask's default for the blueprint's name has no public name.
_OWN_GROUP: t.Any = inspect.signature(Blueprint.__init__).parameters["cli_group"].default


class StateFunBlueprint(Blueprint):
    """A blueprint whose functions are registered with each app that it is registered with.

    Typenames are addresses, not URLs: the blueprint's name and its URL prefix do not become part of
    them. With a namespace, a function's name is enough::

        greetings = StateFunBlueprint("greetings", __name__, namespace="example")

        @greetings.statefun("greeter")  # "example/greeter"
        def greet(context, request): ...

    The parameters are those of :class:`flask.Blueprint`, and:

    :param namespace: The namespace of the functions whose typename is written without one. A
        typename of the form ``"namespace/name"`` is used as it is.
    :raises ValueError: The namespace is empty, or has a slash.
    """

    def __init__(
        self,
        name: str,
        import_name: str,
        static_folder: str | os.PathLike[str] | None = None,
        static_url_path: str | None = None,
        template_folder: str | os.PathLike[str] | None = None,
        url_prefix: str | None = None,
        subdomain: str | None = None,
        url_defaults: dict[str, t.Any] | None = None,
        root_path: str | None = None,
        cli_group: str | None = _OWN_GROUP,
        *,
        namespace: str | None = None,
    ) -> None:
        super().__init__(
            name,
            import_name,
            static_folder=static_folder,
            static_url_path=static_url_path,
            template_folder=template_folder,
            url_prefix=url_prefix,
            subdomain=subdomain,
            url_defaults=url_defaults,
            root_path=root_path,
            cli_group=cli_group,
        )
        if namespace is not None:
            _check_namespace(namespace)
        #: The namespace of the functions whose typename is written without one.
        self.namespace = namespace

    def statefun(
        self,
        typename: str,
        *,
        states: ListOf[StateLike] = (),
        egresses: ListOf[str] = (),
    ) -> cabc.Callable[[F], F]:
        """Register the decorated function, as ``@app.statefun(…)`` does.

        :param typename: ``"namespace/name"``, or ``"name"`` if the blueprint has a namespace.
        :raises RuntimeError: When the blueprint is registered with an app that has no StateFun.
        """
        refuse_bare_decorator(typename)
        self._check_setup_finished("statefun")
        namespace = sys._getframe(1).f_locals

        def register(function: F) -> F:
            self._declare(typename, function, states, egresses, namespace)
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
        """Register a function, without the decorator.

        The parameters are those of :meth:`statefun`.

        :raises RegistrationError: The declaration is not allowed.
        """
        self._check_setup_finished("add_function")
        self._declare(typename, function, states, egresses, sys._getframe(1).f_locals)

    def _declare(
        self,
        typename: str,
        function: cabc.Callable[..., t.Any],
        states: ListOf[StateLike],
        egresses: ListOf[str],
        namespace: cabc.Mapping[str, t.Any],
    ) -> None:
        if self.namespace is not None and "/" not in typename:
            typename = f"{self.namespace}/{typename}"
        declared = StatefulFunction.declare(
            typename, function, states, egresses, blueprint=self.name, namespace=namespace
        )
        self.record(lambda state: _register(state, declared))


def _check_namespace(namespace: str) -> None:
    try:
        FunctionType(f"{namespace}/name")
    except ValueError:
        raise ValueError(
            f"{namespace!r} is not a namespace. Write the part of a typename that precedes the"
            " slash, such as 'example'."
        ) from None


def _register(state: BlueprintSetupState, declared: StatefulFunction) -> None:
    of_app: AppStateFun | None = state.app.extensions.get("statefun")
    if of_app is None:
        raise RuntimeError(
            f"The blueprint '{state.blueprint.name}' has stateful functions, but the app"
            f" '{state.app.name}' has no StateFun extension."
            " Call 'StateFun().init_app(app)' before registering the blueprint."
        )
    add_declared(of_app.registry, declared)
