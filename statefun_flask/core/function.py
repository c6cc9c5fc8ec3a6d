"""A stateful function and its declaration."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import inspect
import typing as t

from ..errors import RegistrationError
from ..values.address import egress_identifier
from ..values.address import EgressIdentifier
from ..values.address import function_type
from ..values.address import FunctionType
from ..values.state import as_spec
from ..values.state import ValueSpec
from . import signature as signatures


@dataclasses.dataclass(frozen=True, eq=False)
class StatefulFunction:
    """A registered function and its declaration.

    :param function: The function as the user registered it.
    :param states: The states that it declares, in the order of declaration.
    :param egresses: The egresses that it declares to write to, for checks of module.yaml.
    :param signature: The messages that it accepts.
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
        """Check a declaration, and read the annotations of the function.

        :param namespace: The local names at the place of registration, for textual annotations.
        :raises RegistrationError: The declaration is not allowed.
        """
        try:
            name = function_type(typename)
            signature = signatures.read(function, namespace)
            ids = tuple(egress_identifier(each) for each in _checked_list(egresses, "egresses"))
            specs = tuple(as_spec(state) for state in _checked_list(states, "states"))
        except RegistrationError:
            raise
        except (TypeError, ValueError) as exc:
            raise RegistrationError(str(exc)) from None
        return cls(name, function, specs, ids, signature, blueprint)

    @property
    def name(self) -> str:
        """The qualified name of the function."""
        return signatures.name_of(self.function)

    @property
    def handler(self) -> str:
        """The place of the function: ``module:qualified name``."""
        function = getattr(self.function, "func", self.function)
        module = getattr(function, "__module__", None) or type(function).__module__
        return f"{module}:{self.name}"

    @property
    def is_async(self) -> bool:
        """True for an async function. A synchronous wrapper may return an awaitable too."""
        function = inspect.unwrap(self.function)
        return any(
            inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each)
            for each in (function, getattr(function, "__call__", None))  # noqa: B004
        )

    def is_same(self, other: StatefulFunction) -> bool:
        """Return whether another declaration has the same function, states and egresses."""
        return (self.function, self.states, self.egresses) == (
            other.function,
            other.states,
            other.egresses,
        )

    @property
    def code(self) -> t.Any:
        """The code object of the function, or None. Each run of a factory shares it."""
        return getattr(signatures.plain_function(self.function), "__code__", None)


def _checked_list(values: t.Any, what: str) -> cabc.Iterable[t.Any]:
    if isinstance(values, str | ValueSpec):
        raise RegistrationError(f"{what}={values!r} must be a list. Write {what}=[{values!r}].")
    # Iterating over a mapping would keep the names and drop the types.
    if isinstance(values, cabc.Mapping) or not isinstance(values, cabc.Iterable):
        raise RegistrationError(f"{what}={values!r} must be a list. Write {what}=[…].")
    return values
