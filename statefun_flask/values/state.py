"""Declared states, and the cells that hold their values while a batch runs."""

from __future__ import annotations

import builtins
import collections.abc as cabc
import datetime as dt
import functools
import typing as t

from ..errors import did_you_mean
from ..errors import RegistrationError
from ..errors import StateTypeError
from ..errors import suggestions
from ..errors import UnknownStateError
from . import _wire
from ._primitives import int_to_varint
from .message import ANY
from .message import encode
from .message import Message
from .types import BUILTIN
from .types import match
from .types import PRIMITIVES
from .types import PROTOBUF
from .types import Type
from .types import type_of

T = t.TypeVar("T")

#: A value as it is kept: typename and payload; None for a state without a value.
Cell: t.TypeAlias = "tuple[str, bytes] | None"

# The runtime keeps its own per-function states under these names; a user's state of that name
# ends the job with a ClassCastException (protocol 1.6).
RESERVED = ("batch", "request-state")


class ValueSpec(t.Generic[T]):
    """A state that a function declares, and the handle to read and write it.

    :param name: An identifier; the state's name in the runtime.
    :param type: A class that stands for a type, or a :class:`Type`. Without one the state is
        untyped: it takes every value that has a type, and is stored as ``google.protobuf.Any``, so
        that it means the same under both protocols.
    :param expire_after_write: The value is gone this long after it was last written.
    :param expire_after_call: The value is gone this long after the function was last called for
        that id, or the value written.
    :raises RegistrationError: The name, the type or the expiration is not allowed.
    """

    __slots__ = ("_read", "expire_after_call", "expire_after_write", "name", "type", "typename")

    name: str
    type: Type[T]
    #: What the values are stored as.
    typename: str
    expire_after_write: dt.timedelta | None
    expire_after_call: dt.timedelta | None

    @t.overload
    def __init__(
        self: ValueSpec[t.Any],
        name: str,
        *,
        expire_after_write: dt.timedelta | None = None,
        expire_after_call: dt.timedelta | None = None,
    ) -> None: ...
    @t.overload
    def __init__(
        self,
        name: str,
        type: builtins.type[T] | Type[T],
        *,
        expire_after_write: dt.timedelta | None = None,
        expire_after_call: dt.timedelta | None = None,
    ) -> None: ...
    def __init__(
        self,
        name: str,
        type: t.Any = None,
        *,
        expire_after_write: dt.timedelta | None = None,
        expire_after_call: dt.timedelta | None = None,
    ) -> None:
        check_name(name)
        if expire_after_write is not None and expire_after_call is not None:
            raise RegistrationError(
                f"The state '{name}' has both expire_after_write and expire_after_call."
                " Choose one of them."
            )
        for expiry in (expire_after_write, expire_after_call):
            if expiry is not None:
                check_expiry(name, expiry)

        self.name = name
        try:
            self.type = UNTYPED if type is None else type_of(type)
        except TypeError as exc:
            raise RegistrationError(f"The state '{name}' cannot be typed so. {exc}") from None
        self.expire_after_write = expire_after_write
        self.expire_after_call = expire_after_call
        self.typename = self.type.typename
        self._read = self.type.reader(self.typename)

    @property
    def is_untyped(self) -> bool:
        """True for a state that takes every value."""
        return self.type is UNTYPED

    def encode(self, value: T, type: t.Any = None) -> tuple[str, bytes]:
        """Return the cell of a value.

        :param type: What to store an untyped state's value as, in place of the value's own type.
        :raises StateTypeError: The value does not fit the state's type.
        """
        if type is not None and (wanted := type_of(type)) != self.type:
            if not self.is_untyped:
                raise other_type(self, wanted.typename)
            return self.typename, write_any(*encode(value, wanted))
        try:
            return self.typename, self.type.serialize(value)
        except (TypeError, ValueError) as exc:
            raise StateTypeError(
                f"The state '{self.name}' of type '{self.type.typename}' cannot hold"
                f" {shorten(value)}. {exc}"
            ) from exc

    def decode(self, cell: Cell) -> T | None:
        """Return the value in a cell.

        :raises StateTypeError: Its bytes are of another type, or not well-formed.
        """
        if cell is None:
            return None
        typename, payload = cell
        reader = self._read if typename == self.typename else self.type.reader(typename)
        if reader is None:
            raise stored_otherwise(self, typename)
        try:
            return reader(payload)
        except ValueError as exc:
            raise StateTypeError(
                f"The stored value of the state '{self.name}' cannot be read as '{typename}':"
                f" {exc}. Check what wrote it."
            ) from exc

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ValueSpec):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self.name)

    def _key(self) -> tuple[t.Any, ...]:
        return self.name, self.type, self.expire_after_write, self.expire_after_call

    def __repr__(self) -> str:
        return f"<ValueSpec {self}>"

    def __str__(self) -> str:
        text = self.name if self.is_untyped else f"{self.name}: {self.type.label}"
        if self.expire_after_write is not None:
            text += f" (expires {readable(self.expire_after_write)} after write)"
        if self.expire_after_call is not None:
            text += f" (expires {readable(self.expire_after_call)} after call)"
        return text


def check_name(name: object) -> None:
    """Refuse what cannot be the name of a state."""
    if not isinstance(name, str) or not name.isidentifier():
        if name in RESERVED:
            _refuse_reserved(name)
        raise RegistrationError(
            f"{name!r} cannot name a state. Use letters, digits and '_', not starting with a digit."
        )
    if name in RESERVED:
        _refuse_reserved(name)


def _refuse_reserved(name: object) -> t.NoReturn:
    raise RegistrationError(
        f"'{name}' cannot name a state, because the runtime keeps one of its own under that name."
        " Choose another name."
    )


def check_expiry(name: str, expiry: object) -> None:
    """Refuse what cannot be the time to live of a state."""
    if not isinstance(expiry, dt.timedelta):
        raise RegistrationError(
            f"The expiration of the state '{name}' must be a timedelta, not {expiry!r}."
            " Write for example timedelta(hours=1)."
        )
    if expiry < dt.timedelta(milliseconds=1):
        raise RegistrationError(
            f"The expiration of the state '{name}' is {expiry}, less than one millisecond."
            " Leave it out for a state that never expires."
        )


def as_spec(state: t.Any) -> ValueSpec[t.Any]:
    """Return the spec of an element of ``states``: a spec, or the bare name of an untyped one."""
    if isinstance(state, ValueSpec):
        return state
    if isinstance(state, str):
        return ValueSpec(state)
    raise RegistrationError(
        f"{state!r} is not a state. Declare it as ValueSpec('name', type) or as a bare 'name'."
    )


def unknown_state(
    state: object, declared: cabc.Mapping[str, ValueSpec[t.Any]], function: str
) -> UnknownStateError:
    """Return the error of a state that a function uses and does not declare."""
    name = state.name if isinstance(state, ValueSpec) else state
    hint = did_you_mean(suggestions(str(name), declared))
    return UnknownStateError(
        f"The function '{function}' does not declare the state '{name}'.{hint}"
        f" Add it to the states=[…] of '{function}'."
    )


def other_type(spec: ValueSpec[t.Any], typename: str) -> StateTypeError:
    """Return the error of a state that is used with another type than it is declared with."""
    return StateTypeError(
        f"The state '{spec.name}' is declared as '{spec.type.typename}', not '{typename}'."
        " Use the handle that it was declared with."
    )


def stored_otherwise(spec: ValueSpec[t.Any], typename: str) -> StateTypeError:
    """Return the error of a state whose stored value is of another type than it declares."""
    return StateTypeError(
        f"The state '{spec.name}' is declared as '{spec.type.typename}', but its stored value is of"
        f" type '{typename}'. Declare it with the type it was written with, or use a new name."
    )


def readable(span: dt.timedelta) -> str:
    """Return a span as people write it: ``2 s``, ``1 h 30 min``."""
    milliseconds = span // dt.timedelta(milliseconds=1)
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count} {unit}")
    if milliseconds or not parts:
        parts.append(f"{milliseconds} ms")
    return " ".join(parts)


def shorten(value: object) -> str:
    """Return a value's repr, cut when it is long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


# -- untyped states ---------------------------------------------------------------------------

# Inside an untyped state the primitives stand under protobuf's own wrappers, as 2.x writes them.
_WRAPPED: dict[str, tuple[str, cabc.Callable[[bytes], bytes]]] = {
    BUILTIN + "bool": (PROTOBUF + "google.protobuf.BoolValue", bytes),
    BUILTIN + "int": (PROTOBUF + "google.protobuf.Int32Value", int_to_varint),
    BUILTIN + "long": (PROTOBUF + "google.protobuf.Int64Value", int_to_varint),
    BUILTIN + "float": (PROTOBUF + "google.protobuf.FloatValue", bytes),
    BUILTIN + "double": (PROTOBUF + "google.protobuf.DoubleValue", bytes),
    BUILTIN + "string": (PROTOBUF + "google.protobuf.StringValue", bytes),
}


def wrap(typename: str, payload: bytes) -> tuple[str, bytes]:
    """Return a value under the name and in the bytes that 2.x has for it."""
    wrapper = _WRAPPED.get(typename)
    return (wrapper[0], wrapper[1](payload)) if wrapper is not None else (typename, payload)


def write_any(typename: str, payload: bytes) -> bytes:
    """Return a serialised ``google.protobuf.Any``."""
    typename, payload = wrap(typename, payload)
    return type_url(typename) + _wire.delimited(2, payload) if payload else type_url(typename)


@functools.lru_cache(maxsize=4096)
def type_url(typename: str) -> bytes:
    """Return the first field of an Any."""
    return _wire.text(1, typename)


def read_any(data: bytes) -> Message:
    """Return what a serialised ``google.protobuf.Any`` holds.

    :raises ValueError: The bytes are no Any.
    """
    type_url = value = b""
    position = 0
    end = len(data)
    while position < end:
        key = data[position]
        if key not in (0x0A, 0x12):
            raise ValueError("its bytes are not a google.protobuf.Any")
        start = position + 2
        if start <= end and data[start - 1] < 0x80:
            size = data[start - 1]
        else:
            size, start = _wire.read_varint(data, position + 1)
        position = start + size
        if position > end:
            raise ValueError("its bytes are cut off")
        if key == 0x0A:
            type_url = data[start:position]
        else:
            value = data[start:position]

    try:
        return Message(type_url.decode(), value)
    except UnicodeDecodeError:
        raise ValueError("its type_url is not UTF-8") from None


def unwrap(message: Message) -> t.Any:
    """Return the Python value of one of the primitives, else the message itself."""
    for primitive in PRIMITIVES.values():
        reader = match(primitive.readers, message.typename)
        if reader is not None:
            return reader(message.value)
    return message


UNTYPED: Type[t.Any] = Type(
    ANY,
    object,
    lambda value: write_any(*encode(value)),
    {ANY.rpartition("/")[2]: lambda data: unwrap(read_any(data))},
)
