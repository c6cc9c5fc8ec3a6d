"""The payloads of the primitives, written and read by hand.

Each of the six primitives of StateFun 3.x is a protobuf message with one field. A default value has
an empty payload, since the Java SDK rejects an explicit ``false``. Reading is strict: exactly one
field, the right tag, the right length, and no further bytes. Protobuf's own parser skips unknown
fields, so that thousands of short plain texts parse as an empty string wrapper.

StateFun 2.x uses protobuf's own wrappers. Their integers are varints; the others have the same
bytes as the primitives of 3.x.
"""

from __future__ import annotations

import collections.abc as cabc
import math
import struct
import typing as t

from . import _wire
from ._text import shorten

T = t.TypeVar("T")

_INT = struct.Struct("<Bi")
_LONG = struct.Struct("<Bq")
_FLOAT = struct.Struct("<Bf")
_DOUBLE = struct.Struct("<Bd")
_FIELD = _wire.Header(1)


def write_bool(value: bool) -> bytes:
    if value is True:
        return b"\x08\x01"
    if value is False:
        return b""
    raise wrong_value("bool", value)


def read_bool(data: bytes) -> bool:
    if not data:
        return False
    if data == b"\x08\x01":
        return True
    if data == b"\x08\x00":
        return False
    raise _malformed("bool", data)


def _fixed_int(packer: struct.Struct, tag: int, bits: int) -> cabc.Callable[[int], bytes]:
    def write(value: int) -> bytes:
        if value.__class__ is not int and (isinstance(value, bool) or not isinstance(value, int)):
            raise wrong_value("int", value)
        if not value:
            return b""
        try:
            return packer.pack(tag, value)
        except struct.error:
            raise ValueError(
                f"{_number(value)} does not fit in {bits} bits."
                + (" Use the type LONG, or int." if bits == 32 else " Send it as str or bytes.")
            ) from None

    return write


def _fixed_float(packer: struct.Struct, tag: int) -> cabc.Callable[[float], bytes]:
    def write(value: float) -> bytes:
        if value.__class__ is not float and (
            isinstance(value, bool) or not isinstance(value, int | float)
        ):
            raise wrong_value("float", value)
        if not value and math.copysign(1.0, value) > 0:
            return b""
        try:
            return packer.pack(tag, value)
        except (OverflowError, struct.error):  # struct.error: an int larger than every float
            raise ValueError(
                f"{_number(value)} does not fit in the type's float. Use the type DOUBLE, or float."
                if packer is _FLOAT
                else f"{_number(value)} does not fit in a float. Send it as str."
            ) from None

    return write


def _read_fixed(packer: struct.Struct, tag: int, zero: T, name: str) -> cabc.Callable[[bytes], T]:
    size = packer.size
    unpack = packer.unpack

    def read(data: bytes) -> T:
        if not data:
            return zero
        if len(data) != size or data[0] != tag:
            raise _malformed(name, data)
        value: T = unpack(data)[1]
        return value

    return read


def _read_varint(bits: int, signed: bool, name: str) -> cabc.Callable[[bytes], int]:
    """Return a reader of protobuf's integer wrappers: a varint, in 64-bit two's complement."""

    def read(data: bytes) -> int:
        if not data:
            return 0
        if len(data) == 2 and data[0] == 0x08 and data[1] < 0x80:
            return data[1]
        try:
            number, end = _wire.read_varint(data, 1)
        except ValueError:
            raise _malformed(name, data) from None
        if data[0] != 0x08 or end != len(data):
            raise _malformed(name, data)
        if signed and number >> 63:
            number -= 1 << 64
        if not (-(1 << bits - 1) <= number < 1 << bits - 1 if signed else number < 1 << bits):
            raise _malformed(name, data)
        return number

    return read


def write_string(value: str) -> bytes:
    if value.__class__ is not str and not isinstance(value, str):
        raise wrong_value("str", value)
    try:
        data = value.encode()
    except UnicodeEncodeError:
        raise not_utf8(value) from None
    return write_bytes(data)


def write_bytes(value: bytes) -> bytes:
    if value.__class__ is not bytes:
        if not isinstance(value, bytes | bytearray | memoryview):
            raise wrong_value("bytes", value)
        value = bytes(value)
    return _FIELD[len(value)] + value if value else b""


def read_bytes(data: bytes, name: str = "bytes") -> bytes:
    size = len(data)
    if size < 2:
        if not size:
            return b""
        raise _malformed(name, data)
    # The size determines the shortest header. Large and unusually encoded payloads are read below.
    start = 2 if size < 130 else 3
    header = _FIELD[size - start]
    if data.startswith(header) and len(header) == start:
        return data[start:]
    if data[0] == 0x0A:
        try:
            length, start = _wire.read_varint(data, 1)
        except ValueError:
            raise _malformed(name, data) from None
        if length == size - start:
            return data[start:]
    raise _malformed(name, data)


def read_string(data: bytes) -> str:
    try:
        return read_bytes(data, "string").decode()
    except UnicodeDecodeError as exc:
        raise ValueError(f"its text is not UTF-8 ({exc.reason} at byte {exc.start})") from None
    except ValueError as exc:
        raise ValueError(_plain_text_hint(data, exc)) from None


def _plain_text_hint(data: bytes, exc: ValueError) -> str:
    try:
        plain = data.decode()
    except UnicodeDecodeError:
        return str(exc)
    return (
        f"{exc}; it looks like the plain text {shorten(plain)!r}, as a Kafka ingress delivers it."
        " Give the topic a valueType of your own and read it with utf8_type('namespace/name')"
    )


def wrong_value(expected: str, value: object) -> TypeError:
    shown = " ".join(repr(value).split())  # the repr of a protobuf message has several lines
    return TypeError(
        f"Expected {expected}, got {type(value).__name__} {shorten(shown)}. Convert it, or"
        " name another type."
    )


def not_utf8(value: str) -> ValueError:
    return ValueError(
        f"{shorten(repr(value))} cannot be written as UTF-8. Remove the lone surrogates, or send"
        " bytes."
    )


def _number(value: float) -> str:
    """Return a number as text. Python does not convert very large ints to decimal."""
    if isinstance(value, int) and value.bit_length() > 192:
        return f"An int of {value.bit_length()} bits"
    return f"{value}"


def _malformed(name: str, data: bytes) -> ValueError:
    shown = data[:16].hex() + ("…" if len(data) > 16 else "")
    return ValueError(f"its {len(data)} bytes ({shown}) are not the wire form of {name}")


read_int = _read_fixed(_INT, 0x0D, 0, "int")
read_long = _read_fixed(_LONG, 0x09, 0, "long")
read_float = _read_fixed(_FLOAT, 0x0D, 0.0, "float")
read_double = _read_fixed(_DOUBLE, 0x09, 0.0, "double")
read_int32 = _read_varint(32, True, "Int32Value")
read_uint32 = _read_varint(32, False, "UInt32Value")
read_int64 = _read_varint(64, True, "Int64Value")
write_int = _fixed_int(_INT, 0x0D, 32)
write_long = _fixed_int(_LONG, 0x09, 64)
write_float = _fixed_float(_FLOAT, 0x0D)
write_double = _fixed_float(_DOUBLE, 0x09)


def int_to_varint(payload: bytes) -> bytes:
    """Convert the payload of an int or long of 3.x to that of Int32Value or Int64Value.

    :raises ValueError: It is not such a payload. The payload of a Message is not checked before.
    """
    value = (read_int if len(payload) == _INT.size else read_long)(payload)
    if not value:
        return b""
    return b"\x08" + _wire.varint(value & (1 << 64) - 1)
