"""Changes as rows of the SQLite store's tables, and rows as records."""

from __future__ import annotations

import typing as t

import msgspec

from ...values.address import Address
from ...values.address import wire_type
from ...values.message import Message
from ..records import Delay
from ..records import EgressRecord
from ..records import Envelope
from .base import Changes
from .base import StateRow

Row = tuple[t.Any, ...]

# SQLite's module takes a plain string several times faster than a FunctionType.
plain = str.__str__


def rows(changes: Changes) -> dict[str, list[Row]]:
    """Return the rows to write, by the names in :data:`.schema.WRITES`."""
    states, removed_states = _state_rows(changes.states)
    return {
        "state_types": [(*key, typename) for key, typename in changes.state_types.items()],
        "states": states,
        "removed_states": removed_states,
        "consumed": [(seq,) for seq in changes.consumed],
        "messages": [_envelope_row(each) for each in changes.messages.values()],
        "removed_delays": [(seq,) for seq in changes.removed_delays],
        "delays": [_delay_row(each) for each in changes.delays.values()],
        "records": list(map(msgspec.structs.astuple, changes.records)),
        "topics": _topic_rows(changes.records),
        "removed_marks": [(at,) for at, seq in changes.marks.items() if seq is None],
        "marks": [(at, seq) for at, seq in changes.marks.items() if seq is not None],
        "cursors": list(changes.cursors.items()),
        "unparked": [(at.type, at.id) for at, each in changes.parked.items() if each is None],
        "parked": [
            (at.type, at.id, each.seq, each.trace, each.error, each.since)
            for at, each in changes.parked.items()
            if each is not None
        ],
        "removed_dead": [(seq,) for seq, each in changes.dead.items() if each is None],
        "dead": [
            (*_envelope_row(each.envelope), each.error, each.since)
            for each in changes.dead.values()
            if each is not None
        ],
        "positions": list(changes.positions.items()),
        "removed_keys": [
            (at.type, at.id, key) for (at, key), use in changes.keys.items() if use is None
        ],
        "keys": [
            (at.type, at.id, key, use.digest, use.trace, use.at)
            for (at, key), use in changes.keys.items()
            if use is not None
        ],
        "released": [(each,) for each, held in changes.held.items() if not held],
        "held": [(each,) for each, held in changes.held.items() if held],
        "counters": list(changes.counters.items()),
    }


def _state_rows(
    states: dict[Address, dict[str, StateRow]],
) -> tuple[list[Row], list[Row]]:
    """Return the values to write, and the keys of those to delete."""
    found: list[Row] = []
    removed: list[Row] = []
    for address, values in states.items():
        typename, id = plain(address.type), address.id
        for name, change in values.items():
            if change is None:
                removed.append((typename, id, name))
            else:
                value, expires = change
                found.append((typename, id, name, value.value, value.stamp, expires))
    return found, removed


def _topic_rows(records: list[EgressRecord]) -> list[Row]:
    """Return how many records, and bytes of values, are added to each topic."""
    added: dict[str, list[int]] = {}
    for record in records:
        topic = added.setdefault(record.topic, [0, 0])
        topic[0] += 1
        topic[1] += len(record.value)
    return [(name, *counts) for name, counts in added.items()]


def _envelope_row(envelope: Envelope) -> Row:
    target, caller, message = envelope.target, envelope.caller, envelope.message
    return (
        envelope.seq,
        envelope.trace,
        plain(target.type),
        target.id,
        None if caller is None else plain(caller.type),
        None if caller is None else caller.id,
        message.typename,
        message.value,
        message.has_value,
    )


def _delay_row(delay: Delay) -> Row:
    target, caller, message = delay.target, delay.caller, delay.message
    return (
        delay.seq,
        delay.trace,
        delay.due,
        plain(target.type),
        target.id,
        plain(caller.type),
        caller.id,
        message.typename,
        message.value,
        message.has_value,
        delay.token,
    )


def address(typename: str, id: str) -> Address:
    """Return a stored address. Its typename was checked when it was stored."""
    namespace, _, name = typename.rpartition("/")
    return Address(wire_type(namespace, name), id)


def envelope(row: t.Any) -> Envelope:
    """Return a row of ``queue`` as a message."""
    seq, trace, type, id, caller_type, caller_id, typename, value, has_value = row
    caller = None if caller_type is None else address(caller_type, caller_id)
    message = Message(typename, value, bool(has_value))
    return Envelope(seq, trace, address(type, id), caller, message)


def delay(row: t.Any) -> Delay:
    """Return a row of ``timer`` as a delay."""
    seq, trace, due, type, id, caller_type, caller_id, typename, value, has_value, token = row
    message = Message(typename, value, bool(has_value))
    return Delay(
        seq, trace, due, address(type, id), address(caller_type, caller_id), message, token
    )
