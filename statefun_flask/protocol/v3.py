"""The 3.x protocol: ToFunction and FromFunction to and from records (protocol 1)."""

from __future__ import annotations

import datetime as dt
import typing as t

from google.protobuf.message import DecodeError

from ..address import Address
from ..address import wire_type
from ..errors import ProtocolError
from ..message import Message
from ..state import Cell
from ..state import ValueSpec
from .records import Answer
from .records import Batch
from .records import Incomplete
from .schema.request_reply_v3 import FromFunction
from .schema.request_reply_v3 import ToFunction

_MODIFY = FromFunction.PersistedValueMutation.MODIFY
_AFTER_WRITE = FromFunction.ExpirationSpec.AFTER_WRITE
_AFTER_INVOKE = FromFunction.ExpirationSpec.AFTER_INVOKE
_MILLISECOND = dt.timedelta(milliseconds=1)


def decode(body: bytes) -> Batch:
    """Read a ToFunction.

    Each field is read once, here: lazy wrappers around the parsed message gained nothing.

    :raises ProtocolError: The bytes are not one.
    """
    try:
        request = ToFunction.FromString(body)
    except DecodeError as exc:
        raise ProtocolError(
            f"The body of {len(body)} bytes is not a ToFunction of StateFun 3.x: {exc}."
            " Only the StateFun runtime should call this address.",
            body,
        ) from None
    if not request.HasField("invocation"):
        raise ProtocolError(
            f"The body of {len(body)} bytes holds no invocation."
            " Send a ToFunction of StateFun 3.x, as the runtime does.",
            body,
        )

    batch = request.invocation
    target = batch.target
    if not (target.namespace and target.type):
        raise ProtocolError(
            "The invocation names no target function."
            " Send a ToFunction with a target address, as the runtime does.",
            body,
        )
    return Batch(
        target.namespace,
        target.type,
        target.id,
        {each.state_name: _cell(each) for each in batch.state},
        [(_caller(each), _message(each.argument)) for each in batch.invocations],
    )


def _cell(state: t.Any) -> Cell:
    value = state.state_value
    # A registered state without a value comes with state_value unset (protocol 1.1).
    return (value.typename, value.value) if value.has_value else None


def _caller(invocation: t.Any) -> Address | None:
    if not invocation.HasField("caller"):
        return None
    caller = invocation.caller
    return Address(wire_type(caller.namespace, caller.type), caller.id)


def _message(argument: t.Any) -> Message:
    return Message(argument.typename, argument.value, argument.has_value)


def encode(answer: Answer | Incomplete) -> bytes:
    """Write a FromFunction."""
    if answer.__class__ is Incomplete:
        return _encode_incomplete(answer.missing)
    return _encode_answer(t.cast("Answer", answer))


def _encode_answer(answer: Answer) -> bytes:
    response = FromFunction()
    result = response.invocation_result
    result.SetInParent()

    for name, cell in answer.changes.items():
        # DELETE is zero: a mutation of only a name deletes.
        mutation = result.state_mutations.add(state_name=name)
        if cell is not None:
            mutation.mutation_type = _MODIFY
            _set(mutation.state_value, *cell)

    for address, typename, payload in answer.sends:
        invocation = result.outgoing_messages.add()
        _address(invocation.target, address)
        _set(invocation.argument, typename, payload)

    for receiver, delay, typename, payload, token in answer.delayed:
        delayed = result.delayed_invocations.add(cancellation_token=token)
        if receiver is None:
            delayed.is_cancellation_request = True
        else:
            delayed.delay_in_ms = delay
            _address(delayed.target, receiver)
            _set(delayed.argument, typename, payload)

    for egress, typename, payload in answer.egresses:
        record = result.outgoing_egresses.add()
        record.egress_namespace = egress.namespace
        record.egress_type = egress.name
        _set(record.argument, typename, payload)

    return response.SerializeToString()


def _address(field: t.Any, address: Address) -> None:
    kind = address.type
    field.namespace = kind.namespace
    field.type = kind.name
    field.id = address.id


def _set(field: t.Any, typename: str, payload: bytes) -> None:
    field.typename = typename
    field.has_value = True
    field.value = payload


def _encode_incomplete(missing: list[ValueSpec[t.Any]]) -> bytes:
    response = FromFunction()
    values = response.incomplete_invocation_context.missing_values
    for spec in missing:
        value = values.add(state_name=spec.name, type_typename=spec.type.typename)
        if spec.expire_after_write is not None:
            value.expiration_spec.mode = _AFTER_WRITE
            value.expiration_spec.expire_after_millis = spec.expire_after_write // _MILLISECOND
        elif spec.expire_after_call is not None:
            value.expiration_spec.mode = _AFTER_INVOKE
            value.expiration_spec.expire_after_millis = spec.expire_after_call // _MILLISECOND
    return response.SerializeToString()
