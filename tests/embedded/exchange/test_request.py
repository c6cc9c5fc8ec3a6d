"""Requests that are written by hand equal those that protobuf writes."""

from __future__ import annotations

import typing as t

import hypothesis
from hypothesis import strategies as st

from statefun_flask import Address
from statefun_flask import Message
from statefun_flask.embedded.exchange import request
from statefun_flask.embedded.exchange.states import StateSpec
from statefun_flask.embedded.records import Envelope
from statefun_flask.embedded.records import StoredValue
from statefun_flask.protocol.schema.request_reply_v3 import ToFunction

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
halves = texts.filter(lambda text: text and "/" not in text)
typenames = st.builds("{}/{}".format, halves, halves)
addresses = st.builds(Address, typenames, texts | st.just("i" * 200))
payloads = st.binary(max_size=20) | st.sampled_from([b"x" * 127, b"x" * 128, b"x" * 20_000])
messages = st.builds(Message, texts, payloads, st.just(True)) | st.builds(
    Message, texts, st.just(b""), st.just(False)
)
senders = st.none() | addresses
states = st.dictionaries(texts, st.tuples(typenames, st.none() | payloads), max_size=4)


@hypothesis.given(addresses, states, st.lists(st.tuples(senders, messages), max_size=5))
def test_a_request_equals_what_protobuf_writes(
    target: Address,
    states: dict[str, tuple[str, bytes | None]],
    batch: list[tuple[Address | None, Message]],
) -> None:
    expected = ToFunction()
    invocation = expected.invocation
    fill(invocation.target, target)
    for name, (typename, payload) in states.items():
        state = invocation.state.add(state_name=name)
        if payload is not None:
            state.state_value.typename = typename
            state.state_value.has_value = True
            state.state_value.value = payload
    for caller, message in batch:
        entry = invocation.invocations.add()
        if caller is not None:
            fill(entry.caller, caller)
        entry.argument.SetInParent()
        entry.argument.typename = message.typename
        entry.argument.has_value = message.has_value
        entry.argument.value = message.value

    written = request.write(
        target,
        {name: StateSpec(name, typename) for name, (typename, _) in states.items()},
        {name: StoredValue(value, 0) for name, (_, value) in states.items() if value is not None},
        [
            Envelope(number, 1, target, caller, message)
            for number, (caller, message) in enumerate(batch)
        ],
    )
    assert written == expected.SerializeToString(deterministic=True)


def fill(field: t.Any, address: Address) -> None:
    field.namespace = address.type.namespace
    field.type = address.type.name
    field.id = address.id
