"""The detection of 2.x and 3.x, and replies in the protocol of the request only."""

from __future__ import annotations

import typing as t

import pytest
from google.protobuf import any_pb2
from google.protobuf import wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st
from to_function import to_function
from to_function import to_function_2

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import Message
from statefun_flask import ProtocolError
from statefun_flask import RequestHandler
from statefun_flask import StateFun
from statefun_flask.protocol import detect
from statefun_flask.protocol.model import Codec
from statefun_flask.protocol.schema import request_reply_v2
from statefun_flask.protocol.schema import request_reply_v3
from statefun_flask.protocol.v2 import CODEC as V2
from statefun_flask.protocol.v3 import CODEC as V3
from statefun_flask.values import _wire
from statefun_flask.values._any import read_any
from statefun_flask.values._any import write_any
from statefun_flask.values.message import ANY

LONG = "io.statefun.types/long"
INT64 = "type.googleapis.com/google.protobuf.Int64Value"
USERS = "example/Thing"


class Body:
    """A request for ``example/<function>``, built from fields that either protocol may write."""

    def __init__(self, function: str = "stateful") -> None:
        self.batch = _wire.delimited(
            1, _wire.text(1, "example") + _wire.text(2, function) + _wire.text(3, "bob")
        )

    def state(self, name: str, value: bytes = b"") -> Body:
        content = _wire.text(1, name) + (_wire.delimited(2, value) if value else b"")
        self.batch += _wire.delimited(2, content)
        return self

    def argument(self, typename: str, rest: bytes = b"") -> Body:
        self.batch += _wire.delimited(3, _wire.delimited(2, _wire.text(1, typename) + rest))
        return self

    def __bytes__(self) -> bytes:
        return _wire.delimited(100, self.batch)


HAS_VALUE = b"\x10\x01"  # field 2, a varint: has_value of 3.x
VALUE_OF_2 = b"\x12\x02\x08\x05"  # field 2, bytes: value of 2.x
VALUE_OF_3 = b"\x1a\x09\x09\x05" + bytes(7)  # field 3: value of 3.x


def function(context: Context, message: Message) -> Effects:
    seen = context.get_state("seen")
    seen = seen if isinstance(seen, int) else 0
    return Effects().update_state("seen", seen + 1).send(context.self_address, seen)


def stateless(context: Context, message: Message) -> Effects:
    return Effects().send(context.self_address, 1)


def handler(protocol: t.Any = "auto") -> RequestHandler:
    registry = FunctionRegistry()
    registry.register("example/stateful", function, states=["seen"])
    registry.register("example/stateless", stateless)
    return RequestHandler(registry, protocol=protocol)


def protocol_of(answer: bytes) -> str:
    """Return the protocol of the numbers in a reply."""
    as_v3 = request_reply_v3.FromFunction.FromString(answer).invocation_result
    as_v2 = request_reply_v2.FromFunction.FromString(answer).invocation_result
    flags = {each.argument.has_value for each in as_v3.outgoing_messages}
    names_3 = {each.argument.typename for each in as_v3.outgoing_messages}
    names_2 = {each.argument.type_url for each in as_v2.outgoing_messages}
    assert (flags, names_3, names_2) in [({True}, {LONG}, {LONG}), ({False}, {INT64}, {INT64})]
    return "v3" if flags == {True} else "v2"


def ask(body: Body, handle: RequestHandler | None = None) -> str:
    return protocol_of((handle or handler())(bytes(body)))


# -- the rule, row by row -------------------------------------------------------------------------


def test_a_first_argument_with_has_value_is_3_x_and_nothing_else_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(detect, "evidence", pytest.fail)

    assert ask(Body("stateless").argument(USERS, HAS_VALUE)) == "v3"


@pytest.mark.parametrize(
    ("rest", "expected"),
    [(HAS_VALUE, "v3"), (VALUE_OF_3, "v3"), (VALUE_OF_2, "v2"), (b"\x12\x00", "v2")],
    ids=["field 2 varint", "field 3", "field 2 delimited", "field 2 delimited and empty"],
)
@pytest.mark.parametrize("place", ["first argument", "last argument", "state", "undeclared state"])
def test_strong_evidence_counts_wherever_it_is(rest: bytes, expected: str, place: str) -> None:
    body = Body()
    if place == "state":
        body.state("seen", _wire.text(1, ANY if expected == "v3" else INT64) + rest)
    else:
        body.state("seen")
    if place == "undeclared state":
        body.state("other", _wire.text(1, USERS) + rest)
    if place != "first argument":
        body.argument(USERS)
    if "argument" in place:
        body.argument(USERS, rest)

    assert ask(body) == expected


def test_a_state_that_is_not_protobuf_is_of_2_x() -> None:
    for value in (b"\x07", b"\x0a\xff", b"\x0a\x01\xff"):
        assert ask(Body().state("seen").state("other", value).argument(USERS)) == "v2"


def test_both_kinds_of_strong_evidence_are_refused() -> None:
    body = Body("stateless").argument(USERS, VALUE_OF_2).argument(USERS, HAS_VALUE)

    with pytest.raises(ProtocolError) as caught:
        ask(body)

    assert str(caught.value) == (
        "The request mixes StateFun 2.x and 3.x: some of its values can only be of 2.x, and some"
        " only of 3.x. Only the StateFun runtime should call this address."
    )
    assert caught.value.body == bytes(body)


def test_without_strong_evidence_names_decide() -> None:
    assert ask(Body().state("seen").argument(LONG)) == "v3"
    assert ask(Body().state("seen").argument(INT64)) == "v2"
    assert ask(Body().state("seen", _wire.text(1, INT64)).argument(USERS)) == "v2"


def test_strong_evidence_outweighs_names() -> None:
    assert ask(Body("stateless").argument(LONG).argument(USERS, VALUE_OF_2)) == "v2"
    assert ask(Body("stateless").argument(INT64).argument(USERS, HAS_VALUE)) == "v3"


@pytest.mark.parametrize(("rest", "expected"), [(HAS_VALUE, "v3"), (VALUE_OF_2, "v2")])
def test_without_any_evidence_the_last_strong_one_of_the_function_decides(
    rest: bytes, expected: str
) -> None:
    handle = handler()
    ask(Body().state("seen").argument(USERS, rest), handle)

    assert ask(Body().state("seen").argument(USERS), handle) == expected


def test_3_x_known_by_a_later_argument_is_remembered() -> None:
    handle = handler()
    ask(Body().state("seen").argument(USERS).argument(USERS, HAS_VALUE), handle)

    assert ask(Body().state("seen").argument(USERS), handle) == "v3"


def test_typenames_outweigh_the_last_request() -> None:
    handle = handler()
    ask(Body().state("seen").argument(USERS, VALUE_OF_2), handle)

    assert ask(Body().state("seen").argument(LONG), handle) == "v3"


def test_names_of_both_decide_nothing() -> None:
    handle = handler()
    ask(Body("stateless").argument(USERS, VALUE_OF_2), handle)

    assert ask(Body("stateless").argument(LONG).argument(INT64), handle) == "v2"


def test_names_and_other_functions_are_not_remembered() -> None:
    handle = handler()
    ask(Body().state("seen").argument(INT64), handle)
    ask(Body("stateless").argument(USERS, VALUE_OF_2), handle)

    with pytest.raises(ProtocolError, match="since all its values are defaults"):
        ask(Body().state("seen").argument(USERS), handle)


def test_with_nothing_at_all_a_function_with_states_is_not_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handle = handler()

    for _ in range(2):
        with pytest.raises(ProtocolError) as caught:
            ask(Body().state("seen").argument(USERS), handle)

    assert str(caught.value) == (
        "The request for 'example/stateful' may be of StateFun 2.x or 3.x, since all its values are"
        " defaults, and a wrong guess would lose its states."
        " Set STATEFUN_PROTOCOL to 'v2' or 'v3'."
    )
    (record,) = caplog.records
    assert record.getMessage() == (
        "A request for 'example/stateful' may be of StateFun 2.x or 3.x, since all its values are"
        " defaults. Set STATEFUN_PROTOCOL to 'v2' or 'v3'."
    )


def test_with_nothing_at_all_a_function_without_states_is_answered_as_3_x(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handle = handler()

    assert ask(Body("stateless").argument(USERS), handle) == "v3"
    assert ask(Body("stateless").argument(USERS), handle) == "v3"
    assert len(caplog.records) == 1


def test_a_request_without_messages_is_answered_as_3_x() -> None:
    assert handler()(bytes(Body().state("seen"))).hex() == "a20600"


def test_bytes_of_neither_protocol_are_refused() -> None:
    with pytest.raises(ProtocolError, match=r"neither StateFun 2\.x nor 3\.x: a field is cut off"):
        handler()(b"\xa2\x06\x05\x0a")


def test_unknown_fields_are_skipped() -> None:
    unknown = b"\x29" + bytes(8) + b"\x35" + bytes(4) + b"\xc8\x3e\xff\x01"

    assert ask(Body("stateless").argument(USERS, unknown + VALUE_OF_2)) == "v2"


@pytest.mark.parametrize(
    ("rest", "reason"),
    [(b"\x2b\x2c", "a field has the wire type 3"), (b"\x02\x00", "a field has the number 0")],
)
def test_a_malformed_argument_is_refused(rest: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        ask(Body("stateless").argument(USERS, rest))


# -- a pinned protocol ----------------------------------------------------------------------------


@pytest.mark.parametrize(("pinned", "other"), [("v2", "v3"), ("v3", "v2")])
@pytest.mark.parametrize("place", ["argument", "state"])
def test_a_pinned_app_says_that_a_request_is_of_the_other_protocol(
    pinned: str, other: str, place: str
) -> None:
    rest = {"v2": VALUE_OF_2, "v3": HAS_VALUE}[other]
    body = Body().state("seen", _wire.text(1, USERS) + rest) if place == "state" else Body()
    body.argument(USERS, rest if place == "argument" else b"")

    with pytest.raises(ProtocolError) as caught:
        ask(body, handler(pinned))

    assert str(caught.value) == (
        f"The request is one of StateFun {other[1]}.x, but STATEFUN_PROTOCOL is '{pinned}'."
        f" Set it to '{other}', or to 'auto' to answer both."
    )


def test_an_app_pinned_to_3_x_rejects_a_state_that_3_x_cannot_parse() -> None:
    with pytest.raises(ProtocolError, match=r"The request is one of StateFun 2\.x"):
        ask(Body().state("seen", b"\x0a\x01\xff").argument(USERS), handler("v3"))


@pytest.mark.parametrize("pinned", ["v2", "v3"])
def test_a_pin_stands_against_names_and_defaults(pinned: str) -> None:
    for typename in (LONG, INT64, USERS):
        assert ask(Body().state("seen").argument(typename), handler(pinned)) == pinned


def test_another_protocol_than_those_is_refused() -> None:
    with pytest.raises(ValueError, match=r"There is no protocol 'v4'\. Choose 'auto', "):
        handler("v4")


@pytest.mark.parametrize(("pinned", "other"), [("v2", HAS_VALUE), ("v3", VALUE_OF_2)])
def test_an_app_takes_its_protocol_from_its_config(pinned: str, other: bytes) -> None:
    from flask import Flask

    app = Flask(__name__)
    app.config["STATEFUN_PROTOCOL"] = pinned
    statefun = StateFun(app)
    statefun("example/stateless")(stateless)
    reply = app.test_client().post(
        "/statefun",
        data=bytes(Body("stateless").argument(USERS, other)),
        content_type="application/octet-stream",
    )

    assert reply.status_code == 400
    assert f"STATEFUN_PROTOCOL is '{pinned}'" in reply.text


def test_an_app_refuses_another_setting() -> None:
    from flask import Flask

    app = Flask(__name__)
    app.config["STATEFUN_PROTOCOL"] = "2"

    with pytest.raises(ValueError, match="The setting STATEFUN_PROTOCOL is '2', which is not"):
        StateFun(app)


# -- properties -----------------------------------------------------------------------------------

ANYS = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(lambda value: wrappers_pb2.Int64Value(value=value)),
    st.text().map(lambda value: wrappers_pb2.StringValue(value=value)),
    st.binary().map(lambda value: wrappers_pb2.BytesValue(value=value)),
    st.booleans().map(lambda value: wrappers_pb2.BoolValue(value=value)),
)
NAMES = st.sampled_from([LONG, INT64, USERS, "com.googleapis/example.GreetRequest", ""])


@st.composite
def requests_of_2(draw: t.Any) -> t.Any:
    seen = draw(st.none() | st.integers(0, 2**62))
    states = {"seen": b"" if seen is None else write_any(INT64, _int64(seen))}
    for number, value in enumerate(draw(st.lists(ANYS, max_size=2))):
        states[f"other{number}"] = write_any(USERS, _bytes(value))
    values = draw(st.lists(ANYS, min_size=1, max_size=4))
    messages = [any_pb2.Any(type_url=draw(NAMES), value=_bytes(value)) for value in values]
    return to_function_2(*messages, target="example/stateful", states=states)


@st.composite
def requests_of_3(draw: t.Any) -> t.Any:
    seen = draw(st.none() | st.integers(0, 2**62))
    states = {"seen": None if seen is None else (ANY, write_any(INT64, _int64(seen)))}
    values = draw(st.lists(ANYS, min_size=1, max_size=4))
    messages = [
        Message(draw(NAMES), _bytes(value))
        if draw(st.booleans())
        else Message(draw(NAMES), b"", False)
        for value in values
    ]
    return to_function(*messages, target="example/stateful", states=states)


def _bytes(message: t.Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def _int64(value: int) -> bytes:
    return _bytes(wrappers_pb2.Int64Value(value=value))


def is_strong(request: t.Any) -> bool:
    """Return whether a request has fields that only its own protocol writes."""
    batch = request.invocation
    if isinstance(request, request_reply_v2.ToFunction):
        return any(each.argument.value for each in batch.invocations) or any(
            read_any(each.state_value).value for each in batch.state
        )
    return any(each.argument.has_value for each in batch.invocations) or any(
        each.state_value.has_value for each in batch.state
    )


@given(st.lists(requests_of_2() | requests_of_3(), min_size=1, max_size=6))
def test_a_request_is_answered_in_its_own_protocol_or_not_at_all(requests: list[t.Any]) -> None:
    """Requests of both protocols, in any order, for one function of one handler."""
    handle = handler()
    pinned = {"v2": handler("v2"), "v3": handler("v3")}
    for request in requests:
        own = "v2" if isinstance(request, request_reply_v2.ToFunction) else "v3"
        if not is_strong(request):
            continue
        body = request.SerializeToString()
        answer = handle(body)

        assert answer == pinned[own](body)
        assert protocol_of(answer) == own


@given(st.lists(requests_of_2(), min_size=1, max_size=6))
def test_no_request_of_2_x_is_answered_as_3_x_once_one_was_known(requests: list[t.Any]) -> None:
    handle = handler()
    known = False
    for request in requests:
        if is_strong(request):
            known = True
        named = {each.argument.type_url for each in request.invocation.invocations}
        if LONG in named and not is_strong(request):
            continue  # a name that 2.x never writes
        try:
            answer = handle(request.SerializeToString())
        except ProtocolError:
            assert not known
        else:
            assert protocol_of(answer) == "v2"


@given(st.sampled_from([V2, V3]), st.data())
def test_strong_evidence_is_only_ever_of_the_protocol_that_wrote_it(
    codec: Codec, data: st.DataObject
) -> None:
    request = data.draw(requests_of_2() if codec is V2 else requests_of_3())
    found = detect.evidence(request.SerializeToString())

    assert found.strong == ({codec} if is_strong(request) else set())


@given(st.binary(max_size=60))
def test_random_bytes_are_refused(body: bytes) -> None:
    for protocol in ("auto", "v2", "v3"):
        with pytest.raises(ProtocolError):
            handler(protocol)(body)


def test_a_body_full_of_unknown_fields_is_refused_soon() -> None:
    """The examination is plain Python, and too slow for megabytes of unknown fields."""
    with pytest.raises(ProtocolError, match="it has too many fields that a request does not have"):
        detect.evidence(b"\x08\x01" * 200_000)
