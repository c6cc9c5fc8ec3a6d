"""Which function answers which typename.

Annotations and declarations are read once, at registration. At the first request they are compiled
into one immutable table per typename, which is all that a request looks at.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import inspect
import sys
import typing as t

from ..errors import DuplicateFunctionError
from ..errors import FunctionNotFound
from ..errors import MessageTypeError
from ..errors import RegistrationError
from ..values.address import egress_identifier
from ..values.address import EgressIdentifier
from ..values.address import function_type
from ..values.address import FunctionType
from ..values.message import Message
from ..values.state import as_spec
from ..values.state import ValueSpec
from ..values.types import match
from ..values.types import Type
from . import signature as signatures

if t.TYPE_CHECKING:
    from ..typing import Function
    from ..typing import ListOf
    from ..typing import State


@dataclasses.dataclass(frozen=True, eq=False)
class StatefulFunction:
    """A registered function with what it declares.

    :param function: What the user registered, unchanged.
    :param states: In the order of declaration.
    :param egresses: The egresses it declares to write to, for checks of module.yaml.
    :param signature: Which messages it takes.
    :param blueprint: The name of the blueprint that registered it, or None.
    """

    typename: FunctionType
    function: cabc.Callable[..., t.Any]
    states: tuple[ValueSpec[t.Any], ...]
    egresses: tuple[EgressIdentifier, ...]
    signature: signatures.Signature
    blueprint: str | None = None

    @classmethod
    def declare(
        cls,
        typename: str,
        function: cabc.Callable[..., t.Any],
        states: cabc.Iterable[ValueSpec[t.Any] | str] = (),
        egresses: cabc.Iterable[str] = (),
        *,
        blueprint: str | None = None,
        namespace: cabc.Mapping[str, t.Any] | None = None,
    ) -> t.Self:
        """Read a function's declaration.

        :param namespace: The local names where it is declared, for textual annotations.
        :raises RegistrationError: Something about it is not allowed.
        """
        try:
            name = function_type(typename)
            signature = signatures.read(function, namespace)
            ids = tuple(egress_identifier(each) for each in _several(egresses, "egresses"))
            specs = tuple(as_spec(state) for state in _several(states, "states"))
        except RegistrationError:
            raise
        except (TypeError, ValueError) as exc:
            raise RegistrationError(str(exc)) from None
        return cls(name, function, specs, ids, signature, blueprint)

    @property
    def name(self) -> str:
        """The function's qualified name."""
        return signatures.name_of(self.function)

    @property
    def handler(self) -> str:
        """Where the function is: ``module:qualified name``."""
        function = getattr(self.function, "func", self.function)
        module = getattr(function, "__module__", None) or type(function).__module__
        return f"{module}:{self.name}"

    @property
    def is_async(self) -> bool:
        """Whether it is declared asynchronous. A wrapper may return an awaitable all the same."""
        function = inspect.unwrap(self.function)
        return any(
            inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each)
            for each in (function, getattr(function, "__call__", None))  # noqa: B004
        )

    def is_same(self, other: StatefulFunction) -> bool:
        """Tell whether this declares the same function in the same way."""
        return (self.function, self.states, self.egresses) == (
            other.function,
            other.states,
            other.egresses,
        )


class Route(t.NamedTuple):
    """How a message of one typename is handled: its payload's reader and the function."""

    take: cabc.Callable[[Message], t.Any] | None
    reader: cabc.Callable[[bytes], t.Any] | None
    function: StatefulFunction


class Table:
    """All that is registered under one typename, compiled.

    :param specs: The states of all its functions by name, in the order of declaration.
    :param routes: For each typename of a message, the function that takes it.
    :param catch_all: The function that takes messages of any other type, if there is one.
    :param is_async: Whether one of its functions is asynchronous.
    """

    __slots__ = ("catch_all", "functions", "is_async", "routes", "specs", "typename")

    def __init__(self, functions: cabc.Sequence[StatefulFunction]) -> None:
        self.typename = functions[0].typename
        self.functions = tuple(functions)
        self.is_async = any(function.is_async for function in functions)
        self.specs: dict[str, ValueSpec[t.Any]] = {}
        self.routes: dict[str, Route] = {}
        self.catch_all: Route | None = None

        for function in functions:
            self._declare_states(function)
            for type in function.signature.types:
                self._route(type, function)
            if function.signature.catch_all is not None:
                if self.catch_all is not None:
                    raise _duplicate(self.catch_all.function, function, "any other type")
                self.catch_all = Route(function.signature.catch_all, None, function)

    def _declare_states(self, function: StatefulFunction) -> None:
        own: set[str] = set()
        for spec in function.states:
            declared = self.specs.setdefault(spec.name, spec)
            if spec.name in own:
                raise RegistrationError(
                    f"'{function.name}' declares the state '{spec.name}' twice."
                    " Remove one of them from its states=[…]."
                )
            if declared != spec:
                raise RegistrationError(
                    f"Functions of '{self.typename}' declare the state '{spec.name}' differently:"
                    f" '{declared}' and '{spec}'. Use one ValueSpec for both."
                )
            own.add(spec.name)

    def _route(self, type: Type[t.Any], function: StatefulFunction) -> None:
        # The name that it writes comes first: an error about it names what the user knows.
        for typename in (type.typename, *type.readers):
            route = self.routes.setdefault(typename, Route(None, type.reader(typename), function))
            if route.function is not function:
                raise _duplicate(route.function, function, f"type '{typename}'")

    def route(self, message: Message) -> Route:
        """Return how to handle a message.

        :raises MessageTypeError: No function takes its type.
        """
        route = match(self.routes, message.typename)
        if route is None:
            route = self.catch_all
            if route is None:
                raise MessageTypeError(self._refusal(message))
        return route

    def _refusal(self, message: Message) -> str:
        return (
            f"'{self.typename}' takes no messages of type '{message.typename}', only"
            f" {self.accepted()}. Annotate a function of it with that type, or with 'Message' to"
            " take all."
        )

    def accepted(self) -> str:
        """Return the types it takes as text: ``'example/GreetRequest' and 'x/y'``."""
        types = [
            f"'{type.typename}'" for function in self.functions for type in function.signature.types
        ]
        if self.catch_all is not None:
            types.append("any other")
        return " and ".join(filter(None, (", ".join(types[:-1]), types[-1])))


class FunctionRegistry:
    """Maps typenames to functions.

    :param parent: A registry whose functions this one has too. An app's registry has the
        extension's as its parent, so that apps share only what was registered on the extension.
    """

    def __init__(self, parent: FunctionRegistry | None = None) -> None:
        self._parent = parent
        self._functions: dict[FunctionType, tuple[StatefulFunction, ...]] = {}
        self._frozen = False

    def register_fn(
        self,
        typename: str,
        function: Function,
        *,
        states: ListOf[State] = (),
        egresses: ListOf[str] = (),
    ) -> None:
        """Register a function of ``(context, message)`` under a typename.

        Several functions may share one when they take different messages. Registering a function
        again as it is does nothing.

        :param typename: ``"namespace/name"`` or a :class:`FunctionType`.
        :param states: The states it uses.
        :param egresses: The egresses it writes to; optional, for checks of module.yaml.
        :raises RegistrationError: Something about it is not allowed.
        :raises DuplicateFunctionError: Another function of that typename takes the same messages.
        """
        namespace = sys._getframe(1).f_locals
        self.add(
            StatefulFunction.declare(typename, function, states, egresses, namespace=namespace)
        )

    def add(self, function: StatefulFunction) -> None:
        """Register a function that is declared already."""
        registered = self.functions(function.typename)
        if any(function.is_same(other) for other in registered):
            return
        if self._frozen:
            raise RegistrationError(
                f"'{function.name}' is registered for '{function.typename}' after the first request"
                " was handled, so it would be missed. Register all functions while the app is set"
                " up."
            )
        Table([*registered, function])
        own = self._functions.get(function.typename, ())
        self._functions[function.typename] = (*own, function)

    def functions(self, typename: str) -> tuple[StatefulFunction, ...]:
        """Return the functions of a typename, the parent's first."""
        inherited = self._parent.functions(typename) if self._parent is not None else ()
        return inherited + self._functions.get(t.cast("FunctionType", typename), ())

    def compile(self) -> dict[tuple[str, str], Table]:
        """Return the tables by (namespace, name). From then on registering is an error."""
        self._freeze()
        tables = (self.table(typename) for typename in self)
        return {(each.typename.namespace, each.typename.name): each for each in tables}

    def table(self, typename: str) -> Table:
        """Return the table of a typename.

        :raises FunctionNotFound: Nothing is registered for it.
        """
        functions = self.functions(typename)
        if not functions:
            raise FunctionNotFound(typename, self)
        return Table(functions)

    def _freeze(self) -> None:
        self._frozen = True
        if self._parent is not None:
            self._parent._freeze()

    def __iter__(self) -> cabc.Iterator[FunctionType]:
        inherited = self._parent if self._parent is not None else ()
        return iter(sorted({*inherited, *self._functions}))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, typename: object) -> bool:
        return isinstance(typename, str) and bool(self.functions(typename))


def refuse_bare_decorator(typename: object) -> None:
    """Refuse a function in the typename's place, as a decorator without parentheses gets it.

    :raises TypeError: It is one.
    """
    if callable(typename):
        raise TypeError(
            "The decorator was used without a typename."
            " Write @app.statefun('namespace/name'), with parentheses."
        )


def _several(values: t.Any, what: str) -> cabc.Iterable[t.Any]:
    if isinstance(values, str | ValueSpec):
        raise RegistrationError(f"{what}={values!r} must be a list. Write {what}=[{values!r}].")
    # The keys of a mapping are names, whose types would be forgotten.
    if isinstance(values, cabc.Mapping) or not isinstance(values, cabc.Iterable):
        raise RegistrationError(f"{what}={values!r} must be a list. Write {what}=[…].")
    return values


def _duplicate(
    first: StatefulFunction, second: StatefulFunction, accepted: str
) -> DuplicateFunctionError:
    if first.handler == second.handler:
        return DuplicateFunctionError(
            f"'{first.typename}' is already registered to another '{first.handler}', so the factory"
            " that defines it has probably run twice. Register it on the app that the factory"
            " makes, or define it outside of the factory."
        )
    return DuplicateFunctionError(
        f"'{first.typename}' is already registered to '{first.handler}' for messages of {accepted}."
        f" Give '{second.handler}' another typename, or another message type."
    )
