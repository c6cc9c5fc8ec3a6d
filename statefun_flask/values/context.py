"""The context of one message: its addresses and the states of the function instance."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from ..errors import MessageTypeError
from ..errors import StateTypeError
from ._any import read_any
from .address import Address
from .address import as_address
from .message import Message
from .state import as_spec
from .state import declared_type_mismatch
from .state import StoredForm
from .state import TypeOfTheValue
from .state import unknown_state
from .state import ValueSpec
from .types import Container
from .types import NeedsJsonType
from .types import type_of
from .types import TypeLike

T = t.TypeVar("T")
T_co = t.TypeVar("T_co", covariant=True)


class Readable(t.Protocol[T_co]):
    """The reading half of a ValueSpec, which is covariant.

    It makes checkers accept ``f"{context.get_state(SEEN)}"``, where any object is expected.
    """

    def _decode(self, stored: StoredForm, /) -> T_co | None:
        """Return the value of a stored form."""
        ...


class Context:
    """The instance that a message is for, its sender, and the states of the instance.

    A test makes one by hand::

        context = Context("example/greeter/bob", states={SEEN: 3})

    :param self_address: The function instance that the message is for; an :class:`Address`, or the
        text ``"namespace/name/id"``.
    :param caller_address: The function instance that sent the message; None for a message from an
        ingress.
    :param states: Values by :class:`ValueSpec` or name. A state that is not listed has no value. A
        state that is listed by name can be read through any handle of that name. Type checkers
        compare the values with handles of one type; for states of several types they accept names.
    """

    __slots__ = ("_declared", "_named", "_stored", "caller_address", "self_address")

    self_address: Address
    caller_address: Address | None
    _declared: cabc.Mapping[str, ValueSpec[t.Any]]
    _stored: cabc.Mapping[str, StoredForm]
    #: The values that were passed to this context by name.
    _named: cabc.Mapping[str, t.Any]

    @t.overload
    def __init__(
        self,
        self_address: Address | str,
        caller_address: Address | str | None = None,
        *,
        states: cabc.Mapping[ValueSpec[TypeOfTheValue], object],
    ) -> None: ...
    @t.overload
    def __init__(
        self,
        self_address: Address | str,
        caller_address: Address | str | None = None,
        states: cabc.Mapping[ValueSpec[T], T | None] | None = None,
    ) -> None: ...
    @t.overload
    def __init__(
        self,
        self_address: Address | str,
        caller_address: Address | str | None = None,
        *,
        states: cabc.Mapping[str, t.Any],
    ) -> None: ...
    def __init__(
        self,
        self_address: Address | str,
        caller_address: Address | str | None = None,
        states: cabc.Mapping[t.Any, t.Any] | None = None,
    ) -> None:
        self.self_address = as_address(self_address)
        self.caller_address = None if caller_address is None else as_address(caller_address)
        specs = {as_spec(state): value for state, value in (states or {}).items()}
        self._declared = {spec.name: spec for spec in specs}
        self._stored = {
            spec.name: None if value is None else spec._encode(value)
            for spec, value in specs.items()
        }
        self._named = {
            state: value for state, value in (states or {}).items() if isinstance(state, str)
        }

    @t.overload
    def get_state(self, state: Readable[T], /) -> T | None: ...
    @t.overload
    def get_state(self, state: str, type: Container, /) -> NeedsJsonType: ...
    @t.overload
    def get_state(self, state: str, type: TypeLike[T], /) -> T | None: ...
    @t.overload
    def get_state(self, state: str, /) -> t.Any: ...
    def get_state(self, state: t.Any, type: t.Any = None, /) -> t.Any:
        """Return the value that a state had when this invocation began, or None.

        The effects of this invocation do not change it. The value is decoded at each call, so
        changing it in place has no effect; return an ``update_state``.

        :param state: The handle, or the name, of a state that the function declares.
        :param type: The type to read an untyped state as; protobuf's ``Any`` gives it as stored.
            Without it an untyped state gives the Python value of a primitive, and a
            :class:`Message` for any other value.
        :raises UnknownStateError: The function does not declare the state.
        :raises StateTypeError: The state is declared, stored or asked for with another type.
        """
        spec, stored = self._find(state)
        return spec._decode(stored) if type is None else _read_as(spec, stored, type)

    def _find(self, state: t.Any) -> tuple[ValueSpec[t.Any], StoredForm]:
        """Return the declaration of a state and its stored value."""
        spec = self._declared.get(getattr(state, "name", state))
        if spec is None:
            return as_spec(state), None
        if state.__class__ is ValueSpec and spec is not state and state.type != spec.type:
            if state.name not in self._named:
                raise declared_type_mismatch(spec, state.type.typename)
            value = self._named[state.name]
            return state, None if value is None else state._encode(value)
        return spec, self._stored.get(spec.name)

    def __repr__(self) -> str:
        sender = f" from {self.caller_address}" if self.caller_address is not None else ""
        return f"<Context of {self.self_address}{sender}>"


class InvocationContext(Context):
    """The context of one message of a request: only declared states can be read.

    :param stored: The states of the batch.
    :param declared: The states that the functions of the typename declare.
    :param debug_checks: Remember the values that were read, for :meth:`changed_in_place`.
    """

    __slots__ = ("_values_read",)

    def __init__(
        self,
        self_address: Address,
        caller_address: Address | None,
        stored: cabc.Mapping[str, StoredForm],
        declared: cabc.Mapping[str, ValueSpec[t.Any]],
        debug_checks: bool,
    ) -> None:
        self.self_address = self_address
        self.caller_address = caller_address
        self._stored = stored
        self._declared = declared
        self._values_read: list[tuple[ValueSpec[t.Any], StoredForm, t.Any, t.Any]] | None = (
            [] if debug_checks else None
        )

    # The overloads are those of Context; this is the same with fewer steps.
    def get_state(self, state: t.Any, type: t.Any = None, /) -> t.Any:
        """Return the value that a state had when this invocation began, or None."""
        if state.__class__ is ValueSpec and self._declared.get(state.name) is state:
            spec = state
        else:
            spec = self._declaration(state)
        stored = self._stored.get(spec.name)
        value = spec._decode(stored) if type is None else _read_as(spec, stored, type)
        if self._values_read is not None and value is not None:
            self._values_read.append((spec, stored, type, value))
        return value

    def _declaration(self, state: t.Any) -> ValueSpec[t.Any]:
        is_handle = state.__class__ is ValueSpec
        spec = self._declared.get(state.name if is_handle else state)
        if spec is None:
            raise unknown_state(state, self._declared, self.self_address.type)
        if is_handle and state.type != spec.type:
            raise declared_type_mismatch(spec, state.type.typename)
        return spec

    def changed_in_place(self) -> cabc.Iterator[ValueSpec[t.Any]]:
        """Yield the states whose values, as read, no longer serialise to what is stored."""
        for spec, stored, type_, value in self._values_read or ():
            if isinstance(value, Message):
                continue
            written = spec.type if type_ is None else type_of(type_)
            # Decoded again, since 2.x may have stored the value as another type of the same class.
            unchanged = spec._decode(stored) if type_ is None else _read_as(spec, stored, type_)
            try:
                changed = written.serialize(value) != written.serialize(unchanged)
            except (TypeError, ValueError):  # only a changed value can fail to serialise
                changed = True
            if changed:
                yield spec


def _read_as(spec: ValueSpec[t.Any], stored: StoredForm, wanted: t.Any) -> t.Any:
    wanted = type_of(wanted)
    if wanted == spec.type:
        return spec._decode(stored)
    if not spec._is_untyped:
        raise declared_type_mismatch(spec, wanted.typename)
    if stored is None:
        return None
    try:
        # An untyped state is stored as an Any: read its content, unless the Any itself is wanted.
        is_any = wanted.typename == spec.type.typename
        message = Message(*stored) if is_any else read_any(stored[1])
        return message.as_type(wanted)
    except (MessageTypeError, ValueError) as exc:
        raise StateTypeError(
            f"The state '{spec.name}' cannot be read as '{wanted.typename}'. {exc}"
        ) from exc
