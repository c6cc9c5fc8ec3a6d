"""The bytes of the official SDKs are read and written."""

from __future__ import annotations

import datetime as dt
import math
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask import BOOL
from statefun_flask import Context
from statefun_flask import DOUBLE
from statefun_flask import Effects
from statefun_flask import FLOAT
from statefun_flask import FunctionRegistry
from statefun_flask import INT
from statefun_flask import kafka_record
from statefun_flask import LONG
from statefun_flask import Message
from statefun_flask import ProtocolError
from statefun_flask import RequestHandler
from statefun_flask import STRING
from statefun_flask import Type
from statefun_flask import ValueSpec
from statefun_flask.protocol import v3
from statefun_flask.protocol.schema.request_reply_v3 import FromFunction

TARGET_ONLY = bytes.fromhex("a2060e0a0c0a026e731202666e1a026964")
ONE_INT = bytes.fromhex(
    "a2063a0a0c0a026e731202666e1a02696412060a047365656e"
    "1a2212200a15696f2e737461746566756e2e74797065732f696e7410011a050d01000000"
)
EMPTY_RESULT = "a20600"
INCOMPLETE = "aa06260a240a047365656e1205080110d00f1a15696f2e737461746566756e2e74797065732f696e74"
DELETE = "a206080a0612047365656e"
MODIFY_ZERO = "a206250a23080112047365656e1a190a15696f2e737461746566756e2e74797065732f696e741001"
CANCELLATION = "a206091a0750015a03746f6b"

SEEN = ValueSpec("seen", INT, expire_after_write=dt.timedelta(seconds=2))

#: (type, value, payload), written by the official Python SDK 3.3.0.
VALUES: list[tuple[Type[t.Any], t.Any, str]] = [
    (BOOL, True, "0801"),
    (BOOL, False, ""),
    (INT, 0, ""),
    (INT, 1, "0d01000000"),
    (INT, -1, "0dffffffff"),
    (INT, 42, "0d2a000000"),
    (INT, 1337420, "0d4c681400"),
    (INT, 2**31 - 1, "0dffffff7f"),
    (INT, -(2**31), "0d00000080"),
    (LONG, 0, ""),
    (LONG, 1, "090100000000000000"),
    (LONG, -1, "09ffffffffffffffff"),
    (LONG, 2**45, "090000000000200000"),
    (LONG, 2**63 - 1, "09ffffffffffffff7f"),
    (LONG, -(2**63), "090000000000000080"),
    (FLOAT, 0.0, ""),
    (FLOAT, 1.0, "0d0000803f"),
    (FLOAT, -1.0, "0d000080bf"),
    (FLOAT, 0.5, "0d0000003f"),
    (FLOAT, 3.14, "0dc3f54840"),
    (FLOAT, math.nan, "0d0000c07f"),
    (FLOAT, math.inf, "0d0000807f"),
    (FLOAT, -math.inf, "0d000080ff"),
    (FLOAT, 3.4028234663852886e38, "0dffff7f7f"),
    (FLOAT, -0.0, "0d00000080"),
    (DOUBLE, 0.0, ""),
    (DOUBLE, 1.0, "09000000000000f03f"),
    (DOUBLE, -1.0, "09000000000000f0bf"),
    (DOUBLE, 0.5, "09000000000000e03f"),
    (DOUBLE, 3.14, "091f85eb51b81e0940"),
    (DOUBLE, 1e-20, "092342920ca19cc73b"),
    (DOUBLE, math.nan, "09000000000000f87f"),
    (DOUBLE, math.inf, "09000000000000f07f"),
    (DOUBLE, -0.0, "090000000000000080"),
    (STRING, "", ""),
    (STRING, "a", "0a0161"),
    (STRING, "Hello", "0a0548656c6c6f"),
    (STRING, "héllo", "0a0668c3a96c6c6f"),
    (STRING, "日本", "0a06e697a5e69cac"),
    (STRING, "🚀", "0a04f09f9a80"),
    (STRING, "\0", "0a0100"),
    (STRING, "x" * 130, "0a8201" + "78" * 130),
]


def answer(function: t.Any, *states: t.Any, body: bytes = ONE_INT) -> str:
    """Return the reply to a request in hexadecimal."""
    registry = FunctionRegistry()
    registry.register("ns/fn", function, states=states)
    return RequestHandler(registry)(body).hex()


@pytest.mark.parametrize(
    ("type", "value", "payload"), VALUES, ids=[f"{y.label}-{v!r:.12}" for y, v, _ in VALUES]
)
def test_a_value_is_written_and_read_as_the_official_sdks_do(
    type: Type[t.Any], value: t.Any, payload: str
) -> None:
    assert type.serialize(value).hex() == payload

    reader = type._reader(type.typename)
    assert reader is not None
    read = reader(bytes.fromhex(payload))
    assert read.__class__ is value.__class__
    # Compared as bytes: NaN is not equal to itself, -0.0 is equal to 0.0, 3.14 is rounded.
    assert type.serialize(read).hex() == payload
    assert type is FLOAT or read == value or value != value


@pytest.mark.parametrize(
    ("type", "typename"),
    [
        (BOOL, "io.statefun.types/bool"),
        (INT, "io.statefun.types/int"),
        (FLOAT, "io.statefun.types/float"),
        (LONG, "io.statefun.types/long"),
        (DOUBLE, "io.statefun.types/double"),
        (STRING, "io.statefun.types/string"),
    ],
)
def test_the_six_types_have_the_typenames_of_the_runtime(type: Type[t.Any], typename: str) -> None:
    assert type.typename == typename


def test_a_request_of_only_a_target_is_read() -> None:
    batch = v3.decode(TARGET_ONLY)

    assert (batch.target, batch.id) == (("ns", "fn"), "id")
    assert batch.states == {}
    assert batch.messages == []


def test_a_request_with_an_unset_state_and_one_int_is_read() -> None:
    batch = v3.decode(ONE_INT)

    assert (batch.target, batch.id) == (("ns", "fn"), "id")
    assert batch.states == {"seen": None}
    assert batch.messages == [(None, Message("io.statefun.types/int", bytes.fromhex("0d01000000")))]


def test_a_function_sees_the_values_of_the_sample_request() -> None:
    seen: list[t.Any] = []

    def function(context: Context, message: int) -> Effects:
        seen.extend((context.self_address, context.caller_address))
        seen.extend((context.get_state(SEEN), message))
        return Effects()

    assert answer(function, SEEN) == EMPTY_RESULT
    assert seen == [Address("ns/fn", "id"), None, None, 1]


def test_no_effects_are_an_empty_result() -> None:
    assert answer(lambda context, message: Effects(), SEEN) == EMPTY_RESULT


def test_a_target_without_messages_is_an_empty_result() -> None:
    assert answer(lambda context, message: Effects(), body=TARGET_ONLY) == EMPTY_RESULT


def test_a_missing_state_is_asked_for_with_its_expiration() -> None:
    assert answer(lambda context, message: Effects(), SEEN, body=TARGET_ONLY) == INCOMPLETE


def test_a_deletion_is_a_mutation_of_only_a_name() -> None:
    assert answer(lambda context, message: Effects().delete_state(SEEN), SEEN) == DELETE


def test_a_zero_is_written_as_an_empty_value() -> None:
    assert answer(lambda context, message: Effects().update_state(SEEN, 0), SEEN) == MODIFY_ZERO


def test_a_cancellation_is_only_its_token() -> None:
    assert answer(lambda context, message: Effects().cancel("tok"), SEEN) == CANCELLATION


def test_the_kafka_sample_is_written() -> None:
    record = kafka_record("t", key="k", value=(1337420).to_bytes(4, "big"))

    assert record.value.hex() == "0a016b12040014684c1a0174"
    assert record.typename == "type.googleapis.com/io.statefun.sdk.egress.KafkaProducerRecord"


@pytest.mark.parametrize(
    "sample", [EMPTY_RESULT, INCOMPLETE, DELETE, MODIFY_ZERO, CANCELLATION, "aa0600"]
)
def test_the_samples_of_answers_parse_back_to_themselves(sample: str) -> None:
    reply = FromFunction.FromString(bytes.fromhex(sample))

    assert reply.WhichOneof("response") is not None
    assert reply.SerializeToString().hex() == sample


def test_a_zero_length_body_is_refused_as_a_request() -> None:
    with pytest.raises(ProtocolError, match="holds no invocation"):
        v3.decode(b"")
