"""The effects of an invocation, which the runtime carries out after a function returned."""

from __future__ import annotations

import datetime as dt
import typing as t

import msgspec

from ._any import unwrap
from .address import Address
from .address import as_address
from .address import check_text
from .address import egress_identifier
from .address import EgressIdentifier
from .message import encode
from .message import Message
from .state import as_spec
from .state import state_name
from .state import StoredForm
from .state import TypeOfTheValue
from .state import ValueSpec
from .types import BUILTIN

T = t.TypeVar("T")

_MILLISECOND = dt.timedelta(milliseconds=1)


class _Serialized(msgspec.Struct, frozen=True, gc=False):
    """A serialised value."""

    typename: str
    payload: bytes

    @property
    def message(self) -> Message:
        """The value as a :class:`Message`, for example for ``sent.message.as_type(str)``."""
        return Message(self.typename, self.payload)


class Send(_Serialized, frozen=True, gc=False):
    """A message to a function instance."""

    address: Address

    def __str__(self) -> str:
        return f"send({self.address}, {_show(self)})"


class DelayedSend(_Serialized, frozen=True, gc=False):
    """A message to a function instance, after a delay.

    :param cancellation_token: The empty string for a message that cannot be cancelled.
    """

    address: Address
    milliseconds: int
    cancellation_token: str = ""

    @property
    def delay(self) -> dt.timedelta:
        """The delay, in whole milliseconds."""
        return dt.timedelta(milliseconds=self.milliseconds)

    def __str__(self) -> str:
        token = self.cancellation_token
        named = f", cancellation_token={token!r}" if token else ""
        return f"send_after({self.address}, {self.milliseconds} ms, {_show(self)}{named})"


class Cancellation(msgspec.Struct, frozen=True, gc=False):
    """The cancellation of a delayed message."""

    cancellation_token: str

    def __str__(self) -> str:
        return f"cancel({self.cancellation_token!r})"


class EgressMessage(_Serialized, frozen=True, gc=False):
    """A record for an egress."""

    egress: EgressIdentifier

    def __str__(self) -> str:
        return f"egress({self.egress}, {_show(self)})"


class StateChange(msgspec.Struct, frozen=True, gc=False):
    """A change of a state.

    :param state: The handle or the name that the function used. With a name, the stored value has
        the type of the value itself.
    :param stored: The new value in its stored form; None for a deletion.
    """

    state: ValueSpec[t.Any] | str
    stored: StoredForm

    @property
    def name(self) -> str:
        """The name of the state."""
        return state_name(self.state)

    @property
    def value(self) -> t.Any:
        """The new value; None for a deletion."""
        if self.stored is None:
            return None
        if isinstance(self.state, ValueSpec):
            return self.state._decode(self.stored)
        return unwrap(Message(*self.stored))

    def __str__(self) -> str:
        if self.stored is None:
            return f"delete_state({self.name})"
        return f"update_state({self.name}, {_show(_Serialized(*self.stored))})"

    def __eq__(self, other: object) -> bool:
        # A typed state is the same whether a handle or its name was used.
        if not isinstance(other, StateChange):
            return NotImplemented
        return (self.name, self.stored) == (other.name, other.stored)

    def __hash__(self) -> int:
        return hash((self.name, self.stored))


class Effects:
    """Messages to send, egress records to write and states to change, in the order of the calls.

    Each method returns the object itself, so calls can be chained. Values are serialised at once:
    an invalid value raises on the line of the call, and a later change of the value has no effect.
    The runtime carries out the Effects that a function returns. A function that raises has no
    effects.

    For one answer the runtime first sends messages, then starts and cancels delayed messages, then
    writes to egresses, then changes states.

    A test can read what a function returned::

        effects = greet(Context("example/greeter/bob"), "hello")
        assert effects.sent[0].address == Address("example/relay", "bob")
        assert effects.sent[0].message.as_type(str) == "Hello bob"
        assert effects.changes[0].value == 1
    """

    __slots__ = ("_sealed", "changes", "delayed", "records", "sent")

    #: The messages to send.
    sent: list[Send]
    #: The delayed messages and the cancellations.
    delayed: list[DelayedSend | Cancellation]
    #: The records for egresses.
    records: list[EgressMessage]
    #: The changes of states; of several changes of one state the last one wins.
    changes: list[StateChange]
    #: True after a function returned or yielded the object; nothing can be added to it then.
    _sealed: bool

    def __init__(self) -> None:
        self.sent = []
        self.delayed = []
        self.records = []
        self.changes = []
        self._sealed = False

    def send(self, address: Address | str, message: t.Any, *, type: t.Any = None) -> t.Self:
        """Send a message to a function instance.

        :param address: An :class:`Address`, or the text ``"namespace/name/id"``.
        :param message: A value of a type in :mod:`~statefun_flask.values.types`, or a Message.
        :param type: The type to send it as, instead of the value's own.
        """
        if self._sealed:
            self._raise_sealed()
        if not isinstance(address, Address):
            address = as_address(address)
        # Calls with a star are measurably slower.
        typename, payload = encode(message, type)
        self.sent.append(Send(typename, payload, address))
        return self

    def send_after(
        self,
        address: Address | str,
        delay: dt.timedelta,
        message: t.Any,
        *,
        cancellation_token: str | None = None,
        type: t.Any = None,
    ) -> t.Self:
        """Send a message to a function instance after a delay.

        :param address: An :class:`Address`, or the text ``"namespace/name/id"``.
        :param delay: Rounded up to whole milliseconds. The message arrives after it, or later.
        :param cancellation_token: The token for :meth:`cancel`. Tokens belong to the id of the
            sender: functions of different types with the same id share them. A second message with
            the token of a pending message ends the job.
        """
        if self._sealed:
            self._raise_sealed()
        if not isinstance(address, Address):
            address = as_address(address)
        milliseconds = _milliseconds(delay)
        token = "" if cancellation_token is None else _check_token(cancellation_token)
        typename, payload = encode(message, type)
        self.delayed.append(DelayedSend(typename, payload, address, milliseconds, token))
        return self

    def cancel(self, token: str) -> t.Self:
        """Cancel the delayed message that was sent with a token.

        Nothing happens when the message was delivered already, or never sent.
        """
        if self._sealed:
            self._raise_sealed()
        self.delayed.append(Cancellation(_check_token(token)))
        return self

    def egress(self, identifier: str, message: t.Any, *, type: t.Any = None) -> t.Self:
        """Write a record to an egress.

        :param identifier: The id of the egress in module.yaml, ``namespace/name``.
        :param message: A :func:`kafka_record` for Kafka, a :func:`kinesis_record` for Kinesis, or a
            value that another egress accepts.
        """
        if self._sealed:
            self._raise_sealed()
        typename, payload = encode(message, type)
        self.records.append(EgressMessage(typename, payload, egress_identifier(identifier)))
        return self

    @t.overload
    def update_state(self, state: ValueSpec[TypeOfTheValue], value: object) -> t.Self: ...
    @t.overload
    def update_state(self, state: ValueSpec[T], value: T, *, type: t.Any = None) -> t.Self: ...
    @t.overload
    def update_state(self, state: str, value: t.Any, *, type: t.Any = None) -> t.Self: ...
    def update_state(self, state: t.Any, value: t.Any, *, type: t.Any = None) -> t.Self:
        """Set the value of a state. Of several changes of a state the last one wins.

        A value equal to the stored one is written too, and restarts ``expire_after_write``.

        :param state: The handle, or the name, of a state that the function declares.
        :param type: For an untyped state: the type to store the value as.
        """
        if self._sealed:
            self._raise_sealed()
        if value is None:
            raise TypeError("A state cannot hold None. Use 'delete_state' to delete its value.")
        if state.__class__ is ValueSpec:
            self.changes.append(StateChange(state, state._encode(value, type)))
        else:
            self.changes.append(StateChange(as_spec(state).name, encode(value, type)))
        return self

    def delete_state(self, state: ValueSpec[t.Any] | str) -> t.Self:
        """Delete the value of a state."""
        if self._sealed:
            self._raise_sealed()
        handle = state if state.__class__ is ValueSpec else as_spec(state).name
        self.changes.append(StateChange(handle, None))
        return self

    def extend(self, other: Effects) -> t.Self:
        """Append the content of other Effects."""
        if self._sealed:
            self._raise_sealed()
        if not isinstance(other, Effects):
            raise TypeError(
                f"{other!r} is not an Effects object. Extend with the Effects of another function."
            )
        self.sent += other.sent
        self.delayed += other.delayed
        self.records += other.records
        self.changes += other.changes
        return self

    def __add__(self, other: Effects) -> Effects:
        if not isinstance(other, Effects):
            return NotImplemented
        return Effects().extend(self).extend(other)

    def __bool__(self) -> bool:
        return bool(self.sent or self.delayed or self.records or self.changes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Effects):
            return NotImplemented
        return self._content() == other._content()

    __hash__ = None  # type: ignore[assignment]

    def _content(self) -> tuple[t.Any, ...]:
        return self.sent, self.delayed, self.records, self.changes

    def _raise_sealed(self) -> t.NoReturn:
        raise RuntimeError(
            "A function has returned these Effects already, so nothing can be added to them."
            " Make a new Effects() for each message."
        )

    def __repr__(self) -> str:
        calls = [str(each) for part in self._content() for each in part]
        return "Effects()" + "".join(f"\n  .{call}" for call in calls)


def _show(value: _Serialized) -> str:
    """Return a serialised value for people."""
    text = _show_value(value.message)
    return text if value.typename.startswith(BUILTIN) else f"{value.typename} {text}"


def _show_value(message: Message) -> str:
    """Return a payload for people: a primitive as its repr, JSON and other text unchanged."""
    try:
        value = unwrap(message)
        return repr(message.value.decode()) if value is message else repr(value)
    except ValueError:
        return f"<{len(message.value)} bytes>"


def _milliseconds(delay: object) -> int:
    if not isinstance(delay, dt.timedelta):
        raise TypeError(
            f"A delay must be a timedelta, not {delay!r}. Write for example timedelta(seconds=10)."
        )
    if delay < dt.timedelta(0):
        raise ValueError(f"The delay {delay} is negative. Use at least timedelta(0).")
    milliseconds, rest = divmod(delay, _MILLISECOND)
    return milliseconds + bool(rest)


def _check_token(token: object) -> str:
    """Return a cancellation token as a plain string."""
    if not isinstance(token, str):
        raise TypeError(
            f"A cancellation token must be a string, not {token!r}."
            f" Write it as text, for example {str(token)!r}."
        )
    if not token:
        raise ValueError(
            "A cancellation token cannot be empty, since the runtime would end the job."
            " Leave it out for a message that is never cancelled."
        )
    check_text(token, "cancellation token")
    return str.__str__(token)
