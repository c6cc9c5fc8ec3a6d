"""The context of one message: its addresses and the states of the function instance."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import typing as t

from ..errors import MessageTypeError
from ..errors import StateTypeError
from ._any import read_any
from .address import Address
from .address import as_address
from .batch_scope import BatchScope
from .batch_scope import default_logger
from .derived import type_of
from .invocation_log import InvocationLogger
from .message import Message
from .state import as_spec
from .state import declared_type_mismatch
from .state import StoredForm
from .state import TypeOfTheValue
from .state import unknown_state
from .state import ValueSpec
from .state import ValueSpecWithDefault
from .types import TypeLike

T = t.TypeVar("T")
T_co = t.TypeVar("T_co", covariant=True)


class Readable(t.Protocol[T_co]):
    """The reading half of a ValueSpec, which is covariant.

    It makes checkers accept ``f"{context.get_state(SEEN)}"``, where any object is expected.
    """

    def _decode(self, stored: StoredForm, /) -> T_co:
        """Return the value of a stored form; None without one, unless the state has a default."""
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
    :param now: What :attr:`now` is, with a time zone; by default the time of the machine.
    :raises ValueError: `now` has no time zone.
    """

    __slots__ = ("_declared", "_named", "_now", "_stored", "caller_address", "self_address")

    self_address: Address
    caller_address: Address | None
    _declared: cabc.Mapping[str, ValueSpec[t.Any]]
    _stored: cabc.Mapping[str, StoredForm]
    #: The values that were passed to this context by name.
    _named: cabc.Mapping[str, t.Any]
    _now: dt.datetime | None

    @t.overload
    def __init__(
        self,
        self_address: Address | str,
        caller_address: Address | str | None = None,
        *,
        states: cabc.Mapping[ValueSpec[TypeOfTheValue], object],
        now: dt.datetime | None = None,
    ) -> None: ...
    @t.overload
    def __init__(
        self,
        self_address: Address | str,
        caller_address: Address | str | None = None,
        states: cabc.Mapping[ValueSpec[T], T | None] | None = None,
        *,
        now: dt.datetime | None = None,
    ) -> None: ...
    @t.overload
    def __init__(
        self,
        self_address: Address | str,
        caller_address: Address | str | None = None,
        *,
        states: cabc.Mapping[ValueSpecWithDefault[T], T | None],
        now: dt.datetime | None = None,
    ) -> None: ...
    @t.overload
    def __init__(
        self,
        self_address: Address | str,
        caller_address: Address | str | None = None,
        *,
        states: cabc.Mapping[str, t.Any],
        now: dt.datetime | None = None,
    ) -> None: ...
    def __init__(
        self,
        self_address: Address | str,
        caller_address: Address | str | None = None,
        states: cabc.Mapping[t.Any, t.Any] | None = None,
        *,
        now: dt.datetime | None = None,
    ) -> None:
        if now is not None and now.utcoffset() is None:
            raise ValueError(f"{now!r} has no time zone. Write for example tzinfo=datetime.UTC.")
        self._now = now
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

    @property
    def now(self) -> dt.datetime:
        """The time in UTC: on the embedded engine that of its clock, on Flink the machine's.

        A test moves the virtual clock of ``app.statefun.runtime()`` with ``advance``.
        """
        return dt.datetime.now(dt.UTC) if self._now is None else self._now.astimezone(dt.UTC)

    @property
    def logger(self) -> InvocationLogger:
        """The app's logger. Its records have the fields of ``StateFunLogFilter``."""
        return InvocationLogger(default_logger(), self)

    def _log_fields(self) -> dict[str, t.Any]:
        """Return what a log record says about the message, see ``StateFunLogFilter``."""
        return {}

    @t.overload
    def get_state(self, state: Readable[T], /) -> T: ...
    @t.overload
    def get_state(self, state: ValueSpec[t.Any] | str, type: TypeLike[T], /) -> T | None: ...
    @t.overload
    def get_state(self, state: str, /) -> t.Any: ...
    def get_state(self, state: t.Any, type: t.Any = None, /) -> t.Any:
        """Return the value that a state had when this invocation began.

        For a state without a value this is its default, or None. The effects of this invocation do
        not change it. The value is decoded at each call, so changing it in place has no effect;
        return an ``update_state``.

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
        # The handle itself is read, since another one of its name may have another default.
        return as_spec(state) if state.__class__ is ValueSpec else spec, self._stored[spec.name]

    def __repr__(self) -> str:
        sender = f" from {self.caller_address}" if self.caller_address is not None else ""
        return f"<Context of {self.self_address}{sender}>"


class InvocationContext(Context):
    """The context of one message of a request: only declared states can be read.

    :param stored: The states of the batch.
    :param declared: The states that the functions of the typename declare.
    :param position: The position of the message in its batch, from 0.
    """

    __slots__ = ("_position", "_scope")

    def __init__(
        self,
        self_address: Address,
        caller_address: Address | None,
        stored: cabc.Mapping[str, StoredForm],
        declared: cabc.Mapping[str, ValueSpec[t.Any]],
        scope: BatchScope,
        position: int,
    ) -> None:
        self.self_address = self_address
        self.caller_address = caller_address
        self._stored = stored
        self._declared = declared
        self._scope = scope
        self._position = position

    @property
    def now(self) -> dt.datetime:
        """The time in UTC: on the embedded engine that of its clock, on Flink the machine's."""
        call = self._scope.call
        if call is None:
            return dt.datetime.now(dt.UTC)
        return dt.datetime.fromtimestamp(call.now() / 1000, dt.UTC)

    @property
    def logger(self) -> InvocationLogger:
        """The app's logger. Its records have the fields of ``StateFunLogFilter``."""
        return InvocationLogger(self._scope.logger(), self)

    def _log_fields(self) -> dict[str, t.Any]:
        """Return what a log record says about the message, see ``StateFunLogFilter``."""
        scope, position = self._scope, self._position
        call = scope.call
        return {
            "statefun_type": scope.messages[position][1].typename,
            "statefun_position": position + 1,
            "statefun_messages": len(scope.messages),
            "statefun_trace": None if call is None else call.trace(position),
        }

    # The overloads are those of Context; this is the same with fewer steps.
    def get_state(self, state: t.Any, type: t.Any = None, /) -> t.Any:
        """Return the value that a state had when this invocation began."""
        if state.__class__ is ValueSpec and self._declared.get(state.name) is state:
            spec = state
        else:
            spec = self._declaration(state)
        stored = self._stored.get(spec.name)
        return spec._decode(stored) if type is None else _read_as(spec, stored, type)

    def _declaration(self, state: t.Any) -> ValueSpec[t.Any]:
        is_handle = state.__class__ is ValueSpec
        spec = self._declared.get(state.name if is_handle else state)
        if spec is None:
            raise unknown_state(state, self._declared, self.self_address.type)
        if not is_handle:
            return spec
        if state.type != spec.type:
            raise declared_type_mismatch(spec, state.type.typename)
        return t.cast("ValueSpec[t.Any]", state)  # it may have a default of its own


class DebugContext(InvocationContext):
    """An :class:`InvocationContext` that remembers the values that were read.

    Its parameters are those of its base.
    """

    __slots__ = ("_values_read",)

    def __init__(self, *args: t.Any) -> None:
        super().__init__(*args)
        self._values_read: list[tuple[ValueSpec[t.Any], StoredForm, t.Any, t.Any]] = []

    def get_state(self, state: t.Any, type: t.Any = None, /) -> t.Any:
        """Return the value that a state had when this invocation began."""
        value = super().get_state(state, type)
        if value is not None:
            spec = self._declaration(state)
            self._values_read.append((spec, self._stored.get(spec.name), type, value))
        return value

    def changed_in_place(self) -> cabc.Iterator[ValueSpec[t.Any]]:
        """Yield the states whose values, as read, no longer serialise to what is stored."""
        for spec, stored, type_, value in self._values_read:
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
