"""The 3.x protocol: ToFunction and FromFunction to and from records (protocol 1)."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import typing as t

from google.protobuf.message import DecodeError

from ..address import Address
from ..address import wire_type
from ..errors import ProtocolError
from ..message import Message
from ..state import Cell
from ..state import stored_otherwise
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
    namespace = target.namespace
    name = target.type
    if not (namespace and name):
        raise ProtocolError(
            "The invocation names no target function."
            " Send a ToFunction with a target address, as the runtime does.",
            body,
        )

    cells: dict[str, Cell] = {}
    for state in batch.state:
        value = state.state_value
        # A registered state without a value comes with state_value unset (protocol 1.1).
        cells[state.state_name] = (value.typename, value.value) if value.has_value else None

    messages: list[tuple[Address | None, Message]] = []
    for invocation in batch.invocations:
        argument = invocation.argument
        caller = None
        if invocation.HasField("caller"):
            sender = invocation.caller
            caller = Address(wire_type(sender.namespace, sender.type), sender.id)
        messages.append((caller, Message(argument.typename, argument.value, argument.has_value)))

    return Batch(namespace, name, target.id, cells, messages)


def admit(cells: dict[str, Cell], specs: cabc.Mapping[str, ValueSpec[t.Any]]) -> None:
    """Refuse a stored value of another type: writing the state would end the job.

    :raises StateTypeError: There is one.
    """
    for name, spec in specs.items():
        cell = cells[name]
        if cell is not None and cell[0] != spec.type.typename:
            raise stored_otherwise(spec, cell[0])


def encode(answer: Answer | Incomplete) -> bytes:
    """Write a FromFunction."""
    if answer.__class__ is Incomplete:
        return _encode_incomplete(answer.missing)
    return _encode_answer(t.cast("Answer", answer))


def _encode_answer(answer: Answer) -> bytes:
    response = FromFunction()
    result = response.invocation_result
    result.SetInParent()

    # Spelled out for each kind of record: a function call would cost a third of what it does.
    add = result.state_mutations.add
    for name, cell in answer.changes.items():
        mutation = add()
        mutation.state_name = name
        if cell is not None:  # DELETE is zero: a mutation of only a name deletes
            mutation.mutation_type = _MODIFY
            value = mutation.state_value
            value.typename, value.value = cell
            value.has_value = True

    add_message = result.outgoing_messages.add
    for address, typename, payload in answer.sends:
        message = add_message()
        target = message.target
        kind = address.type
        target.namespace = kind.namespace
        target.type = kind.name
        target.id = address.id
        value = message.argument
        value.typename = typename
        value.has_value = True
        value.value = payload

    add_delayed = result.delayed_invocations.add
    for receiver, delay, typename, payload, token in answer.delayed:
        delayed = add_delayed()
        delayed.cancellation_token = token
        if receiver is None:
            delayed.is_cancellation_request = True
            continue
        delayed.delay_in_ms = delay
        target = delayed.target
        target.namespace = receiver.type.namespace
        target.type = receiver.type.name
        target.id = receiver.id
        value = delayed.argument
        value.typename = typename
        value.has_value = True
        value.value = payload

    add_record = result.outgoing_egresses.add
    for egress, typename, payload in answer.egresses:
        record = add_record()
        record.egress_namespace = egress.namespace
        record.egress_type = egress.name
        value = record.argument
        value.typename = typename
        value.has_value = True
        value.value = payload

    return response.SerializeToString()


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
