"""Types that describe the package's API to type checkers."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

if t.TYPE_CHECKING:
    from .values.context import Context
    from .values.effects import Effects
    from .values.state import ValueSpec

    #: What a function may return: Effects, several of them, or None when its annotation says so.
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
    State: t.TypeAlias = ValueSpec[t.Any] | str

    T_co = t.TypeVar("T_co", covariant=True)

    class ListOf(t.Protocol[T_co]):
        """A list or a tuple.

        Text and mappings are iterable too, and are not meant: the methods leave them out.
        """

        def __contains__(self, value: object, /) -> bool: ...
        def __iter__(self) -> cabc.Iterator[T_co]: ...
        def __mul__(self, value: t.SupportsIndex, /) -> object: ...

    #: ``list[int]`` and the like, which are classes to type checkers. So are subclasses of list,
    #: dict and set.
    Container: t.TypeAlias = (
        type[list[t.Any]] | type[dict[t.Any, t.Any]] | type[set[t.Any]] | type[frozenset[t.Any]]
    )

    class NeedsJsonType:
        """The result of reading a value as ``list[int]``, which has no typename and always fails.

        Use ``json_type("namespace/name", list[int])``.
        """

    class TypeOfTheValue:
        """Has no instances. It stands in the first overload of methods that take a state's value.

        mypy reports a value of another type by the first overload: 'incompatible type
        "ValueSpec[int]"; expected "ValueSpec[TypeOfTheValue]"'. Without that overload the report is
        'Cannot infer value of type parameter "T"'.
        """


F = t.TypeVar("F", bound="Function")
