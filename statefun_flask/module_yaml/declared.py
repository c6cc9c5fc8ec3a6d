"""The declarations of an app that a module.yaml must agree with."""

from __future__ import annotations

import dataclasses
import datetime as dt
import typing as t

from ..core.registry import FunctionRegistry
from ..core.registry import table_of
from ..core.table import FunctionTable
from ..values.state import ValueSpec
from ..values.types import match
from .model import State


@dataclasses.dataclass(frozen=True)
class DeclaredFunction:
    """A typename that an app serves.

    :param states: Its states in the order of declaration.
    :param egresses: The ids of the egresses that it declares, each once.
    """

    typename: str
    states: tuple[ValueSpec[t.Any], ...]
    egresses: tuple[str, ...]
    table: FunctionTable

    @property
    def types(self) -> list[str]:
        """The typenames of its messages, in the order of declaration."""
        return [type.typename for each in self.table.functions for type in each.signature.types]

    def accepts(self, typename: str) -> bool:
        """Return whether it handles messages of a typename."""
        table = self.table
        if table.catch_all is not None:
            return True
        return match(table.routes, typename) is not None


def functions(registry: FunctionRegistry) -> dict[str, DeclaredFunction]:
    """Return the functions of a registry by typename."""
    found = {}
    for typename in registry:
        table = table_of(registry, typename)
        egresses = [str(id) for each in table.functions for id in each.egresses]
        found[str(typename)] = DeclaredFunction(
            str(typename),
            tuple(table.specs.values()),
            tuple(dict.fromkeys(egresses)),
            table,
        )
    return found


def egresses(registry: FunctionRegistry) -> tuple[str, ...]:
    """Return the ids of all egresses that functions declare, each once."""
    declared = [id for each in functions(registry).values() for id in each.egresses]
    return tuple(dict.fromkeys(declared))


def state(spec: ValueSpec[t.Any]) -> State:
    """Return a declared state as formats 1.0 and 2.0 declare it."""
    if spec.expire_after_write is not None:
        return State(
            name=spec.name, expire_after=whole(spec.expire_after_write), expire_mode="after-write"
        )
    if spec.expire_after_call is not None:
        return State(name=spec.name, expire_after=whole(spec.expire_after_call))
    return State(name=spec.name)


def whole(span: dt.timedelta) -> dt.timedelta:
    """Return a duration in whole milliseconds, as the runtime receives it."""
    return span - span % dt.timedelta(milliseconds=1)
