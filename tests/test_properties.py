"""Properties that hold for all values, batches and bodies.

Protobuf's own classes are the oracles of what is written by hand.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import typing as t

import msgspec
import pytest
from google.protobuf import wrappers_pb2
from hypothesis import example
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from statefun_flask import Address
from statefun_flask import BOOL
from statefun_flask import BYTES
from statefun_flask import Context
from statefun_flask import custom_type
from statefun_flask import DOUBLE
from statefun_flask import Effects
from statefun_flask import FLOAT
from statefun_flask import FunctionRegistry
from statefun_flask import INT
from statefun_flask import json_type
from statefun_flask import kafka_record
from statefun_flask import kinesis_record
from statefun_flask import LONG
from statefun_flask import Message
from statefun_flask import MessageTypeError
from statefun_flask import protobuf_type
from statefun_flask import ProtocolError
from statefun_flask import raw_type
from statefun_flask import RequestHandler
from statefun_flask import StateFunError
from statefun_flask import STRING
from statefun_flask import Type
from statefun_flask import UTF8
from statefun_flask import ValueSpec
from statefun_flask.message import encode
from statefun_flask.protocol.schema import egress as egress_schema
from statefun_flask.protocol.schema import types as wrappers
from statefun_flask.protocol.schema.request_reply_v3 import FromFunction
from statefun_flask.protocol.schema.request_reply_v3 import ToFunction

BOB = Address("example/other", "bob")


class Item(msgspec.Struct):
    name: str
    sizes: list[float]
    more: dict[str, int] | None = None


ITEM = json_type("example/Item", Item)
ITEMS = json_type("example/Items", list[Item])
OPTIONAL = json_type("example/Optional", t.Optional[int])  # noqa: UP045
LINES: Type[list[bytes]] = custom_type("example/Lines", b"\n".join, lambda data: data.split(b"\n"))

finite = st.floats(allow_nan=False, allow_infinity=False)
int64 = st.integers(-(2**63), 2**63 - 1)
items = st.builds(
    Item,
    st.text(),
    st.lists(finite, max_size=3),
    st.none() | st.dictionaries(st.text(max_size=4), int64, max_size=3),
)

#: Each type with its values and, for those written by hand, the protobuf class of the same bytes.
TYPES: dict[str, tuple[Type[t.Any], st.SearchStrategy[t.Any], t.Any]] = {
    "bool": (BOOL, st.booleans(), wrappers.BooleanWrapper),
    "int": (INT, st.integers(-(2**31), 2**31 - 1), wrappers.IntWrapper),
    "long": (LONG, int64, wrappers.LongWrapper),
    "float": (FLOAT, st.floats(width=32), wrappers.FloatWrapper),
    "double": (DOUBLE, st.floats(), wrappers.DoubleWrapper),
    "string": (STRING, st.text(), wrappers.StringWrapper),
    "bytes": (BYTES, st.binary(), wrappers_pb2.BytesValue),
    "raw": (raw_type("example/Raw"), st.binary(), None),
    "UTF-8": (UTF8("example/Text"), st.text(), None),
    "JSON struct": (ITEM, items, None),
    "JSON list": (ITEMS, st.lists(items, max_size=3), None),
    "JSON optional": (OPTIONAL, st.none() | int64, None),
    "protobuf": (
        protobuf_type(wrappers_pb2.StringValue),
        st.builds(wrappers_pb2.StringValue, value=st.text()),
        None,
    ),
    "protobuf with its own name": (
        protobuf_type(wrappers_pb2.Int64Value, typename="example/Number"),
        st.builds(wrappers_pb2.Int64Value, value=int64),
        None,
    ),
    "custom": (LINES, st.lists(st.binary().filter(lambda b: b"\n" not in b), min_size=1), None),
}
BY_HAND = [name for name, (_, _, wrapper) in TYPES.items() if wrapper is not None]


def is_same(one: t.Any, other: t.Any) -> bool:
    """Compare values with their class and sign, and NaN with NaN."""
    if one.__class__ is not other.__class__:
        return False
    if isinstance(one, float):
        if math.isnan(one):
            return math.isnan(other)
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return bool(one == other)


def read(type: Type[t.Any], payload: bytes) -> t.Any:
    return Message(type.typename, payload).as_type(type)


# -- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TYPES)
@given(data=st.data())
def test_what_is_written_is_read_back(name: str, data: st.DataObject) -> None:
    type, values, _ = TYPES[name]
    value = data.draw(values)
    typename, payload = encode(value, type)
    assert typename == type.typename
    assert is_same(read(type, payload), value)


@pytest.mark.parametrize("name", TYPES)
@given(data=st.data())
def test_a_state_gives_back_what_it_was_given(name: str, data: st.DataObject) -> None:
    type, values, _ = TYPES[name]
    value = data.draw(values.filter(lambda value: value is not None))
    spec = ValueSpec("state", type)
    context = Context(BOB, states={spec: value})
    assert is_same(context.get_state(spec), value)
    assert is_same(context.get_state("state"), value)


@given(st.booleans() | int64 | st.floats() | st.text() | st.binary())
def test_an_untyped_state_gives_back_the_primitives(value: t.Any) -> None:
    assert is_same(Context(BOB, states={"state": value}).get_state("state"), value)


@pytest.mark.parametrize("name", BY_HAND)
@given(data=st.data())
def test_bytes_are_those_of_the_protobuf_class(name: str, data: st.DataObject) -> None:
    type, values, wrapper = TYPES[name]
    value = data.draw(values)
    payload = wrapper(value=value).SerializeToString()
    assert type.serialize(value) == payload
    assert is_same(wrapper.FromString(type.serialize(value)).value, value)


@pytest.mark.parametrize("name", BY_HAND)
@given(payload=st.binary(max_size=12))
def test_whatever_is_read_protobuf_reads_alike(name: str, payload: bytes) -> None:
    type, _, wrapper = TYPES[name]
    try:
        value = read(type, payload)
    except MessageTypeError:
        return
    assert is_same(wrapper.FromString(payload).value, value)


@pytest.mark.parametrize("name", BY_HAND)
@given(data=st.data())
def test_no_part_of_a_payload_is_read_as_the_whole(name: str, data: st.DataObject) -> None:
    type, values, _ = TYPES[name]
    payload = type.serialize(data.draw(values))
    if len(payload) > 1:
        end = data.draw(st.integers(1, len(payload) - 1), label="end")
        with pytest.raises(MessageTypeError):
            read(type, payload[:end])


@pytest.mark.parametrize("name", BY_HAND)
@given(data=st.data(), more=st.binary(min_size=1, max_size=4))
def test_nothing_may_follow_a_payload(name: str, data: st.DataObject, more: bytes) -> None:
    type, values, _ = TYPES[name]
    payload = type.serialize(data.draw(values))
    if payload:
        with pytest.raises(MessageTypeError):
            read(type, payload + more)


@pytest.mark.parametrize("name", TYPES)
@given(data=st.data())
def test_a_value_is_never_read_under_another_typename(name: str, data: st.DataObject) -> None:
    type, values, _ = TYPES[name]
    other, _, _ = TYPES[data.draw(st.sampled_from(list(TYPES)), label="other")]
    message = Message(*encode(data.draw(values), type))
    if other.reader(type.typename) is None:
        assert not message.is_type(other)
        with pytest.raises(MessageTypeError, match="cannot be read as"):
            message.as_type(other)


def test_a_million_integers_have_protobufs_bytes() -> None:
    """Number 56 of the conformance list, every 29th here: the layout has no corner between."""
    for type, wrapper in ((INT, wrappers.IntWrapper()), (LONG, wrappers.LongWrapper())):
        for value in range(0, 1_000_000, 29):
            wrapper.value = value
            assert type.serialize(value) == wrapper.SerializeToString()


# -- egress records ---------------------------------------------------------------------------

keys = st.none() | st.text()
payloads = st.text() | st.binary()


def raw(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


@given(st.text(min_size=1), keys, payloads)
def test_a_kafka_record_has_protobufs_bytes(
    topic: str, key: str | None, value: str | bytes
) -> None:
    record = kafka_record(topic, key=key, value=value)
    assert record.value == egress_schema.KafkaProducerRecord(
        topic=topic, key=key or "", value_bytes=raw(value)
    ).SerializeToString(deterministic=True)


@given(st.text(min_size=1), st.text(min_size=1), payloads, keys)
def test_a_kinesis_record_has_protobufs_bytes(
    stream: str, key: str, value: str | bytes, hash_key: str | None
) -> None:
    record = kinesis_record(stream, partition_key=key, value=value, explicit_hash_key=hash_key)
    assert record.value == egress_schema.KinesisEgressRecord(
        stream=stream, partition_key=key, value_bytes=raw(value), explicit_hash_key=hash_key or ""
    ).SerializeToString(deterministic=True)


# -- batches ----------------------------------------------------------------------------------

STEPS = ["add", "delete", "send", "later", "cancel", "kafka", "box", "alone"]
SPECS: list[ValueSpec[t.Any]] = [ValueSpec("total", int), ValueSpec("word", str), ValueSpec("box")]


def step(context: Context, text: str) -> Effects:
    """Do one of many things, as the states say."""
    total = context.get_state(SPECS[0]) or 0
    match text.rstrip("0123456789"):
        case "add":
            return Effects().update_state(SPECS[0], total + len(text)).update_state("word", text)
        case "delete":
            return Effects().delete_state("word" if total % 2 else "total")
        case "later":
            token = f"{text}-{total}"
            return Effects().send_after(BOB, dt.timedelta(total), text, cancellation_token=token)
        case "cancel":
            return Effects().cancel(f"later-{total}")
        case "kafka":
            return Effects().egress("out/kafka", kafka_record("t", key=text, value=str(total)))
        case "box":
            return Effects().update_state("box", [total, text, total / 3][total % 3])
    seen = (total, context.get_state("word"), context.get_state("box"))
    return Effects().send(BOB, str(seen))


async def step_later(context: Context, text: str) -> Effects:
    await asyncio.sleep(0)
    return step(context, text)


def handler_of(function: t.Any) -> RequestHandler:
    registry = FunctionRegistry()
    registry.register_fn("example/fn", function, states=SPECS)
    return RequestHandler(registry)


def carried(
    handler: RequestHandler, states: dict[str, t.Any], messages: list[str], to_function: t.Any
) -> t.Any:
    """Answer a request, and change the states as the runtime does."""
    request = to_function(*messages)
    for name, value in states.items():
        request.invocation.state.add(state_name=name, state_value=value)
    answer = FromFunction.FromString(handler(request.SerializeToString())).invocation_result
    for mutation in answer.state_mutations:
        states[mutation.state_name] = mutation.state_value if mutation.mutation_type else None
    answer.ClearField("state_mutations")
    return answer


@pytest.mark.parametrize("function", [step, step_later])
@settings(deadline=None)
@given(data=st.data())
def test_splitting_a_batch_changes_nothing(
    function: t.Any, to_function: t.Any, data: st.DataObject
) -> None:
    kinds = data.draw(st.lists(st.sampled_from(STEPS), max_size=12))
    # Numbered, so that no two pending messages share a token.
    messages = [f"{kind}{number}" for number, kind in enumerate(kinds)]
    handler = handler_of(function)

    together: dict[str, t.Any] = {"total": None, "word": None, "box": None}
    whole = carried(handler, together, messages, to_function)

    split = dict.fromkeys(together)
    parts = FromFunction.InvocationResponse()
    while messages:
        size = data.draw(st.integers(1, len(messages)), label="size")
        parts.MergeFrom(carried(handler, split, messages[:size], to_function))
        messages = messages[size:]

    assert together == split
    assert whole == parts


# -- bodies -----------------------------------------------------------------------------------

ANSWERS = (ProtocolError, StateFunError)


class Witness:
    """A function that counts its calls, and works only on values that it can read."""

    def __init__(self) -> None:
        self.handler = handler_of(step)

    def ask(self, body: bytes) -> bytes | Exception:
        """Return an answer that parses, or one of the errors that a body may cause."""
        try:
            answer = self.handler(body)
        except ANSWERS as exc:
            return exc
        response = FromFunction.FromString(answer)
        assert response.WhichOneof("response") is not None
        return answer

    def still_serves(self, good: bytes) -> bool:
        answer = self.ask(good)
        return isinstance(answer, bytes) and len(answer) > 3


@pytest.fixture(scope="session")
def witness() -> Witness:
    return Witness()


@pytest.fixture(scope="session")
def good(to_function: t.Any) -> bytes:
    states = {"total": 3, "word": "a", "box": None}
    data: bytes = to_function("add1", "send2", caller="a/b/c", states=states).SerializeToString()
    return data


@example(b"")
@example(b"\x00" * 1_000_000)
@example(b"\x0b" * 10_000)  # groups, nested
@example(b"\xa2\x06\xff\xff\xff\xff\x0f")
@given(st.binary(max_size=200))
def test_random_bodies_are_refused_and_leave_no_trace(
    witness: Witness, good: bytes, body: bytes
) -> None:
    assert isinstance(witness.ask(body), ProtocolError | StateFunError | LookupError)
    assert witness.still_serves(good)


def test_no_truncated_request_is_half_applied(witness: Witness, good: bytes) -> None:
    for end in range(len(good)):
        assert isinstance(witness.ask(good[:end]), Exception), end
    assert witness.still_serves(good)


@settings(deadline=None)
@given(st.data())
def test_mutated_requests_are_answered_or_refused(
    witness: Witness, good: bytes, data: st.DataObject
) -> None:
    body = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(body) - 1))
        match data.draw(st.sampled_from(["change", "insert", "remove", "repeat"])):
            case "change":
                body[position] = data.draw(st.integers(0, 255))
            case "insert":
                body.insert(position, data.draw(st.integers(0, 255)))
            case "remove" if len(body) > 1:
                del body[position]
            case "repeat":
                body[position:position] = body[position : position + 10]
    witness.ask(bytes(body))
    assert witness.still_serves(good)


def test_deeply_nested_unknown_fields_are_no_danger(witness: Witness, good: bytes) -> None:
    nested = b""
    for _ in range(200):
        size = len(nested)
        length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
        nested = b"\x7a" + length + nested  # field 15, delimited
    groups = b"\x7b" * 5000 + b"\x7c" * 5000  # field 15, groups
    assert isinstance(witness.ask(good + nested), bytes)
    assert isinstance(witness.ask(groups), ProtocolError)
    assert isinstance(witness.ask(good + groups), bytes | ProtocolError)
    assert witness.still_serves(good)


def test_unknown_fields_are_ignored(witness: Witness, good: bytes) -> None:
    request = ToFunction.FromString(good)
    assert witness.ask(request.SerializeToString() + b"\x78\x07") == witness.ask(good)


def test_one_bad_message_leaves_nothing_of_the_others(good: bytes, to_function: t.Any) -> None:
    """The whole request fails; the next one sees the states that it brings, and no others."""
    handler = handler_of(step)
    states = {"total": 3, "word": None, "box": None}
    bad = to_function("add1", ("io.statefun.types/string", b"\xff"), states=states)
    with pytest.raises(MessageTypeError):
        handler(bad.SerializeToString())
    answer = handler(to_function("send", states=states).SerializeToString())
    (sent,) = FromFunction.FromString(answer).invocation_result.outgoing_messages
    assert sent.argument.value[2:] == b"(3, None, None)"
