"""What a function knows while it handles one message."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from ..errors import MessageTypeError
from ..errors import StateTypeError
from .address import Address
from .address import check_address
from .message import Message
from .state import as_spec
from .state import Cell
from .state import other_type
from .state import read_any
from .state import unknown_state
from .state import ValueSpec
from .types import Type
from .types import type_of

if t.TYPE_CHECKING:
    from ..typing import Container
    from ..typing import NeedsJsonType
    from ..typing import Readable
    from ..typing import TypeOfTheValue

T = t.TypeVar("T")


class Context:
    """The instance that a message is for, who sent it, and the instance's states.

    A test makes one by hand::

        context = Context(Address("example/greeter", "bob"), states={SEEN: 3})

    :param self_address: The function and id that the message is for.
    :param caller_address: The function instance that sent it; None when it came from an ingress.
    :param states: Values by :class:`ValueSpec` or name. A state that is not listed has no value.
        Type checkers compare the values with handles of one type; for states of several types they
        accept names.
    """

    __slots__ = ("_cells", "_declared", "_handed_out", "_strict", "caller_address", "self_address")

    self_address: Address
    caller_address: Address | None

    @t.overload
    def __init__(
        self,
        self_address: Address,
        caller_address: Address | None = None,
        *,
        states: cabc.Mapping[ValueSpec[TypeOfTheValue], object],
    ) -> None: ...
    @t.overload
    def __init__(
        self,
        self_address: Address,
        caller_address: Address | None = None,
        states: cabc.Mapping[ValueSpec[T], T | None] | None = None,
    ) -> None: ...
    @t.overload
    def __init__(
        self,
        self_address: Address,
        caller_address: Address | None = None,
        *,
        states: cabc.Mapping[str, t.Any],
    ) -> None: ...
    def __init__(
        self,
        self_address: Address,
        caller_address: Address | None = None,
        states: cabc.Mapping[t.Any, t.Any] | None = None,
    ) -> None:
        check_address(self_address)
        if caller_address is not None:
            check_address(caller_address)
        specs = {as_spec(state): value for state, value in (states or {}).items()}
        self.self_address = self_address
        self.caller_address = caller_address
        self._declared: cabc.Mapping[str, ValueSpec[t.Any]] = {spec.name: spec for spec in specs}
        self._cells: cabc.Mapping[str, Cell] = {
            spec.name: None if value is None else spec.encode(value)
            for spec, value in specs.items()
        }
        # Only a function's declaration knows which states there are, and a test has none.
        self._strict = False
        self._handed_out: list[tuple[ValueSpec[t.Any], Cell, t.Any, t.Any]] | None = None

    @t.overload
    def get_state(self, state: Readable[T], /) -> T | None: ...
    @t.overload
    def get_state(self, state: str, type: Container, /) -> NeedsJsonType: ...
    @t.overload
    def get_state(self, state: str, type: type[T] | Type[T], /) -> T | None: ...
    @t.overload
    def get_state(self, state: str, /) -> t.Any: ...
    def get_state(self, state: t.Any, type: t.Any = None, /) -> t.Any:
        """Return the value that a state had when this invocation began, or None.

        The effects of this invocation are not visible in it. The value is decoded afresh at each
        call: changing it in place changes nothing, return an ``update_state``.

        :param state: The handle, or the name, of a state that the function declares.
        :param type: What to read an untyped state as; protobuf's ``Any`` gives it as it is stored.
            Without it an untyped state gives the Python value of the primitives, and a
            :class:`Message` for everything else.
        :raises UnknownStateError: The function does not declare it.
        :raises StateTypeError: It is declared, stored or asked for with another type.
        """
        if state.__class__ is ValueSpec and self._declared.get(state.name) is state:
            spec = state
        else:
            spec = self._spec(state)
        cell = self._cells.get(spec.name)
        value = spec.decode(cell) if type is None else _read_as(spec, cell, type)
        if self._handed_out is not None and value is not None:
            self._handed_out.append((spec, cell, type, value))
        return value

    def _spec(self, state: t.Any) -> ValueSpec[t.Any]:
        is_handle = state.__class__ is ValueSpec
        spec = self._declared.get(state.name if is_handle else state)

        if spec is None:
            if self._strict:
                raise unknown_state(state, self._declared, self.self_address.type)
            return as_spec(state)
        if is_handle and spec is not state and state.type != spec.type:
            raise other_type(spec, state.type.typename)
        return spec

    def __repr__(self) -> str:
        sender = f" from {self.caller_address}" if self.caller_address is not None else ""
        return f"<Context of {self.self_address}{sender}>"


def _read_as(spec: ValueSpec[t.Any], cell: Cell, type: t.Any) -> t.Any:
    wanted = type_of(type)
    if wanted == spec.type:
        return spec.decode(cell)
    if not spec.is_untyped:
        raise other_type(spec, wanted.typename)
    if cell is None:
        return None
    try:
        # An untyped state is an Any, so this is what it holds, unless an Any is asked for.
        stored = Message(*cell) if wanted.typename == spec.type.typename else read_any(cell[1])
        return stored.as_type(wanted)
    except (MessageTypeError, ValueError) as exc:
        raise StateTypeError(
            f"The state '{spec.name}' cannot be read as '{wanted.typename}'. {exc}"
        ) from exc


def invocation_context(
    self_address: Address,
    caller_address: Address | None,
    cells: cabc.Mapping[str, Cell],
    declared: cabc.Mapping[str, ValueSpec[t.Any]],
    watched: bool,
) -> Context:
    """Return the context of one message of a request, in as few steps as can be.

    :param watched: Remember what is handed out, to find values that were changed in place.
    """
    context = _new(Context)
    context.self_address = self_address
    context.caller_address = caller_address
    context._cells = cells
    context._declared = declared
    context._strict = True
    context._handed_out = [] if watched else None
    return context


_new = object.__new__


def changed_in_place(context: Context) -> cabc.Iterator[ValueSpec[t.Any]]:
    """Yield the states whose handed-out values no longer serialise to what was stored."""
    for spec, cell, type, value in context._handed_out or ():
        if isinstance(value, Message):
            continue
        written = spec.type if type is None else type_of(type)
        # Read anew, since what is stored may have been written as another type (2.x).
        stored = spec.decode(cell) if type is None else _read_as(spec, cell, type)
        try:
            changed = written.serialize(value) != written.serialize(stored)
        except (TypeError, ValueError):  # only a value that was changed does not fit
            changed = True
        if changed:
            yield spec
