"""Replies are encoded by hand. Protobuf writes the same bytes for the same fields."""

from __future__ import annotations

import typing as t

import pytest
from google.protobuf import any_pb2
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import force_setattr
from to_function import fill_address

from statefun_flask import Address
from statefun_flask import EgressIdentifier
from statefun_flask.protocol import v2
from statefun_flask.protocol import v3
from statefun_flask.protocol.model import BatchResult
from statefun_flask.protocol.schema import request_reply_v2
from statefun_flask.protocol.schema import request_reply_v3
from statefun_flask.values import _wire
from statefun_flask.values.effects import Cancellation
from statefun_flask.values.effects import DelayedSend
from statefun_flask.values.effects import EgressMessage
from statefun_flask.values.effects import Send

# Lengths around the sizes where a varint grows, and around the limit of the header cache.
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
stored_values = st.one_of(st.none(), st.tuples(typenames, payloads))
sends = st.builds(Send, typenames, payloads, addresses)
tokens = texts.filter(bool)


@st.composite
def answers(draw: st.DrawFn, delayed: st.SearchStrategy[t.Any]) -> BatchResult:
    answer = BatchResult("example/greeter")
    answer.changes = draw(st.dictionaries(texts.filter(bool), stored_values, max_size=3))
    answer.sent = draw(st.lists(sends, max_size=3))
    answer.delayed = draw(st.lists(delayed, max_size=3))
    answer.records = draw(
        st.lists(st.builds(EgressMessage, typenames, payloads, egresses), max_size=3)
    )
    return answer


later = st.builds(DelayedSend, typenames, payloads, addresses, delays)
later_or_cancelled = st.one_of(
    later,
    st.builds(DelayedSend, typenames, payloads, addresses, delays, tokens),
    st.builds(Cancellation, tokens),
)


@given(answers(later_or_cancelled))
def test_protobuf_writes_the_same_bytes_for_3(answer: BatchResult) -> None:
    assert v3.encode(answer) == built(answer, request_reply_v3.FromFunction, typed, state_3)


@given(answers(later))
def test_protobuf_writes_the_same_bytes_for_2(answer: BatchResult) -> None:
    assert v2.encode(answer) == built(answer, request_reply_v2.FromFunction, any_of, state_2)


def test_a_header_is_a_tag_and_a_length() -> None:
    for field in (1, 2, 15, 16, 100):
        header = _wire.Header(field)
        for size in SIZES:
            content = bytes(size)
            assert header[size] + content == _wire.delimited(field, content)


@pytest.mark.parametrize("codec", [v2, v3])
def test_an_id_with_lone_surrogates_is_not_written(codec: t.Any) -> None:
    answer = BatchResult("example/greeter")
    address = Address("example/relay", "x")
    force_setattr(address, "id", "\ud800")  # the constructor rejects it
    answer.sent = [Send("a/b", b"", address)]

    with pytest.raises(UnicodeEncodeError):
        codec.encode(answer)


def built(answer: BatchResult, kind: t.Any, fill: t.Any, fill_state: t.Any) -> bytes:
    """Return the reply as the generated classes write it."""
    response = kind()
    result = response.invocation_result
    result.SetInParent()
    for name, stored in answer.changes.items():
        mutation = result.state_mutations.add(state_name=name)
        if stored is not None:
            mutation.mutation_type = kind.PersistedValueMutation.MODIFY
            fill_state(mutation, *stored)
    for each in answer.sent:
        message = result.outgoing_messages.add()
        fill_address(message.target, str(each.address))
        fill(message.argument, each.typename, each.payload)
    for each in answer.delayed:
        delayed = result.delayed_invocations.add()
        if each.cancellation_token:
            delayed.cancellation_token = each.cancellation_token
        if isinstance(each, Cancellation):
            delayed.is_cancellation_request = True
            continue
        delayed.delay_in_ms = each.milliseconds
        fill_address(delayed.target, str(each.address))
        fill(delayed.argument, each.typename, each.payload)
    for each in answer.records:
        record = result.outgoing_egresses.add()
        record.egress_namespace, record.egress_type = each.egress.namespace, each.egress.name
        fill(record.argument, each.typename, each.payload)
    data: bytes = response.SerializeToString()
    return data


def typed(value: t.Any, typename: str, payload: bytes) -> None:
    value.typename, value.has_value, value.value = typename, True, payload


def state_3(mutation: t.Any, typename: str, payload: bytes) -> None:
    typed(mutation.state_value, typename, payload)


def any_of(value: t.Any, typename: str, payload: bytes) -> None:
    value.type_url, value.value = typename, payload


def state_2(mutation: t.Any, typename: str, payload: bytes) -> None:
    stored = any_pb2.Any(type_url=typename, value=payload)
    mutation.state_value = stored.SerializeToString()
