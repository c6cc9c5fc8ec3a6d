"""Declared states, stored values, and untyped states."""

from __future__ import annotations

import copy
import datetime as dt
import typing as t

import pytest
from google.protobuf import any_pb2
from google.protobuf import timestamp_pb2
from google.protobuf import wrappers_pb2
from to_function import invoke

from statefun_flask import BOOL
from statefun_flask import Context
from statefun_flask import DOUBLE
from statefun_flask import Effects
from statefun_flask import FLOAT
from statefun_flask import INT
from statefun_flask import LONG
from statefun_flask import Message
from statefun_flask import raw_type
from statefun_flask import RegistrationError
from statefun_flask import StateTypeError
from statefun_flask import STRING
from statefun_flask import Type
from statefun_flask import ValueSpec
from statefun_flask.values._any import read_any
from statefun_flask.values._any import write_any
from statefun_flask.values._text import duration_text
from statefun_flask.values.derived import WAYS

ANY = "type.googleapis.com/google.protobuf.Any"
UNTYPED = ValueSpec("seen")
HOUR = dt.timedelta(hours=1)


def refusal(*args: t.Any, **kwargs: t.Any) -> str:
    with pytest.raises(RegistrationError) as caught:
        ValueSpec(*args, **kwargs)
    return str(caught.value)


# -- declarations -----------------------------------------------------------------------------


def test_a_spec_is_a_handle_with_a_type() -> None:
    spec = ValueSpec("seen_count", int, expire_after_write=HOUR)

    assert (spec.name, spec.type, spec.expire_after_write) == ("seen_count", LONG, HOUR)
    assert spec.expire_after_call is None
    assert not spec._is_untyped
    assert spec == ValueSpec("seen_count", LONG, expire_after_write=HOUR)
    assert hash(spec) == hash(ValueSpec("seen_count", str))
    assert spec != ValueSpec("seen_count", int)
    assert spec != ValueSpec("seen_count", INT, expire_after_write=HOUR)
    assert spec != ValueSpec("seen_count", int, expire_after_call=HOUR)
    assert spec != "seen_count"


@pytest.mark.parametrize("attribute", ["name", "type", "typename", "expire_after_write", "_read"])
def test_a_spec_is_immutable(attribute: str) -> None:
    spec = ValueSpec("seen", int)

    with pytest.raises(AttributeError) as caught:
        setattr(spec, attribute, None)
    assert str(caught.value) == (
        f"A ValueSpec is immutable, so '{attribute}' cannot be changed. Make a new ValueSpec."
    )
    with pytest.raises(AttributeError, match="immutable"):
        delattr(spec, attribute)
    assert {spec: 1}[ValueSpec("seen", int)] == 1


def test_a_copy_of_a_spec_is_the_spec_itself() -> None:
    spec = ValueSpec("seen", int)

    assert copy.copy(spec) is spec
    assert copy.deepcopy(spec) is spec


def test_a_spec_without_a_type_is_untyped() -> None:
    assert UNTYPED._is_untyped
    assert UNTYPED.type.typename == ANY
    assert ValueSpec("seen") == UNTYPED


@pytest.mark.parametrize("name", ["seen", "Seen_2", "_", "größe", "def"])
def test_an_identifier_can_name_a_state(name: str) -> None:
    assert ValueSpec(name, int).name == name


@pytest.mark.parametrize("name", ["", "-a", "a-b", "a b", "1a", "a!", "a/b", "a.b", 7, None, b"a"])
def test_only_an_identifier_can_name_a_state(name: t.Any) -> None:
    assert refusal(name, int) == (
        f"{name!r} cannot name a state. Use letters, digits and '_', not starting with a digit."
    )


@pytest.mark.parametrize("name", ["batch", "request-state"])
def test_the_runtimes_own_names_are_refused(name: str) -> None:
    assert refusal(name, int) == (
        f"'{name}' cannot name a state, because the runtime uses that name for a state of its own."
        " Choose another name."
    )


@pytest.mark.parametrize(
    "expiry", [dt.timedelta(0), dt.timedelta(microseconds=999), dt.timedelta(seconds=-1)]
)
@pytest.mark.parametrize("kind", ["expire_after_write", "expire_after_call"])
def test_an_expiration_under_a_millisecond_is_refused(kind: str, expiry: dt.timedelta) -> None:
    assert refusal("seen", int, **{kind: expiry}) == (
        f"The expiration of the state 'seen' is {expiry}, less than one millisecond."
        " Leave it out for a state that never expires."
    )
    assert ValueSpec("seen", int, **{kind: dt.timedelta(milliseconds=1)})


@pytest.mark.parametrize("expiry", [60, 1.5, "1h"])
def test_an_expiration_is_a_timedelta(expiry: t.Any) -> None:
    assert refusal("seen", int, expire_after_write=expiry) == (
        f"The expiration of the state 'seen' must be a timedelta, not {expiry!r}."
        " Write for example timedelta(hours=1)."
    )


def test_a_state_expires_in_one_way() -> None:
    assert refusal("seen", int, expire_after_write=HOUR, expire_after_call=HOUR) == (
        "The state 'seen' has both expire_after_write and expire_after_call. Choose one of them."
    )


@pytest.mark.parametrize(
    ("type", "shown"), [(complex, "'complex'"), (range, "'range'"), ("int", "'int'")]
)
def test_a_state_has_a_type_that_can_be_written(type: t.Any, shown: str) -> None:
    assert refusal("seen", type) == (
        f"The type of the state 'seen' is not allowed. {shown} has no StateFun type. {WAYS}"
    )


def test_the_text_of_a_spec() -> None:
    assert str(UNTYPED) == "seen"
    assert str(ValueSpec("seen", int)) == "seen: int (long)"
    assert str(ValueSpec("seen", INT, expire_after_write=HOUR)) == (
        "seen: int (int32) (expires 1 h after write)"
    )
    assert repr(ValueSpec("seen", str, expire_after_call=90 * HOUR)) == (
        "<ValueSpec seen: str (expires 3 d 18 h after call)>"
    )


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (dt.timedelta(milliseconds=1), "1 ms"),
        (dt.timedelta(seconds=2), "2 s"),
        (dt.timedelta(seconds=5400, milliseconds=5), "1 h 30 min 5 ms"),
        (dt.timedelta(days=400), "400 d"),
        (dt.timedelta(0), "0 ms"),
    ],
)
def test_a_duration_is_shown_for_people(span: dt.timedelta, text: str) -> None:
    assert duration_text(span) == text


# -- typed cells ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type", "value"),
    [
        (BOOL, False),
        (INT, 0),
        (LONG, -5),
        (FLOAT, 0.5),
        (DOUBLE, 0.1),
        (STRING, ""),
        (bytes, b"\0"),
        (timestamp_pb2.Timestamp, timestamp_pb2.Timestamp()),
    ],
)
def test_a_value_comes_back(type: t.Any, value: t.Any) -> None:
    spec: ValueSpec[t.Any] = ValueSpec("seen", type)

    cell = spec._encode(value)
    assert cell[0] == spec.type.typename
    assert spec._decode(cell) == value
    assert spec._decode(None) is None


def test_a_value_that_does_not_fit_is_refused() -> None:
    with pytest.raises(StateTypeError) as caught:
        ValueSpec("seen", INT)._encode(2**31)

    assert str(caught.value) == (
        "The state 'seen' of type 'io.statefun.types/int' cannot hold 2147483648."
        " 2147483648 does not fit in 32 bits. Use the type LONG, or int."
    )


def test_a_stored_value_of_another_type_is_refused() -> None:
    with pytest.raises(StateTypeError) as caught:
        ValueSpec("seen", int)._decode(("io.statefun.types/string", STRING.serialize("7")))

    assert str(caught.value) == (
        "The state 'seen' is declared as 'io.statefun.types/long', but its stored value is of type"
        " 'io.statefun.types/string'. Declare it with the type it was written with, or use a new"
        " name."
    )


def test_a_malformed_stored_value_is_refused() -> None:
    with pytest.raises(StateTypeError) as caught:
        ValueSpec("seen", int)._decode(("io.statefun.types/long", b"\x09\x01"))

    assert str(caught.value) == (
        "The stored value of the state 'seen' cannot be read as 'io.statefun.types/long':"
        " its 2 bytes (0901) are not the wire form of long. Check what wrote it."
    )


# -- untyped states ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "type", "wrapper"),
    [
        (True, None, wrappers_pb2.BoolValue(value=True)),
        (False, None, wrappers_pb2.BoolValue()),
        (7, None, wrappers_pb2.Int64Value(value=7)),
        (-7, None, wrappers_pb2.Int64Value(value=-7)),
        (2**62, None, wrappers_pb2.Int64Value(value=2**62)),
        (0, None, wrappers_pb2.Int64Value()),
        (7, INT, wrappers_pb2.Int32Value(value=7)),
        (-7, INT, wrappers_pb2.Int32Value(value=-7)),
        (0.1, None, wrappers_pb2.DoubleValue(value=0.1)),
        (0.5, FLOAT, wrappers_pb2.FloatValue(value=0.5)),
        ("héllo", None, wrappers_pb2.StringValue(value="héllo")),
        ("", None, wrappers_pb2.StringValue()),
        (b"\0", None, wrappers_pb2.BytesValue(value=b"\0")),
    ],
)
def test_a_primitive_in_an_untyped_state_is_an_any_of_protobufs_wrapper(
    value: t.Any, type: Type[t.Any] | None, wrapper: t.Any
) -> None:
    carrier = any_pb2.Any()
    carrier.Pack(wrapper)

    cell = UNTYPED._encode(value, type)
    assert cell == (ANY, carrier.SerializeToString())
    read = UNTYPED._decode(cell)
    assert read == value
    assert read.__class__ is value.__class__


def test_other_values_of_an_untyped_state_come_back_as_messages() -> None:
    stamp = timestamp_pb2.Timestamp(seconds=7)

    cell = UNTYPED._encode(stamp)
    message = UNTYPED._decode(cell)
    assert message == Message(
        "type.googleapis.com/google.protobuf.Timestamp", stamp.SerializeToString()
    )
    assert message.as_type(timestamp_pb2.Timestamp) == stamp

    raw = UNTYPED._encode(b"x", raw_type("example/raw"))
    assert UNTYPED._decode(raw) == Message("example/raw", b"x")
    assert UNTYPED._decode(UNTYPED._encode(Message("who/knows", b"\1"))) == Message(
        "who/knows", b"\1"
    )


def test_an_any_in_an_untyped_state_is_stored_as_it_is() -> None:
    carrier = any_pb2.Any()
    carrier.Pack(wrappers_pb2.StringValue(value="hi"))

    assert UNTYPED._encode(carrier) == (ANY, carrier.SerializeToString())
    assert UNTYPED._decode(UNTYPED._encode(carrier)) == "hi"


def test_an_any_is_read_as_protobuf_reads_it() -> None:
    for type_url, value in (("", b""), ("a/b", b""), ("a/b", b"x" * 300), ("c" * 200 + "/d", b"x")):
        data = any_pb2.Any(type_url=type_url, value=value).SerializeToString()
        assert read_any(data) == Message(type_url, value)
        assert write_any(type_url, value) == data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x0a", "a varint is cut off or too long"),
        (b"\x0a\x05a/b", "its bytes are cut off"),
        (b"\x12\xff\xff\x03", "its bytes are cut off"),
        (b"\x08\x01", "its bytes are not a google.protobuf.Any"),
        (b"\x0a\x03a/b\x18\x01", "its bytes are not a google.protobuf.Any"),
        (b"hello", "its bytes are not a google.protobuf.Any"),
        (b"\x0a\x01\xff", "its type_url is not UTF-8"),
    ],
)
def test_bytes_that_are_not_an_any_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(StateTypeError) as caught:
        UNTYPED._decode((ANY, data))

    assert str(caught.value) == (
        f"The stored value of the state 'seen' cannot be read as '{ANY}': {reason}."
        " Check what wrote it."
    )


# -- defaults ---------------------------------------------------------------------------------


COUNT = ValueSpec("count", int, default=3)
NAMES = ValueSpec("names", list[str], default_factory=list)
BOB = "example/greeter/bob"


def test_a_state_without_a_value_is_read_as_its_default() -> None:
    context = Context(BOB, states={COUNT: None})

    assert Context(BOB).get_state(COUNT) == context.get_state(COUNT) == 3
    assert context.get_state("count") == 3
    assert Context(BOB, states={COUNT: 0}).get_state(COUNT) == 0
    assert Context(BOB, states={"count": 4}).get_state(COUNT) == 4
    assert Context(BOB, states={"count": None}).get_state(COUNT) == 3
    assert Context(BOB, states={ValueSpec("count", int): None}).get_state(COUNT) == 3
    assert COUNT._has_default
    assert not UNTYPED._has_default


def test_each_read_has_a_default_of_its_own() -> None:
    context = Context(BOB)

    first = context.get_state(NAMES)
    first.append("bob")

    assert context.get_state(NAMES) == []


def test_a_default_is_not_stored_until_it_is_written() -> None:
    def read(context: Context, message: str) -> Effects:
        assert context.get_state(COUNT) == 3
        assert context.get_state(NAMES) == []
        return Effects()

    def write(context: Context, message: str) -> Effects:
        return Effects().update_state(COUNT, context.get_state(COUNT) + 1)

    assert invoke(read, "a", states={COUNT: None, NAMES: None}).changes == []
    assert invoke(write, "a", "b", states={COUNT: None}).changes == [("count", 5)]


def test_a_deleted_state_is_read_as_its_default_again() -> None:
    read: list[int] = []

    def function(context: Context, message: str) -> Effects:
        read.append(context.get_state(COUNT))
        return Effects().delete_state(COUNT)

    assert invoke(function, "a", "b", states={COUNT: 7}).changes == [("count", None)]
    assert read == [7, 3]
    assert Effects().delete_state(COUNT).changes[0].value is None


def test_a_handle_is_read_with_its_own_default() -> None:
    read: list[object] = []

    def function(context: Context, message: str) -> Effects:
        read.extend([context.get_state(COUNT), context.get_state("count")])
        return Effects()

    invoke(function, "a", states={ValueSpec("count", int): None})

    assert read == [3, None]


def test_a_change_of_a_default_in_place_is_lost_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def function(context: Context, message: str) -> Effects:
        context.get_state(NAMES).append(message)
        return Effects()

    invoke(function, "a", states={NAMES: None}, debug_checks=True)

    assert "changed the value of the state 'names' in place" in caplog.text


@pytest.mark.parametrize(
    ("type", "options", "reason"),
    [
        (list[str], {"default": []}, "is the mutable [], which all reads would share."),
        (dict, {"default": {}}, "Write default_factory=…, with a function that returns a new one."),
        (int, {"default": "x"}, "is not of its type 'int (long)'. Expected int, got str 'x'."),
        (int, {"default": True}, "is not of its type 'int (long)'."),
        (INT, {"default": 2**40}, "is not of its type 'int (int32)'. 1099511627776 does not fit"),
        (int, {"default_factory": str}, "is not of its type 'int (long)'."),
        (int, {"default_factory": lambda: None}, "Expected int, got NoneType"),
        (int, {"default_factory": 3}, "is 3. Write a function without parameters, such as list."),
        (int, {"default": 3, "default_factory": int}, "has both default and default_factory."),
        (None, {"default": 3}, "has a default, but no type. Write ValueSpec('seen', type, …)."),
    ],
)
def test_a_default_is_checked_where_it_is_declared(
    type: t.Any, options: dict[str, t.Any], reason: str
) -> None:
    assert reason in refusal("seen", type, **options)


def test_states_with_different_defaults_differ() -> None:
    assert ValueSpec("count", int, default=3) == COUNT
    assert ValueSpec("count", int) != COUNT
    assert ValueSpec("count", int, default=4) != COUNT
    assert str(COUNT) == "count: int (long) = 3"
    assert str(NAMES) == "names: list[str] = list()"
    assert "= <lambda>()" in str(ValueSpec("count", int, default_factory=lambda: 3))
