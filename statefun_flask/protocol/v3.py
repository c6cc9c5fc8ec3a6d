"""The 3.x protocol: ToFunction and FromFunction to and from records (protocol 1)."""

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
from ..values.state import Cell
from ..values.state import stored_otherwise
from ..values.state import ValueSpec
from .encoding import deletion
from .encoding import mutation
from .encoding import write
from .model import Answer
from .model import Batch
from .model import Incomplete
from .refusals import unreadable
from .refusals import untargeted
from .schema.request_reply_v3 import FromFunction
from .schema.request_reply_v3 import ToFunction

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
    except (DecodeError, UnicodeDecodeError) as exc:  # the latter by protobuf in pure Python
        raise unreadable(body, "3.x", exc) from None
    batch = request.invocation
    target = batch.target
    namespace = target.namespace
    name = target.type
    if not (namespace and name):
        raise untargeted(body, "3.x", request)

    cells: dict[str, Cell] = {}
    # Slices are lists: iterating over the field itself ends with an IndexError and costs more.
    for state in batch.state[:]:
        value = state.state_value
        # A registered state without a value comes with state_value unset (protocol 1.1).
        cells[state.state_name] = (value.typename, value.value) if value.has_value else None

    messages: list[tuple[Address | None, Message]] = []
    for invocation in batch.invocations[:]:
        argument = invocation.argument
        caller = None
        if invocation.HasField("caller"):
            sender = invocation.caller
            caller = Address(wire_type(sender.namespace, sender.type), sender.id)
        messages.append((caller, Message(argument.typename, argument.value, argument.has_value)))

    return Batch((namespace, name), target.id, cells, messages)


def admit(cells: dict[str, Cell], specs: cabc.Mapping[str, ValueSpec[t.Any]]) -> None:
    """Refuse a stored value of another type: writing the state would end the job.

    :raises StateTypeError: There is one.
    """
    for name, spec in specs.items():
        cell = cells[name]
        if cell is not None and cell[0] != spec.typename:
            raise stored_otherwise(spec, cell[0])


def encode(answer: Answer | Incomplete) -> bytes:
    """Write a FromFunction."""
    if answer.__class__ is Incomplete:
        return _encode_incomplete(answer.missing)

    answer = t.cast("Answer", answer)
    pieces: list[bytes] = []
    for name, cell in answer.changes.items():
        if cell is None:
            pieces += deletion(name)
        else:
            typename, payload = cell
            value = typed(typename)
            pieces += mutation(name, value + _VALUE[len(payload)] if payload else value, payload)
    return write(pieces, answer.sends, answer.delayed, answer.egresses, typed, _VALUE)


_VALUE = _wire.Header(3)


@functools.lru_cache(maxsize=4096)
def typed(typename: str) -> bytes:
    """Return a TypedValue that has a value, without the value."""
    return _wire.text(1, typename) + b"\x10\x01"


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
