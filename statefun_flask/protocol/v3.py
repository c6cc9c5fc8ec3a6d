"""The protocol of StateFun 3.x: reads a ToFunction and writes a FromFunction."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import functools
import typing as t

from google.protobuf.message import DecodeError

from ..values import _wire
from ..values.address import Address
from ..values.address import wire_type
from ..values.message import Message
from ..values.state import stored_type_mismatch
from ..values.state import StoredForm
from ..values.state import ValueSpec
from .encoding import deletion
from .encoding import encode_result
from .encoding import mutation
from .model import Batch
from .model import BatchResult
from .model import Codec
from .model import MissingStates
from .model import unreadable
from .model import without_target
from .schema.request_reply_v3 import FromFunction
from .schema.request_reply_v3 import ToFunction

_AFTER_WRITE = FromFunction.ExpirationSpec.AFTER_WRITE
_AFTER_INVOKE = FromFunction.ExpirationSpec.AFTER_INVOKE
_MILLISECOND = dt.timedelta(milliseconds=1)


def decode(body: bytes) -> Batch:
    """Read a ToFunction.

    Every field is read here, once. Lazy wrappers around the parsed message are not faster.

    :raises ProtocolError: The bytes are not a ToFunction.
    """
    try:
        request = ToFunction.FromString(body)
    except (DecodeError, UnicodeDecodeError) as exc:  # UnicodeDecodeError: protobuf in pure Python
        raise unreadable(body, "3.x", exc) from None
    batch = request.invocation
    target = batch.target
    namespace = target.namespace
    name = target.type
    if not (namespace and name):
        raise without_target(body, "3.x", request)

    states: dict[str, StoredForm] = {}
    # A slice is a list, which is faster to iterate over than the field itself.
    for state in batch.state[:]:
        value = state.state_value
        # The runtime sends a registered state without a value with its state_value unset.
        states[state.state_name] = (value.typename, value.value) if value.has_value else None

    messages: list[tuple[Address | None, Message]] = []
    for invocation in batch.invocations[:]:
        argument = invocation.argument
        caller = None
        if invocation.HasField("caller"):
            sender = invocation.caller
            caller = Address(wire_type(sender.namespace, sender.type), sender.id)
        messages.append((caller, Message(argument.typename, argument.value, argument.has_value)))

    return Batch((namespace, name), target.id, states, messages)


def resolve_states(
    states: dict[str, StoredForm], specs: cabc.Mapping[str, ValueSpec[t.Any]]
) -> None:
    """Check that every stored value has the declared type; writing another type ends the job.

    :raises StateTypeError: A stored value has another type.
    """
    for name, spec in specs.items():
        stored = states[name]
        if stored is not None and stored[0] != spec.typename:
            raise stored_type_mismatch(spec, stored[0])


def encode(reply: BatchResult | MissingStates) -> bytes:
    """Write a FromFunction."""
    if reply.__class__ is MissingStates:
        return _encode_missing(reply.specs)

    result = t.cast("BatchResult", reply)
    mutations: list[bytes] = []
    for name, stored in result.changes.items():
        if stored is None:
            mutations += deletion(name)
        else:
            typename, payload = stored
            value = typed(typename)
            mutations += mutation(name, value + _VALUE[len(payload)] if payload else value, payload)
    return encode_result(mutations, result.sent, result.delayed, result.records, typed, _VALUE)


#: Field 3 of a TypedValue: the payload.
_VALUE = _wire.Header(3)


@functools.lru_cache(maxsize=4096)
def typed(typename: str) -> bytes:
    """Return a TypedValue with has_value set, without its payload."""
    return _wire.text(1, typename) + b"\x10\x01"


def _encode_missing(missing: list[ValueSpec[t.Any]]) -> bytes:
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


CODEC = Codec("v3", "3.x", decode, resolve_states, encode)
