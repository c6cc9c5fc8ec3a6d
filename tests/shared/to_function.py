"""Requests of the runtime, written by protobuf, and replies with decoded values."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from statefun_flask import Address
from statefun_flask import FunctionRegistry
from statefun_flask import Message
from statefun_flask import RequestHandler
from statefun_flask import ValueSpec
from statefun_flask.protocol.schema import request_reply_v2
from statefun_flask.protocol.schema import request_reply_v3
from statefun_flask.values._any import unwrap
from statefun_flask.values.message import encode


class From(t.NamedTuple):
    """A message with a sender of its own."""

    caller: Address | str
    value: t.Any


def to_function(
    *messages: t.Any,
    target: str = "example/fn",
    id: str = "bob",
    caller: Address | str | None = None,
    states: cabc.Mapping[t.Any, t.Any] | None = None,
) -> t.Any:
    """Return a ToFunction of StateFun 3.x.

    :param messages: Python values, ``Message`` objects, (typename, payload) pairs, or ``From``.
    :param caller: The sender of every message; None for an ingress.
    :param states: Values by ``ValueSpec`` or name, or (typename, payload) pairs. None is a state
        that the runtime knows and that has no value.
    """
    request = request_reply_v3.ToFunction()
    batch = request.invocation
    fill_address(batch.target, f"{target}/{id}")
    for spec, value in (states or {}).items():
        state = batch.state.add(state_name=getattr(spec, "name", spec))
        if value is not None:
            as_stored = isinstance(value, tuple) or not isinstance(spec, ValueSpec)
            _fill(state.state_value, value if as_stored else spec._encode(value))
    for each in messages:
        invocation = batch.invocations.add()
        sender, value = each if isinstance(each, From) else (caller, each)
        if sender is not None:
            fill_address(invocation.caller, str(sender))
        _fill(invocation.argument, value)
    return request


def request_bytes(*messages: t.Any, **options: t.Any) -> bytes:
    """Return a serialised ToFunction of StateFun 3.x; see :func:`to_function`."""
    data: bytes = to_function(*messages, **options).SerializeToString()
    return data


def to_function_2(
    *messages: t.Any,
    target: str = "example/fn",
    id: str = "bob",
    states: cabc.Mapping[str, bytes] | None = None,
) -> t.Any:
    """Return a ToFunction of StateFun 2.x.

    :param messages: Objects with a ``type_url`` and a ``value``, each alone or in :class:`From`.
    :param states: The stored bytes by name.
    """
    request = request_reply_v2.ToFunction()
    batch = request.invocation
    fill_address(batch.target, f"{target}/{id}")
    for name, value in (states or {}).items():
        batch.state.add(state_name=name, state_value=value)
    for each in messages:
        invocation = batch.invocations.add()
        sender, message = each if isinstance(each, From) else (None, each)
        if sender is not None:
            fill_address(invocation.caller, str(sender))
        invocation.argument.type_url, invocation.argument.value = message.type_url, message.value
    return request


def fill_address(field: t.Any, address: str) -> None:
    """Write an address field from ``namespace/name/id``."""
    field.namespace, field.type, field.id = address.split("/", 2)


def _fill(field: t.Any, value: t.Any) -> None:
    """Write a TypedValue."""
    if isinstance(value, Message) and not value.has_value:
        field.typename = value.typename
        return
    field.typename, field.value = value if isinstance(value, tuple) else _encoded(value)
    field.has_value = True


def _encoded(value: t.Any) -> tuple[str, bytes]:
    # A Message is written unchanged, even one that the package refuses to send.
    return (value.typename, value.value) if isinstance(value, Message) else encode(value)


class Answered:
    """A FromFunction with its values decoded."""

    def __init__(self, body: bytes) -> None:
        self.message = request_reply_v3.FromFunction.FromString(body)
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


def handler_of(
    function: cabc.Callable[..., t.Any], *states: t.Any, **options: t.Any
) -> RequestHandler:
    """Return a handler with one function, ``example/fn``."""
    registry = FunctionRegistry()
    registry.register("example/fn", function, states=states)
    return RequestHandler(registry, **options)


def invoke(
    function: cabc.Callable[..., t.Any],
    *messages: t.Any,
    states: cabc.Mapping[ValueSpec[t.Any], t.Any] | None = None,
    **options: t.Any,
) -> Answered:
    """Register only a function as ``test/fn``, and call it with one batch for the id ``me``."""
    registry = FunctionRegistry()
    registry.register("test/fn", function, states=list(states or {}))
    body = request_bytes(*messages, target="test/fn", id="me", states=states)
    return Answered(RequestHandler(registry, **options)(body))
