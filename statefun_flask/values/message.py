"""A message as it travels: a typename and bytes."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import msgspec

from ..errors import MessageTypeError
from .address import check_text
from .derived import type_of
from .derived import type_of_value
from .types import PRIMITIVES
from .types import PROTOBUF
from .types import Type

T = t.TypeVar("T")

ANY = PROTOBUF + "google.protobuf.Any"


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message, or the value of a state, before it is decoded.

    A function gets one when its second parameter is annotated ``Message``, or not annotated. It can
    be sent on unchanged, even when its type is not known.

    :param typename: The name of the type, ``namespace/name``.
    :param value: The payload.
    :param has_value: False when the sender sent no value. An empty payload is a value: it is the
        default of its type, such as ``0`` or ``""``.
    """

    typename: str
    value: bytes = b""
    has_value: bool = True

    def is_type(self, type: t.Any) -> bool:
        """Return whether :meth:`as_type` can read payloads of this typename as a type.

        :param type: A :class:`Type`, or a class that has one.
        """
        return self.has_value and type_of(type)._reader(self.typename) is not None

    @t.overload
    def as_type(self, type: Type[T]) -> T: ...
    @t.overload
    def as_type(self, type: type[T]) -> T: ...
    def as_type(self, type: t.Any) -> t.Any:
        """Return the value.

        :param type: A :class:`Type`, or a class that has one.
        :raises MessageTypeError: The message is of another type, has no value, or its payload is
            malformed.
        """
        wanted = type_of(type)
        reader = wanted._reader(self.typename)
        if reader is None:
            raise MessageTypeError(
                f"A message of type '{self.typename}' cannot be read as '{wanted.typename}'."
                " Check with 'is_type' first, or read the message as its own type."
            )
        return read_message(self, reader)


def read_message(message: Message, reader: cabc.Callable[[bytes], T]) -> T:
    """Return the value of a message that a reader returns for the payload.

    :raises MessageTypeError: The message has no value, or its payload is malformed.
    """
    return converter(reader)(message)


def converter(reader: cabc.Callable[[bytes], T]) -> cabc.Callable[[Message], T]:
    """Return the function that reads messages as :func:`read_message` does."""

    def convert(message: Message) -> T:
        if not message.has_value:
            raise MessageTypeError(
                f"The message of type '{message.typename}' has no value."
                " Send one with a value, or take it as 'Message'."
            )
        try:
            return reader(message.value)
        except ValueError as exc:
            raise MessageTypeError(
                f"The message of type '{message.typename}' cannot be read: {exc}."
                " Check what its sender writes under that typename."
            ) from exc

    return convert


def encode(value: t.Any, type_: t.Any = None) -> tuple[str, bytes]:
    """Return the typename and the payload of a value.

    For a :class:`Message` or a protobuf ``Any`` these are the ones that it contains.

    :param type_: A Type, or a class that has one, to use instead of the value's own.
    :raises TypeError: The value has no type, or does not fit the given one.
    :raises ValueError: The value is out of the range of its type.
    """
    if type_ is not None:
        chosen = type_of(type_)
        return chosen.typename, chosen.serialize(value)
    primitive = PRIMITIVES.get(value.__class__)
    if primitive is not None:
        return primitive.typename, primitive.serialize(value)
    if value.__class__ is Message:
        if not value.has_value:
            raise ValueError(
                f"{value!r} has no value. Send one that has a value, such as the empty b''."
            )
        if not (isinstance(value.typename, str) and isinstance(value.value, bytes)):
            raise TypeError(
                f"{value!r} does not consist of text and bytes. Write Message('a/b', b'…')."
            )
        if not value.typename.isascii():
            check_text(value.typename, "typename of a message")
        return value.typename, value.value

    found = type_of_value(value)
    if found.typename == ANY:
        return value.type_url, value.value
    return found.typename, found.serialize(value)
