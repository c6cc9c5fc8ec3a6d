"""Converts the return value of a function to one Effects object."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from ..errors import InvalidReturnError
from ..values.effects import Effects
from ..values.message import Message
from .function import StatefulFunction

_NOT_SEVERAL = (str, bytes, bytearray, cabc.Mapping, Message)


def as_effects(returned: t.Any, function: StatefulFunction) -> Effects:
    """Return the return value of a function as one Effects object.

    :raises InvalidReturnError: It is neither Effects nor an iterable of Effects.
    """
    if isinstance(returned, Effects):
        return returned
    if returned is None and function.signature.returns_none:
        return Effects()
    if isinstance(returned, cabc.Iterable) and not isinstance(returned, _NOT_SEVERAL):
        with _Join(function) as join:
            for each in returned:
                join.add(each)
        return join.effects
    raise _invalid(_described(returned), function)


async def collect(returned: cabc.AsyncIterable[t.Any], function: StatefulFunction) -> Effects:
    """Return the values that an async generator yields as one Effects object.

    :raises InvalidReturnError: It yields something other than Effects.
    """
    with _Join(function) as join:
        async for each in returned:
            join.add(each)
    return join.effects


class _Join:
    """Joins the Effects that a function yields.

    Each object is sealed when it is yielded, since a later addition would be lost. If the function
    fails, the objects are open again, since they have no effect.
    """

    def __init__(self, function: StatefulFunction) -> None:
        self.effects = Effects()
        self._function = function
        self._sealed: list[Effects] = []

    def add(self, yielded: t.Any) -> None:
        if not isinstance(yielded, Effects):
            raise _invalid(f"an iterable with {_described(yielded)}", self._function)
        self.effects.extend(yielded)
        if not yielded._sealed:
            yielded._sealed = True
            self._sealed.append(yielded)

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for each in self._sealed:
                each._sealed = False


def _described(value: object) -> str:
    return "None" if value is None else f"{type(value).__name__} {value!r:.60}"


def _invalid(what: str, function: StatefulFunction) -> InvalidReturnError:
    return InvalidReturnError(
        f"'{function.name}' returned {what}, but a stateful function returns Effects."
        " Write 'return Effects()' when nothing should happen."
    )
