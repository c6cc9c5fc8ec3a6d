"""The 2.x protocol: ToFunction and FromFunction to and from records (protocol 2).

It differs from 3.x in three things. Messages are ``google.protobuf.Any`` and name the primitives
after protobuf's wrappers; states are declared in module.yaml, so that a request has them all; and
their values are bytes without a type, which every known SDK fills with a serialised Any.
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
from ..values.address import Address
from ..values.address import wire_type
from ..values.effects import Delayed
from ..values.egress import KAFKA
from ..values.egress import KINESIS
from ..values.message import ANY
from ..values.message import Message
from ..values.state import Cell
from ..values.state import read_any
from ..values.state import stored_otherwise
from ..values.state import type_url
from ..values.state import ValueSpec
from ..values.state import wrap
from ..values.state import write_any
from ..values.types import PROTOBUF
from .encoding import deletion
from .encoding import mutation
from .encoding import write
from .model import Answer
from .model import Batch
from .model import Incomplete
from .refusals import unreadable
from .refusals import untargeted
from .schema.request_reply_v2 import ToFunction

_MILLISECOND = dt.timedelta(milliseconds=1)

# The egresses of 2.x know the same records, field by field, under the names of another package.
_RECORDS = {
    KAFKA: PROTOBUF + "org.apache.flink.statefun.flink.io.KafkaProducerRecord",
    KINESIS: PROTOBUF + "org.apache.flink.statefun.flink.io.KinesisEgressRecord",
}


def decode(body: bytes) -> Batch:
    """Read a ToFunction. Its states are Anys until :func:`admit` has seen their declarations.

    :raises ProtocolError: The bytes are not one.
    """
    try:
        request = ToFunction.FromString(body)
    except (DecodeError, UnicodeDecodeError) as exc:  # the latter by protobuf in pure Python
        raise unreadable(body, "2.x", exc) from None
    batch = request.invocation
    target = batch.target
    namespace = target.namespace
    name = target.type
    if not (namespace and name):
        raise untargeted(body, "2.x", request)

    cells: dict[str, Cell] = {}
    # Slices are lists: iterating over the field itself ends with an IndexError and costs more.
    for state in batch.state[:]:
        value = state.state_value
        cells[state.state_name] = (ANY, value) if value else None

    messages: list[tuple[Address | None, Message]] = []
    for invocation in batch.invocations[:]:
        argument = invocation.argument
        caller = None
        if invocation.HasField("caller"):
            sender = invocation.caller
            if sender.type:  # some senders write an empty address for an ingress
                caller = Address(wire_type(sender.namespace, sender.type), sender.id)
        messages.append((caller, Message(argument.type_url, argument.value)))

    return Batch((namespace, name), target.id, cells, messages)


def admit(cells: dict[str, Cell], specs: cabc.Mapping[str, ValueSpec[t.Any]]) -> None:
    """Take the values of typed states out of their Anys; untyped ones are Anys as they are.

    Any typename will do that the state's type reads: writing the value changes its name, which 2.x,
    other than 3.x, takes without a word.

    :raises StateTypeError: A value is no Any, or of a type that the declared one does not read.
    """
    for name, spec in specs.items():
        cell = cells[name]
        if cell is None or spec.type.typename == ANY:
            continue
        try:
            stored = read_any(cell[1])
        except ValueError as exc:
            raise StateTypeError(
                f"The stored value of the state '{name}' cannot be read: {exc}."
                " Check what wrote it."
            ) from None
        if spec.type.reader(stored.typename) is None:
            raise stored_otherwise(spec, stored.typename)
        cells[name] = stored.typename, stored.value


def encode(answer: Answer | Incomplete) -> bytes:
    """Write a FromFunction.

    :raises UnknownStateError: The request lacked states.
    :raises StateFunError: The answer has something that 2.x cannot do.
    """
    if isinstance(answer, Incomplete):
        raise _undeclared(answer)

    for receiver, *_, token in answer.delayed:
        if receiver is None or token:
            raise _uncancellable(answer, token, "cancels" if receiver is None else "sends")

    pieces: list[bytes] = []
    for name, cell in answer.changes.items():
        pieces += deletion(name) if cell is None else mutation(name, b"", _state_value(name, *cell))
    return write(
        pieces,
        [(to, *wrap(typename, payload)) for to, typename, payload in answer.sends],
        [
            (to, delay, *wrap(typename, payload), "")
            for to, delay, typename, payload, _ in t.cast("list[Delayed]", answer.delayed)
        ],
        [
            (egress, *wrap(_RECORDS.get(typename, typename), payload))
            for egress, typename, payload in answer.egresses
        ],
        type_url,
        _VALUE,
    )


_VALUE = _wire.Header(2)


def _state_value(name: str, typename: str, payload: bytes) -> bytes:
    value = payload if typename == ANY else write_any(typename, payload)
    if not value:
        raise StateTypeError(
            f"The state '{name}' was given an Any without a type, which under StateFun 2.x is the"
            " same as no value. Use 'delete_state' to take its value away."
        )
    return value


def _uncancellable(answer: Answer, token: str, verb: str) -> StateFunError:
    what = "a delayed message" if verb == "cancels" else "a delayed message that can be cancelled"
    return StateFunError(
        f"'{answer.typename}' {verb} {what} (token '{token}'), and StateFun 2.x knows no"
        " cancellation. Send it without a token and ignore it when it comes too late, or run the"
        " function on StateFun 3.2 or later."
    )


def _undeclared(answer: Incomplete) -> UnknownStateError:
    lacking = ", ".join(f"'{spec.name}'" for spec in answer.missing)
    names = ", ".join(spec.name for spec in answer.missing)
    entries = ", ".join(_entry(spec) for spec in answer.missing)
    return UnknownStateError(
        f"The request for '{answer.typename}' lacks the state"
        f"{'s' * (len(answer.missing) > 1)} {lacking}. StateFun 2.x takes states from module.yaml:"
        f" add to the spec of '{answer.typename}' the line 'states: [{names}]' under version"
        f' "1.0", or \'states: [{entries}]\' under "2.0".'
    )


def _entry(spec: ValueSpec[t.Any]) -> str:
    """Return how module.yaml of version 2.0 declares a state."""
    for mode, span in (
        ("after-write", spec.expire_after_write),
        ("after-invoke", spec.expire_after_call),
    ):
        if span is not None:
            milliseconds = span // _MILLISECOND
            return f"{{name: {spec.name}, expireAfter: {milliseconds}ms, expireMode: {mode}}}"
    return f"{{name: {spec.name}}}"
