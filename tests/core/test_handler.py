from __future__ import annotations

import asyncio
import collections.abc as cabc
import datetime as dt
import logging
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionNotFoundError
from statefun_flask import FunctionRegistry
from statefun_flask import InvalidReturnError
from statefun_flask import json_type
from statefun_flask import Message
from statefun_flask import MessageTypeError
from statefun_flask import ProtocolError
from statefun_flask import RequestHandler
from statefun_flask import StateTypeError
from statefun_flask import UnknownStateError
from statefun_flask import ValueSpec

Invoke = cabc.Callable[..., t.Any]

COUNT = ValueSpec("count", int)
WORD = ValueSpec("word", str)
TO = Address("test/sink", "a")
SECOND = dt.timedelta(seconds=1)


def count(context: Context, message: str) -> Effects:
    seen = (context.get_state(COUNT) or 0) + 1
    return Effects().update_state(COUNT, seen).send(TO, f"{message} {seen}")


# -- states ---------------------------------------------------------------------------------------


def test_later_messages_see_the_states_that_earlier_ones_changed(invoke: Invoke) -> None:
    answer = invoke(count, "a", "b", "c", states={COUNT: 4})

    assert answer.texts == ["a 5", "b 6", "c 7"]
    assert answer.changes == [("count", 7)]


def test_a_state_without_a_value_reads_as_none(invoke: Invoke) -> None:
    assert invoke(count, "a", states={COUNT: None}).changes == [("count", 1)]


def test_effects_of_the_running_invocation_are_not_visible(invoke: Invoke) -> None:
    def generate(context: Context, message: str) -> cabc.Iterator[Effects]:
        yield Effects().update_state(COUNT, 9)
        yield Effects().send(TO, context.get_state(COUNT) or 0)

    assert invoke(generate, "a", "b", states={COUNT: 1}).texts == [1, 9]


def test_states_only_read_are_not_sent(invoke: Invoke) -> None:
    def read(context: Context, message: str) -> Effects:
        return Effects().send(TO, context.get_state(COUNT) or 0)

    assert invoke(read, "a", states={COUNT: 3}).changes == []


def test_an_equal_value_that_is_written_is_sent(invoke: Invoke) -> None:
    def write(context: Context, message: str) -> Effects:
        return Effects().update_state(COUNT, 3)

    assert invoke(write, "a", states={COUNT: 3}).changes == [("count", 3)]


def test_the_last_write_wins_in_the_order_of_first_changes(invoke: Invoke) -> None:
    def write(context: Context, message: str) -> Effects:
        effects = Effects().update_state(WORD, message).update_state(COUNT, 1)
        return effects.update_state(WORD, message * 2)

    assert invoke(write, "a", "b", states={COUNT: None, WORD: None}).changes == [
        ("word", "bb"),
        ("count", 1),
    ]


def test_update_then_delete_is_one_delete(invoke: Invoke) -> None:
    def write(context: Context, message: str) -> Effects:
        return Effects().update_state(COUNT, 1).delete_state(COUNT)

    assert invoke(write, "a", states={COUNT: 4}).changes == [("count", None)]


def test_a_deleted_state_reads_as_none_and_can_be_written_again(invoke: Invoke) -> None:
    def write(context: Context, message: str) -> Effects:
        seen = context.get_state(COUNT)
        if message == "forget":
            return Effects().delete_state(COUNT)
        return Effects().send(TO, str(seen)).update_state(COUNT, 1)

    answer = invoke(write, "forget", "again", states={COUNT: 4})

    assert answer.texts == ["None"]
    assert answer.changes == [("count", 1)]


def test_a_value_changed_in_place_does_not_leak(invoke: Invoke) -> None:
    spec: ValueSpec[t.Any] = ValueSpec("seen", json_type("test/Seen", dict[str, list[str]]))

    def change(context: Context, message: str) -> Effects:
        seen = context.get_state(spec)
        seen["names"].append(message)
        return Effects().send(TO, ",".join(seen["names"]))

    assert invoke(change, "a", "b", states={spec: {"names": []}}).texts == ["a", "b"]


def test_the_debug_checks_warn_of_a_value_changed_in_place(
    invoke: Invoke, caplog: pytest.LogCaptureFixture
) -> None:
    spec: ValueSpec[t.Any] = ValueSpec("seen", json_type("test/Seen", dict))

    def forget(context: Context, message: str) -> Effects:
        seen = context.get_state(spec)
        assert seen is not None
        seen[message] = True
        return Effects() if message == "lost" else Effects().update_state(spec, seen)

    with caplog.at_level(logging.WARNING, "statefun_flask"):
        invoke(forget, "kept", states={spec: {}}, debug_checks=True)
        assert not caplog.records
        invoke(forget, "lost", states={spec: {}}, debug_checks=True)

    (record,) = caplog.records
    assert record.getMessage() == (
        "'test_the_debug_checks_warn_of_a_value_changed_in_place.<locals>.forget' changed the"
        " value of the state 'seen' in place, and the change is lost."
        " Return Effects().update_state(…) with the changed value."
    )


def test_missing_states_are_asked_for_at_once_and_no_code_runs(
    request_body: t.Any, answered: t.Any
) -> None:
    called = []
    registry = FunctionRegistry()
    states = [
        ValueSpec("b", int, expire_after_write=2 * SECOND),
        "a",
        ValueSpec("d", str, expire_after_call=SECOND),
        COUNT,
    ]
    registry.register("test/fn", lambda context, message: called.append(message), states=states)

    answer = answered(RequestHandler(registry)(request_body("test/fn", "x", states={COUNT: 1})))

    assert answer.missing == [
        ("b", "io.statefun.types/long", 1, 2000),
        ("a", "type.googleapis.com/google.protobuf.Any", 0, 0),
        ("d", "io.statefun.types/string", 2, 1000),
    ]
    assert called == []


def test_states_of_the_request_that_are_not_declared_are_ignored(
    request_body: t.Any, answered: t.Any
) -> None:
    registry = FunctionRegistry()
    registry.register("test/fn", lambda context, message: Effects().send(TO, "done"))

    body = request_body("test/fn", "x", states={COUNT: 1})

    assert answered(RequestHandler(registry)(body)).texts == ["done"]


def test_a_stored_value_of_another_type_is_refused_before_any_code(
    request_body: t.Any,
) -> None:
    called = []
    registry = FunctionRegistry()
    registry.register("test/fn", lambda context, message: called.append(1), states=[COUNT])
    body = request_body("test/fn", "x", states={COUNT: ("io.statefun.types/string", b"")})

    with pytest.raises(StateTypeError) as info:
        RequestHandler(registry)(body)

    assert str(info.value) == (
        "The state 'count' is declared as 'io.statefun.types/long', but its stored value is of type"
        " 'io.statefun.types/string'. Declare it with the type it was written with, or use a new"
        " name."
    )
    assert called == []


def test_a_stored_value_that_is_not_well_formed_never_yields_a_value(invoke: Invoke) -> None:
    def read(context: Context, message: str) -> Effects:
        return Effects().send(TO, context.get_state(COUNT) or 0)

    with pytest.raises(StateTypeError, match="The stored value of the state 'count' cannot be"):
        invoke(read, "x", states={COUNT: ("io.statefun.types/long", b"\x08\x01\x00")})


@pytest.mark.parametrize("state", ["cuont", ValueSpec("cuont", int)])
def test_an_undeclared_state_is_refused_with_near_names(invoke: Invoke, state: t.Any) -> None:
    def read(context: Context, message: str) -> Effects:
        return Effects().send(TO, context.get_state(state))

    def write(context: Context, message: str) -> Effects:
        return Effects().update_state(state, 1)

    def delete(context: Context, message: str) -> Effects:
        return Effects().delete_state(state)

    for function in (read, write, delete):
        with pytest.raises(UnknownStateError) as info:
            invoke(function, "x", states={COUNT: 1})
        assert str(info.value) == (
            "The function 'test/fn' does not declare the state 'cuont'. Did you mean 'count'?"
            " Add it to the states=[…] of 'test/fn'."
        )
        assert info.value.__notes__ == [
            "while invoking test/fn/me (message 1 of 1, type 'io.statefun.types/string')"
        ]


def test_a_state_used_with_another_type_than_declared_is_refused(invoke: Invoke) -> None:
    other = ValueSpec("count", str)

    def read(context: Context, message: str) -> Effects:
        return Effects().send(TO, context.get_state(other) or "")

    def write(context: Context, message: str) -> Effects:
        return Effects().update_state(other, "a")

    def write_by_name(context: Context, message: str) -> Effects:
        return Effects().update_state("count", "a")

    for function in (read, write, write_by_name):
        with pytest.raises(StateTypeError) as info:
            invoke(function, "x", states={COUNT: 1})
        assert str(info.value) == (
            "The state 'count' is declared as 'io.statefun.types/long', not"
            " 'io.statefun.types/string'. Use the handle that it was declared with."
        )


def test_a_typed_state_can_be_used_by_its_name(invoke: Invoke) -> None:
    def write(context: Context, message: str) -> Effects:
        return Effects().update_state("count", (context.get_state("count") or 0) + 1)

    assert invoke(write, "x", "x", states={COUNT: 1}).changes == [("count", 3)]


def test_a_handle_of_another_state_with_the_same_declaration_is_the_same(invoke: Invoke) -> None:
    def write(context: Context, message: str) -> Effects:
        twin = ValueSpec("count", int)
        return Effects().update_state(twin, (context.get_state(twin) or 0) + 1)

    assert invoke(write, "x", states={COUNT: 1}).changes == [("count", 2)]


# -- untyped states -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [True, 7, -(2**63), 0.5, "text", ""])
def test_an_untyped_state_holds_the_primitives(invoke: Invoke, value: t.Any) -> None:
    spec = ValueSpec("seen")

    def keep(context: Context, message: str) -> Effects:
        seen = context.get_state("seen")
        if seen is None:
            return Effects().update_state("seen", value)
        return Effects().send(TO, repr(seen))

    answer = invoke(keep, "write", "read", states={spec: None})

    assert answer.texts == [repr(value)]
    carrier = answer.result.state_mutations[0].state_value
    assert carrier.typename == "type.googleapis.com/google.protobuf.Any"


def test_an_untyped_state_reads_as_any_class_that_it_holds(invoke: Invoke) -> None:
    seen_type = json_type("test/Seen", dict[str, int])
    spec = ValueSpec("seen")

    def keep(context: Context, message: str) -> Effects:
        if message == "write":
            return Effects().update_state("seen", {"a": 1}, type=seen_type)
        raw = context.get_state("seen")
        assert isinstance(raw, Message)
        assert raw.typename == "test/Seen"
        assert context.get_state("seen", seen_type) == {"a": 1}
        with pytest.raises(StateTypeError, match="The state 'seen' cannot be read as"):
            context.get_state("seen", int)
        return Effects().send(TO, "read")

    assert invoke(keep, "write", "read", states={spec: None}).texts == ["read"]


# -- messages -------------------------------------------------------------------------------------


def test_the_context_has_both_addresses(invoke: Invoke, sent_by: t.Any) -> None:
    def tell(context: Context, message: str) -> Effects:
        return Effects().send(TO, f"{context.self_address} {context.caller_address}")

    answer = invoke(tell, "a", sent_by(Address("x/y", "z"), "b"))

    assert answer.texts == ["test/fn/me None", "test/fn/me x/y/z"]


def test_a_batch_of_no_messages_is_an_empty_result(
    request_body: t.Any,
) -> None:
    registry = FunctionRegistry()
    registry.register("test/fn", count, states=[COUNT])

    body = request_body("test/fn", states={COUNT: 1})

    assert RequestHandler(registry, protocol="v3")(body) == b"\xa2\x06\x00"


def test_messages_are_routed_by_type_to_the_functions_of_a_typename(
    request_body: t.Any, answered: t.Any
) -> None:
    def on_text(context: Context, message: str) -> Effects:
        return Effects().send(TO, "text").update_state(COUNT, 1)

    def on_number(context: Context, message: int) -> Effects:
        return Effects().send(TO, f"number {context.get_state(COUNT)}")

    def on_rest(context: Context, message: Message) -> Effects:
        return Effects().send(TO, message.typename)

    registry = FunctionRegistry()
    registry.register("test/fn", on_text, states=[COUNT])
    registry.register("test/fn", on_number)
    registry.register("test/fn", on_rest)
    body = request_body("test/fn", 1, "x", 2, 0.5, states={COUNT: None})

    assert answered(RequestHandler(registry)(body)).texts == [
        "number None",
        "text",
        "number 1",
        "io.statefun.types/double",
    ]


def test_a_message_that_no_function_accepts_is_refused(invoke: Invoke) -> None:
    with pytest.raises(MessageTypeError) as info:
        invoke(count, "a", 5, states={COUNT: 1})

    assert str(info.value) == (
        "'test/fn' does not accept messages of type 'io.statefun.types/long', only"
        " 'io.statefun.types/string'. Annotate a function of it with that type, or with 'Message'"
        " for messages of every type."
    )
    assert info.value.__notes__ == [
        "while invoking test/fn/me (message 2 of 2, type 'io.statefun.types/long')"
    ]


def test_a_message_without_a_value_reaches_no_typed_parameter(
    invoke: Invoke,
) -> None:
    absent = Message("io.statefun.types/string", has_value=False)

    with pytest.raises(MessageTypeError) as info:
        invoke(count, "a", absent, states={COUNT: 1})

    assert str(info.value) == (
        "The message of type 'io.statefun.types/string' has no value. Send one with a value, or"
        " take it as 'Message'."
    )


def test_a_message_that_is_not_well_formed_never_yields_a_value(invoke: Invoke) -> None:
    with pytest.raises(MessageTypeError, match="cannot be read"):
        invoke(count, Message("io.statefun.types/string", b"12"), states={COUNT: 1})


# -- what a function returns ----------------------------------------------------------------------


def test_iterables_of_effects_are_joined(invoke: Invoke) -> None:
    def as_list(context: Context, message: str) -> list[Effects]:
        return [Effects().send(TO, "a"), Effects().send(TO, "b")]

    def as_tuple(context: Context, message: str) -> tuple[Effects, ...]:
        return (Effects().send(TO, "a"), Effects().send(TO, "b"))

    def as_generator(context: Context, message: str) -> cabc.Iterator[Effects]:
        yield Effects().send(TO, "a")
        yield Effects().send(TO, "b")

    for function in (as_list, as_tuple, as_generator):
        assert invoke(function, "x", "y").texts == ["a", "b", "a", "b"]


def test_a_subclass_of_effects_is_effects(invoke: Invoke) -> None:
    class Mine(Effects):
        pass

    assert invoke(lambda context, message: Mine().send(TO, "a"), "x").texts == ["a"]


def test_none_is_allowed_when_the_annotation_says_so(invoke: Invoke) -> None:
    def optional(context: Context, message: str) -> Effects | None:
        return None

    def nothing(context: Context, message: str) -> None:
        return None

    for function in (optional, nothing):
        assert invoke(function, "x").sends == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "None"),
        ("text", "str 'text'"),
        (b"ab", "bytes b'ab'"),
        ({}, "dict {}"),
        (1, "int 1"),
        ([None], "an iterable with None"),
        (["a"], "an iterable with str 'a'"),
        (Message("a/b"), "Message Message(typename='a/b', value=b'', has_value=True)"),
    ],
)
def test_anything_else_is_refused(invoke: Invoke, value: t.Any, shown: str) -> None:
    def wrong(context: Context, message: str) -> t.Any:
        return value

    with pytest.raises(InvalidReturnError) as info:
        invoke(wrong, "x")

    assert str(info.value) == (
        f"'test_anything_else_is_refused.<locals>.wrong' returned {shown}, but a stateful function"
        " returns Effects. Write 'return Effects()' when nothing should happen."
    )
    assert info.value.__notes__ == [
        "while invoking test/fn/me (message 1 of 1, type 'io.statefun.types/string')"
    ]


def test_effects_are_sealed_once_taken_and_may_be_returned_again(invoke: Invoke) -> None:
    kept = Effects().send(TO, "a")

    assert invoke(lambda context, message: kept, "x", "y").texts == ["a", "a"]

    for add in (
        lambda: kept.send(TO, "b"),
        lambda: kept.send_after(TO, SECOND, "b"),
        lambda: kept.cancel("t"),
        lambda: kept.egress("a/b", "c"),
        lambda: kept.update_state(COUNT, 1),
        lambda: kept.delete_state(COUNT),
        lambda: kept.extend(Effects()),
    ):
        with pytest.raises(RuntimeError) as info:
            add()
        assert str(info.value) == (
            "A function has returned these Effects already, so nothing can be added to them."
            " Make a new Effects() for each message."
        )


def test_yielded_effects_are_sealed_too(invoke: Invoke) -> None:
    shared = Effects()

    def generate(context: Context, message: str) -> cabc.Iterator[Effects]:
        shared.send(TO, message)
        yield shared

    with pytest.raises(RuntimeError, match="A function has returned these Effects already"):
        invoke(generate, "a", "b")


def test_effects_of_an_async_generator_are_sealed_when_they_are_yielded(invoke: Invoke) -> None:
    async def generate(context: Context, message: str) -> cabc.AsyncIterator[Effects]:
        effects = Effects()
        yield effects.send(TO, message)
        effects.send(TO, "lost")

    with pytest.raises(RuntimeError, match="A function has returned these Effects already"):
        invoke(generate, "a")


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("failure", ["raises", "yields another value"])
def test_yielded_effects_of_a_generator_that_fails_are_not_sealed(
    invoke: Invoke, is_async: bool, failure: str
) -> None:
    kept = Effects().send(TO, "kept")

    def generate(context: Context, message: str) -> cabc.Iterator[t.Any]:
        yield kept
        if failure == "raises":
            raise LookupError(message)
        yield message

    async def generate_async(context: Context, message: str) -> cabc.AsyncIterator[t.Any]:
        for each in generate(context, message):
            yield each

    with pytest.raises((LookupError, InvalidReturnError)):
        invoke(generate_async if is_async else generate, "a")
    assert kept.send(TO, "more") == Effects().send(TO, "kept").send(TO, "more")


# -- errors out of user code ----------------------------------------------------------------------


def test_an_exception_of_a_function_gets_a_note(invoke: Invoke) -> None:
    error = KeyError("mine")

    def fail(context: Context, message: str) -> Effects:
        if message == "bad":
            raise error
        return Effects().send(TO, message)

    with pytest.raises(KeyError) as info:
        invoke(fail, "good", "bad", "good")

    assert info.value is error
    assert error.__notes__ == [
        "while invoking test/fn/me (message 2 of 3, type 'io.statefun.types/string')"
    ]


def test_a_failed_batch_leaves_nothing_for_the_next_one(
    request_body: t.Any, answered: t.Any
) -> None:
    def fail(context: Context, message: str) -> Effects:
        if message == "bad":
            raise ValueError(message)
        return count(context, message)

    registry = FunctionRegistry()
    registry.register("test/fn", fail, states=[COUNT])
    handle = RequestHandler(registry)

    with pytest.raises(ValueError, match="bad"):
        handle(request_body("test/fn", "a", "bad", states={COUNT: 1}))
    answer = answered(handle(request_body("test/fn", "a", states={COUNT: 1})))

    assert answer.texts == ["a 2"]
    assert answer.changes == [("count", 2)]


def test_a_generator_that_fails_half_way_has_done_nothing(
    request_body: t.Any,
) -> None:
    made = Effects().send(TO, "a")

    def fail(context: Context, message: str) -> cabc.Iterator[Effects]:
        yield made
        raise ValueError("after the first")

    registry = FunctionRegistry()
    registry.register("test/fn", fail)

    with pytest.raises(ValueError, match="after the first") as info:
        RequestHandler(registry)(request_body("test/fn", "x"))

    assert len(info.value.__notes__) == 1


def test_stop_iteration_becomes_a_runtime_error_with_the_note(invoke: Invoke) -> None:
    def stop(context: Context, message: str) -> Effects:
        return next(iter([]))

    with pytest.raises(RuntimeError) as info:
        invoke(stop, "x")

    assert str(info.value) == "'test/fn' raised StopIteration"
    assert isinstance(info.value.__cause__, StopIteration)
    assert info.value.__notes__ == [
        "while invoking test/fn/me (message 1 of 1, type 'io.statefun.types/string')"
    ]


# -- cancellation tokens --------------------------------------------------------------------------


def delays(context: Context, message: str) -> Effects:
    """Carry out ``send TOKEN`` and ``cancel TOKEN``, one per line."""
    effects = Effects()
    for line in message.splitlines():
        verb, _, token = line.partition(" ")
        if verb == "cancel":
            effects.cancel(token)
        else:
            effects.send_after(TO, SECOND, "x", cancellation_token=token or None)
    return effects


def test_a_token_is_free_again_once_cancelled(invoke: Invoke) -> None:
    message = ("test/sink/a", 1000, "x", "t")

    assert invoke(delays, "send t\ncancel t", "send t").delayed == [message, "t", message]


def test_messages_without_a_token_do_not_collide(invoke: Invoke) -> None:
    assert len(invoke(delays, "send\nsend", "send").delayed) == 3


@pytest.mark.parametrize("messages", [("send t\nsend t",), ("send t", "send t")])
def test_two_pending_messages_with_one_token_are_refused(
    invoke: Invoke, messages: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match="Two delayed") as info:
        invoke(delays, *messages)

    assert str(info.value) == (
        "Two delayed messages of this batch have the cancellation token 't'."
        " Cancel the first one before, or use a token of its own for each."
    )
    assert len(info.value.__notes__) == 1


# -- malformed requests ---------------------------------------------------------------------------


def test_the_error_for_an_unknown_function_has_suggestions(request_body: t.Any) -> None:
    registry = FunctionRegistry()
    registry.register("test/greeter", count, states=[COUNT])

    with pytest.raises(FunctionNotFoundError) as info:
        RequestHandler(registry)(request_body("test/greter", "x"))

    assert str(info.value) == (
        "No stateful function is registered for 'test/greter'. Did you mean 'test/greeter'?"
        " Run 'flask statefun routes' to list the registered functions."
    )


def test_the_error_for_a_malformed_body_has_the_body() -> None:
    with pytest.raises(ProtocolError) as info:
        RequestHandler(FunctionRegistry(), protocol="v3")(b"\xff\xff")

    assert info.value.body == b"\xff\xff"


def test_the_debug_checks_verify_values(invoke: Invoke) -> None:
    import msgspec

    class Point(msgspec.Struct):
        x: int

    point = json_type("test/Point")(Point)

    def send(context: Context, message: str) -> Effects:
        return Effects().send(TO, point(x=t.cast("int", "no number")))

    assert invoke(send, "x").texts == [Message("test/Point", b'{"x":"no number"}')]
    with pytest.raises((TypeError, ValueError), match="x"):
        invoke(send, "x", debug_checks=True)


def test_the_debug_checks_verify_values_in_a_running_loop(request_body: t.Any) -> None:
    import msgspec

    point: t.Any = json_type("test/Point")(msgspec.defstruct("Point", [("x", int)]))

    async def send(context: Context, message: str) -> Effects:
        return Effects().send(TO, point(x=message))

    registry = FunctionRegistry()
    registry.register("test/fn", send)
    body = request_body("test/fn", "no number")

    assert b"no number" in asyncio.run(RequestHandler(registry).handle_async(body))
    with pytest.raises(ValueError, match="The value cannot be read back"):
        asyncio.run(RequestHandler(registry, debug_checks=True).handle_async(body))
