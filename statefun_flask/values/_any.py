"""Serialised ``google.protobuf.Any`` messages, written and read by hand.

An untyped state is stored as an Any, and StateFun 2.x sends every value as one. Inside an Any the
primitives have the names and the bytes of protobuf's own wrappers.
"""

from __future__ import annotations

import collections.abc as cabc
import functools
import typing as t

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

_WRAPPED: dict[str, tuple[str, cabc.Callable[[bytes], bytes]]] = {
    BUILTIN + "bool": (PROTOBUF + "google.protobuf.BoolValue", bytes),
    BUILTIN + "int": (PROTOBUF + "google.protobuf.Int32Value", int_to_varint),
    BUILTIN + "long": (PROTOBUF + "google.protobuf.Int64Value", int_to_varint),
    BUILTIN + "float": (PROTOBUF + "google.protobuf.FloatValue", bytes),
    BUILTIN + "double": (PROTOBUF + "google.protobuf.DoubleValue", bytes),
    BUILTIN + "string": (PROTOBUF + "google.protobuf.StringValue", bytes),
}


def wrap(typename: str, payload: bytes) -> tuple[str, bytes]:
    """Return a value with the typename and the payload that StateFun 2.x uses for it."""
    wrapper = _WRAPPED.get(typename)
    return (wrapper[0], wrapper[1](payload)) if wrapper is not None else (typename, payload)


def unwrap(message: Message) -> t.Any:
    """Return the Python value of a primitive; return any other message unchanged."""
    for primitive in PRIMITIVES.values():
        reader = match(primitive._readers, message.typename)
        if reader is not None:
            return reader(message.value)
    return message


def write_any(typename: str, payload: bytes) -> bytes:
    """Return a serialised Any."""
    typename, payload = wrap(typename, payload)
    return type_url(typename) + _wire.delimited(2, payload) if payload else type_url(typename)


@functools.lru_cache(maxsize=4096)
def type_url(typename: str) -> bytes:
    """Return the first field of an Any."""
    return _wire.text(1, typename)


def read_any(data: bytes) -> Message:
    """Return the content of a serialised Any.

    :raises ValueError: The bytes are not an Any.
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


#: The type of a state without a type, which accepts every value that has a type.
UNTYPED: Type[t.Any] = Type(
    ANY,
    object,
    lambda value: write_any(*encode(value)),
    {ANY.rpartition("/")[2]: lambda data: unwrap(read_any(data))},
)
