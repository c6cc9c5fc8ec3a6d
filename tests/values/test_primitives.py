"""Payloads of the primitives: strict reading, ranges, and error messages."""

from __future__ import annotations

import enum
import typing as t

import pytest
from google.protobuf import wrappers_pb2

from statefun_flask import BOOL
from statefun_flask import BYTES
from statefun_flask import DOUBLE
from statefun_flask import FLOAT
from statefun_flask import INT
from statefun_flask import LONG
from statefun_flask import STRING
from statefun_flask import Type
from statefun_flask.values import _wire
from statefun_flask.values._primitives import int_to_varint
from statefun_flask.values._primitives import read_int32
from statefun_flask.values._primitives import read_int64
from statefun_flask.values._primitives import read_string
from statefun_flask.values._primitives import read_uint32
from statefun_flask.values._text import shorten

ALL: list[Type[t.Any]] = [BOOL, INT, LONG, FLOAT, DOUBLE, STRING, BYTES]
NAMES = [type.typename.rpartition("/")[2] for type in ALL]


def read(type: Type[t.Any], payload: bytes) -> t.Any:
    reader = type._reader(type.typename)
    assert reader is not None
    return reader(payload)


def error(function: t.Any, *args: t.Any) -> str:
    with pytest.raises((TypeError, ValueError)) as caught:
        function(*args)
    return str(caught.value)


def test_no_decimal_text_is_read_as_a_string_wrapper() -> None:
    for number in range(100_000):
        try:
            value = read_string(b"%d" % number)
        except ValueError:
            continue
        pytest.fail(f"the text '{number}' was read as {value!r}")


@pytest.mark.parametrize("type", ALL, ids=NAMES)
def test_a_default_has_no_bytes(type: Type[t.Any]) -> None:
    value = read(type, b"")

    assert value == type.python()
    assert value.__class__ is type.python
    assert type.serialize(value) == b""


def test_an_explicit_false_is_read_and_never_written() -> None:
    assert read(BOOL, b"\x08\x00") is False
    assert BOOL.serialize(False) == b""


@pytest.mark.parametrize(
    ("type", "payload"),
    [
        (INT, "0d00000000"),
        (LONG, "090000000000000000"),
        (FLOAT, "0d00000000"),
        (DOUBLE, "090000000000000000"),
        (STRING, "0a00"),
        (BYTES, "0a00"),
    ],
)
def test_other_explicit_defaults_are_read(type: Type[t.Any], payload: str) -> None:
    assert read(type, bytes.fromhex(payload)) == type.python()


@pytest.mark.parametrize("type", ALL, ids=NAMES)
@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data + data,
        lambda data: b"\x10\x01" + data,
        lambda data: data + b"\x10\x01",
        lambda data: bytes((data[0] + 8,)) + data[1:],
        lambda data: bytes((data[0] ^ 4,)) + data[1:],
    ],
    ids=["cut", "longer", "twice", "before", "behind", "number", "wire-type"],
)
def test_exactly_one_field_is_read(type: Type[t.Any], change: t.Any) -> None:
    value = {bool: True, int: 7, float: 0.5, str: "text", bytes: b"bytes"}[type.python]
    data = change(type.serialize(value))

    with pytest.raises(ValueError, match="its"):
        read(type, data)


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 129, 130, 131, 16_383, 16_384, 16_387])
def test_text_is_as_long_as_its_header_says(size: int) -> None:
    text = "x" * size
    data = STRING.serialize(text)
    assert data == _wire.text(1, text)
    assert read(STRING, data) == text

    # Around the sizes where the length grows by a byte, all similar lengths.
    for length in {size - 2, size - 1, size + 1, size + 2} & set(range(1, 1 << 20)):
        with pytest.raises(ValueError, match="its"):
            read(STRING, b"\x0a" + _wire.varint(length) + text.encode())


def test_a_length_written_in_more_bytes_than_it_needs_is_read() -> None:
    assert read(STRING, b"\x0a\x83\x00Bob") == "Bob"


@pytest.mark.parametrize("payload", ["0802", "088001", "08", "00", "01", "080100"])
def test_a_bool_is_one_byte_of_zero_or_one(payload: str) -> None:
    data = bytes.fromhex(payload)

    assert error(read, BOOL, data) == (
        f"its {len(data)} bytes ({payload}) are not the wire form of bool"
    )


@pytest.mark.parametrize("size", ["80", "8080808080808080808080", "ffffffffffffffffff7f", "05"])
def test_a_broken_length_is_refused(size: str) -> None:
    assert "are not the wire form of bytes" in error(read, BYTES, bytes.fromhex(f"0a{size}"))


def test_an_error_shows_the_first_bytes() -> None:
    assert error(read, LONG, b"\xff" * 20) == (
        f"its 20 bytes ({'ff' * 16}…) are not the wire form of long"
    )


def test_plain_text_under_the_string_type_is_explained() -> None:
    assert error(read, STRING, b"Bob") == (
        "its 3 bytes (426f62) are not the wire form of string; it looks like the plain text 'Bob',"
        " as a Kafka ingress delivers it. Give the topic a valueType of your own and read it with"
        " utf8_type('namespace/name')"
    )


def test_bytes_that_are_not_text_are_not_explained_as_text() -> None:
    assert error(read, STRING, b"\xff\xfe") == (
        "its 2 bytes (fffe) are not the wire form of string"
    )


def test_text_that_is_not_utf8_is_refused() -> None:
    assert error(read, STRING, b"\x0a\x02a\xff") == (
        "its text is not UTF-8 (invalid start byte at byte 1)"
    )


@pytest.mark.parametrize(
    ("type", "value", "message"),
    [
        (INT, 2**31, "2147483648 does not fit in 32 bits. Use the type LONG, or int."),
        (INT, -(2**31) - 1, "-2147483649 does not fit in 32 bits. Use the type LONG, or int."),
        (LONG, 2**63, "9223372036854775808 does not fit in 64 bits. Send it as str or bytes."),
        (
            LONG,
            -(2**63) - 1,
            "-9223372036854775809 does not fit in 64 bits. Send it as str or bytes.",
        ),
        (LONG, 10**200, "An int of 665 bits does not fit in 64 bits. Send it as str or bytes."),
        (FLOAT, 1e39, "1e+39 does not fit in the type's float. Use the type DOUBLE, or float."),
        (
            STRING,
            "a\ud800",
            "'a\\ud800' cannot be written as UTF-8. Remove the lone surrogates, or send bytes.",
        ),
    ],
)
def test_a_value_out_of_range_is_refused(type: Type[t.Any], value: t.Any, message: str) -> None:
    assert error(type.serialize, value) == message


def test_an_int_beyond_any_float_is_refused() -> None:
    assert error(DOUBLE.serialize, 10**400) == (
        "An int of 1329 bits does not fit in a float. Send it as str."
    )


@pytest.mark.parametrize(
    ("type", "value", "message"),
    [
        (BOOL, 1, "Expected bool, got int 1. Convert it, or name another type."),
        (BOOL, None, "Expected bool, got NoneType None. Convert it, or name another type."),
        (INT, True, "Expected int, got bool True. Convert it, or name another type."),
        (LONG, True, "Expected int, got bool True. Convert it, or name another type."),
        (LONG, 1.0, "Expected int, got float 1.0. Convert it, or name another type."),
        (LONG, "1", "Expected int, got str '1'. Convert it, or name another type."),
        (FLOAT, True, "Expected float, got bool True. Convert it, or name another type."),
        (DOUBLE, "1", "Expected float, got str '1'. Convert it, or name another type."),
        (STRING, b"a", "Expected str, got bytes b'a'. Convert it, or name another type."),
        (BYTES, "a", "Expected bytes, got str 'a'. Convert it, or name another type."),
    ],
)
def test_a_value_of_another_class_is_refused(type: Type[t.Any], value: t.Any, message: str) -> None:
    assert error(type.serialize, value) == message


def test_a_long_value_is_cut_in_the_message() -> None:
    assert shorten("x" * 60) == "x" * 60
    assert shorten("x" * 61) == "x" * 59 + "…"


def test_an_int_is_sent_as_a_float() -> None:
    assert read(DOUBLE, DOUBLE.serialize(3)) == 3.0


@pytest.mark.parametrize("value", [bytearray(b"ab"), memoryview(b"ab")])
def test_other_bytes_are_sent_as_bytes(value: t.Any) -> None:
    assert read(BYTES, BYTES.serialize(value)) == b"ab"


def test_subclasses_of_int_and_str_are_sent_as_their_base() -> None:
    class Color(enum.IntEnum):
        RED = 3

    class Name(enum.StrEnum):
        BOB = "bob"

    assert LONG.serialize(Color.RED) == LONG.serialize(3)
    assert STRING.serialize(Name.BOB) == STRING.serialize("bob")


@pytest.mark.parametrize(
    ("wrapper", "reader", "values"),
    [
        (wrappers_pb2.Int32Value, read_int32, [0, 1, 127, 128, -1, 2**31 - 1, -(2**31)]),
        (wrappers_pb2.UInt32Value, read_uint32, [0, 1, 128, 2**32 - 1]),
        (wrappers_pb2.Int64Value, read_int64, [0, 1, 300, -1, 2**63 - 1, -(2**63)]),
    ],
    ids=["Int32Value", "UInt32Value", "Int64Value"],
)
def test_the_integer_wrappers_of_protobuf_are_read(
    wrapper: t.Any, reader: t.Any, values: list[int]
) -> None:
    for value in values:
        assert reader(wrapper(value=value).SerializeToString()) == value


@pytest.mark.parametrize(
    ("reader", "payload", "name"),
    [
        (read_int32, "1001", "Int32Value"),
        (read_int32, "0880", "Int32Value"),
        (read_int32, "080100", "Int32Value"),
        (read_int32, "088080808008", "Int32Value"),
        (read_uint32, "088080808010", "UInt32Value"),
        (read_uint32, "08" + "ff" * 9 + "01", "UInt32Value"),
        (read_int64, "08" + "ff" * 9 + "7f", "Int64Value"),
    ],
)
def test_the_integer_wrappers_are_read_as_strictly(reader: t.Any, payload: str, name: str) -> None:
    data = bytes.fromhex(payload)

    assert error(reader, data) == (
        f"its {len(data)} bytes ({payload}) are not the wire form of {name}"
    )


@pytest.mark.parametrize("value", [0, 1, -1, 127, 128, 2**31 - 1, -(2**31)])
def test_ints_and_longs_become_the_varints_of_the_wrappers(value: int) -> None:
    expected = wrappers_pb2.Int64Value(value=value).SerializeToString()

    assert int_to_varint(INT.serialize(value)) == expected
    assert int_to_varint(LONG.serialize(value)) == expected
