"""What should happen after a function returned."""

from __future__ import annotations

import datetime as dt
import typing as t

from .address import Address
from .address import check_address
from .address import check_text
from .address import egress_identifier
from .address import EgressIdentifier
from .message import encode
from .message import Message
from .state import as_spec
from .state import Cell
from .state import unwrap
from .state import ValueSpec
from .types import BUILTIN

if t.TYPE_CHECKING:
    from ..typing import TypeOfTheValue

T = t.TypeVar("T")

_MILLISECOND = dt.timedelta(milliseconds=1)

#: (target, typename, payload)
Send: t.TypeAlias = "tuple[Address, str, bytes]"
#: (target, milliseconds, typename, payload, cancellation token or "")
Delayed: t.TypeAlias = "tuple[Address, int, str, bytes, str]"
#: (None, 0, "", b"", cancellation token)
Cancellation: t.TypeAlias = "tuple[None, int, str, bytes, str]"
#: (egress, typename, payload)
Egress: t.TypeAlias = "tuple[EgressIdentifier, str, bytes]"
#: (state as it was named, cell); a state named by text carries the value's own type
Change: t.TypeAlias = "tuple[ValueSpec[t.Any] | str, Cell]"


class Effects:
    """Messages to send, egress records to write and states to change, in the order of the calls.

    Each method returns the object itself, so that calls chain. Values are serialised at once: what
    is wrong with one is an error on your line, and changing it later changes nothing. Nothing
    happens until the function returns its Effects; a function that raises has done nothing.

    Within one answer the runtime first sends messages, then starts and cancels delayed ones, then
    writes to egresses, then changes states (protocol 1.5).
    """

    __slots__ = ("_sealed", "changes", "delayed", "egresses", "sends")

    sends: list[Send]
    delayed: list[Delayed | Cancellation]
    egresses: list[Egress]
    changes: list[Change]

    def __init__(self) -> None:
        self.sends = []
        self.delayed = []
        self.egresses = []
        self.changes = []
        self._sealed = False

    def send(self, address: Address, message: t.Any, *, type: t.Any = None) -> t.Self:
        """Send a message to a function instance.

        :param message: A value of a type in :mod:`~statefun_flask.values.types`, or a Message.
        :param type: The type to send it as, in place of the value's own.
        """
        if self._sealed:
            self._refuse()
        if address.__class__ is not Address:
            check_address(address)
        self.sends.append((address, *encode(message, type)))
        return self

    def send_after(
        self,
        address: Address,
        delay: dt.timedelta,
        message: t.Any,
        *,
        cancellation_token: str | None = None,
        type: t.Any = None,
    ) -> t.Self:
        """Send a message to a function instance, no earlier than a delay from now.

        :param delay: Rounded up to whole milliseconds.
        :param cancellation_token: Under this name :meth:`cancel` stops the message. Names belong to
            the id of the sender, whatever its type (protocol 6.6); while a message is pending, no
            second one may have its token.
        """
        if self._sealed:
            self._refuse()
        if address.__class__ is not Address:
            check_address(address)
        milliseconds = _milliseconds(delay)
        token = "" if cancellation_token is None else _token(cancellation_token)
        self.delayed.append((address, milliseconds, *encode(message, type), token))
        return self

    def cancel(self, token: str) -> t.Self:
        """Stop a delayed message that was sent with a token.

        When it is gone already, or there was none, nothing happens.
        """
        if self._sealed:
            self._refuse()
        self.delayed.append((None, 0, "", b"", _token(token)))
        return self

    def egress(self, identifier: str, message: t.Any, *, type: t.Any = None) -> t.Self:
        """Write a record to an egress.

        :param identifier: The egress's id in module.yaml, ``namespace/name``.
        :param message: For Kafka a :func:`kafka_record`, for Kinesis a :func:`kinesis_record`;
            other egresses take what they are written for.
        """
        if self._sealed:
            self._refuse()
        self.egresses.append((egress_identifier(identifier), *encode(message, type)))
        return self

    @t.overload
    def update_state(self, state: ValueSpec[TypeOfTheValue], value: object) -> t.Self: ...
    @t.overload
    def update_state(self, state: ValueSpec[T], value: T, *, type: t.Any = None) -> t.Self: ...
    @t.overload
    def update_state(self, state: str, value: t.Any, *, type: t.Any = None) -> t.Self: ...
    def update_state(self, state: t.Any, value: t.Any, *, type: t.Any = None) -> t.Self:
        """Give a state a value. Of several changes to a state the last one wins.

        A value that is equal to the stored one is written too: it restarts ``expire_after_write``.

        :param state: The handle, or the name, of a state that the function declares.
        :param type: With an untyped state: the type to store its value as.
        """
        if self._sealed:
            self._refuse()
        if value is None:
            raise TypeError("A state cannot hold None. Use 'delete_state' to take its value away.")
        if state.__class__ is ValueSpec:
            self.changes.append((state, state.encode(value, type)))
        else:
            self.changes.append((as_spec(state).name, encode(value, type)))
        return self

    def delete_state(self, state: ValueSpec[t.Any] | str) -> t.Self:
        """Take a state's value away."""
        if self._sealed:
            self._refuse()
        handle = state if state.__class__ is ValueSpec else as_spec(state).name
        self.changes.append((handle, None))
        return self

    def extend(self, other: Effects) -> t.Self:
        """Append what another object holds."""
        if self._sealed:
            self._refuse()
        if not isinstance(other, Effects):
            raise TypeError(f"{other!r} is no Effects. Extend with what another function returned.")
        self.sends += other.sends
        self.delayed += other.delayed
        self.egresses += other.egresses
        self.changes += other.changes
        return self

    def __add__(self, other: Effects) -> Effects:
        if not isinstance(other, Effects):
            return NotImplemented
        return Effects().extend(self).extend(other)

    def __bool__(self) -> bool:
        return bool(self.sends or self.delayed or self.egresses or self.changes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Effects):
            return NotImplemented
        return self._content() == other._content()

    __hash__ = None  # type: ignore[assignment]

    def _content(self) -> tuple[t.Any, ...]:
        # A handle and its name say the same of a typed state.
        changes = [(getattr(state, "name", state), cell) for state, cell in self.changes]
        return self.sends, self.delayed, self.egresses, changes

    def _refuse(self) -> t.NoReturn:
        raise RuntimeError(
            "These Effects were returned and carried out; nothing can be added to them."
            " Build a new Effects() for each message."
        )

    def __repr__(self) -> str:
        return "Effects()" + "".join(f"\n  .{call}" for call in self._calls())

    def _calls(self) -> t.Iterator[str]:
        for target, typename, payload in self.sends:
            yield f"send({target}, {_show(typename, payload)})"
        for receiver, delay, typename, payload, token in self.delayed:
            if receiver is None:
                yield f"cancel({token!r})"
            else:
                named = f", cancellation_token={token!r}" if token else ""
                yield f"send_after({receiver}, {delay} ms, {_show(typename, payload)}{named})"
        for egress, typename, payload in self.egresses:
            yield f"egress({egress}, {_show(typename, payload)})"
        for state, cell in self.changes:
            name = getattr(state, "name", state)
            yield (
                f"delete_state({name})" if cell is None else f"update_state({name}, {_show(*cell)})"
            )


def _show(typename: str, payload: bytes) -> str:
    """Return a serialised value as a person reads it."""
    value = show_value(Message(typename, payload))
    return value if typename.startswith(BUILTIN) else f"{typename} {value}"


def show_value(message: Message) -> str:
    """Return a payload as text: primitives as Python shows them, JSON and text as they are."""
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
        raise ValueError(f"A delay cannot be negative, and this one is {delay}. Use timedelta(0).")
    milliseconds, rest = divmod(delay, _MILLISECOND)
    return milliseconds + bool(rest)


def _token(token: object) -> str:
    if not isinstance(token, str):
        raise TypeError(
            f"A cancellation token must be a string, not {token!r}."
            f" Write it as text, for example {str(token)!r}."
        )
    if not token:
        raise ValueError(
            "A cancellation token cannot be empty: the runtime would end the job."
            " Leave it out for a message that is never cancelled."
        )
    check_text(token, "cancellation token")
    return str.__str__(token)
