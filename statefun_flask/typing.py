"""Types that describe the package's API to type checkers."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

T_co = t.TypeVar("T_co", covariant=True)

if t.TYPE_CHECKING:
    from .values.context import Context
    from .values.effects import Effects
    from .values.state import ValueSpec

    #: The return type of a function: Effects, several of them, or None if the annotation allows it.
    ReturnValue: t.TypeAlias = (
        Effects
        | cabc.Iterable[Effects]
        | cabc.AsyncIterable[Effects]
        | cabc.Iterator[Effects]
        | None
    )
    #: A stateful function: sync or async, with any type of message.
    Function: t.TypeAlias = (
        cabc.Callable[[Context, t.Any], ReturnValue]
        | cabc.Callable[[Context, t.Any], cabc.Awaitable[ReturnValue]]
    )
    #: An element of ``states``: a handle, or the name of an untyped state.
    StateLike: t.TypeAlias = ValueSpec[t.Any] | str

    class ListOf(t.Protocol[T_co]):
        """A list or a tuple.

        Text and mappings are iterable too, but do not have all of these methods.
        """

        def __contains__(self, value: object, /) -> bool: ...
        def __iter__(self) -> cabc.Iterator[T_co]: ...
        def __mul__(self, value: t.SupportsIndex, /) -> object: ...


F = t.TypeVar("F", bound="Function")
