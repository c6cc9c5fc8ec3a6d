"""Properties: values survive encoding, batches may be cut anywhere, no body breaks a handler."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import itertools
import math
import typing as t

import msgspec
import pytest
from google.protobuf import any_pb2
from google.protobuf import struct_pb2
from google.protobuf import timestamp_pb2
from google.protobuf import wrappers_pb2
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from to_function import handler_of
from to_function import request_bytes

from statefun_flask import Address
from statefun_flask import BOOL
from statefun_flask import BYTES
from statefun_flask import Context
from statefun_flask import custom_type
from statefun_flask import DOUBLE
from statefun_flask import Effects
from statefun_flask import FLOAT
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
from statefun_flask import StateTypeError
from statefun_flask import STRING
from statefun_flask import Type
from statefun_flask import utf8_type
from statefun_flask import ValueSpec
from statefun_flask.protocol.schema import types as wrappers
from statefun_flask.protocol.schema.egress import KafkaProducerRecord
from statefun_flask.protocol.schema.egress import KinesisEgressRecord
from statefun_flask.protocol.schema.request_reply_v3 import FromFunction
from statefun_flask.values._any import read_any
from statefun_flask.values._any import write_any
from statefun_flask.values.message import encode

quick = settings(max_examples=60, deadline=None)


class Item(msgspec.Struct):
    name: str
    tags: list[str] = []
    price: float | None = None
    parent: Item | None = None


json_type("example/Item")(Item)

text = st.text(st.characters(exclude_categories=["Cs"]))
ints = st.integers(-(2**31), 2**31 - 1) | st.sampled_from([-(2**31), 2**31 - 1])
longs = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-(2**63), 2**63 - 1])
finite = st.floats(allow_nan=False, allow_infinity=False)
items = st.recursive(
    st.builds(Item, text, st.lists(text, max_size=3), st.none() | finite),
    lambda item: st.builds(Item, text, st.just([]), st.none(), item),
    max_leaves=3,
)
anything = st.recursive(
    st.none() | st.booleans() | longs | finite | text,
    lambda value: st.lists(value, max_size=3) | st.dictionaries(text, value, max_size=3),
    max_leaves=8,
)

VALUES: dict[str, tuple[Type[t.Any], st.SearchStrategy[t.Any]]] = {
    "bool": (BOOL, st.booleans()),
    "int": (INT, ints),
    "long": (LONG, longs),
    "float": (FLOAT, st.floats(width=32)),
    "double": (DOUBLE, st.floats()),
    "string": (STRING, text),
    "bytes": (BYTES, st.binary(max_size=300)),
    "raw": (raw_type("example/raw"), st.binary()),
    "utf8": (utf8_type("example/text"), text),
    "custom": (custom_type("example/hex", bytes.fromhex, bytes.hex), st.binary().map(bytes.hex)),
    "json": (json_type("example/Any", t.Any), anything),
    "struct": (json_type("example/Other", Item), items),
    "protobuf": (
        protobuf_type(timestamp_pb2.Timestamp),
        st.builds(timestamp_pb2.Timestamp, seconds=longs, nanos=ints),
    ),
    "renamed": (
        protobuf_type(struct_pb2.Value, typename="example/value"),
        st.builds(struct_pb2.Value, string_value=text),
    ),
}


def same(one: t.Any, other: t.Any) -> bool:
    """Compare values; NaN is itself, and -0.0 is not 0.0."""
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or (
            one == other and math.copysign(1, one) == math.copysign(1, other)
        )
    return bool(one == other)


@pytest.mark.parametrize(("type", "values"), VALUES.values(), ids=VALUES)
@given(data=st.data())
@quick
def test_an_encoded_value_is_decoded(
    type: Type[t.Any], values: st.SearchStrategy[t.Any], data: st.DataObject
) -> None:
    value = data.draw(values)

    typename, payload = encode(value, type)
    read = Message(typename, payload).as_type(type)
    assert read.__class__ is value.__class__
    assert same(read, value)

    spec: ValueSpec[t.Any] = ValueSpec("state", type)
    assert same(spec._decode(spec._encode(value)), value)
    untyped = ValueSpec("state")
    stored = untyped._decode(untyped._encode(value, type))
    assert same(stored.as_type(type) if isinstance(stored, Message) else stored, value)


WRAPPERS: dict[str, t.Any] = {
    "bool": wrappers.BooleanWrapper,
    "int": wrappers.IntWrapper,
    "long": wrappers.LongWrapper,
    "float": wrappers.FloatWrapper,
    "double": wrappers.DoubleWrapper,
    "string": wrappers.StringWrapper,
    "bytes": wrappers_pb2.BytesValue,
}


@pytest.mark.parametrize(("name", "wrapper"), WRAPPERS.items(), ids=WRAPPERS)
@given(data=st.data())
@quick
def test_payloads_are_those_of_protobufs_wrappers(
    name: str, wrapper: t.Any, data: st.DataObject
) -> None:
    type, values = VALUES[name]
    value = data.draw(values)

    payload = type.serialize(value)
    assert payload == wrapper(value=value).SerializeToString()
    assert same(wrapper.FromString(payload).value, value)


@pytest.mark.parametrize(("name", "wrapper"), WRAPPERS.items(), ids=WRAPPERS)
@given(
    payload=st.sampled_from([b"\x08", b"\x09", b"\x0d", b"\x0a"]).flatmap(
        lambda tag: st.binary(max_size=9).map(lambda rest: tag + rest)
    )
)
@quick
def test_values_are_read_as_protobuf_reads_them(name: str, wrapper: t.Any, payload: bytes) -> None:
    type = VALUES[name][0]
    try:
        value = type._readers[type.typename](payload)
    except ValueError:
        return
    assert same(wrapper.FromString(payload).value, value)


@given(topic=text.filter(bool), key=text, value=text | st.binary(max_size=300))
@quick
def test_kafka_records_are_those_of_protobuf(topic: str, key: str, value: t.Any) -> None:
    data = value.encode() if isinstance(value, str) else value

    record = KafkaProducerRecord(topic=topic, key=key, value_bytes=data)
    assert kafka_record(topic, key=key, value=value).value == record.SerializeToString()


@given(stream=text.filter(bool), key=text.filter(bool), shard=text, value=st.binary(max_size=300))
@quick
def test_kinesis_records_are_those_of_protobuf(
    stream: str, key: str, shard: str, value: bytes
) -> None:
    record = KinesisEgressRecord(
        stream=stream, partition_key=key, explicit_hash_key=shard, value_bytes=value
    )
    written = kinesis_record(stream, partition_key=key, explicit_hash_key=shard, value=value)
    assert written.value == record.SerializeToString()


@given(typename=text, payload=st.binary(max_size=300))
@quick
def test_anys_are_those_of_protobuf(typename: str, payload: bytes) -> None:
    typename = "example/" + typename
    written = any_pb2.Any(type_url=typename, value=payload).SerializeToString()

    assert write_any(typename, payload) == written
    assert read_any(written) == Message(typename, payload)


@pytest.mark.parametrize("type", [type for type, _ in VALUES.values()], ids=VALUES)
@given(typename=text, payload=st.binary(max_size=40))
@quick
def test_any_bytes_under_any_name_give_a_value_or_a_message_type_error(
    type: Type[t.Any], typename: str, payload: bytes
) -> None:
    for name in (typename, type.typename, *type._readers):
        try:
            Message(name, payload).as_type(type)
        except MessageTypeError:
            continue


@given(data=st.binary(max_size=40))
@quick
def test_any_bytes_in_an_untyped_state_give_a_value_or_a_state_type_error(data: bytes) -> None:
    spec = ValueSpec("state")
    try:
        value = spec._decode((spec.type.typename, data))
    except StateTypeError:
        return
    if isinstance(value, Message):
        carrier = any_pb2.Any.FromString(data)
        assert value == Message(carrier.type_url, carrier.value)


# -- cutting a batch --------------------------------------------------------------------------

COUNT = ValueSpec("count", int)
LAST = ValueSpec("last", str)
ITEM = ValueSpec("item", Item)
STATES: tuple[t.Any, ...] = (COUNT, LAST, ITEM, "blog")
RELAY = Address("example/relay", "r")

StoredStates = dict[str, "tuple[str, bytes] | None"]


def replay(context: Context, message: str) -> Effects:
    """Carry out a message, letter by letter, depending on the states."""
    effects = Effects()
    count = context.get_state(COUNT)
    item = context.get_state(ITEM)
    for letter in message:
        if letter == "u":
            effects.update_state(COUNT, (count or 0) + 1)
        elif letter == "d":
            effects.delete_state(COUNT)
        elif letter == "l":
            effects.update_state(LAST, f"{context.get_state(LAST)}{message}"[-5:])
        elif letter == "i":
            item = item or Item("first")
            item.tags.append(message)
            effects.update_state(ITEM, item)
        elif letter == "b":
            effects.update_state("blog", [0.5, "text", 7][len(message) % 3])
        elif letter == "x":
            effects.delete_state("blog")
        elif letter == "s":
            effects.send(RELAY, f"{count} {context.get_state('blog')}")
        elif letter == "a":
            effects.send_after(RELAY, dt.timedelta(seconds=len(message)), f"{item}")
        elif letter == "e":
            effects.egress("example/greets", kafka_record("t", value=f"{count}"))
    return effects


async def replay_async(context: Context, message: str) -> Effects:
    return replay(context, message)


def replay_piecewise(context: Context, message: str) -> cabc.Iterator[Effects]:
    """Return the same effects in two parts."""
    whole = replay(context, message)
    first, second = Effects(), Effects()
    first.changes, first.sent = whole.changes, whole.sent
    second.delayed, second.records = whole.delayed, whole.records
    yield first
    yield second


def handler(function: t.Any, protocol: t.Any = "auto") -> RequestHandler:
    return handler_of(function, *STATES, protocol=protocol)


HANDLER = handler(replay)
HANDLERS = [HANDLER, handler(replay_async), handler(replay_piecewise)]


def played(handle: RequestHandler, batches: list[list[str]]) -> tuple[StoredStates, list[t.Any]]:
    """Send batches one after the other as the runtime does; return the states and all effects."""
    stored: StoredStates = {"count": None, "last": None, "item": None, "blog": None}
    sent: list[list[t.Any]] = [[], [], []]
    for batch in batches:
        messages = [Message(STRING.typename, STRING.serialize(each)) for each in batch]
        result = FromFunction.FromString(
            handle(request_bytes(*messages, states=stored))
        ).invocation_result
        sent[0] += result.outgoing_messages
        sent[1] += result.delayed_invocations
        sent[2] += result.outgoing_egresses

        changed = [each.state_name for each in result.state_mutations]
        assert len(changed) == len(set(changed))
        for each in result.state_mutations:
            value = each.state_value
            stored[each.state_name] = (value.typename, value.value) if each.mutation_type else None
    return stored, sent


@given(
    messages=st.lists(st.text("udlibxsae", max_size=4), max_size=8),
    cuts=st.sets(st.integers(1, 7)),
)
@settings(max_examples=150, deadline=None)
def test_the_result_does_not_depend_on_how_a_batch_was_cut(
    messages: list[str], cuts: set[int]
) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(messages)), len(messages)]
    batches = [messages[start:end] for start, end in itertools.pairwise(edges)]

    whole = played(HANDLER, [messages])
    assert played(HANDLER, [[each] for each in messages]) == whole
    for handle in HANDLERS:
        assert played(handle, batches) == whole


# -- malformed bodies -------------------------------------------------------------------------

GOOD = request_bytes(
    "us",
    "ib",
    "lea",
    states={"count": COUNT._encode(3), "last": None, "item": ITEM._encode(Item("a")), "blog": None},
)
ANSWER = HANDLER(GOOD)
V2 = handler(replay, "v2")
V3 = handler(replay, "v3")


def survives(body: bytes) -> None:
    """Handle a body: the result must be a FromFunction or an error of the package."""
    for handle in (HANDLER, V3, V2):
        try:
            reply = handle(body)
        except StateFunError:
            continue
        if handle is V3:
            assert FromFunction.FromString(reply).WhichOneof("response") is not None
    assert V3(GOOD) == ANSWER


@given(body=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_random_bodies_are_answered_or_refused(body: bytes) -> None:
    survives(body)


def test_a_body_that_is_cut_anywhere_is_answered_or_refused() -> None:
    for end in range(len(GOOD)):
        with pytest.raises(ProtocolError):
            V3(GOOD[:end])
    assert V3(GOOD) == ANSWER


@given(
    changes=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1),
    drop=st.slices(len(GOOD)),
)
@settings(max_examples=250, deadline=None)
def test_a_mutated_body_is_answered_or_refused(changes: list[tuple[int, int]], drop: slice) -> None:
    body = bytearray(GOOD)
    for index, byte in changes:
        body[index] = byte
    survives(bytes(body))

    if drop.step in (None, 1):
        del body[drop]
        survives(bytes(body))


@given(
    messages=st.lists(
        st.tuples(
            st.sampled_from([STRING.typename, LONG.typename, "a/b", ""]), st.binary(max_size=5)
        ),
        min_size=1,
        max_size=5,
    )
)
@quick
def test_one_bad_message_in_a_batch_applies_nothing(messages: list[tuple[str, bytes]]) -> None:
    batch = [Message(*each) for each in messages]
    stored: StoredStates = {"count": COUNT._encode(3), "last": None, "item": None, "blog": None}

    def readable(message: Message) -> bool:
        try:
            message.as_type(str)
        except MessageTypeError:
            return False
        return True

    if all(readable(message) for message in batch):
        FromFunction.FromString(V3(request_bytes(*batch, states=stored)))
    else:
        with pytest.raises(MessageTypeError):
            V3(request_bytes(*batch, states=stored))
    assert V3(GOOD) == ANSWER
