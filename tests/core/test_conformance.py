"""Behaviours that the test suites of the official SDKs cover, through the bytes of a request.

Behaviours with tests elsewhere are not repeated here: names, expirations and errors of states
(``tests/values``), registration (``test_registry.py``), missing and unset states
(``test_handler.py``, ``tests/protocol``), sample bytes (``test_golden.py``).

Behaviours that this package does not share: the Python SDK makes states attributes, so it rejects
keywords and capitals as names; here any identifier names a state. It answers a request without an
invocation with an empty reply; here that is an error. Contexts outlive their invocation, since they
have no session behind them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import typing as t

import pytest
from to_function import handler_of
from to_function import request_bytes

from statefun_flask import Address
from statefun_flask import BOOL
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
from statefun_flask import RequestHandler
from statefun_flask import STRING
from statefun_flask import Type
from statefun_flask import ValueSpec
from statefun_flask.protocol.schema import types as wrappers
from statefun_flask.protocol.schema.egress import KafkaProducerRecord
from statefun_flask.protocol.schema.egress import KinesisEgressRecord
from statefun_flask.protocol.schema.request_reply_v3 import FromFunction
from statefun_flask.values.message import encode

SEEN = ValueSpec("seen", INT)
NAME = ValueSpec("name", str)
ALICE = Address("example/caller", "alice")
RELAY = Address("example/relay", "r")
MODIFY = FromFunction.PersistedValueMutation.MODIFY
SECOND = dt.timedelta(seconds=1)

Function = t.Callable[[Context, t.Any], t.Any]


def request(*messages: t.Any, **options: t.Any) -> bytes:
    """Return the bytes of a request that a function sent."""
    return request_bytes(*messages, **{"caller": ALICE, **options})


def answer(function: Function, body: bytes, *states: t.Any) -> t.Any:
    """Return the invocation result of a function's reply."""
    reply = FromFunction.FromString(handler_of(function, *states)(body))
    assert reply.WhichOneof("response") == "invocation_result"
    return reply.invocation_result


def missing(function: Function, body: bytes, *states: t.Any) -> list[t.Any]:
    """Return the missing states in a function's reply."""
    reply = FromFunction.FromString(handler_of(function, *states)(body))
    assert reply.WhichOneof("response") == "incomplete_invocation_context"
    return list(reply.incomplete_invocation_context.missing_values)


def never(context: Context, message: Message) -> t.NoReturn:
    raise AssertionError("the function must not run")


def typed(typename: str, payload: bytes) -> t.Any:
    """Return the TypedValue of a reply."""
    return type(FromFunction().invocation_result.outgoing_messages.add().argument)(
        typename=typename, has_value=True, value=payload
    )


def count(context: Context, message: Message) -> Effects:
    return Effects().update_state(SEEN, (context.get_state(SEEN) or 0) + 1)


def test_a_state_is_read_and_raised_by_one() -> None:
    """A function reads a state and adds one: one mutation, with the new value."""
    result = answer(count, request(1, states={"seen": encode(1, INT)}), SEEN)

    (mutation,) = result.state_mutations
    assert (mutation.state_name, mutation.mutation_type) == ("seen", MODIFY)
    assert mutation.state_value == typed("io.statefun.types/int", INT.serialize(2))


def test_a_message_is_sent_to_the_halves_of_a_typename() -> None:
    """The target of a message is a namespace, a type and an id."""
    result = answer(lambda c, m: Effects().send(RELAY, 7, type=INT), request(1))

    (message,) = result.outgoing_messages
    assert (message.target.namespace, message.target.type) == ("example", "relay")
    assert message.target.id == "r"
    assert message.argument == typed("io.statefun.types/int", INT.serialize(7))


def test_a_delay_is_in_milliseconds() -> None:
    """A delay of one hour is 3,600,000 ms."""
    result = answer(lambda c, m: Effects().send_after(RELAY, dt.timedelta(hours=1), 7), request(1))

    (delayed,) = result.delayed_invocations
    assert delayed.delay_in_ms == 3_600_000
    assert (delayed.target.namespace, delayed.target.type) == ("example", "relay")
    assert delayed.argument == typed("io.statefun.types/long", LONG.serialize(7))


def test_delayed_messages_tokens_and_cancellations_keep_the_order_of_the_calls() -> None:
    """Delayed messages and cancellations are listed in the order of the calls.

    A cancellation has its token only.
    """
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
    """Kafka and Kinesis records are messages of their own types.

    The egress id is a namespace and a type.
    """
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
    """A missing state is declared with its expiration, in whole milliseconds."""
    (asked,) = missing(never, request(1), ValueSpec("seen", int, **expiry))

    assert FromFunction.ExpirationSpec.ExpireMode.Name(asked.expiration_spec.mode) == mode
    assert asked.expiration_spec.expire_after_millis == milliseconds


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
    """Values of all types, at the limits of their ranges, have the same bytes after decoding and
    encoding.
    """
    typename, payload = encode(value, type)

    (sent,) = answer(echo(type), request(Message(typename, payload))).outgoing_messages
    assert sent.argument == typed(typename, payload)


def test_three_messages_are_one_mutation() -> None:
    """Three messages that change a state are one mutation, with the last value."""
    (mutation,) = answer(
        count, request(1, 2, 3, states={"seen": encode(0, INT)}), SEEN
    ).state_mutations

    assert mutation.state_value == typed("io.statefun.types/int", INT.serialize(3))


def test_synchronous_and_asynchronous_functions_are_called() -> None:
    """Synchronous and asynchronous functions give the same reply."""

    async def function(context: Context, message: int) -> Effects:
        return Effects().send(RELAY, message)

    asynchronous = answer(function, request(1, 2))
    assert asynchronous == answer(lambda c, m: Effects().send(RELAY, m.as_type(int)), request(1, 2))
    assert len(asynchronous.outgoing_messages) == 2


def test_asynchronous_messages_are_handled_in_order() -> None:
    """The messages of a batch are handled one after the other, by asynchronous functions too."""
    order: list[int] = []

    async def function(context: Context, message: int) -> Effects:
        import asyncio

        await asyncio.sleep(0)
        order.append(message)
        return Effects().send(RELAY, message)

    result = answer(function, request(*range(50)))
    assert order == list(range(50))
    assert [
        LONG._readers[LONG.typename](each.argument.value) for each in result.outgoing_messages
    ] == order


@pytest.mark.parametrize("bad", [0, 2])
@pytest.mark.parametrize("is_async", [False, True])
def test_one_failing_message_fails_the_request(bad: int, is_async: bool) -> None:
    """The first or the last message of a batch fails: the whole request fails."""

    def function(context: Context, message: int) -> Effects:
        if message == bad:
            raise LookupError("no such name")
        return Effects().update_state(SEEN, message)

    async def asynchronous(context: Context, message: int) -> Effects:
        return function(context, message)

    call = handler_of(asynchronous if is_async else function, SEEN)
    with pytest.raises(LookupError, match="no such name") as caught:
        call(request(0, 1, 2, states={"seen": None}))
    assert caught.value.__notes__ == [
        f"while invoking example/fn/bob (message {bad + 1} of 3, type 'io.statefun.types/long')"
    ]
    assert call(request(1, states={"seen": None}))


def test_a_value_that_is_changed_after_it_was_given_stays_as_it_was() -> None:
    """A state is set to a mutable value, which changes later: the value at the time of the call is
    stored.
    """

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

    (mutation,) = answer(function, request(1, states={"basket": None}), spec).state_mutations
    assert mutation.state_value == typed("example/Basket", b'{"items":["apple"]}')


WRAPPERS: list[tuple[Type[t.Any], t.Any]] = [
    (INT, wrappers.IntWrapper),
    (LONG, wrappers.LongWrapper),
]


@pytest.mark.parametrize(("type", "wrapper"), WRAPPERS, ids=["int", "long"])
def test_ints_have_the_bytes_of_protobufs_wrappers(type: Type[t.Any], wrapper: t.Any) -> None:
    """Integers from 0 to 999,999 have the bytes that protobuf writes."""
    read = type._readers[type.typename]
    for number in range(0, 1_000_000, 97):
        payload = wrapper(value=number).SerializeToString()
        assert type.serialize(number) == payload
        assert read(payload) == number


def test_two_states_are_two_mutations_in_the_order_of_their_first_change() -> None:
    """Changes of two states over two messages are two mutations."""
    result = answer(
        lambda c, m: (
            Effects().update_state(NAME, "Eve").update_state(SEEN, 1).update_state(NAME, "Bob")
        ),
        request(1, 2, states={"seen": None, "name": "Alice"}),
        SEEN,
        NAME,
    )

    assert [(each.state_name, each.state_value) for each in result.state_mutations] == [
        ("name", typed("io.statefun.types/string", STRING.serialize("Bob"))),
        ("seen", typed("io.statefun.types/int", INT.serialize(1))),
    ]


def test_a_function_sees_addresses_state_and_message() -> None:
    """A function sees its own address, its caller, its state and the message."""
    seen: list[t.Any] = []

    def function(context: Context, message: str) -> Effects:
        seen.append((context.self_address, context.caller_address))
        seen.append((context.get_state(SEEN), message))
        return Effects()

    answer(function, request("hi", states={"seen": encode(3, INT)}), SEEN)
    assert seen == [(Address("example/fn", "bob"), ALICE), (3, "hi")]


def test_all_kinds_of_effects_keep_their_order_over_a_batch() -> None:
    """Messages, delayed messages, cancellations and egress records of three messages keep their
    order.
    """

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


def test_the_right_function_is_chosen() -> None:
    """Of several functions the one with the namespace and the type of the target is called."""
    registry = FunctionRegistry()
    for name in ("example/a", "example/b", "other/a"):
        registry.register(name, lambda c, m, name=name: Effects().send(RELAY, name))
    call = RequestHandler(registry)

    for name in ("example/b", "other/a", "example/a"):
        reply = FromFunction.FromString(call(request(1, target=name, id="x")))
        (sent,) = reply.invocation_result.outgoing_messages
        assert sent.argument.value == STRING.serialize(name)


@pytest.mark.parametrize(
    ("type", "value"),
    [(BOOL, False), (INT, 0), (LONG, 0), (FLOAT, 0.0), (DOUBLE, 0.0), (STRING, "")],
)
def test_a_default_is_empty_and_has_a_value(type: Type[t.Any], value: t.Any) -> None:
    """A default value has no bytes, and has_value is set.

    An explicit default, such as the bytes 08 00, is never written: the Java SDK rejects it.
    """
    spec: ValueSpec[t.Any] = ValueSpec("state", type)
    body = answer(
        lambda c, m: (
            Effects()
            .send(RELAY, value, type=type)
            .send_after(RELAY, SECOND, value, type=type)
            .egress("a/b", value, type=type)
            .update_state(spec, value)
        ),
        request(1, states={"state": None}),
        spec,
    )

    empty = typed(type.typename, b"")
    assert [each.argument for each in body.outgoing_messages] == [empty]
    assert [each.argument for each in body.delayed_invocations] == [empty]
    assert [each.argument for each in body.outgoing_egresses] == [empty]
    assert [each.state_value for each in body.state_mutations] == [empty]
    assert b"\x08\x00" not in body.outgoing_messages[0].argument.SerializeToString()
