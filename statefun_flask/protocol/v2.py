"""The protocol of StateFun 2.x: reads a ToFunction and writes a FromFunction.

It differs from 3.x in three ways. Messages are ``google.protobuf.Any``, and the primitives have the
names of protobuf's wrappers. States are declared in module.yaml, so a request always has all of
them. The value of a state has no type; every known SDK stores a serialised Any in it.
"""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import typing as t

from google.protobuf.message import DecodeError

from ..errors import StateFunError
from ..errors import StateTypeError
from ..errors import UnknownStateError
from ..values import _wire
from ..values._any import read_any
from ..values._any import type_url
from ..values._any import wrap
from ..values._any import write_any
from ..values.address import Address
from ..values.address import wire_type
from ..values.effects import Cancellation
from ..values.effects import DelayedSend
from ..values.effects import EgressMessage
from ..values.effects import Send
from ..values.egress import KAFKA
from ..values.egress import KINESIS
from ..values.message import ANY
from ..values.message import Message
from ..values.state import stored_type_mismatch
from ..values.state import StoredForm
from ..values.state import ValueSpec
from ..values.types import PROTOBUF
from .encoding import deletion
from .encoding import encode_result
from .encoding import mutation
from .model import Batch
from .model import BatchResult
from .model import Codec
from .model import MissingStates
from .model import unreadable
from .model import without_target
from .schema.request_reply_v2 import ToFunction

_MILLISECOND = dt.timedelta(milliseconds=1)

# The records for the egresses of 2.x have the same fields, and the names of another package.
_RECORDS = {
    KAFKA: PROTOBUF + "org.apache.flink.statefun.flink.io.KafkaProducerRecord",
    KINESIS: PROTOBUF + "org.apache.flink.statefun.flink.io.KinesisEgressRecord",
}


def decode(body: bytes) -> Batch:
    """Read a ToFunction. Its states stay Anys until :func:`resolve_states` gets their declarations.

    :raises ProtocolError: The bytes are not a ToFunction.
    """
    try:
        request = ToFunction.FromString(body)
    except (DecodeError, UnicodeDecodeError) as exc:  # UnicodeDecodeError: protobuf in pure Python
        raise unreadable(body, "2.x", exc) from None
    batch = request.invocation
    target = batch.target
    namespace = target.namespace
    name = target.type
    if not (namespace and name):
        raise without_target(body, "2.x", request)

    states: dict[str, StoredForm] = {}
    # A slice is a list, which is faster to iterate over than the field itself.
    for state in batch.state[:]:
        value = state.state_value
        states[state.state_name] = (ANY, value) if value else None

    messages: list[tuple[Address | None, Message]] = []
    for invocation in batch.invocations[:]:
        argument = invocation.argument
        caller = None
        if invocation.HasField("caller"):
            sender = invocation.caller
            if sender.type:  # the runtime of 2.x writes an empty address for an ingress
                caller = Address(wire_type(sender.namespace, sender.type), sender.id)
        messages.append((caller, Message(argument.type_url, argument.value)))

    return Batch((namespace, name), target.id, states, messages)


def resolve_states(
    states: dict[str, StoredForm], specs: cabc.Mapping[str, ValueSpec[t.Any]]
) -> None:
    """Unpack the values of typed states from their Anys. The values of untyped states stay Anys.

    A stored value may have any typename that the type of the state can read. A write then changes
    the stored typename, which 2.x allows and 3.x does not.

    :raises StateTypeError: A value is not an Any, or of a type that the declared one cannot read.
    """
    for name, spec in specs.items():
        stored = states[name]
        if stored is None or spec.type.typename == ANY:
            continue
        try:
            content = read_any(stored[1])
        except ValueError as exc:
            raise StateTypeError(
                f"The stored value of the state '{name}' cannot be read: {exc}."
                " Check what wrote it."
            ) from None
        if spec.type._reader(content.typename) is None:
            raise stored_type_mismatch(spec, content.typename)
        states[name] = content.typename, content.value


def encode(reply: BatchResult | MissingStates) -> bytes:
    """Write a FromFunction.

    :raises UnknownStateError: The request lacked states.
    :raises StateFunError: The reply uses a feature that 2.x does not have.
    """
    if isinstance(reply, MissingStates):
        raise _undeclared(reply)

    mutations: list[bytes] = []
    for name, stored in reply.changes.items():
        mutations += (
            deletion(name) if stored is None else mutation(name, b"", _state_value(name, *stored))
        )
    return encode_result(
        mutations,
        [Send(*wrap(each.typename, each.payload), each.address) for each in reply.sent],
        [_wrap_delayed(each, reply.typename) for each in reply.delayed],
        [
            EgressMessage(
                *wrap(_RECORDS.get(each.typename, each.typename), each.payload), each.egress
            )
            for each in reply.records
        ],
        type_url,
        _VALUE,
    )


#: Field 2 of an Any: the payload.
_VALUE = _wire.Header(2)


def _state_value(name: str, typename: str, payload: bytes) -> bytes:
    value = payload if typename == ANY else write_any(typename, payload)
    if not value:
        raise StateTypeError(
            f"The new value of the state '{name}' is an Any without a type, which StateFun 2.x does"
            " not distinguish from no value. Use 'delete_state' to delete the value."
        )
    return value


def _wrap_delayed(delayed: DelayedSend | Cancellation, typename: str) -> DelayedSend:
    if isinstance(delayed, Cancellation):
        raise _no_cancellation(typename, "cancels a delayed message", delayed.cancellation_token)
    if delayed.cancellation_token:
        raise _no_cancellation(
            typename, "sends a delayed message that can be cancelled", delayed.cancellation_token
        )
    return DelayedSend(
        *wrap(delayed.typename, delayed.payload), delayed.address, delayed.milliseconds
    )


def _no_cancellation(typename: str, what: str, token: str) -> StateFunError:
    return StateFunError(
        f"'{typename}' {what} (token '{token}'), but StateFun 2.x has no cancellation. Send the"
        " message without a token and ignore it when it arrives too late, or run the function on"
        " StateFun 3.2 or later."
    )


def _undeclared(missing: MissingStates) -> UnknownStateError:
    lacking = ", ".join(f"'{spec.name}'" for spec in missing.specs)
    names = ", ".join(spec.name for spec in missing.specs)
    entries = ", ".join(_entry(spec) for spec in missing.specs)
    noun = "state" if len(missing.specs) == 1 else "states"
    return UnknownStateError(
        f"The request for '{missing.typename}' lacks the {noun} {lacking}. StateFun 2.x takes"
        f" states from module.yaml: add to the spec of '{missing.typename}' the line"
        f" 'states: [{names}]'"
        f' under version "1.0", or \'states: [{entries}]\' under "2.0".'
    )


def _entry(spec: ValueSpec[t.Any]) -> str:
    """Return the declaration of a state in a module.yaml of version 2.0."""
    for mode, span in (
        ("after-write", spec.expire_after_write),
        ("after-invoke", spec.expire_after_call),
    ):
        if span is not None:
            milliseconds = span // _MILLISECOND
            return f"{{name: {spec.name}, expireAfter: {milliseconds}ms, expireMode: {mode}}}"
    return f"{{name: {spec.name}}}"


CODEC = Codec("v2", "2.x", decode, resolve_states, encode)
