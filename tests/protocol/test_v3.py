"""The 3.x codec, field by field. ``tests/test_golden.py`` has the official SDK's bytes."""

from __future__ import annotations

import datetime as dt
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statefun_flask import Address
from statefun_flask import Effects
from statefun_flask import EgressIdentifier
from statefun_flask import INT
from statefun_flask import Message
from statefun_flask import ProtocolError
from statefun_flask import StateTypeError
from statefun_flask import ValueSpec
from statefun_flask.protocol import v3
from statefun_flask.protocol.records import Answer
from statefun_flask.protocol.records import Incomplete
from statefun_flask.protocol.schema.request_reply_v3 import FromFunction

INT_NAME = "io.statefun.types/int"
SEEN = ValueSpec("seen", INT)


def answer(**content: t.Any) -> bytes:
    made = Answer("ns/fn")
    for name, value in content.items():
        setattr(made, name, value)
    return v3.encode(made)


# -- writing ------------------------------------------------------------------------------------


def test_all_records_of_an_answer_are_written() -> None:
    bob = Address("a/b", "bob")
    effects = (
        Effects()
        .send(bob, 1)
        .send_after(bob, dt.timedelta(seconds=1), "later", cancellation_token="tok")
        .egress("out/kafka", b"record")
    )
    made = FromFunction.FromString(
        answer(
            sends=effects.sends,
            delayed=effects.delayed,
            egresses=[(EgressIdentifier("out/kafka"), "x/y", b"record")],
            changes={"seen": SEEN.encode(7)},
        )
    ).invocation_result

    (sent,) = made.outgoing_messages
    assert (sent.target.namespace, sent.target.type, sent.target.id) == ("a", "b", "bob")
    assert (sent.argument.typename, sent.argument.has_value) == ("io.statefun.types/long", True)
    assert sent.argument.value.hex() == "090100000000000000"
    (later,) = made.delayed_invocations
    assert (later.delay_in_ms, later.cancellation_token, later.is_cancellation_request) == (
        1000,
        "tok",
        False,
    )
    assert later.target.id == "bob"
    assert later.argument.value == b"\x0a\x05later"
    (record,) = made.outgoing_egresses
    assert (record.egress_namespace, record.egress_type) == ("out", "kafka")
    assert (record.argument.typename, record.argument.value) == ("x/y", b"record")
    assert record.argument.has_value
    (mutation,) = made.state_mutations
    assert (mutation.mutation_type, mutation.state_name) == (1, "seen")
    assert (mutation.state_value.typename, mutation.state_value.has_value) == (INT_NAME, True)


@pytest.mark.parametrize(
    ("spec", "mode", "milliseconds"),
    [
        (ValueSpec("s", int), 0, 0),
        (ValueSpec("s", int, expire_after_write=dt.timedelta(seconds=2)), 1, 2000),
        (ValueSpec("s", int, expire_after_call=dt.timedelta(days=1)), 2, 86_400_000),
    ],
    ids=["never", "after write", "after call"],
)
def test_expirations_are_written_in_milliseconds(
    spec: ValueSpec[int], mode: int, milliseconds: int
) -> None:
    (value,) = FromFunction.FromString(
        v3.encode(Incomplete("ns/fn", [spec]))
    ).incomplete_invocation_context.missing_values
    assert value.type_typename == "io.statefun.types/long"
    assert value.expiration_spec.mode == mode
    assert value.expiration_spec.expire_after_millis == milliseconds


# -- reading ----------------------------------------------------------------------------------


def test_a_caller_is_read(to_function: t.Any) -> None:
    body = to_function(1, caller="a/b/alice").SerializeToString()
    ((caller, _),) = v3.decode(body).messages
    assert caller == Address("a/b", "alice")


def test_a_message_without_a_value_stays_without(to_function: t.Any) -> None:
    request = to_function(1)
    request.invocation.invocations[0].argument.has_value = False
    ((_, message),) = v3.decode(request.SerializeToString()).messages
    assert not message.has_value


def test_an_empty_body_is_refused() -> None:
    with pytest.raises(ProtocolError) as raised:
        v3.decode(b"")
    assert str(raised.value) == (
        "The body of 0 bytes holds no invocation. Send a ToFunction of StateFun 3.x, as the runtime"
        " does."
    )


@pytest.mark.parametrize("target", ["", "0a00", "0a040a026e73", "0a041202666e"])
def test_a_request_without_a_target_is_refused(target: str) -> None:
    batch = bytes.fromhex(target)
    body = b"\xa2\x06" + bytes([len(batch)]) + batch
    with pytest.raises(ProtocolError) as raised:
        v3.decode(body)
    assert str(raised.value) == (
        "The invocation names no target function. Send a ToFunction with a target address, as the"
        " runtime does."
    )
    assert raised.value.body == body


def test_a_truncated_request_is_refused(to_function: t.Any) -> None:
    body = to_function(1).SerializeToString()[:-1]
    with pytest.raises(ProtocolError) as raised:
        v3.decode(body)
    assert str(raised.value).startswith(
        f"The body of {len(body)} bytes is not a ToFunction of StateFun 3.x: "
    )
    assert str(raised.value).endswith(". Only the StateFun runtime should call this address.")


def test_a_stored_value_of_another_type_is_refused() -> None:
    with pytest.raises(StateTypeError) as raised:
        v3.admit({"seen": ("io.statefun.types/long", b"")}, {"seen": SEEN})
    assert str(raised.value) == (
        "The state 'seen' is declared as 'io.statefun.types/int', but its stored value is of type"
        " 'io.statefun.types/long'. Declare it with the type it was written with, or use a new"
        " name."
    )


def test_unset_states_are_admitted_whatever_their_type() -> None:
    v3.admit({"seen": None}, {"seen": SEEN})


names = st.from_regex(r"[a-z]{1,8}/[a-z]{1,8}", fullmatch=True)
cells = st.none() | st.tuples(names, st.binary(max_size=20))
messages = st.tuples(
    st.none() | st.builds(Address, names, st.text(max_size=8)),
    st.builds(Message, names, st.binary(max_size=20), st.booleans()),
)


@given(names, st.text(max_size=8), st.dictionaries(st.text(max_size=8), cells), st.lists(messages))
def test_all_of_a_request_is_read(
    target: str, id: str, states: dict[str, t.Any], sent: list[tuple[Address | None, Message]]
) -> None:
    from statefun_flask.protocol.schema.request_reply_v3 import ToFunction

    request = ToFunction()
    batch = request.invocation
    batch.target.namespace, batch.target.type = target.split("/")
    batch.target.id = id
    for name, cell in states.items():
        state = batch.state.add(state_name=name)
        if cell is not None:
            state.state_value.typename, state.state_value.value = cell
            state.state_value.has_value = True
    for caller, message in sent:
        invocation = batch.invocations.add()
        argument = invocation.argument
        argument.typename, argument.value = message.typename, message.value
        argument.has_value = message.has_value
        if caller is not None:
            invocation.caller.namespace = caller.type.namespace
            invocation.caller.type, invocation.caller.id = caller.type.name, caller.id

    read = v3.decode(request.SerializeToString())
    assert (f"{read.namespace}/{read.name}", read.id) == (target, id)
    assert read.cells == states
    assert read.messages == sent
