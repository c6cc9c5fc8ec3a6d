"""The registry of stateful functions by typename.

Annotations and declarations are read once, at registration. The first request compiles them to one
immutable table per typename; requests use the tables only.
"""

from __future__ import annotations

import collections.abc as cabc
import sys
import typing as t

from ..errors import FunctionNotFoundError
from ..errors import RegistrationError
from ..values.address import FunctionType
from .function import StatefulFunction
from .table import FunctionTable

if t.TYPE_CHECKING:
    from ..typing import Function
    from ..typing import ListOf
    from ..typing import StateLike


class FunctionRegistry:
    """Maps typenames to functions.

    :param parent: A registry whose functions this one has too. The parent of an app's registry is
        the registry of the extension, so apps share only the functions of the extension.
    """

    def __init__(self, parent: FunctionRegistry | None = None) -> None:
        self._parent = parent
        self._functions: dict[FunctionType, tuple[StatefulFunction, ...]] = {}
        self._frozen = False

    def register(
        self,
        typename: str,
        function: Function,
        *,
        states: ListOf[StateLike] = (),
        egresses: ListOf[str] = (),
    ) -> None:
        """Register a function of ``(context, message)`` under a typename.

        Several functions may share a typename when they accept messages of different types.
        Registering the same function again, with the same declaration, does nothing.

        :param typename: ``"namespace/name"`` or a :class:`FunctionType`.
        :param states: The states that it uses.
        :param egresses: The egresses that it writes to. The embedded engine refuses a record for an
            egress that neither a function nor module.yaml declares; on Flink it ends the job.
        :raises RegistrationError: The declaration is not allowed.
        :raises DuplicateFunctionError: Another function of that typename accepts the same
            messages.
        """
        namespace = sys._getframe(1).f_locals
        add_declared(
            self,
            StatefulFunction.declare(typename, function, states, egresses, namespace=namespace),
        )

    def __iter__(self) -> cabc.Iterator[FunctionType]:
        inherited = self._parent if self._parent is not None else ()
        return iter(sorted({*inherited, *self._functions}))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, typename: object) -> bool:
        return isinstance(typename, str) and bool(functions_of(self, typename))


def add_declared(registry: FunctionRegistry, function: StatefulFunction) -> None:
    """Register a declared function.

    :raises RegistrationError: The first request was handled already.
    :raises DuplicateFunctionError: Another function of that typename accepts the same messages.
    """
    registered = functions_of(registry, function.typename)
    if any(function.is_same(other) for other in registered):
        return
    if registry._frozen:
        raise RegistrationError(
            f"'{function.name}' is registered for '{function.typename}' after the first request"
            " was handled, so no request would reach it. Register all functions before the"
            " first request."
        )
    FunctionTable([*registered, function])
    own = registry._functions.get(function.typename, ())
    registry._functions[function.typename] = (*own, function)


def functions_of(registry: FunctionRegistry, typename: str) -> tuple[StatefulFunction, ...]:
    """Return the functions of a typename; those of the parent come first."""
    inherited = functions_of(registry._parent, typename) if registry._parent is not None else ()
    return inherited + registry._functions.get(t.cast("FunctionType", typename), ())


def table_of(registry: FunctionRegistry, typename: str) -> FunctionTable:
    """Return the table of a typename.

    :raises FunctionNotFoundError: No function is registered for it.
    """
    functions = functions_of(registry, typename)
    if not functions:
        raise FunctionNotFoundError(typename, registry)
    return FunctionTable(functions)


def compile_tables(registry: FunctionRegistry) -> dict[tuple[str, str], FunctionTable]:
    """Return the tables by (namespace, name). After this call registering is an error.

    :raises RegistrationError: A part of a type cannot travel, or is not defined.
    """
    frozen: FunctionRegistry | None = registry
    while frozen is not None:
        frozen._frozen = True
        frozen = frozen._parent
    tables = [table_of(registry, typename) for typename in registry]
    for each in tables:
        each.check_types()
    return {(each.typename.namespace, each.typename.name): each for each in tables}


def refuse_bare_decorator(typename: object) -> None:
    """Reject a function in place of the typename: the argument of a decorator without parentheses.

    :raises TypeError: The argument is a function.
    """
    if callable(typename):
        raise TypeError(
            "The decorator was used without a typename."
            " Write @app.statefun('namespace/name'), with parentheses."
        )
