"""Blueprints with stateful functions."""

from __future__ import annotations

import collections.abc as cabc
import sys
import typing as t

from flask import Blueprint
from flask.blueprints import BlueprintSetupState

from .core.function import StatefulFunction
from .core.registry import refuse_bare_decorator
from .typing import F

if t.TYPE_CHECKING:
    from .extension import StateFun
    from .typing import State


class StateFunBlueprint(Blueprint):
    """A blueprint whose functions are registered with each app that it is registered with.

    Typenames are addresses, not URLs: neither the blueprint's name nor its prefix becomes part of
    them.
    """

    def statefun(
        self,
        typename: str,
        *,
        states: cabc.Iterable[State] = (),
        egresses: cabc.Iterable[str] = (),
    ) -> cabc.Callable[[F], F]:
        """Register a function, as ``@app.statefun(...)`` does.

        :raises RuntimeError: At the blueprint's registration, when the app has no StateFun.
        """
        refuse_bare_decorator(typename)
        namespace = sys._getframe(1).f_locals

        def register(function: F) -> F:
            declared = StatefulFunction.declare(
                typename, function, states, egresses, blueprint=self.name, namespace=namespace
            )
            self.record(lambda state: _register(state, declared))
            return function

        return register


def _register(state: BlueprintSetupState, declared: StatefulFunction) -> None:
    extension: StateFun | None = state.app.extensions.get("statefun")
    if extension is None:
        raise RuntimeError(
            f"The blueprint '{state.blueprint.name}' has stateful functions, but the app"
            f" '{state.app.name}' has no StateFun extension."
            " Call 'StateFun().init_app(app)' before registering the blueprint."
        )
    extension.registry.add(declared)
