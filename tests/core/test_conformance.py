"""The behaviours that the official suites cover (protocol 7.1), through bytes.

Each test names in its docstring the numbers that it stands for. Not to be said of this package:

- 22, 23, 53, 74 in part: official SDKs make states attributes, so they refuse keywords and
  capitals; here states are handles, and any identifier names one.
- 37, 38, 39, 66, 69 in part: builders and boxes of messages; here a Python value is a message.
- 40, 73 in part: a bare int in a Kafka record, on whose bytes the SDKs disagree, is refused here.
- 44, 102: a request without an invocation, or of no bytes, is refused with 400 here (design.md); as
  an *answer* the runtime takes no bytes for an empty result, and this package always writes one.
- 45 in part: there is no future that could be null; a function that returns None is refused.
- 46, 61: a context that outlives its invocation, and Go's context derivation: there is no session
  behind a context here, it stays readable and cannot do anything.
- 47 in part: stack depth of Java's futures.
- 50 in part: None as the value of a state is a TypeError rather than an error of the storage.
- 81 to 101 are about the runtime.
- 109, the content type, is a matter of the HTTP layer and tested with it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask import BOOL
from statefun_flask import Context
from statefun_flask import custom_type
from statefun_flask import DOUBLE
from statefun_flask import DuplicateFunctionError
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
from statefun_flask import RegistrationError
from statefun_flask import RequestHandler
from statefun_flask import StateTypeError
from statefun_flask import STRING
from statefun_flask import Type
from statefun_flask import UnknownStateError
from statefun_flask import ValueSpec
from statefun_flask.protocol.schema import types as wrappers
from statefun_flask.protocol.schema.egress import KafkaProducerRecord
from statefun_flask.protocol.schema.egress import KinesisEgressRecord
from statefun_flask.protocol.schema.request_reply_v3 import FromFunction
from statefun_flask.protocol.schema.request_reply_v3 import ToFunction
from statefun_flask.values.message import encode

SEEN = ValueSpec("seen", INT)
NAME = ValueSpec("name", str)
BOB = Address("example/fn", "bob")
ALICE = Address("example/caller", "alice")
RELAY = Address("example/relay", "r")
DELETE = FromFunction.PersistedValueMutation.DELETE
MODIFY = FromFunction.PersistedValueMutation.MODIFY
SECOND = dt.timedelta(seconds=1)

Function = t.Callable[[Context, t.Any], t.Any]


class Unset:
    """A state that the runtime knows and that has no value."""


def request(
    *messages: t.Any,
    states: dict[str, t.Any] | None = None,
    caller: Address | None = ALICE,
    target: Address = BOB,
) -> bytes:
    """Return the bytes of a ToFunction, put together by protobuf."""
    to_function = ToFunction()
    batch = to_function.invocation
    batch.target.namespace, batch.target.type = target.type.split("/")
    batch.target.id = target.id
    for name, value in (states or {}).items():
        state = batch.state.add(state_name=name)
        if value is not Unset:
            typename, payload = value if isinstance(value, tuple) else encode(value)
            state.state_value.typename, state.state_value.value = typename, payload
            state.state_value.has_value = True
    for each in messages:
        invocation = batch.invocations.add()
        if caller is not None:
            invocation.caller.namespace, invocation.caller.type = caller.type.split("/")
            invocation.caller.id = caller.id
        typename, payload = encode(each)
        invocation.argument.typename, invocation.argument.value = typename, payload
        invocation.argument.has_value = True
    return to_function.SerializeToString()


def handler(function: Function, *states: t.Any) -> RequestHandler:
    registry = FunctionRegistry()
    registry.register_fn("example/fn", function, states=states)
    return RequestHandler(registry)


def answer(function: Function, body: bytes, *states: t.Any) -> t.Any:
    """Return the invocation result of a function's answer."""
    reply = FromFunction.FromString(handler(function, *states)(body))
    assert reply.WhichOneof("response") == "invocation_result"
    return reply.invocation_result


def missing(function: Function, body: bytes, *states: t.Any) -> list[t.Any]:
    """Return the states that a function's answer asks for."""
    reply = FromFunction.FromString(handler(function, *states)(body))
    assert reply.WhichOneof("response") == "incomplete_invocation_context"
    return list(reply.incomplete_invocation_context.missing_values)


def never(context: Context, message: Message) -> t.NoReturn:
    raise AssertionError("the function must not run")


def typed(typename: str, payload: bytes) -> t.Any:
    """Return the TypedValue of an answer."""
    return type(FromFunction().invocation_result.outgoing_messages.add().argument)(
        typename=typename, has_value=True, value=payload
    )


# -- Python: request_reply_test ---------------------------------------------------------------


def count(context: Context, message: Message) -> Effects:
    return Effects().update_state(SEEN, (context.get_state(SEEN) or 0) + 1)


def test_a_state_is_read_and_raised_by_one() -> None:
    """1, 41"""
    result = answer(count, request(1, states={"seen": encode(1, INT)}), SEEN)

    (mutation,) = result.state_mutations
    assert (mutation.state_name, mutation.mutation_type) == ("seen", MODIFY)
    assert mutation.state_value == typed("io.statefun.types/int", INT.serialize(2))


def test_a_message_is_sent_to_the_halves_of_a_typename() -> None:
    """2"""
    result = answer(lambda c, m: Effects().send(RELAY, 7, type=INT), request(1))

    (message,) = result.outgoing_messages
    assert (message.target.namespace, message.target.type) == ("example", "relay")
    assert message.target.id == "r"
    assert message.argument == typed("io.statefun.types/int", INT.serialize(7))


def test_a_delay_is_in_milliseconds() -> None:
    """3"""
    result = answer(lambda c, m: Effects().send_after(RELAY, dt.timedelta(hours=1), 7), request(1))

    (delayed,) = result.delayed_invocations
    assert delayed.delay_in_ms == 3_600_000
    assert (delayed.target.namespace, delayed.target.type) == ("example", "relay")
    assert delayed.argument == typed("io.statefun.types/long", LONG.serialize(7))


def test_delayed_messages_tokens_and_cancellations_keep_the_order_of_the_calls() -> None:
    """4, 5, 59, 110"""
    result = answer(
        lambda c, m: (
            Effects()
            .send_after(RELAY, SECOND, 1)
            .send_after(RELAY, dt.timedelta(milliseconds=1), 2, cancellation_token="token-1234")
            .cancel("token-1234")
            .send_after(RELAY, SECOND, 3, cancellation_token="token-1234")
        ),
        request(1),
    )

    assert [
        (each.delay_in_ms, each.is_cancellation_request, each.cancellation_token)
        for each in result.delayed_invocations
    ] == [
        (1000, False, ""),
        (1, False, "token-1234"),
        (0, True, "token-1234"),
        (1000, False, "token-1234"),
    ]
    assert not result.delayed_invocations[2].HasField("target")
    assert not result.delayed_invocations[2].HasField("argument")


def test_records_go_to_the_halves_of_an_egress() -> None:
    """6, 60"""
    result = answer(
        lambda c, m: (
            Effects()
            .egress("example/kafka", kafka_record("names", key="bob", value="hi"))
            .egress("example/kinesis", kinesis_record("names", partition_key="bob", value="hi"))
        ),
        request(1),
    )

    kafka, kinesis = result.outgoing_egresses
    prefix = "type.googleapis.com/io.statefun.sdk.egress."
    assert (kafka.egress_namespace, kafka.egress_type) == ("example", "kafka")
    assert (kinesis.egress_namespace, kinesis.egress_type) == ("example", "kinesis")
    assert (kafka.argument.typename, kafka.argument.has_value) == (
        prefix + "KafkaProducerRecord",
        True,
    )
    assert kinesis.argument.typename == prefix + "KinesisEgressRecord"
    assert KafkaProducerRecord.FromString(kafka.argument.value) == KafkaProducerRecord(
        key="bob", topic="names", value_bytes=b"hi"
    )
    assert KinesisEgressRecord.FromString(kinesis.argument.value) == KinesisEgressRecord(
        partition_key="bob", stream="names", value_bytes=b"hi"
    )


def test_missing_states_are_asked_for_in_the_order_of_declaration() -> None:
    """7, 11"""
    asked = missing(
        never,
        request(1, states={"seen": Unset}),
        ValueSpec("zulu", str, expire_after_write=2 * SECOND),
        SEEN,
        ValueSpec("alpha", bool),
    )

    assert [each.state_name for each in asked] == ["zulu", "alpha"]
    assert asked[0].type_typename == "io.statefun.types/string"
    assert asked[0].expiration_spec.mode == FromFunction.ExpirationSpec.AFTER_WRITE
    assert asked[0].expiration_spec.expire_after_millis == 2000
    assert asked[1].expiration_spec.mode == FromFunction.ExpirationSpec.NONE


def test_an_ingress_is_no_caller() -> None:
    """8, 58"""
    callers: list[Address | None] = []

    def function(context: Context, message: Message) -> Effects:
        callers.append(context.caller_address)
        return Effects()

    answer(function, request(1, caller=None))
    answer(function, request(1, caller=ALICE))
    assert callers == [None, ALICE]


# -- Python: storage_test ---------------------------------------------------------------------


def test_present_states_are_read_with_their_types() -> None:
    """9, 48, 52"""
    read: list[t.Any] = []

    def function(context: Context, message: Message) -> Effects:
        read.extend((context.get_state(SEEN), context.get_state(NAME), context.get_state("name")))
        return Effects()

    answer(function, request(1, states={"name": "Bob", "seen": encode(3, INT)}), SEEN, NAME)
    assert read == [3, "Bob", "Bob"]


def test_all_states_are_missing_when_none_is_present() -> None:
    """10, 42, 52"""
    asked = missing(
        never,
        request(1),
        SEEN,
        NAME,
        ValueSpec("last", str, expire_after_call=dt.timedelta(days=1)),
        "blog",
    )

    assert [each.state_name for each in asked] == ["seen", "name", "last", "blog"]
    assert asked[2].expiration_spec.mode == FromFunction.ExpirationSpec.AFTER_INVOKE
    assert asked[2].expiration_spec.expire_after_millis == 86_400_000
    assert asked[3].type_typename == "type.googleapis.com/google.protobuf.Any"


def test_states_that_are_not_declared_are_ignored_and_cannot_be_read() -> None:
    """12, 49, 52"""
    body = request(1, states={"seen": encode(1, INT), "old": 1, "other": Unset})

    assert answer(count, body, SEEN).state_mutations[0].state_name == "seen"
    with pytest.raises(UnknownStateError, match="does not declare the state 'old'"):
        handler(lambda c, m: c.get_state("old"), SEEN)(body)
    with pytest.raises(UnknownStateError, match="does not declare the state 'old'"):
        handler(lambda c, m: Effects().update_state("old", 1), SEEN)(body)
    with pytest.raises(UnknownStateError, match="does not declare the state 'old'"):
        handler(lambda c, m: Effects().delete_state("old"), SEEN)(body)


def script(*steps: tuple[t.Any, Effects]) -> Function:
    """Return a function that expects a state's value, message by message, and gives effects."""
    remaining = list(steps)

    def function(context: Context, message: Message) -> Effects:
        expected, effects = remaining.pop(0)
        value = context.get_state(SEEN)
        assert value == expected
        assert value.__class__ is expected.__class__
        return effects

    return function


def test_assigning_deleting_and_assigning_zero() -> None:
    """13, 48, 63, 107"""
    function = script(
        (1, Effects().update_state(SEEN, 2)),
        (2, Effects().delete_state(SEEN)),
        (None, Effects()),
        (None, Effects().update_state(SEEN, 0)),
        (0, Effects()),
    )

    (mutation,) = answer(
        function, request(*range(5), states={"seen": encode(1, INT)}), SEEN
    ).state_mutations
    assert mutation.state_value == typed("io.statefun.types/int", b"")


def test_reading_changes_nothing() -> None:
    """14, 70"""
    result = answer(script((1, Effects())), request(1, states={"seen": encode(1, INT)}), SEEN)

    assert list(result.state_mutations) == []


def test_a_written_state_is_sent_even_if_equal() -> None:
    """15, 63"""
    function = script((1, Effects().update_state(SEEN, 1)))

    (mutation,) = answer(
        function, request(1, states={"seen": encode(1, INT)}), SEEN
    ).state_mutations
    assert mutation.mutation_type == MODIFY
    assert mutation.state_value.has_value
    assert wrappers.IntWrapper.FromString(mutation.state_value.value).value == 1


def test_a_deleted_state_is_a_mutation_of_only_a_name() -> None:
    """16, 48, 70"""
    function = script((1, Effects().update_state(SEEN, 5).delete_state(SEEN)))

    (mutation,) = answer(
        function, request(1, states={"seen": encode(1, INT)}), SEEN
    ).state_mutations
    assert (mutation.mutation_type, mutation.state_name) == (DELETE, "seen")
    assert not mutation.HasField("state_value")


def test_an_unset_state_is_none_and_can_be_written() -> None:
    """17, 48, 63, 108"""
    function = script((None, Effects().update_state(SEEN, 1)))

    (mutation,) = answer(function, request(1, states={"seen": Unset}), SEEN).state_mutations
    assert mutation.state_value == typed("io.statefun.types/int", INT.serialize(1))


def test_a_function_without_states_asks_for_none() -> None:
    """18, 27"""
    result = answer(lambda c, m: Effects(), request(1))

    assert list(result.state_mutations) == []


# -- Python: valuespec_test, statefun_test, typename_test, types_test, message_test -----------


@pytest.mark.parametrize(
    ("expiry", "mode", "milliseconds"),
    [
        ({}, "NONE", 0),
        ({"expire_after_call": SECOND}, "AFTER_INVOKE", 1000),
        ({"expire_after_write": SECOND}, "AFTER_WRITE", 1000),
        ({"expire_after_write": dt.timedelta(microseconds=1999)}, "AFTER_WRITE", 1),
    ],
)
def test_expirations_are_asked_for(expiry: dict[str, t.Any], mode: str, milliseconds: int) -> None:
    """19, 20, 21"""
    (asked,) = missing(never, request(1), ValueSpec("seen", int, **expiry))

    assert FromFunction.ExpirationSpec.ExpireMode.Name(asked.expiration_spec.mode) == mode
    assert asked.expiration_spec.expire_after_millis == milliseconds


@pytest.mark.parametrize("name", ["-a", "a b", "1a", "a!", ""])
def test_a_state_has_an_identifier_for_a_name(name: str) -> None:
    """22, 53, 74"""
    with pytest.raises(RegistrationError, match="cannot name a state"):
        handler(never, name)
    with pytest.raises(RegistrationError, match="cannot name a state"):
        ValueSpec(name, int)


def test_a_state_has_one_expiration_and_a_type() -> None:
    """23, 74"""
    with pytest.raises(RegistrationError, match="has both"):
        ValueSpec("a", int, expire_after_call=SECOND, expire_after_write=SECOND)
    with pytest.raises(RegistrationError, match="cannot be typed so"):
        ValueSpec("a", 7)  # type: ignore[call-overload]


def test_synchronous_and_asynchronous_functions_are_called() -> None:
    """24, 25"""

    async def function(context: Context, message: int) -> Effects:
        return Effects().send(RELAY, message)

    asynchronous = answer(function, request(1, 2))
    assert asynchronous == answer(lambda c, m: Effects().send(RELAY, m.as_type(int)), request(1, 2))
    assert len(asynchronous.outgoing_messages) == 2


def test_states_keep_the_order_of_declaration() -> None:
    """26, 27"""
    asked = missing(never, request(1), "c", "a", "b")

    assert [each.state_name for each in asked] == ["c", "a", "b"]


def test_a_state_is_declared_once() -> None:
    """28, 54, 74"""
    with pytest.raises(RegistrationError) as caught:
        handler(count, SEEN, ValueSpec("seen", INT))

    assert str(caught.value) == (
        "'count' declares the state 'seen' twice. Remove one of them from its states=[…]."
    )


@pytest.mark.parametrize("function", [lambda: None, lambda context: None, lambda a, b, c: None])
def test_a_function_takes_two_parameters(function: t.Any) -> None:
    """29"""
    with pytest.raises(RegistrationError, match="A stateful function takes"):
        handler(function)


def test_a_typename_has_two_halves() -> None:
    """30"""
    name = FunctionType("foo/bar")

    assert (name.namespace, name.name) == ("foo", "bar")


@pytest.mark.parametrize("typename", ["/bar", "n/", "/", "", "a/b/c"])
def test_a_typename_of_another_form_is_refused(typename: str) -> None:
    """31, 32, 33, 34, 64, 74"""
    with pytest.raises(RegistrationError, match="is not a typename"):
        FunctionRegistry().register_fn(typename, count)


def echo(type: Type[t.Any]) -> Function:
    """Return a function that decodes a message and sends it on."""

    def function(context: Context, message: t.Any) -> Effects:
        return Effects().send(RELAY, message, type=type)

    function.__annotations__["message"] = t.Annotated[t.Any, type]
    return function


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
        (STRING, "ü🚀\0"),
        (json_type("example/json", dict[str, t.Any]), {"a": [1, None, "ü"]}),
        (custom_type("example/custom", str.encode, bytes.decode), "custom"),
    ],
    ids=lambda value: value.typename if isinstance(value, Type) else None,
)
def test_a_value_goes_through_a_function_unchanged(type: Type[t.Any], value: t.Any) -> None:
    """35, 36, 38, 39, 55, 57, 62, 65, 67, 68, 72"""
    typename, payload = encode(value, type)

    (sent,) = answer(echo(type), request(Message(typename, payload))).outgoing_messages
    assert sent.argument == typed(typename, payload)


def test_a_raw_message_tells_and_gives_its_value() -> None:
    """37, 38, 72"""
    seen: list[t.Any] = []

    def function(context: Context, message: Message) -> Effects:
        seen.append((message.is_type(str), message.is_type(int)))
        seen.append(message.as_type(str) if message.is_type(str) else message.as_type(INT))
        return Effects()

    answer(function, request("hi", Message("io.statefun.types/int", INT.serialize(1))))
    assert seen == [(True, False), "hi", (False, True), 1]


def test_a_record_of_an_int_needs_its_type() -> None:
    """40, 73"""
    with pytest.raises(TypeError, match="has no agreed form in a record"):
        handler(lambda c, m: Effects().egress("a/b", kafka_record("t", value=1)))(request(1))
    result = answer(
        lambda c, m: Effects().egress("a/b", kafka_record("t", value=1, type=INT)), request(1)
    )
    record = KafkaProducerRecord.FromString(result.outgoing_egresses[0].argument.value)
    assert record.value_bytes == INT.serialize(1)


# -- Java -------------------------------------------------------------------------------------


def test_three_messages_are_one_mutation() -> None:
    """43, 77"""
    (mutation,) = answer(
        count, request(1, 2, 3, states={"seen": encode(0, INT)}), SEEN
    ).state_mutations

    assert mutation.state_value == typed("io.statefun.types/int", INT.serialize(3))


def test_a_function_that_is_not_registered_is_an_error() -> None:
    """45, 79"""
    with pytest.raises(FunctionNotFound) as caught:
        handler(count, SEEN)(request(1, target=Address("example/fnn", "bob")))

    assert str(caught.value) == (
        "No stateful function is registered for 'example/fnn'. Did you mean 'example/fn'?"
        " Run 'flask statefun routes' to list the registered functions."
    )


def test_asynchronous_messages_are_handled_in_order() -> None:
    """47"""
    order: list[int] = []

    async def function(context: Context, message: int) -> Effects:
        import asyncio

        await asyncio.sleep(0)
        order.append(message)
        return Effects().send(RELAY, message)

    result = answer(function, request(*range(50)))
    assert order == list(range(50))
    assert [
        LONG.readers[LONG.typename](each.argument.value) for each in result.outgoing_messages
    ] == order


@pytest.mark.parametrize("bad", [0, 2])
@pytest.mark.parametrize("is_async", [False, True])
def test_one_failing_message_fails_the_request(bad: int, is_async: bool) -> None:
    """47"""

    def function(context: Context, message: int) -> Effects:
        if message == bad:
            raise LookupError("no such name")
        return Effects().update_state(SEEN, message)

    async def asynchronous(context: Context, message: int) -> Effects:
        return function(context, message)

    call = handler(asynchronous if is_async else function, SEEN)
    with pytest.raises(LookupError, match="no such name") as caught:
        call(request(0, 1, 2, states={"seen": Unset}))
    assert caught.value.__notes__ == [
        f"while invoking example/fn/bob (message {bad + 1} of 3, type 'io.statefun.types/long')"
    ]
    assert call(request(1, states={"seen": Unset}))


def test_a_value_that_is_changed_after_it_was_given_stays_as_it_was() -> None:
    """48"""

    @json_type("example/Basket")
    @dataclasses.dataclass
    class Basket:
        items: list[str]

    spec = ValueSpec("basket", Basket)

    def function(context: Context, message: Message) -> Effects:
        basket = Basket(["apple"])
        effects = Effects().update_state(spec, basket)
        basket.items.append("pear")
        return effects

    (mutation,) = answer(function, request(1, states={"basket": Unset}), spec).state_mutations
    assert mutation.state_value == typed("example/Basket", b'{"items":["apple"]}')


def test_none_is_no_value_of_a_state() -> None:
    """50, 69"""
    with pytest.raises(TypeError, match="A state cannot hold None"):
        handler(lambda c, m: Effects().update_state("seen", None), SEEN)(
            request(1, states={"seen": Unset})
        )


@pytest.mark.parametrize(
    "use",
    [
        lambda context, spec: context.get_state(spec),
        lambda context, spec: Effects().update_state(spec, "text"),
        lambda context, spec: Effects().delete_state(spec).update_state(spec, "text"),
    ],
    ids=["get", "set", "delete-set"],
)
def test_a_states_name_with_another_type_is_an_error(use: t.Any) -> None:
    """51"""
    other = ValueSpec("seen", str)

    with pytest.raises(StateTypeError) as caught:
        handler(lambda c, m: use(c, other), SEEN)(request(1, states={"seen": Unset}))
    assert str(caught.value) == (
        "The state 'seen' is declared as 'io.statefun.types/int', not 'io.statefun.types/string'."
        " Use the handle that it was declared with."
    )


def test_a_typename_has_one_function_for_a_type() -> None:
    """54, 80"""
    registry = FunctionRegistry()
    registry.register_fn("example/fn", count, states=[SEEN])

    with pytest.raises(DuplicateFunctionError, match="is already registered to"):
        registry.register_fn("example/fn", lambda c, m: Effects())


WRAPPERS: list[tuple[Type[t.Any], t.Any]] = [
    (INT, wrappers.IntWrapper),
    (LONG, wrappers.LongWrapper),
]


@pytest.mark.parametrize(("type", "wrapper"), WRAPPERS, ids=["int", "long"])
def test_ints_have_the_bytes_of_protobufs_wrappers(type: Type[t.Any], wrapper: t.Any) -> None:
    """56"""
    read = type.readers[type.typename]
    for number in range(0, 1_000_000, 97):
        payload = wrapper(value=number).SerializeToString()
        assert type.serialize(number) == payload
        assert read(payload) == number


# -- Go, JavaScript, Rust ---------------------------------------------------------------------


def test_two_states_are_two_mutations_in_the_order_of_their_first_change() -> None:
    """71, 77"""
    result = answer(
        lambda c, m: (
            Effects().update_state(NAME, "Eve").update_state(SEEN, 1).update_state(NAME, "Bob")
        ),
        request(1, 2, states={"seen": Unset, "name": "Alice"}),
        SEEN,
        NAME,
    )

    assert [(each.state_name, each.state_value) for each in result.state_mutations] == [
        ("name", typed("io.statefun.types/string", STRING.serialize("Bob"))),
        ("seen", typed("io.statefun.types/int", INT.serialize(1))),
    ]


def test_a_function_sees_addresses_state_and_message() -> None:
    """75"""
    seen: list[t.Any] = []

    def function(context: Context, message: str) -> Effects:
        seen.append((context.self_address, context.caller_address))
        seen.append((context.get_state(SEEN), message))
        return Effects()

    answer(function, request("hi", states={"seen": encode(3, INT)}), SEEN)
    assert seen == [(Address("example/fn", "bob"), ALICE), (3, "hi")]


def test_all_kinds_of_effects_keep_their_order_over_a_batch() -> None:
    """76"""

    def function(context: Context, message: int) -> Effects:
        return (
            Effects()
            .send(RELAY, message)
            .send_after(RELAY, SECOND, message, cancellation_token=f"t{message}")
            .cancel(f"t{message}")
            .egress("example/greets", str(message))
        )

    result = answer(function, request(1, 2, 3))
    assert [each.argument.value for each in result.outgoing_messages] == [
        LONG.serialize(number) for number in (1, 2, 3)
    ]
    assert [
        (each.cancellation_token, each.is_cancellation_request)
        for each in result.delayed_invocations
    ] == [(f"t{number}", cancels) for number in (1, 2, 3) for cancels in (False, True)]
    assert [each.argument.value for each in result.outgoing_egresses] == [
        STRING.serialize(number) for number in "123"
    ]


def test_a_change_is_seen_by_the_next_message_of_the_batch() -> None:
    """78"""
    function = script(
        (None, Effects().update_state(SEEN, 1)),
        (1, Effects().update_state(SEEN, 2)),
        (2, Effects()),
    )

    (mutation,) = answer(function, request(1, 2, 3, states={"seen": Unset}), SEEN).state_mutations
    assert mutation.state_value == typed("io.statefun.types/int", INT.serialize(2))


def test_the_right_function_is_chosen() -> None:
    """80"""
    registry = FunctionRegistry()
    for name in ("example/a", "example/b", "other/a"):
        registry.register_fn(name, lambda c, m, name=name: Effects().send(RELAY, name))
    call = RequestHandler(registry)

    for name in ("example/b", "other/a", "example/a"):
        reply = FromFunction.FromString(call(request(1, target=Address(name, "x"))))
        (sent,) = reply.invocation_result.outgoing_messages
        assert sent.argument.value == STRING.serialize(name)


# -- beyond the official suites ---------------------------------------------------------------


def test_an_empty_answer_is_an_empty_result() -> None:
    """44, 102: not of no bytes, which the runtime takes for the same."""
    assert handler(lambda c, m: Effects())(request(1)) == bytes.fromhex("a20600")


@pytest.mark.parametrize(
    ("type", "value"),
    [(BOOL, False), (INT, 0), (LONG, 0), (FLOAT, 0.0), (DOUBLE, 0.0), (STRING, "")],
)
def test_a_default_is_empty_and_has_a_value(type: Type[t.Any], value: t.Any) -> None:
    """103, 104"""
    spec: ValueSpec[t.Any] = ValueSpec("state", type)
    body = answer(
        lambda c, m: (
            Effects()
            .send(RELAY, value, type=type)
            .send_after(RELAY, SECOND, value, type=type)
            .egress("a/b", value, type=type)
            .update_state(spec, value)
        ),
        request(1, states={"state": Unset}),
        spec,
    )

    empty = typed(type.typename, b"")
    assert [each.argument for each in body.outgoing_messages] == [empty]
    assert [each.argument for each in body.delayed_invocations] == [empty]
    assert [each.argument for each in body.outgoing_egresses] == [empty]
    assert [each.state_value for each in body.state_mutations] == [empty]
    assert b"\x08\x00" not in body.outgoing_messages[0].argument.SerializeToString()


@pytest.mark.parametrize("name", ["batch", "request-state"])
def test_the_runtimes_own_states_cannot_be_declared(name: str) -> None:
    """105"""
    with pytest.raises(RegistrationError, match="the runtime keeps one of its own"):
        handler(never, name)


def test_an_expiration_is_at_least_a_millisecond() -> None:
    """106"""
    with pytest.raises(RegistrationError, match="less than one millisecond"):
        ValueSpec("seen", int, expire_after_write=dt.timedelta(microseconds=999))


def test_a_deleted_state_is_not_missing_in_the_next_message() -> None:
    """107"""
    function = script((1, Effects().delete_state(SEEN)), (None, Effects()), (None, Effects()))

    (mutation,) = answer(
        function, request(1, 2, 3, states={"seen": encode(1, INT)}), SEEN
    ).state_mutations
    assert mutation.mutation_type == DELETE


def test_a_token_is_used_again_after_its_cancellation_only() -> None:
    """110"""

    def twice(context: Context, message: Message) -> Effects:
        return Effects().send_after(RELAY, SECOND, 1, cancellation_token="t")

    answer(lambda c, m: twice(c, m).cancel("t"), request(1, 2))
    with pytest.raises(ValueError, match="have the cancellation token") as caught:
        handler(twice)(request(1, 2))
    assert str(caught.value) == (
        "Two delayed messages of this batch have the cancellation token 't'."
        " Cancel the first one before, or use a token of its own for each."
    )
    with pytest.raises(ValueError, match="have the cancellation token"):
        handler(lambda c, m: Effects().cancel("t") + twice(c, m) + twice(c, m))(request(1))
