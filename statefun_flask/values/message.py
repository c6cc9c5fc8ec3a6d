"""A message as it travels: a typename and bytes."""

from __future__ import annotations

import typing as t

import msgspec

from ..errors import MessageTypeError
from .address import check_text
from .types import PRIMITIVES
from .types import PROTOBUF
from .types import Type
from .types import type_of
from .types import type_of_value

if t.TYPE_CHECKING:
    from ..typing import Container
    from ..typing import NeedsJsonType

T = t.TypeVar("T")

ANY = PROTOBUF + "google.protobuf.Any"


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message, or a value of a state, that is not decoded.

    A function whose second parameter is annotated ``Message``, or not at all, gets one; it can be
    sent on as it is, also when nobody here knows its type.

    :param typename: The type's name, ``namespace/name``.
    :param value: The payload.
    :param has_value: False when the sender sent no value, which is not the same as an empty one
        (protocol 1.1).
    """

    typename: str
    value: bytes = b""
    has_value: bool = True

    def is_type(self, type: t.Any) -> bool:
        """Tell whether :meth:`as_type` reads payloads of this typename as that type.

        :param type: A :class:`Type`, or a class that stands for one.
        """
        return self.has_value and type_of(type).reader(self.typename) is not None

    @t.overload
    def as_type(self, type: Type[T]) -> T: ...
    @t.overload
    def as_type(self, type: Container) -> NeedsJsonType: ...
    @t.overload
    def as_type(self, type: type[T]) -> T: ...
    def as_type(self, type: t.Any) -> t.Any:
        """Return the value.

        :param type: A :class:`Type`, or a class that stands for one.
        :raises MessageTypeError: The message is of another type, has no value, or its bytes are
            not well-formed.
        """
        wanted = type_of(type)
        reader = wanted.reader(self.typename)
        if reader is None:
            raise MessageTypeError(
                f"A message of type '{self.typename}' cannot be read as '{wanted.typename}'."
                " Check with 'is_type' first, or read it as the type it has."
            )
        return self.read(reader)

    def read(self, reader: t.Any) -> t.Any:
        """Return what a type's reader makes of the payload; its error says what was wrong."""
        if not self.has_value:
            raise MessageTypeError(
                f"The message of type '{self.typename}' has no value."
                " Send one with a value, or take it as 'Message'."
            )
        try:
            return reader(self.value)
        except ValueError as exc:
            raise MessageTypeError(
                f"The message of type '{self.typename}' cannot be read: {exc}."
                " Check what its sender writes under that typename."
            ) from exc


def encode(value: t.Any, type: t.Any = None) -> tuple[str, bytes]:
    """Return a value's typename and payload.

    A :class:`Message` and a protobuf ``Any`` stand for what they carry.

    :param type: A Type, or a class that stands for one, to use in place of the value's own.
    :raises TypeError: The value has no type, or does not fit the one that was given.
    :raises ValueError: It is out of its type's range.
    """
    if type is not None:
        chosen = type_of(type)
        return chosen.typename, chosen.serialize(value)
    primitive = PRIMITIVES.get(value.__class__)
    if primitive is not None:
        return primitive.typename, primitive.serialize(value)
    if value.__class__ is Message:
        if not value.has_value:
            raise ValueError(
                f"{value!r} has no value. Send one that has, if only an empty one (b'')."
            )
        if not (isinstance(value.typename, str) and isinstance(value.value, bytes)):
            raise TypeError(f"{value!r} is no text and bytes. Make it as Message('a/b', b'…').")
        if not value.typename.isascii():
            check_text(value.typename, "typename of a message")
        return value.typename, value.value

    found = type_of_value(value)
    if found.typename == ANY:
        return value.type_url, value.value
    return found.typename, found.serialize(value)
