"""The part of protobuf's wire format that the package reads and writes by hand.

It writes varints and length-delimited fields: enough for strings, bytes and messages of them.
Imports nothing of the package.
"""

from __future__ import annotations

import collections.abc as cabc
import typing as t

VARINT = 0
DELIMITED = 2

#: (field number, wire type, content); the content of a varint is an int
WireField: t.TypeAlias = "tuple[int, int, bytes | int]"

_SIZES = {1: 8, 5: 4}


def varint(number: int) -> bytes:
    """Return a non-negative integer as a varint."""
    if number < 0x80:
        return bytes((number,))

    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the varint at a position, and the position after it.

    :raises ValueError: It is cut off, or does not fit in 64 bits.
    """
    if position < len(data) and data[position] < 0x80:
        return data[position], position + 1

    number = shift = 0
    for index in range(position, min(position + 10, len(data))):
        byte = data[index]
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            if number >> 64:
                break
            return number, index + 1

    raise ValueError("a varint is cut off or too long")


def delimited(field: int, data: bytes) -> bytes:
    """Return a length-delimited field (strings, bytes, messages)."""
    size = len(data)
    if field < 16 and size < 0x80:
        return bytes((field << 3 | 2, size)) + data
    return varint(field << 3 | 2) + varint(len(data)) + data


class Header(dict[int, bytes]):
    """The headers of a length-delimited field, by the length of the content.

    ``Header(3)[5]`` is the tag of field 3 and the length 5. Headers for up to 16 KB are cached.
    """

    def __init__(self, field: int) -> None:
        super().__init__()
        self._tag = varint(field << 3 | 2)

    def __missing__(self, size: int) -> bytes:
        header = self._tag + varint(size)
        if size < 1 << 14:
            self[size] = header
        return header


def text(field: int, value: str) -> bytes:
    """Return a string field, or nothing for the empty string, which is the default."""
    return delimited(field, value.encode()) if value else b""


def fields(data: bytes) -> cabc.Iterator[WireField]:
    """Yield the fields of a message in their order.

    :raises ValueError: The bytes are not a message, or have a group, which is obsolete.
    """
    position = 0
    while position < len(data):
        key, position = read_varint(data, position)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise ValueError("a field has the number 0")
        if kind == VARINT:
            value, position = read_varint(data, position)
            yield number, kind, value
            continue

        if kind == DELIMITED:
            size, position = read_varint(data, position)
        elif kind in _SIZES:
            size = _SIZES[kind]
        else:
            raise ValueError(f"a field has the wire type {kind}")
        end = position + size
        if end > len(data):
            raise ValueError("a field is cut off")
        yield number, kind, data[position:end]
        position = end
