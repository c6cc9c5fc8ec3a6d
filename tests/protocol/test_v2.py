"""The codec of StateFun 2.x: the bytes of the official SDK, and the differences from 3.x."""

from __future__ import annotations

import datetime as dt
import typing as t

import pytest
from google.protobuf import any_pb2
from google.protobuf import struct_pb2
from google.protobuf import wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st
from to_function import handler_of
from to_function import to_function_2

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import DOUBLE
from statefun_flask import Effects
from statefun_flask import FLOAT
from statefun_flask import FunctionRegistry
from statefun_flask import INT
from statefun_flask import kafka_record
from statefun_flask import kinesis_record
from statefun_flask import LONG
from statefun_flask import Message
from statefun_flask import MessageTypeError
from statefun_flask import ProtocolError
from statefun_flask import RequestHandler
from statefun_flask import StateFunError
from statefun_flask import StateTypeError
from statefun_flask import UnknownStateError
from statefun_flask import ValueSpec
from statefun_flask.protocol.schema.request_reply_v2 import FromFunction

PREFIX = "type.googleapis.com/google.protobuf."
BOB = Address("example/relay", "bob")

#: Written by the official Python SDK, apache-flink-statefun 2.2.2.
GOLDEN_REQUEST = bytes.fromhex(
    "a206510a0c0a026e731202666e1a02696412060a047365656e1a3912370a2f747970652e676f6f676c65617069732e"
    "636f6d2f676f6f676c652e70726f746f6275662e537472696e6756616c756512040a026869"
)
GOLDEN_MUTATION = bytes.fromhex(
    "080112047365656e1a34"
    "0a2e747970652e676f6f676c65617069732e636f6d2f676f6f676c652e70726f746f6275662e496e74333256616c75"
    "6512020801"
)


def packed(message: t.Any) -> t.Any:
    carrier = any_pb2.Any()
    carrier.Pack(message)
    return carrier


def request(*messages: t.Any, states: dict[str, bytes] | None = None) -> t.Any:
    return to_function_2(
        *(messages or [packed(wrappers_pb2.StringValue(value="hi"))]), states=states
    )


def answer(function: t.Any, body: t.Any, *states: t.Any) -> t.Any:
    data = body if isinstance(body, bytes) else body.SerializeToString()
    handle = handler_of(function, *states, protocol="v2")
    return FromFunction.FromString(handle(data)).invocation_result


def stored(message: t.Any) -> bytes:
    data: bytes = packed(message).SerializeToString()
    return data


def test_the_official_request_is_read() -> None:
    seen = []

    def function(context: Context, message: str) -> Effects:
        seen.append(
            (context.self_address, context.caller_address, context.get_state("seen"), message)
        )
        return Effects()

    registry = FunctionRegistry()
    registry.register("ns/fn", function, states=["seen"])
    reply = RequestHandler(registry)(GOLDEN_REQUEST)

    assert seen == [(Address("ns/fn", "id"), None, None, "hi")]
    assert FromFunction.FromString(reply).HasField("invocation_result")


def test_the_official_mutation_is_written() -> None:
    def function(context: Context, message: str) -> Effects:
        return Effects().update_state("seen", 1, type=INT)

    registry = FunctionRegistry()
    registry.register("ns/fn", function, states=["seen"])
    reply = FromFunction.FromString(RequestHandler(registry)(GOLDEN_REQUEST))

    (mutation,) = reply.invocation_result.state_mutations
    assert mutation.SerializeToString() == GOLDEN_MUTATION


def test_a_typed_state_is_written_as_the_official_sdk_writes_it() -> None:
    seen = ValueSpec("seen", INT)

    result = answer(
        lambda c, m: Effects().update_state(seen, 1), request(states={"seen": b""}), seen
    )

    assert result.state_mutations[0].SerializeToString() == GOLDEN_MUTATION


@pytest.mark.parametrize(
    ("declared", "written", "value"),
    [
        (int, wrappers_pb2.Int32Value(value=-7), -7),
        (int, wrappers_pb2.UInt32Value(value=2**32 - 1), 2**32 - 1),
        (int, wrappers_pb2.Int64Value(value=-(2**63)), -(2**63)),
        (int, wrappers_pb2.Int64Value(value=0), 0),
        (INT, wrappers_pb2.Int32Value(value=2**31 - 1), 2**31 - 1),
        (float, wrappers_pb2.FloatValue(value=0.5), 0.5),
        (float, wrappers_pb2.DoubleValue(value=-1e300), -1e300),
        (FLOAT, wrappers_pb2.FloatValue(value=-0.25), -0.25),
        (bool, wrappers_pb2.BoolValue(value=True), True),
        (str, wrappers_pb2.StringValue(value="日本"), "日本"),
        (bytes, wrappers_pb2.BytesValue(value=b"\x00\xff"), b"\x00\xff"),
        (struct_pb2.Value, struct_pb2.Value(bool_value=True), struct_pb2.Value(bool_value=True)),
    ],
)
@pytest.mark.parametrize("untyped", [False, True], ids=["typed", "untyped"])
def test_a_state_of_another_sdk_reads_back(
    declared: t.Any, written: t.Any, value: t.Any, untyped: bool
) -> None:
    spec = ValueSpec("seen") if untyped else ValueSpec("seen", declared)
    read = []

    def function(context: Context, message: str) -> Effects:
        read.append(context.get_state("seen", declared))
        return Effects()

    if untyped and declared is INT:
        declared = int
    answer(function, request(states={"seen": stored(written)}), spec)

    assert read == [value]
    assert type(read[0]) is type(value)


def test_writing_a_stored_int32_makes_it_an_int64() -> None:
    seen = ValueSpec("seen", int)
    body = request(states={"seen": stored(wrappers_pb2.Int32Value(value=41))})

    def function(context: Context, message: str) -> Effects:
        return Effects().update_state(seen, (context.get_state(seen) or 0) + 1)

    (mutation,) = answer(function, body, seen).state_mutations
    assert mutation.state_value == stored(wrappers_pb2.Int64Value(value=42))


def test_later_messages_of_a_batch_see_the_changes_of_earlier_ones() -> None:
    seen = ValueSpec("seen", int)
    read = []

    def function(context: Context, message: int) -> Effects:
        read.append(context.get_state(seen))
        return Effects().update_state(seen, message) if message else Effects().delete_state(seen)

    numbers = [packed(wrappers_pb2.Int64Value(value=number)) for number in (5, 0, 7)]
    body = request(*numbers, states={"seen": stored(wrappers_pb2.UInt32Value(value=1))})
    (mutation,) = answer(function, body, seen).state_mutations

    assert read == [1, 5, None]
    assert mutation.state_value == stored(wrappers_pb2.Int64Value(value=7))


def test_a_deleted_state_is_a_mutation_of_only_a_name() -> None:
    body = request(states={"seen": stored(wrappers_pb2.Int32Value(value=41))})

    (mutation,) = answer(lambda c, m: Effects().delete_state("seen"), body, "seen").state_mutations

    assert mutation.SerializeToString().hex() == "12047365656e"


def test_a_state_that_holds_a_default_is_not_one_without_a_value() -> None:
    read = []

    def function(context: Context, message: str) -> Effects:
        read.extend([context.get_state("zero"), context.get_state("unset")])
        return Effects().update_state("zero", 0)

    states = {"zero": stored(wrappers_pb2.Int64Value()), "unset": b""}
    result = answer(function, request(states=states), "zero", "unset")

    assert read == [0, None]
    assert result.state_mutations[0].state_value == states["zero"]


def test_an_any_as_the_declared_type_is_the_state_as_it_is() -> None:
    spec = ValueSpec("seen", any_pb2.Any)
    value = packed(wrappers_pb2.Int32Value(value=3))
    read = []

    def function(context: Context, message: str) -> Effects:
        read.append(context.get_state(spec))
        return Effects().update_state(spec, packed(wrappers_pb2.BoolValue(value=True)))

    result = answer(function, request(states={"seen": value.SerializeToString()}), spec)

    assert read == [value]
    assert result.state_mutations[0].state_value == stored(wrappers_pb2.BoolValue(value=True))


def test_an_untyped_state_can_be_read_as_the_any_that_it_is() -> None:
    value = packed(wrappers_pb2.UInt32Value(value=3))
    read = []

    def function(context: Context, message: str) -> Effects:
        read.append(context.get_state("seen", any_pb2.Any))
        return Effects()

    answer(function, request(states={"seen": value.SerializeToString()}), "seen")

    assert read == [value]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (
            stored(wrappers_pb2.StringValue(value="x")),
            (
                f"A message of type '{PREFIX}StringValue' cannot be read as"
                " 'io.statefun.types/long'. Check with 'is_type' first, or read the message"
                " as its own type."
            ),
        ),
        (b"\x07", "its bytes are not a google.protobuf.Any"),
    ],
)
def test_an_untyped_state_is_not_read_as_another_type(value: bytes, reason: str) -> None:
    def function(context: Context, message: str) -> Effects:
        context.get_state("seen", int)
        return Effects()

    with pytest.raises(StateTypeError) as caught:
        answer(function, request(states={"seen": value}), "seen")

    assert (
        str(caught.value)
        == f"The state 'seen' cannot be read as 'io.statefun.types/long'. {reason}"
    )


def test_an_empty_any_cannot_be_stored() -> None:
    with pytest.raises(StateTypeError) as caught:
        answer(
            lambda c, m: Effects().update_state("seen", any_pb2.Any()),
            request(states={"seen": b""}),
            "seen",
        )

    assert str(caught.value) == (
        "The new value of the state 'seen' is an Any without a type, which StateFun 2.x does not"
        " distinguish from no value. Use 'delete_state' to delete the value."
    )


def test_a_stored_value_of_another_type_is_refused_before_user_code() -> None:
    body = request(states={"seen": stored(wrappers_pb2.StringValue(value="x"))})

    with pytest.raises(StateTypeError) as caught:
        answer(pytest.fail, body, ValueSpec("seen", int))

    assert str(caught.value) == (
        "The state 'seen' is declared as 'io.statefun.types/long', but its stored value is of type"
        f" '{PREFIX}StringValue'. Declare it with the type it was written with, or use a new name."
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\x07plain", "its bytes are not a google.protobuf.Any"),
        (b"\x0a\x09short", "its bytes are cut off"),
        (b"\x0a", "a varint is cut off or too long"),
    ],
)
def test_a_stored_value_that_is_not_an_any_is_refused(value: bytes, reason: str) -> None:
    with pytest.raises(StateTypeError) as caught:
        answer(pytest.fail, request(states={"seen": value}), ValueSpec("seen", int))

    assert str(caught.value) == (
        f"The stored value of the state 'seen' cannot be read: {reason}. Check what wrote it."
    )


def test_a_state_that_the_request_lacks_names_the_line_of_module_yaml() -> None:
    states = [
        ValueSpec("seen_count", int),
        ValueSpec("written", int, expire_after_write=dt.timedelta(minutes=5)),
        ValueSpec("called", int, expire_after_call=dt.timedelta(seconds=1.5)),
        "there",
    ]

    with pytest.raises(UnknownStateError) as caught:
        answer(pytest.fail, request(states={"there": b""}), *states)

    assert str(caught.value) == (
        "The request for 'example/fn' lacks the states 'seen_count', 'written', 'called'."
        " StateFun 2.x takes states from module.yaml: add to the spec of 'example/fn' the line"
        " 'states: [seen_count, written, called]' under version \"1.0\", or 'states:"
        " [{name: seen_count},"
        " {name: written, expireAfter: 300000ms, expireMode: after-write},"
        ' {name: called, expireAfter: 1500ms, expireMode: after-invoke}]\' under "2.0".'
    )


def test_states_that_are_not_declared_are_ignored() -> None:
    result = answer(lambda c, m: Effects(), request(states={"other": b"anything"}))

    assert not result.state_mutations


@pytest.mark.parametrize(
    ("effects", "message"),
    [
        (
            Effects().cancel("later"),
            (
                "'example/fn' cancels a delayed message (token 'later'), but StateFun 2.x has no"
                " cancellation. Send the message without a token and ignore it when it arrives too"
                " late, or run the function on StateFun 3.2 or later."
            ),
        ),
        (
            Effects().send_after(BOB, dt.timedelta(1), "x", cancellation_token="later"),
            (
                "'example/fn' sends a delayed message that can be cancelled (token 'later'), but"
                " StateFun 2.x has no cancellation. Send the message without a token and ignore it"
                " when it arrives too late, or run the function on StateFun 3.2 or later."
            ),
        ),
    ],
)
def test_cancellation_fails_with_the_reason(effects: Effects, message: str) -> None:
    with pytest.raises(StateFunError) as caught:
        answer(lambda c, m: effects, request())

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("value", "type", "written"),
    [
        (True, None, wrappers_pb2.BoolValue(value=True)),
        (False, None, wrappers_pb2.BoolValue()),
        (-3, None, wrappers_pb2.Int64Value(value=-3)),
        (0, None, wrappers_pb2.Int64Value()),
        (-3, INT, wrappers_pb2.Int32Value(value=-3)),
        (1.5, None, wrappers_pb2.DoubleValue(value=1.5)),
        (1.5, FLOAT, wrappers_pb2.FloatValue(value=1.5)),
        ("é", None, wrappers_pb2.StringValue(value="é")),
        (b"\x00", None, wrappers_pb2.BytesValue(value=b"\x00")),
        (struct_pb2.Value(number_value=0), None, struct_pb2.Value(number_value=0)),
        (packed(wrappers_pb2.BoolValue()), None, wrappers_pb2.BoolValue()),
    ],
)
def test_messages_go_out_under_the_names_of_protobuf(
    value: t.Any, type: t.Any, written: t.Any
) -> None:
    def function(context: Context, message: str) -> Effects:
        return (
            Effects()
            .send(BOB, value, type=type)
            .send_after(BOB, dt.timedelta(seconds=2), value, type=type)
            .egress("example/out", value, type=type)
        )

    result = answer(function, request())

    expected = packed(written)
    for sent in (
        result.outgoing_messages[0],
        result.delayed_invocations[0],
        result.outgoing_egresses[0],
    ):
        assert sent.argument.SerializeToString() == expected.SerializeToString()
    assert result.outgoing_messages[0].target.id == "bob"
    assert result.delayed_invocations[0].delay_in_ms == 2000
    assert result.delayed_invocations[0].target.type == "relay"
    assert result.outgoing_egresses[0].egress_namespace == "example"
    assert result.outgoing_egresses[0].egress_type == "out"


def test_records_go_to_the_egresses_of_2_x() -> None:
    io = "type.googleapis.com/org.apache.flink.statefun.flink.io."

    def function(context: Context, message: str) -> Effects:
        return (
            Effects()
            .egress("example/kafka", kafka_record("t", key="k", value="v"))
            .egress("example/kinesis", kinesis_record("s", partition_key="p", value=b"v"))
        )

    kafka, kinesis = answer(function, request()).outgoing_egresses

    assert kafka.argument.type_url == io + "KafkaProducerRecord"
    assert kafka.argument.value.hex() == "0a016b120176" + "1a0174"
    assert kinesis.argument.type_url == io + "KinesisEgressRecord"
    assert kinesis.argument.value.hex() == "0a0170120176" + "1a0173"


def test_a_sender_of_empty_names_is_an_ingress() -> None:
    body = request(*[packed(wrappers_pb2.StringValue(value="hi"))] * 3)
    body.invocation.invocations[1].caller.SetInParent()
    caller = body.invocation.invocations[2].caller
    caller.namespace, caller.type, caller.id = "example", "relay", "bob"
    callers = []

    def function(context: Context, message: str) -> Effects:
        callers.append(context.caller_address)
        return Effects()

    answer(function, body)
    assert callers == [None, None, BOB]


def test_messages_choose_their_function_under_any_prefix() -> None:
    taken: list[tuple[str, t.Any]] = []
    registry = FunctionRegistry()

    def texts(context: Context, message: str) -> None:
        taken.append(("str", message))

    def others(context: Context, message: Message) -> None:
        taken.append((message.typename, message.as_type(int)))

    registry.register("example/fn", texts)
    registry.register("example/fn", others)
    named = any_pb2.Any(type_url="com.googleapis/google.protobuf.StringValue", value=b"\x0a\x01a")
    body = request(named, packed(wrappers_pb2.Int64Value(value=9)))

    RequestHandler(registry, protocol="v2")(body.SerializeToString())

    assert taken == [("str", "a"), (PREFIX + "Int64Value", 9)]


def test_a_message_of_another_type_is_refused() -> None:
    def function(context: Context, message: int) -> Effects:
        pytest.fail("it was called")

    with pytest.raises(MessageTypeError, match="does not accept messages of type"):
        answer(function, request())


def test_a_message_with_a_malformed_number_is_refused() -> None:
    with pytest.raises(ValueError, match=r"its 2 bytes \(0d01\) are not the wire form of long"):
        answer(
            lambda c, m: Effects().send(BOB, Message("io.statefun.types/int", b"\x0d\x01")),
            request(),
        )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b"",
            (
                "The body of 0 bytes holds no invocation. Send a ToFunction of StateFun 2.x, as the"
                " runtime does."
            ),
        ),
        (
            b"\xa2\x06\x00",
            (
                "The invocation names no target function. Send a ToFunction with a target address,"
                " as the runtime does."
            ),
        ),
        (
            b"\xa2\x06\x7f",
            (
                "The body of 3 bytes is a ToFunction of neither StateFun 2.x nor 3.x: a field is"
                " cut off. Only the StateFun runtime should call this address."
            ),
        ),
    ],
)
def test_a_malformed_body_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        answer(pytest.fail, body)

    assert str(caught.value) == message
    assert caught.value.body == body


def test_debug_checks_ignore_a_state_of_another_stored_type(caplog: t.Any) -> None:
    seen = ValueSpec("seen", int)
    registry = FunctionRegistry()

    def function(context: Context, message: str) -> Effects:
        context.get_state(seen)
        return Effects()

    registry.register("example/fn", function, states=[seen])
    body = request(states={"seen": stored(wrappers_pb2.Int32Value(value=3))})
    RequestHandler(registry, debug_checks=True, protocol="v2")(body.SerializeToString())

    assert not caplog.records


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1), st.floats(), st.text())
def test_values_travel_as_protobuf_itself_writes_them(
    long: int, int32: int, double: float, text: str
) -> None:
    sent = [
        (LONG, long, wrappers_pb2.Int64Value),
        (INT, int32, wrappers_pb2.Int32Value),
        (DOUBLE, double, wrappers_pb2.DoubleValue),
        (None, text, wrappers_pb2.StringValue),
    ]

    def function(context: Context, message: Message) -> Effects:
        effects = Effects()
        for type, value, _ in sent:
            effects.send(BOB, value, type=type)
        return effects

    out = answer(function, request()).outgoing_messages

    for (_, value, wrapper), each in zip(sent, out, strict=True):
        assert each.argument.type_url == PREFIX + wrapper.__name__
        assert each.argument.value == wrapper(value=value).SerializeToString()
        assert repr(Message(each.argument.type_url, each.argument.value).as_type(type(value))) == (
            repr(value)
        )
