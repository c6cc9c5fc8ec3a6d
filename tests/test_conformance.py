"""The official suites' behaviours of 3.x (protocol 7.1, numbers 1 to 80 and 102 to 110).

Each number stands in the docstring of its test. What cannot be said of this API, and why:

- 12 (second half), 49 partly: there are no attributes of states; an undeclared name is an
  ``UnknownStateError``.
- 22, 23, 53, 74 partly: a state's name is any identifier, keywords and upper case included, since
  the runtime takes them; ``-a`` and names with spaces are refused as there.
- 37, 38, 39: messages are built from values; there is no builder with a keyword for each type.
- 45 (null future), 47: no futures are handed out, and a batch is a loop, not a recursion.
- 46: a context has no effects of its own, so that one used late does nothing.
- 61: contexts are not derived from each other.
- 66: a spec without expiration has ``None``, not -1.
- 69: None is no value; ``delete_state`` takes a value away, and a raw message tells ``has_value``.
- 72 (untyped integers become ``int``): here they are ``long``; ``INT`` forces 32 bits.
- 40, 73 (integers as big-endian bytes): the SDKs disagree, so that a type must be named.
"""

from __future__ import annotations

import asyncio
import collections.abc as cabc
import datetime as dt
import json
import re
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask import BOOL
from statefun_flask import Context
from statefun_flask import custom_type
from statefun_flask import DOUBLE
from statefun_flask import Effects
from statefun_flask import FLOAT
from statefun_flask import FunctionNotFound
from statefun_flask import FunctionRegistry
from statefun_flask import FunctionType
from statefun_flask import INT
from statefun_flask import json_type
from statefun_flask import kafka_record
from statefun_flask import kinesis_record
from statefun_flask import LONG
from statefun_flask import Message
from statefun_flask import ProtocolError
from statefun_flask import RegistrationError
from statefun_flask import RequestHandler
from statefun_flask import StateTypeError
from statefun_flask import STRING
from statefun_flask import Type
from statefun_flask import UnknownStateError
from statefun_flask import UTF8
from statefun_flask import ValueSpec
from statefun_flask.protocol.schema import egress as schema
from statefun_flask.protocol.schema import types as wrappers
from statefun_flask.protocol.schema.request_reply_v3 import FromFunction

SEEN = ValueSpec("seen", INT)
BOB = Address("example/relay", "bob")
DELETE, MODIFY = 0, 1
COUNT_ME = Message("example/Count", b"")


def count(context: Context, message: Message) -> Effects:
    return Effects().update_state(SEEN, (context.get_state(SEEN) or 0) + 1)


def nothing(context: Context, message: Message) -> Effects:
    return Effects()


def registry_of(function: t.Any, *specs: ValueSpec[t.Any]) -> FunctionRegistry:
    registry = FunctionRegistry()
    registry.register_fn("example/fn", function, states=specs)
    return registry


def texts(result: t.Any) -> list[str]:
    return [
        Message(each.argument.typename, each.argument.value).as_type(str)
        for each in result.outgoing_messages
    ]


def say(value: object) -> Effects:
    return Effects().send(BOB, str(value))


# -- Python: request_reply_test ---------------------------------------------------------------


def test_a_state_is_read_and_modified(result: t.Any) -> None:
    """1."""
    made = result(count, COUNT_ME, caller="a/b/c", specs=[SEEN], states={"seen": SEEN.encode(1)})
    (mutation,) = made.state_mutations
    assert (mutation.mutation_type, mutation.state_name) == (MODIFY, "seen")
    assert mutation.state_value.has_value
    assert SEEN.decode((mutation.state_value.typename, mutation.state_value.value)) == 2


def test_a_send_splits_the_typename(result: t.Any) -> None:
    """2."""

    def fn(context: Context, message: Message) -> Effects:
        return Effects().send(Address("night/owls", "1"), 7, type=INT)

    (sent,) = result(fn, COUNT_ME).outgoing_messages
    assert (sent.target.namespace, sent.target.type, sent.target.id) == ("night", "owls", "1")
    assert sent.argument.typename == "io.statefun.types/int"


def delays(context: Context, message: Message) -> Effects:
    hour = dt.timedelta(hours=1)
    return (
        Effects()
        .send_after(BOB, hour, "one")
        .send_after(BOB, hour, "two", cancellation_token="token-1234")
        .cancel("token-1234")
    )


def test_a_delay_is_in_milliseconds(result: t.Any) -> None:
    """3."""
    assert result(delays, COUNT_ME).delayed_invocations[0].delay_in_ms == 3_600_000


def test_a_token_is_set_and_is_no_cancellation(result: t.Any) -> None:
    """4."""
    second = result(delays, COUNT_ME).delayed_invocations[1]
    assert second.cancellation_token == "token-1234"
    assert not second.is_cancellation_request


def test_a_cancellation_comes_in_the_order_of_calls(result: t.Any) -> None:
    """5."""
    third = result(delays, COUNT_ME).delayed_invocations[2]
    assert third.is_cancellation_request
    assert third.cancellation_token == "token-1234"


def test_kafka_and_kinesis_egresses(result: t.Any) -> None:
    """6."""

    def fn(context: Context, message: Message) -> Effects:
        kinesis = kinesis_record("stream", partition_key="k", value="v")
        return (
            Effects()
            .egress("e/kafka", kafka_record("topic", key="k", value="v"))
            .egress("e/kinesis", kinesis)
        )

    kafka, kinesis = result(fn, COUNT_ME).outgoing_egresses
    assert (kafka.egress_namespace, kafka.egress_type) == ("e", "kafka")
    assert (
        kafka.argument.typename == "type.googleapis.com/io.statefun.sdk.egress.KafkaProducerRecord"
    )
    assert (kinesis.egress_namespace, kinesis.egress_type) == ("e", "kinesis")
    assert (
        kinesis.argument.typename
        == "type.googleapis.com/io.statefun.sdk.egress.KinesisEgressRecord"
    )


def test_missing_specs_are_listed_in_order_and_no_code_runs(from_function: t.Any) -> None:
    """7."""
    calls = []
    specs = [
        ValueSpec("seen", INT),
        ValueSpec("missing_1", str),
        ValueSpec("missing_2", float, expire_after_write=dt.timedelta(milliseconds=2000)),
    ]

    def fn(context: Context, message: Message) -> Effects:
        calls.append(message)
        return Effects()

    answer = from_function(fn, COUNT_ME, specs=specs, states={"seen": None})
    first, second = answer.incomplete_invocation_context.missing_values
    assert (first.state_name, first.expiration_spec.mode) == ("missing_1", 0)
    assert (second.state_name, second.type_typename) == ("missing_2", "io.statefun.types/double")
    assert (second.expiration_spec.mode, second.expiration_spec.expire_after_millis) == (1, 2000)
    assert calls == []


def test_without_a_caller_there_is_none(result: t.Any) -> None:
    """8, 58: the caller is None for a message from an ingress, else the sender."""

    def fn(context: Context, message: Message) -> Effects:
        return say(context.caller_address)

    assert texts(result(fn, COUNT_ME)) == ["None"]
    assert texts(result(fn, COUNT_ME, caller="a/b/c")) == ["a/b/c"]


# -- Python: storage_test ---------------------------------------------------------------------


def test_declared_states_are_read_with_their_types(result: t.Any) -> None:
    """9, 52: all states resolved."""
    number, text = ValueSpec("number", int), ValueSpec("text", str)

    def fn(context: Context, message: Message) -> Effects:
        return say((context.get_state(number), context.get_state(text)))

    made = result(fn, COUNT_ME, specs=[number, text], states={"number": 3, "text": "x"})
    assert texts(made) == ["(3, 'x')"]


def test_with_no_states_all_specs_are_missing_in_order(from_function: t.Any) -> None:
    """10."""
    specs = [ValueSpec(name, int) for name in ("b", "a", "c")]
    answer = from_function(nothing, COUNT_ME, specs=specs, states={})
    missing = answer.incomplete_invocation_context.missing_values
    assert [each.state_name for each in missing] == ["b", "a", "c"]


def test_with_some_states_only_the_rest_is_missing(from_function: t.Any) -> None:
    """11, 52: some states missing."""
    specs = [ValueSpec(name, int) for name in ("b", "a", "c")]
    answer = from_function(nothing, COUNT_ME, specs=specs, states={"a": 1})
    missing = answer.incomplete_invocation_context.missing_values
    assert [each.state_name for each in missing] == ["b", "c"]


def test_states_that_nobody_declares_are_ignored(result: t.Any) -> None:
    """12, 49, 52: extra ones are ignored, and reading an undeclared one is an error."""
    states = {"seen": None, "extra": ("my/type", b"x")}
    assert len(result(count, COUNT_ME, specs=[SEEN], states=states).state_mutations) == 1

    def reads(context: Context, message: Message) -> Effects:
        return say(context.get_state("extra"))

    with pytest.raises(UnknownStateError):
        result(reads, COUNT_ME, specs=[SEEN], states=states)


def test_zero_is_a_value_and_a_deleted_state_has_none(result: t.Any) -> None:
    """13, 16: delete gives None, and zero is not None."""

    def fn(context: Context, message: str) -> Effects:
        effects = say(context.get_state(SEEN))
        return effects.delete_state(SEEN) if message == "delete" else effects.update_state(SEEN, 0)

    states = {"seen": SEEN.encode(5)}
    made = result(fn, "delete", "zero", "end", specs=[SEEN], states=states)
    assert texts(made) == ["5", "None", "0"]


def test_reading_does_not_make_dirty(result: t.Any) -> None:
    """14, 70: a state that is only read has no mutation."""

    def fn(context: Context, message: Message) -> Effects:
        context.get_state(SEEN)
        return Effects()

    assert not result(fn, COUNT_ME, specs=[SEEN], states={"seen": SEEN.encode(1)}).state_mutations


def test_writing_makes_dirty_and_the_bytes_read_back(result: t.Any) -> None:
    """15."""
    (mutation,) = result(count, COUNT_ME, specs=[SEEN]).state_mutations
    assert mutation.state_value.has_value
    assert INT.reader(mutation.state_value.typename)(mutation.state_value.value) == 1  # type: ignore[misc]


def test_deleting_makes_dirty_without_a_value(result: t.Any) -> None:
    """16."""

    def fn(context: Context, message: Message) -> Effects:
        return Effects().delete_state(SEEN)

    (mutation,) = result(
        fn, COUNT_ME, specs=[SEEN], states={"seen": SEEN.encode(1)}
    ).state_mutations
    assert mutation.mutation_type == DELETE
    assert not mutation.HasField("state_value")


def test_a_state_present_and_unset_is_none_and_can_be_written(result: t.Any) -> None:
    """17, 63: unset is no value; writes accumulate; delete is no value."""
    (mutation,) = result(count, COUNT_ME, COUNT_ME, specs=[SEEN]).state_mutations
    assert mutation.state_value.value == INT.serialize(2)


def test_a_stateless_function_has_no_states(result: t.Any) -> None:
    """18, 27."""
    assert result(nothing, COUNT_ME).ByteSize() == 0
    (function,) = registry_of(nothing).functions("example/fn")
    assert function.states == ()


# -- Python: valuespec_test, statefun_test, typename_test, types_test, message_test ------------


def test_a_plain_spec_never_expires() -> None:
    """19."""
    assert SEEN.expire_after_call is None
    assert SEEN.expire_after_write is None


def test_a_spec_may_expire_after_call() -> None:
    """20."""
    spec = ValueSpec("seen", INT, expire_after_call=dt.timedelta(seconds=1))
    assert spec.expire_after_call == dt.timedelta(milliseconds=1000)
    assert spec.expire_after_write is None


def test_a_spec_may_expire_after_write() -> None:
    """21."""
    spec = ValueSpec("seen", INT, expire_after_write=dt.timedelta(seconds=1))
    assert spec.expire_after_write == dt.timedelta(milliseconds=1000)
    assert spec.expire_after_call is None


@pytest.mark.parametrize("name", ["-a", "a b", "1a", "a!", "", "a/b", "a.b"])
def test_names_that_are_no_identifiers_are_refused(name: str) -> None:
    """22, 53, 74: names of states."""
    with pytest.raises(ValueError, match="cannot name a state"):
        ValueSpec(name, INT)


@pytest.mark.parametrize("name", ["def", "Seen", "_seen", "seen_1"])
def test_every_identifier_names_a_state(name: str) -> None:
    """23, 53: keywords and upper case are nobody's concern but Python's and Go's."""
    assert ValueSpec(name, INT).name == name


def test_both_expirations_and_what_is_no_type_are_refused() -> None:
    """23, in the source."""
    second = dt.timedelta(seconds=1)
    with pytest.raises(ValueError, match="Choose one of them"):
        ValueSpec("seen", INT, expire_after_call=second, expire_after_write=second)
    with pytest.raises(RegistrationError, match="cannot be typed so"):
        ValueSpec("seen", object)


async def later(context: Context, message: Message) -> Effects:
    await asyncio.sleep(0)
    return say(message.typename)


def test_sync_and_async_functions_are_told_apart() -> None:
    """24, 25."""
    assert not registry_of(nothing).table("example/fn").is_async
    assert registry_of(later).table("example/fn").is_async


def test_specs_are_kept_in_order() -> None:
    """26."""
    specs = [ValueSpec(name, int) for name in ("b", "a", "c")]
    (function,) = registry_of(nothing, *specs).functions("example/fn")
    assert list(function.states) == specs


def test_a_state_declared_twice_is_refused() -> None:
    """28, 54, 74: duplicate specs."""
    with pytest.raises(ValueError, match="declares the state 'seen' twice"):
        registry_of(nothing, SEEN, ValueSpec("seen", INT))


def test_a_function_of_another_number_of_parameters_is_refused() -> None:
    """29."""
    with pytest.raises(ValueError, match="takes \\(context, message\\)"):
        registry_of(lambda context: Effects())
    with pytest.raises(ValueError, match="takes \\(context, message\\)"):
        registry_of(lambda context, message, more: Effects())


def test_a_typename_is_parsed() -> None:
    """30."""
    name = FunctionType("foo/bar")
    assert (name.namespace, name.name, str(name)) == ("foo", "bar", "foo/bar")


@pytest.mark.parametrize("text", ["/bar", "n/", "/", "", "n", "a/b/c"])
def test_other_texts_are_no_typename(text: str) -> None:
    """31, 32, 33, 34, 64, 74: bad typenames."""
    with pytest.raises(ValueError, match="Write it as 'namespace/name'"):
        FunctionType(text)
    with pytest.raises(ValueError, match="Write it as 'namespace/name'"):
        FunctionRegistry().register_fn(text, nothing)


@pytest.mark.parametrize(
    ("type", "value"),
    [
        (BOOL, True),
        (BOOL, False),
        (INT, 0),
        (INT, -1),
        (INT, 2**31 - 1),
        (INT, -(2**31)),
        (FLOAT, 0.5),
        (DOUBLE, 1e-20),
        (LONG, 2**45),
        (LONG, 2**63 - 1),
        (LONG, -(2**63)),
        (STRING, "hello world"),
        (STRING, ""),
    ],
)
def test_values_go_round(type: Type[t.Any], value: t.Any) -> None:
    """35, 55, 57, 62, 65, 67: the built-in types, their extremes and defaults."""
    assert Message(type.typename, type.serialize(value)).as_type(type) == value


def test_bytes_are_those_of_the_protobuf_wrappers() -> None:
    """56: both booleans, ints and longs, and texts up to 4096 bytes, both ways."""
    cases: list[tuple[Type[t.Any], t.Any, list[t.Any]]] = [
        (BOOL, wrappers.BooleanWrapper, [False, True]),
        (INT, wrappers.IntWrapper, [*range(0, 1_000_000, 97)]),
        (LONG, wrappers.LongWrapper, [*range(0, 1_000_000, 97)]),
        (STRING, wrappers.StringWrapper, [chr(97 + n % 500) * (n * 4) for n in range(1000)]),
    ]
    for type, wrapper, values in cases:
        for value in values:
            payload = type.serialize(value)
            assert payload == wrapper(value=value).SerializeToString()
            assert wrapper.FromString(payload).value == value
            assert Message(type.typename, payload).as_type(type) == value


def test_json_goes_round() -> None:
    """36, 62, 68: a type of two functions, and JSON."""

    def dump(value: t.Any) -> bytes:
        return json.dumps(value).encode()

    own = custom_type("my/json", dump, json.loads)
    value = {"a": [1, None, "x"]}
    assert Message("my/json", own.serialize(value)).as_type(own) == value
    ready = json_type("my/json", dict[str, t.Any])
    assert Message("my/json", dump(value)).as_type(ready) == value
    assert Message("my/json", ready.serialize(value)).as_type(own) == value


def test_a_message_tells_its_type_and_its_value() -> None:
    """37, 38, 72: is and as."""
    text = Message("io.statefun.types/string", STRING.serialize("mike"))
    assert text.is_type(str)
    assert not text.is_type(bool)
    assert text.as_type(str) == "mike"
    number = Message("io.statefun.types/int", INT.serialize(1))
    assert number.is_type(INT)
    assert number.as_type(int) == 1


def test_a_value_may_be_given_a_type(result: t.Any) -> None:
    """39, 65: 32-bit floats and integers."""

    def fn(context: Context, message: Message) -> Effects:
        return Effects().send(BOB, 5.0, type=FLOAT).send(BOB, 5, type=INT)

    narrow, small = result(fn, COUNT_ME).outgoing_messages
    assert (narrow.argument.typename, small.argument.typename) == (
        "io.statefun.types/float",
        "io.statefun.types/int",
    )


def test_a_typed_number_goes_into_a_kafka_record(result: t.Any) -> None:
    """40: typename and has_value of the record."""

    def fn(context: Context, message: Message) -> Effects:
        return Effects().egress("e/kafka", kafka_record("t", key="k", value=1337420, type=INT))

    (record,) = result(fn, COUNT_ME).outgoing_egresses
    assert record.argument.has_value
    parsed = schema.KafkaProducerRecord.FromString(record.argument.value)
    assert (parsed.topic, parsed.key, parsed.value_bytes.hex()) == ("t", "k", "0d4c681400")


# -- Java -------------------------------------------------------------------------------------


def test_one_invocation_with_a_state_has_a_result(from_function: t.Any) -> None:
    """41."""
    answer = from_function(count, COUNT_ME, specs=[SEEN])
    assert answer.HasField("invocation_result")


def test_an_absent_state_is_asked_for_with_its_expiration(from_function: t.Any) -> None:
    """42: AFTER_INVOKE of one day."""
    spec = ValueSpec("seen", INT, expire_after_call=dt.timedelta(days=1))
    answer = from_function(count, COUNT_ME, specs=[spec], states={})
    (missing,) = answer.incomplete_invocation_context.missing_values
    assert missing.expiration_spec.mode == 2
    assert missing.expiration_spec.expire_after_millis == 86_400_000


def test_three_messages_make_one_mutation(result: t.Any) -> None:
    """43, 77: mutations coalesce to one per state."""
    states = {"seen": SEEN.encode(0)}
    made = result(count, COUNT_ME, COUNT_ME, COUNT_ME, specs=[SEEN], states=states)
    (mutation,) = made.state_mutations
    assert mutation.state_value.value == INT.serialize(3)


def test_a_body_without_an_invocation_is_no_request() -> None:
    """44, 102: Java answers with nothing; here it is refused, since nobody but the runtime asks."""
    with pytest.raises(ProtocolError, match="holds no invocation"):
        RequestHandler(registry_of(nothing))(b"")


def test_the_empty_answer_is_a_result(request_bytes: t.Any) -> None:
    """102: a function without effects answers with an empty result, which the runtime accepts."""
    answer = RequestHandler(registry_of(nothing))(request_bytes(COUNT_ME))
    assert FromFunction.FromString(answer).HasField("invocation_result")
    assert FromFunction.FromString(answer).invocation_result.ByteSize() == 0


def test_an_unknown_type_is_an_error(request_bytes: t.Any) -> None:
    """45, 79."""
    with pytest.raises(FunctionNotFound, match="'example/unknown'"):
        RequestHandler(registry_of(nothing))(request_bytes(COUNT_ME, target="example/unknown"))


def test_effects_that_were_taken_take_no_more(result: t.Any) -> None:
    """46: what a function keeps after it returned is of no use."""
    kept = []

    def fn(context: Context, message: Message) -> Effects:
        kept.append(Effects())
        return kept[0]

    result(fn, COUNT_ME)
    with pytest.raises(RuntimeError, match="Build a new Effects"):
        kept[0].send(BOB, 1)


@pytest.mark.parametrize("failing", ["first", "last"])
def test_async_messages_keep_their_order_and_any_may_fail_all(failing: str, result: t.Any) -> None:
    """47: sequential, and exceptional when the first or the last one is."""

    async def fn(context: Context, message: str) -> Effects:
        await asyncio.sleep(0.001 if message == "first" else 0)
        if message == failing and context.self_address.id == "fails":
            raise ValueError(message)
        return say(message)

    messages = ["first", "middle", "last"]
    assert texts(result(fn, *messages)) == messages
    with pytest.raises(ValueError, match=failing):
        result(fn, *messages, id="fails")


def test_a_large_batch_needs_no_deep_stack(result: t.Any) -> None:
    """47: 1,000,000 elements in Java; 20,000 are far beyond Python's stack."""

    async def fn(context: Context, message: Message) -> Effects:
        return Effects()

    assert result(fn, *[COUNT_ME] * 20_000).ByteSize() == 0


def test_an_update_takes_a_snapshot(result: t.Any) -> None:
    """48: a mutable value that is changed after the update."""
    items = json_type("my/items", list[int])
    spec = ValueSpec("items", items)

    def fn(context: Context, message: Message) -> Effects:
        value = [1]
        effects = say(context.get_state(spec)).update_state(spec, value)
        value.append(2)
        return effects

    made = result(fn, COUNT_ME, COUNT_ME, specs=[spec])
    assert texts(made) == ["None", "[1]"]
    assert made.state_mutations[0].state_value.value == b"[1]"


def test_an_undeclared_spec_is_refused(result: t.Any) -> None:
    """49."""
    other = ValueSpec("other", INT)
    uses: list[cabc.Callable[[Context], Effects]] = [
        lambda context: say(context.get_state(other)),
        lambda context: Effects().update_state(other, 1),
        lambda context: Effects().delete_state(other),
    ]
    for use in uses:
        with pytest.raises(UnknownStateError):
            result(lambda context, message, use=use: use(context), COUNT_ME, specs=[SEEN])


def test_a_state_is_not_set_to_none() -> None:
    """50."""
    with pytest.raises(TypeError, match="Use 'delete_state'"):
        Effects().update_state(SEEN, None)  # type: ignore[arg-type]


def test_the_right_name_with_the_wrong_type_is_refused(result: t.Any) -> None:
    """51: get and set; a delete has no type to be wrong."""
    wrong = ValueSpec("seen", str)
    uses: list[cabc.Callable[[Context], Effects]] = [
        lambda context: say(context.get_state(wrong)),
        lambda context: Effects().update_state(wrong, "1"),
    ]
    for use in uses:
        with pytest.raises(StateTypeError):
            result(lambda context, message, use=use: use(context), COUNT_ME, specs=[SEEN])


def test_two_functions_for_the_same_messages_are_refused() -> None:
    """54: duplicate functions."""
    registry = registry_of(nothing)
    with pytest.raises(ValueError, match="already registered"):
        registry.register_fn("example/fn", count)


# -- Go, JavaScript, Rust ---------------------------------------------------------------------


def test_an_empty_token_is_refused() -> None:
    """59."""
    with pytest.raises(ValueError, match="cannot be empty"):
        Effects().send_after(BOB, dt.timedelta(0), 1, cancellation_token="")
    with pytest.raises(ValueError, match="cannot be empty"):
        Effects().cancel("")


def test_a_delay_of_one_millisecond(result: t.Any) -> None:
    """59."""

    def fn(context: Context, message: Message) -> Effects:
        return Effects().send_after(BOB, dt.timedelta(milliseconds=1), 1)

    (delayed,) = result(fn, COUNT_ME).delayed_invocations
    assert delayed.delay_in_ms == 1
    assert delayed.target.id == "bob"


def test_records_read_back() -> None:
    """60, 73: text and bytes."""
    for value, raw in (("é", "é".encode()), (b"\xff", b"\xff"), (bytearray(b"x"), b"x")):
        kafka = schema.KafkaProducerRecord.FromString(kafka_record("t", value=value).value)
        assert (kafka.topic, kafka.key, kafka.value_bytes) == ("t", "", raw)
        kinesis = schema.KinesisEgressRecord.FromString(
            kinesis_record("s", partition_key="p", value=value, explicit_hash_key="h").value
        )
        assert (kinesis.stream, kinesis.partition_key, kinesis.value_bytes) == ("s", "p", raw)
        assert kinesis.explicit_hash_key == "h"


def test_text_that_is_no_utf8_is_refused() -> None:
    """60."""
    with pytest.raises(ValueError, match="UTF-8"):
        kafka_record("t", value="\ud800")
    with pytest.raises(ValueError, match="UTF-8"):
        kinesis_record("t", partition_key="k", value="\ud800")


@pytest.mark.parametrize("value", [1, 0.5, True])
def test_numbers_in_records_need_a_type(value: float) -> None:
    """40, 73: each SDK writes them in another way."""
    with pytest.raises(TypeError, match="has no agreed form in a record"):
        kafka_record("t", value=value)
    assert kafka_record("t", value=value, type=type(value)).value


def test_an_explicit_type_decides_on_a_records_bytes() -> None:
    """73."""
    wrapped = schema.KafkaProducerRecord.FromString(kafka_record("t", value="a", type=STRING).value)
    assert wrapped.value_bytes == b"\x0a\x01a"
    plain = kafka_record("t", value="a", type=UTF8("my/text"))
    assert schema.KafkaProducerRecord.FromString(plain.value).value_bytes == b"a"


def test_a_state_without_has_value_has_no_value(to_function: t.Any) -> None:
    """63: whatever typename and bytes come along."""
    request = to_function("x", states={"seen": ("my/type", b"zzz")})
    request.invocation.state[0].state_value.has_value = False

    def fn(context: Context, message: str) -> Effects:
        return say(context.get_state(SEEN))

    answer = RequestHandler(registry_of(fn, SEEN))(request.SerializeToString())
    assert texts(FromFunction.FromString(answer).invocation_result) == ["None"]


def test_a_raw_message_tells_whether_it_has_a_value() -> None:
    """69: no value is neither null nor a default."""
    empty = Message("io.statefun.types/int", b"", has_value=False)
    assert not empty.is_type(INT)
    with pytest.raises(TypeError, match="has no value"):
        empty.as_type(INT)


def test_set_delete_and_set_again(result: t.Any) -> None:
    """70."""

    def fn(context: Context, message: str) -> Effects:
        return Effects().update_state(SEEN, 1).delete_state(SEEN).update_state(SEEN, 2)

    (mutation,) = result(fn, "", specs=[SEEN]).state_mutations
    assert (mutation.mutation_type, mutation.state_value.value) == (MODIFY, INT.serialize(2))


def test_two_states_make_two_mutations(result: t.Any) -> None:
    """71."""
    other = ValueSpec("other", str)

    def fn(context: Context, message: Message) -> Effects:
        return Effects().update_state(SEEN, 1).update_state(other, "x")

    made = result(fn, COUNT_ME, specs=[SEEN, other]).state_mutations
    assert [each.state_name for each in made] == ["seen", "other"]


@pytest.mark.parametrize(
    ("value", "typename"),
    [
        ("a", "io.statefun.types/string"),
        (True, "io.statefun.types/bool"),
        (1, "io.statefun.types/long"),
        (0.5, "io.statefun.types/double"),
        (b"a", "type.googleapis.com/google.protobuf.BytesValue"),
        (Message("my/type", b"x"), "my/type"),
    ],
)
def test_a_value_has_the_type_of_its_class(value: t.Any, typename: str, result: t.Any) -> None:
    """72: string, bool, float, integer and custom messages."""
    (sent,) = result(
        lambda context, message: Effects().send(BOB, value), COUNT_ME
    ).outgoing_messages
    assert sent.argument.typename == typename


def test_everything_is_visible_in_the_function(result: t.Any) -> None:
    """75: self, caller, state and argument."""

    def fn(context: Context, message: str) -> Effects:
        return say((str(context.self_address), str(context.caller_address), message))

    made = result(fn, "hi", id="me", caller="a/b/c")
    assert texts(made) == ["('example/fn/me', 'a/b/c', 'hi')"]


def test_effects_of_three_messages_are_in_order(result: t.Any) -> None:
    """76: messages, delayed ones with token and cancellation, and egresses."""

    def fn(context: Context, message: str) -> Effects:
        return (
            Effects()
            .send(BOB, message)
            .send_after(BOB, dt.timedelta(1), message, cancellation_token=message)
            .cancel(message)
            .egress("e/x", message)
        )

    made = result(fn, "1", "2", "3")
    assert texts(made) == ["1", "2", "3"]
    assert [
        (each.cancellation_token, each.is_cancellation_request) for each in made.delayed_invocations
    ] == [(token, cancels) for token in "123" for cancels in (False, True)]
    assert [each.argument.value[-1:] for each in made.outgoing_egresses] == [b"1", b"2", b"3"]


def test_later_messages_see_what_earlier_ones_changed(result: t.Any) -> None:
    """78."""

    def fn(context: Context, message: str) -> Effects:
        return say(context.get_state(SEEN)).update_state(SEEN, int(message))

    assert texts(result(fn, "7", "8", specs=[SEEN])) == ["None", "7"]


def test_the_right_function_is_chosen(request_bytes: t.Any) -> None:
    """80."""
    registry = FunctionRegistry()
    for name in ("a", "b", "c"):
        registry.register_fn(f"example/{name}", lambda context, message, name=name: say(name))
    answer = RequestHandler(registry)(request_bytes("", target="example/b"))
    assert texts(FromFunction.FromString(answer).invocation_result) == ["b"]


# -- additional cases -------------------------------------------------------------------------


def test_an_explicit_false_is_never_emitted(result: t.Any) -> None:
    """103."""
    flag = ValueSpec("flag", bool)

    def fn(context: Context, message: Message) -> Effects:
        return Effects().send(BOB, False).update_state(flag, False)

    made = result(fn, COUNT_ME, specs=[flag])
    assert made.outgoing_messages[0].argument.value == b""
    assert made.state_mutations[0].state_value.value == b""


@pytest.mark.parametrize("value", [False, 0, 0.0, "", b""])
def test_defaults_are_empty_and_have_a_value(value: t.Any, result: t.Any) -> None:
    """104."""
    spec = ValueSpec("state", type(value))

    def fn(context: Context, message: Message) -> Effects:
        return (
            Effects()
            .send(BOB, value)
            .send_after(BOB, dt.timedelta(0), value)
            .egress("e/x", value)
            .update_state(spec, value)
        )

    made = result(fn, COUNT_ME, specs=[spec])
    carried = [
        made.outgoing_messages[0].argument,
        made.delayed_invocations[0].argument,
        made.outgoing_egresses[0].argument,
        made.state_mutations[0].state_value,
    ]
    assert [(each.has_value, each.value) for each in carried] == [(True, b"")] * 4


@pytest.mark.parametrize("name", ["batch", "request-state"])
def test_the_runtimes_own_state_names_are_refused(name: str) -> None:
    """105."""
    with pytest.raises(RegistrationError) as raised:
        ValueSpec(name, INT)
    assert str(raised.value) == (
        f"'{name}' cannot name a state, because the runtime keeps one of its own under that name."
        " Choose another name."
    )


@pytest.mark.parametrize("expiry", [dt.timedelta(0), dt.timedelta(microseconds=999)])
def test_an_expiration_below_a_millisecond_is_refused(expiry: dt.timedelta) -> None:
    """106."""
    for option in ("expire_after_write", "expire_after_call"):
        with pytest.raises(RegistrationError, match="less than one millisecond"):
            ValueSpec("seen", INT, **{option: expiry})  # type: ignore[arg-type]


def test_a_deleted_state_does_not_become_missing(result: t.Any) -> None:
    """107."""

    def fn(context: Context, message: Message) -> Effects:
        return say(context.get_state(SEEN)).delete_state(SEEN)

    states = {"seen": SEEN.encode(1)}
    assert texts(result(fn, COUNT_ME, COUNT_ME, specs=[SEEN], states=states)) == ["1", "None"]


def test_an_unset_state_without_a_typename_resolves(to_function: t.Any) -> None:
    """108."""
    request = to_function("x", states={"seen": None})
    assert not request.invocation.state[0].HasField("state_value")
    answer = RequestHandler(registry_of(count, SEEN))(request.SerializeToString())
    assert FromFunction.FromString(answer).HasField("invocation_result")


def test_the_content_type_has_no_parameter(request_bytes: t.Any) -> None:
    """109."""
    from statefun_flask import StateFunFlask

    app = StateFunFlask("example")
    app.statefun("example/fn")(nothing)
    response = app.test_client().post(
        "/statefun", data=request_bytes(COUNT_ME), content_type="application/octet-stream"
    )
    assert (response.status_code, response.headers["Content-Type"]) == (
        200,
        "application/octet-stream",
    )


def test_sends_and_cancellations_of_one_token_keep_their_order(result: t.Any) -> None:
    """110."""

    def fn(context: Context, message: Message) -> Effects:
        later = dt.timedelta(1)
        return (
            Effects()
            .cancel("tok")
            .send_after(BOB, later, "", cancellation_token="tok")
            .cancel("tok")
            .send_after(BOB, later, "", cancellation_token="tok")
        )

    made = result(fn, COUNT_ME).delayed_invocations
    assert [each.is_cancellation_request for each in made] == [True, False, True, False]


def test_every_number_has_its_test() -> None:
    """The list at the top and the docstrings together cover 1 to 80 and 102 to 110."""
    named = set()
    for name, function in globals().items():
        if name.startswith("test_") and function.__doc__:
            head = function.__doc__.partition(":")[0]
            named |= {int(number) for number in re.findall(r"\b\d{1,3}\b", head)}
    # Those at the top that nothing here can say anything of.
    assert {*range(1, 81), *range(102, 111)} - named == {61, 66}
    assert named - {*range(1, 81), *range(102, 111)} == set()
