"""Requests and answers of the 3.x protocol, and the watch for what a test leaves behind."""

from __future__ import annotations

import collections.abc as cabc
import threading
import typing as t

import flask
import pytest

from statefun_flask import Address
from statefun_flask import FunctionRegistry
from statefun_flask import Message
from statefun_flask import RequestHandler
from statefun_flask import ValueSpec
from statefun_flask.message import encode
from statefun_flask.protocol.schema.request_reply_v3 import FromFunction
from statefun_flask.protocol.schema.request_reply_v3 import ToFunction
from statefun_flask.state import unwrap


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> cabc.Iterator[None]:
    """Fail a test that leaves an application context pushed or a thread that holds the process."""
    before = set(threading.enumerate())
    yield
    left = [each for each in threading.enumerate() if each not in before and not each.daemon]
    for thread in left:
        thread.join(timeout=2)
    assert not [each for each in left if each.is_alive()], "threads left running"
    assert not flask.has_app_context(), "an application context was left pushed"


class From(t.NamedTuple):
    """A message with a sender; a value alone comes from an ingress."""

    caller: Address
    value: t.Any


class Answered:
    """A FromFunction with its values decoded."""

    def __init__(self, body: bytes) -> None:
        self.message = FromFunction.FromString(body)
        self.result = self.message.invocation_result

    @property
    def sends(self) -> list[tuple[str, t.Any]]:
        return [(_text(each.target), _value(each)) for each in self.result.outgoing_messages]

    @property
    def texts(self) -> list[t.Any]:
        """The values sent, without their targets."""
        return [value for _, value in self.sends]

    @property
    def delayed(self) -> list[t.Any]:
        """Cancellations as their token, others as (target, ms, value, token)."""
        return [
            each.cancellation_token
            if each.is_cancellation_request
            else (_text(each.target), each.delay_in_ms, _value(each), each.cancellation_token)
            for each in self.result.delayed_invocations
        ]

    @property
    def egresses(self) -> list[tuple[str, t.Any]]:
        return [
            (f"{each.egress_namespace}/{each.egress_type}", _value(each))
            for each in self.result.outgoing_egresses
        ]

    @property
    def changes(self) -> list[tuple[str, t.Any]]:
        """Mutations in their order; None for a deletion."""
        return [
            (each.state_name, _read(each.state_value) if each.mutation_type else None)
            for each in self.result.state_mutations
        ]

    @property
    def missing(self) -> list[tuple[str, str, int, int]]:
        """The specs of an incomplete context: (name, typename, mode, ms)."""
        assert self.message.WhichOneof("response") == "incomplete_invocation_context"
        return [
            (
                each.state_name,
                each.type_typename,
                each.expiration_spec.mode,
                each.expiration_spec.expire_after_millis,
            )
            for each in self.message.incomplete_invocation_context.missing_values
        ]


def _text(address: t.Any) -> str:
    return f"{address.namespace}/{address.type}/{address.id}"


def _value(record: t.Any) -> t.Any:
    return _read(record.argument)


def _read(typed: t.Any) -> t.Any:
    assert typed.has_value
    return unwrap(Message(typed.typename, typed.value))


def to_function(
    typename: str,
    *messages: t.Any,
    id: str = "me",
    states: cabc.Mapping[t.Any, t.Any] | None = None,
) -> bytes:
    """Return a serialised ToFunction.

    :param messages: Values, or :class:`From` for a message with a sender.
    :param states: Values by ValueSpec; None is a state that the runtime knows and has no value.
        A cell as a tuple is written as it is.
    """
    request = ToFunction()
    batch = request.invocation
    batch.target.namespace, batch.target.type = typename.split("/")
    batch.target.id = id
    for spec, value in (states or {}).items():
        state = batch.state.add(state_name=getattr(spec, "name", spec))
        if value is not None:
            cell = value if isinstance(value, tuple) else spec.encode(value)
            state.state_value.typename, state.state_value.value = cell
            state.state_value.has_value = True
    for each in messages:
        invocation = batch.invocations.add()
        if isinstance(each, From):
            caller = invocation.caller
            caller.namespace, caller.type = each.caller.type.namespace, each.caller.type.name
            caller.id = each.caller.id
            each = each.value
        if isinstance(each, Message) and not each.has_value:
            invocation.argument.typename = each.typename
            continue
        invocation.argument.typename, invocation.argument.value = encode(each)
        invocation.argument.has_value = True
    return request.SerializeToString()


def invoke(
    function: cabc.Callable[..., t.Any],
    *messages: t.Any,
    states: cabc.Mapping[ValueSpec[t.Any], t.Any] | None = None,
    **options: t.Any,
) -> Answered:
    """Register a function alone as test/fn and have it handle one batch."""
    registry = FunctionRegistry()
    registry.register_fn("test/fn", function, states=list(states or {}))
    body = to_function("test/fn", *messages, states=states)
    return Answered(RequestHandler(registry, **options)(body))


@pytest.fixture(scope="session", name="to_function")
def _to_function() -> cabc.Callable[..., bytes]:
    """Return a function that makes a request: ``to_function("ns/name", *messages, states=…)``."""
    return to_function


@pytest.fixture(scope="session")
def answered() -> type[Answered]:
    """Return what reads an answer: ``answered(body).sends`` and so on."""
    return Answered


@pytest.fixture(scope="session")
def sent_by() -> type[From]:
    """Return what gives a message a sender: ``sent_by(Address(…), value)``."""
    return From


@pytest.fixture(scope="session", name="invoke")
def _invoke() -> cabc.Callable[..., Answered]:
    """Return a function that has a function handle a batch: ``invoke(fn, *messages, states=…)``."""
    return invoke
