"""Answers are written by hand: protobuf, given the same fields, writes the same bytes."""

from __future__ import annotations

import typing as t

import pytest
from google.protobuf import any_pb2
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import force_setattr

from statefun_flask import Address
from statefun_flask import EgressIdentifier
from statefun_flask.protocol import v2
from statefun_flask.protocol import v3
from statefun_flask.protocol.model import Answer
from statefun_flask.protocol.schema import request_reply_v2
from statefun_flask.protocol.schema import request_reply_v3
from statefun_flask.values import _wire

# Lengths on both sides of where a varint grows and of what is looked up.
SIZES = (0, 1, 5, 100, 127, 128, 1000, 1023, 1024, 16_383, 16_384, 100_000)

typenames = st.sampled_from(
    ["example/relay", "a/b", "ünï/ço", "x/" + "y" * 200, "io.statefun.types/none"]
)
payloads = st.one_of(
    st.binary(max_size=20), st.builds(lambda size: b"\x07" * size, st.sampled_from(SIZES))
)
texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(["", "i" * 127, "i" * 128, "ö" * 600]),
)
addresses = st.builds(Address, typenames, texts)
egresses = st.builds(EgressIdentifier, typenames)
delays = st.one_of(st.just(0), st.integers(0, 2**63 - 1))
cells = st.one_of(st.none(), st.tuples(typenames, payloads))
sends = st.tuples(addresses, typenames, payloads)
tokens = texts.filter(bool)


@st.composite
def answers(draw: st.DrawFn, delayed: st.SearchStrategy[t.Any]) -> Answer:
    answer = Answer("example/greeter")
    answer.changes = draw(st.dictionaries(texts.filter(bool), cells, max_size=3))
    answer.sends = draw(st.lists(sends, max_size=3))
    answer.delayed = draw(st.lists(delayed, max_size=3))
    answer.egresses = draw(st.lists(st.tuples(egresses, typenames, payloads), max_size=3))
    return answer


later = st.tuples(addresses, delays, typenames, payloads, st.just(""))
later_or_cancelled = st.one_of(
    later,
    st.tuples(addresses, delays, typenames, payloads, tokens),
    st.tuples(st.none(), st.just(0), st.just(""), st.just(b""), tokens),
)


@given(answers(later_or_cancelled))
def test_protobuf_writes_the_same_bytes_for_3(answer: Answer) -> None:
    assert v3.encode(answer) == built(answer, request_reply_v3.FromFunction, typed, state_3)


@given(answers(later))
def test_protobuf_writes_the_same_bytes_for_2(answer: Answer) -> None:
    assert v2.encode(answer) == built(answer, request_reply_v2.FromFunction, any_of, state_2)


def test_a_header_is_a_tag_and_a_length() -> None:
    for field in (1, 2, 15, 16, 100):
        header = _wire.Header(field)
        for size in SIZES:
            content = bytes(size)
            assert header[size] + content == _wire.delimited(field, content)


@pytest.mark.parametrize("codec", [v2, v3])
def test_an_id_that_is_no_text_is_not_written(codec: t.Any) -> None:
    answer = Answer("example/greeter")
    address = Address("example/relay", "x")
    force_setattr(address, "id", "\ud800")  # the constructor refuses it
    answer.sends = [(address, "a/b", b"")]

    with pytest.raises(UnicodeEncodeError):
        codec.encode(answer)


def built(answer: Answer, kind: t.Any, fill: t.Any, fill_state: t.Any) -> bytes:
    """Return the answer as the generated classes write it."""
    response = kind()
    result = response.invocation_result
    result.SetInParent()
    for name, cell in answer.changes.items():
        mutation = result.state_mutations.add(state_name=name)
        if cell is not None:
            mutation.mutation_type = kind.PersistedValueMutation.MODIFY
            fill_state(mutation, *cell)
    for address, typename, payload in answer.sends:
        message = result.outgoing_messages.add()
        set_target(message.target, address)
        fill(message.argument, typename, payload)
    for receiver, delay, typename, payload, token in answer.delayed:
        delayed = result.delayed_invocations.add()
        if token:
            delayed.cancellation_token = token
        if receiver is None:
            delayed.is_cancellation_request = True
            continue
        delayed.delay_in_ms = delay
        set_target(delayed.target, receiver)
        fill(delayed.argument, typename, payload)
    for egress, typename, payload in answer.egresses:
        record = result.outgoing_egresses.add()
        record.egress_namespace, record.egress_type = egress.namespace, egress.name
        fill(record.argument, typename, payload)
    data: bytes = response.SerializeToString()
    return data


def set_target(target: t.Any, address: Address) -> None:
    target.namespace, target.type = address.type.namespace, address.type.name
    target.id = address.id


def typed(value: t.Any, typename: str, payload: bytes) -> None:
    value.typename, value.has_value, value.value = typename, True, payload


def state_3(mutation: t.Any, typename: str, payload: bytes) -> None:
    typed(mutation.state_value, typename, payload)


def any_of(value: t.Any, typename: str, payload: bytes) -> None:
    value.type_url, value.value = typename, payload


def state_2(mutation: t.Any, typename: str, payload: bytes) -> None:
    stored = any_pb2.Any(type_url=typename, value=payload)
    mutation.state_value = stored.SerializeToString()
