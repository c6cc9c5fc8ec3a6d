"""The codec of StateFun 3.x: reading, rejecting, and replies that do not end the job."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import typing as t

import pytest
from google.protobuf import any_pb2
from google.protobuf import timestamp_pb2
from to_function import handler_of
from to_function import to_function

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import INT
from statefun_flask import LONG
from statefun_flask import Message
from statefun_flask import MessageTypeError
from statefun_flask import ProtocolError
from statefun_flask import RequestHandler
from statefun_flask import StateTypeError
from statefun_flask import STRING
from statefun_flask import UnknownStateError
from statefun_flask import ValueSpec
from statefun_flask.protocol import v3
from statefun_flask.protocol.model import BatchResult
from statefun_flask.protocol.model import MissingStates
from statefun_flask.protocol.schema.request_reply_v3 import FromFunction

SEEN = ValueSpec("seen", int)
RELAY = Address("example/relay", "r")
ANY = "type.googleapis.com/google.protobuf.Any"
SECOND = dt.timedelta(seconds=1)


def request(*messages: Message, states: dict[str, tuple[str, bytes] | None] | None = None) -> t.Any:
    return to_function(*(messages or [1]), states=states)


def handler(function: t.Any, *states: t.Any) -> RequestHandler:
    return handler_of(function, *states, protocol="v3")


def answer(function: t.Any, body: t.Any, *states: t.Any) -> t.Any:
    reply = handler(function, *states)(body.SerializeToString())
    return FromFunction.FromString(reply).invocation_result


def refusal(function: t.Any, body: t.Any, *states: t.Any) -> str:
    with pytest.raises((LookupError, TypeError, ValueError)) as caught:
        handler(function, *states)(body.SerializeToString())
    return str(caught.value)


# -- reading ----------------------------------------------------------------------------------


def test_a_state_without_a_value_is_known() -> None:
    batch = v3.decode(request(states={"a": None, "b": ("x/y", b"")}).SerializeToString())

    assert batch.states == {"a": None, "b": ("x/y", b"")}


def test_a_caller_is_read() -> None:
    body = request(Message("a/b"), Message("a/b"))
    caller = body.invocation.invocations[1].caller
    caller.namespace, caller.type, caller.id = "example", "caller", "eve"

    callers = [caller for caller, _ in v3.decode(body.SerializeToString()).messages]
    assert callers == [None, Address("example/caller", "eve")]


def test_a_message_without_a_value_says_so() -> None:
    ((_, message),) = v3.decode(request(Message("a/b", b"", False)).SerializeToString()).messages

    assert message == Message("a/b", b"", has_value=False)


def test_an_empty_id_is_an_id() -> None:
    body = request()
    body.invocation.target.id = ""

    assert v3.decode(body.SerializeToString()).id == ""


def test_unknown_fields_are_ignored() -> None:
    body = request().SerializeToString()

    assert v3.decode(body + b"\xf8\x07\x01") == v3.decode(body)


@pytest.mark.parametrize("body", [b"", b"\xf8\x07\x01"])
def test_a_body_without_an_invocation_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        v3.decode(body)

    assert str(caught.value) == (
        f"The body of {len(body)} bytes holds no invocation."
        " Send a ToFunction of StateFun 3.x, as the runtime does."
    )
    assert caught.value.body == body


@pytest.mark.parametrize("part", ["namespace", "type"])
def test_an_invocation_without_a_target_is_refused(part: str) -> None:
    body = request()
    setattr(body.invocation.target, part, "")

    with pytest.raises(ProtocolError) as caught:
        v3.decode(body.SerializeToString())
    assert str(caught.value) == (
        "The invocation names no target function."
        " Send a ToFunction with a target address, as the runtime does."
    )


@pytest.mark.parametrize(
    "body",
    [b"\0" * 1_000_000, b"\xff" * 100, b"<html>", b"{}", b"\x0b" * 100_000, b"\xa2\x06\x05\x0a"],
    ids=["zeros", "ones", "html", "json", "nested-groups", "truncated"],
)
def test_a_body_that_is_not_a_to_function_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        v3.decode(body)

    text = str(caught.value)
    assert text.startswith(f"The body of {len(body)} bytes is not a ToFunction of StateFun 3.x: ")
    assert text.endswith(". Only the StateFun runtime should call this address.")
    assert caught.value.body == body


def test_deeply_nested_unknown_fields_are_refused_or_ignored() -> None:
    nested = b""
    for _ in range(10_000):
        nested = b"\x0a" + _varint(len(nested)) + nested
    v3.decode(request().SerializeToString() + b"\xfa\x07" + _varint(len(nested)) + nested)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


# -- what reaches a function ------------------------------------------------------------------


def test_a_message_without_a_value_never_becomes_a_default() -> None:
    ran: list[t.Any] = []

    def function(context: Context, message: int) -> Effects:
        ran.append(message)
        return Effects()

    assert refusal(function, request(Message(LONG.typename, b"", False))) == (
        "The message of type 'io.statefun.types/long' has no value."
        " Send one with a value, or take it as 'Message'."
    )
    assert ran == []


def test_a_message_without_a_value_reaches_a_raw_parameter() -> None:
    seen: list[Message] = []

    def function(context: Context, message: Message) -> Effects:
        seen.append(message)
        return Effects()

    answer(function, request(Message("a/b", b"", False)))
    assert seen == [Message("a/b", b"", has_value=False)]


def test_an_any_parameter_accepts_every_message_and_sends_it_on() -> None:
    def function(context: Context, message: any_pb2.Any) -> Effects:
        return Effects().send(RELAY, message)

    stamp = timestamp_pb2.Timestamp(seconds=7).SerializeToString()
    messages = [
        Message("type.googleapis.com/google.protobuf.Timestamp", stamp),
        Message("io.statefun.types/string", STRING.serialize("hi")),
    ]
    sent = answer(function, request(*messages)).outgoing_messages
    assert [Message(each.argument.typename, each.argument.value) for each in sent] == messages


def test_a_message_without_a_value_never_becomes_an_empty_any() -> None:
    def function(context: Context, message: any_pb2.Any) -> Effects:
        raise AssertionError("the function must not run")

    assert refusal(function, request(Message("a/b", b"", False))) == (
        "The message of type 'a/b' has no value. Send one with a value, or take it as 'Message'."
    )


@pytest.mark.parametrize(
    "message",
    [
        Message("io.statefun.types/string", STRING.serialize("1")),
        Message("io.statefun.types/bool", b"\x08\x01"),
        Message("example/long", LONG.serialize(1)),
        Message("", b""),
    ],
)
def test_a_message_of_another_type_reaches_no_function(message: Message) -> None:
    def function(context: Context, message: int) -> Effects:
        raise AssertionError("the function must not run")

    with pytest.raises(MessageTypeError) as caught:
        handler(function)(request(message).SerializeToString())
    assert str(caught.value) == (
        f"'example/fn' does not accept messages of type '{message.typename}', only"
        " 'io.statefun.types/long'. Annotate a function of it with that type, or with 'Message' for"
        " messages of every type."
    )


def test_a_malformed_message_reaches_no_function() -> None:
    def function(context: Context, message: str) -> Effects:
        raise AssertionError("the function must not run")

    with pytest.raises(MessageTypeError, match="utf8_type"):
        handler(function)(request(Message(STRING.typename, b"Bob")).SerializeToString())


# -- answers that would end the job ---------------------------------------------------------------


def never(context: Context, message: Message) -> Effects:
    raise AssertionError("the function must not run")


@pytest.mark.parametrize(
    "effects",
    [
        lambda: Effects().update_state("sen", 1),
        lambda: Effects().update_state(ValueSpec("sen", int), 1),
        lambda: Effects().delete_state("sen"),
    ],
)
def test_a_state_that_was_never_registered_is_not_written(effects: t.Any) -> None:
    assert refusal(lambda c, m: effects(), request(states={"seen": None, "sen": None}), SEEN) == (
        "The function 'example/fn' does not declare the state 'sen'. Did you mean 'seen'?"
        " Add it to the states=[…] of 'example/fn'."
    )


@pytest.mark.parametrize(
    ("effects", "typename"),
    [
        (lambda: Effects().update_state("seen", "text"), "io.statefun.types/string"),
        (lambda: Effects().update_state("seen", 1, type=INT), "io.statefun.types/int"),
        (lambda: Effects().update_state(ValueSpec("seen", INT), 1), "io.statefun.types/int"),
        (lambda: Effects().update_state(ValueSpec("seen"), 1), ANY),
    ],
)
def test_a_state_is_written_as_it_was_registered(effects: t.Any, typename: str) -> None:
    assert refusal(lambda c, m: effects(), request(states={"seen": None}), SEEN) == (
        f"The state 'seen' is declared as 'io.statefun.types/long', not '{typename}'."
        " Use the handle that it was declared with."
    )


def test_a_stored_value_of_another_type_is_refused_before_any_function_runs() -> None:
    stored = ("io.statefun.types/int", INT.serialize(1))

    with pytest.raises(StateTypeError) as caught:
        handler(never, SEEN)(request(states={"seen": stored}).SerializeToString())
    assert str(caught.value) == (
        "The state 'seen' is declared as 'io.statefun.types/long', but its stored value is of type"
        " 'io.statefun.types/int'. Declare it with the type it was written with, or use a new name."
    )


def test_states_that_the_runtime_knows_are_not_asked_for_again() -> None:
    """Otherwise the runtime would send the same request again, without a limit."""
    other = ValueSpec("other", str)
    reply = FromFunction.FromString(
        handler(never, SEEN, other)(request(states={"seen": None}).SerializeToString())
    )

    asked = reply.incomplete_invocation_context.missing_values
    assert [each.state_name for each in asked] == ["other"]


def test_a_request_without_messages_asks_for_states_too() -> None:
    body = request(states={})
    del body.invocation.invocations[:]

    reply = FromFunction.FromString(handler(never, SEEN)(body.SerializeToString()))
    assert reply.incomplete_invocation_context.missing_values[0].state_name == "seen"


@pytest.mark.parametrize(
    ("effects", "message"),
    [
        (
            lambda: Effects().send(t.cast("t.Any", None), 1),
            (
                "None is not an address. Write Address('namespace/name', 'id'), or"
                " 'namespace/name/id'."
            ),
        ),
        (
            lambda: Effects().send_after(t.cast("t.Any", None), SECOND, 1),
            (
                "None is not an address. Write Address('namespace/name', 'id'), or"
                " 'namespace/name/id'."
            ),
        ),
        (
            lambda: Effects().send_after(RELAY, -SECOND, 1),
            "The delay -1 day, 23:59:59 is negative. Use at least timedelta(0).",
        ),
        (
            lambda: Effects().cancel(""),
            (
                "A cancellation token cannot be empty, since the runtime would end the job."
                " Leave it out for a message that is never cancelled."
            ),
        ),
        (
            lambda: (
                Effects()
                .send_after(RELAY, SECOND, 1, cancellation_token="t")
                .send_after(RELAY, SECOND, 1, cancellation_token="t")
            ),
            (
                "Two delayed messages of this batch have the cancellation token 't'."
                " Cancel the first one before, or use a token of its own for each."
            ),
        ),
        (
            lambda: Effects().egress("greets", b""),
            "'greets' is not a typename. Write it as 'namespace/name', with one slash.",
        ),
        (
            lambda: Effects().update_state(SEEN, t.cast("t.Any", None)),
            "A state cannot hold None. Use 'delete_state' to delete its value.",
        ),
    ],
)
def test_effects_that_would_end_the_job_are_refused(effects: t.Any, message: str) -> None:
    assert refusal(lambda c, m: effects(), request(states={"seen": None}), SEEN) == message


def test_a_refused_message_leaves_the_handler_as_it_was() -> None:
    def function(context: Context, message: int) -> Effects:
        effects = Effects().update_state(SEEN, message).send(RELAY, message)
        return effects if message < 2 else effects.update_state("other", 1)

    call = handler(function, SEEN)
    good, bad = (Message(LONG.typename, LONG.serialize(number)) for number in (1, 2))

    with pytest.raises(UnknownStateError):
        call(request(good, bad, states={"seen": None}).SerializeToString())
    reply = FromFunction.FromString(call(request(good, states={"seen": None}).SerializeToString()))
    assert len(reply.invocation_result.outgoing_messages) == 1
    assert len(reply.invocation_result.state_mutations) == 1


# -- untyped states ---------------------------------------------------------------------------


def test_an_untyped_state_is_an_any_under_3x_too() -> None:
    def function(context: Context, message: int) -> Effects:
        return Effects().update_state("seen", (context.get_state("seen") or 0) + message)

    first = answer(function, request(states={"seen": None}), "seen").state_mutations[0]
    assert first.state_value.typename == ANY
    carried = (first.state_value.typename, first.state_value.value)
    second = answer(function, request(states={"seen": carried}), "seen").state_mutations[0]

    carrier = any_pb2.Any.FromString(second.state_value.value)
    assert carrier.type_url == "type.googleapis.com/google.protobuf.Int64Value"
    assert carrier.value == b"\x08\x02"


def test_an_untyped_state_rejects_a_typed_value() -> None:
    stored = ("io.statefun.types/long", LONG.serialize(1))

    assert refusal(never, request(states={"seen": stored}), "seen") == (
        f"The state 'seen' is declared as '{ANY}', but its stored value is of type"
        " 'io.statefun.types/long'. Declare it with the type it was written with, or use a new"
        " name."
    )


# -- lost changes -----------------------------------------------------------------------------


def test_a_lost_change_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    spec = ValueSpec("stamp", timestamp_pb2.Timestamp)

    def touch(context: Context, message: int) -> Effects:
        stamp = context.get_state(spec)
        assert stamp is not None
        stamp.seconds += 1
        return Effects().update_state(spec, stamp) if message else Effects()

    registry = FunctionRegistry()
    registry.register("example/fn", touch, states=[spec])
    states: t.Any = {"stamp": spec._encode(timestamp_pb2.Timestamp(seconds=7))}
    lost, kept = (request(Message(LONG.typename, LONG.serialize(n)), states=states) for n in (0, 1))

    RequestHandler(registry)(lost.SerializeToString())
    RequestHandler(registry, debug_checks=True)(kept.SerializeToString())
    assert caplog.messages == []
    RequestHandler(registry, debug_checks=True)(lost.SerializeToString())
    assert caplog.messages == [
        (
            "'test_a_lost_change_is_warned_of.<locals>.touch' changed the value of the"
            " state 'stamp' in place, and the change is lost."
            " Return Effects().update_state(…) with the changed value."
        )
    ]


# -- writing ----------------------------------------------------------------------------------


def test_an_empty_answer_is_an_empty_result() -> None:
    assert v3.encode(BatchResult("example/fn")).hex() == "a20600"


def test_missing_states_are_listed_with_their_expiration() -> None:
    specs: list[ValueSpec[t.Any]] = [
        SEEN,
        ValueSpec("a", str, expire_after_write=dt.timedelta(microseconds=1500)),
        ValueSpec("b", INT, expire_after_call=dt.timedelta(days=2)),
        ValueSpec("c"),
    ]
    reply = FromFunction.FromString(v3.encode(MissingStates("example/fn", specs)))

    assert [
        (
            each.state_name,
            each.type_typename,
            each.expiration_spec.mode,
            each.expiration_spec.expire_after_millis,
        )
        for each in reply.incomplete_invocation_context.missing_values
    ] == [
        ("seen", "io.statefun.types/long", 0, 0),
        ("a", "io.statefun.types/string", 1, 1),
        ("b", "io.statefun.types/int", 2, 172_800_000),
        ("c", ANY, 0, 0),
    ]


def test_protobuf_in_pure_python_is_enough() -> None:
    """It is used where the compiled implementation cannot be loaded."""
    code = (
        "from google.protobuf.internal import api_implementation\n"
        "assert api_implementation.Type() == 'python'\n"
        "from statefun_flask.protocol import v2, v3\n"
        "from statefun_flask.protocol.model import MissingStates\n"
        "from statefun_flask import ValueSpec\n"
        "import datetime\n"
        "spec = ValueSpec('seen', int, expire_after_write=datetime.timedelta(seconds=1))\n"
        "print(v3.encode(MissingStates('a/b', [spec])).hex())\n"
    )
    pure = {**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=pure, check=True
    )
    spec = ValueSpec("seen", int, expire_after_write=SECOND)
    assert done.stdout.strip() == v3.encode(MissingStates("a/b", [spec])).hex()  # type: ignore[arg-type]
