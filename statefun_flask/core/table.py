"""All functions of one typename, compiled for the requests of that typename."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from ..errors import DuplicateFunctionError
from ..errors import MessageTypeError
from ..errors import RegistrationError
from ..values.message import converter
from ..values.message import Message
from ..values.state import ValueSpec
from ..values.types import match
from ..values.types import Type
from .function import StatefulFunction
from .signature import Convert


class MessageRoute(t.NamedTuple):
    """The function for messages of one type, and the conversion of a message to its argument."""

    convert: Convert
    function: StatefulFunction


class FunctionTable:
    """All functions of one typename.

    :param specs: The states of all functions by name, in the order of declaration.
    :param routes: The routes by the typename of a message.
    :param catch_all: The route for messages of any other type, or None.
    :param is_async: Whether one of the functions is asynchronous.
    """

    __slots__ = ("catch_all", "functions", "is_async", "routes", "specs", "typename")

    def __init__(self, functions: cabc.Sequence[StatefulFunction]) -> None:
        self.typename = functions[0].typename
        self.functions = tuple(functions)
        self.is_async = any(function.is_async for function in functions)
        self.specs: dict[str, ValueSpec[t.Any]] = {}
        self.routes: dict[str, MessageRoute] = {}
        self.catch_all: MessageRoute | None = None

        for function in functions:
            self._declare_states(function)
            for accepted in function.signature.types:
                self._add_routes(accepted, function)
            if function.signature.catch_all is not None:
                if self.catch_all is not None:
                    raise _duplicate(self.catch_all.function, function, "any other type")
                self.catch_all = MessageRoute(function.signature.catch_all, function)

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

    def _add_routes(self, accepted: Type[t.Any], function: StatefulFunction) -> None:
        # The typename that the type writes comes first, since users know it from error messages.
        for typename in (accepted.typename, *accepted._readers):
            reader = t.cast("cabc.Callable[[bytes], t.Any]", accepted._reader(typename))
            route = self.routes.setdefault(typename, MessageRoute(converter(reader), function))
            if route.function is not function:
                raise _duplicate(route.function, function, f"type '{typename}'")

    def check_types(self) -> None:
        """Check the types that could not be checked earlier, as they named classes defined later.

        :raises RegistrationError: A part of a type cannot travel, or is still not defined.
        """
        for function in self.functions:
            for each in (*function.signature.types, *(spec.type for spec in function.states)):
                try:
                    each._check()
                except NameError as exc:
                    raise RegistrationError(
                        f"The type '{each.label}' of '{function.name}' cannot be read: {exc}."
                        " Define that class in the same module, outside of functions."
                    ) from exc

    def route(self, message: Message) -> MessageRoute:
        """Return the route for a message.

        :raises MessageTypeError: No function accepts its type.
        """
        route = match(self.routes, message.typename) or self.catch_all
        if route is None:
            raise MessageTypeError(
                f"'{self.typename}' does not accept messages of type '{message.typename}', only"
                f" {self.accepted()}. Annotate a function of it with that type, or with 'Message'"
                " for messages of every type."
            )
        return route

    def accepted(self) -> str:
        """Return the accepted types as text: ``'example/GreetRequest' and 'x/y'``."""
        types = [
            f"'{accepted.typename}'"
            for function in self.functions
            for accepted in function.signature.types
        ]
        if self.catch_all is not None:
            types.append("any other")
        return " and ".join(filter(None, (", ".join(types[:-1]), types[-1])))


def _duplicate(
    first: StatefulFunction, second: StatefulFunction, accepted: str
) -> DuplicateFunctionError:
    typename = first.typename
    if first.function == second.function:
        return DuplicateFunctionError(
            f"'{first.handler}' is already registered to '{typename}' with other states or"
            " egresses. Register it once."
        )
    if first.code is not None and first.code is second.code:
        return DuplicateFunctionError(
            f"'{typename}' is already registered to another '{first.handler}', so the factory"
            " that defines it has probably run twice. Register it on the app that the factory"
            " makes, or define it outside of the factory."
        )
    return DuplicateFunctionError(
        f"'{typename}' is already registered to '{first.handler}' for messages of {accepted}."
        f" Give '{second.handler}' another typename, or another message type."
    )
