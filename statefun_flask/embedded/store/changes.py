"""What has happened since the last commit. Pure.

A message that is sent and consumed between two commits leaves no trace on disk: only the net effect
of whole steps is written.
"""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import msgspec

from ...values.address import Address
from ..records import Dead
from ..records import Delay
from ..records import EgressRecord
from ..records import Envelope
from ..records import Parked
from .kept import Kept
from .kept import StateChange
from .kept import StateKey

Row = tuple[t.Any, ...]

# SQLite's module takes a plain string several times faster than a FunctionType.
_plain = str.__str__


class Changes:
    """Collects changes as values, and gives them as rows of the tables.

    :param kept: What was committed without rows.
    """

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        #: Whether a counter was counted up; a number is not given twice, even if nothing is left
        #: of what it was given to.
        self.counted = False
        self.specs: dict[tuple[str, str], str] = {}
        self.states: dict[StateKey, StateChange] = {}
        self.queue: dict[int, Envelope] = {}
        self.queue_gone: list[int] = []
        self.timers: dict[int, Delay] = {}
        self.timers_gone: set[int] = set()
        #: Tokens that were taken or freed, by caller id and token.
        self.tokens: dict[tuple[str, str], Delay | None] = {}
        self.egress: list[EgressRecord] = []
        self.cursors: dict[str, int] = {}
        self.parked: dict[Address, Parked | None] = {}
        self.dead: dict[int, Dead | None] = {}
        self.positions: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(
            self.counted
            or self.queue
            or self.queue_gone
            or self.states
            or self.timers
            or self.timers_gone
            or self.egress
            or self.cursors
            or self.parked
            or self.dead
            or self.specs
            or self.positions
        )

    def consume(self, messages: cabc.Iterable[Envelope]) -> None:
        """Take messages out of their queue."""
        queue, kept = self.queue, self.kept.messages
        for envelope in messages:
            seq = envelope.seq
            if queue.pop(seq, None) is None and kept.pop(seq, None) is None:
                self.queue_gone.append(seq)

    def keep(self) -> None:
        """Leave the messages, states and records without rows."""
        self.kept.messages.update(self.queue)
        self.kept.states.update(self.states)
        self.kept.records += self.egress
        self.queue, self.states, self.egress = {}, {}, []

    def replace(self, envelope: Envelope) -> None:
        """Put a message in the place of the stored one of its number."""
        self.consume([envelope])
        self.queue[envelope.seq] = envelope

    def schedule(self, delay: Delay) -> None:
        """Add a delay."""
        self.timers[delay.seq] = delay
        if delay.token is not None:
            self.tokens[delay.caller.id, delay.token] = delay

    def unschedule(self, delay: Delay) -> None:
        """Take a delay away and free its token."""
        if self.timers.pop(delay.seq, None) is None:
            self.timers_gone.add(delay.seq)
        if delay.token is not None:
            self.tokens[delay.caller.id, delay.token] = None

    def rows(self) -> dict[str, list[Row]]:
        """Return the rows to write, by the keys of :data:`.schema.WRITES`."""
        states, states_gone = state_rows(self.states)
        return {
            "specs": [(*key, typename) for key, typename in self.specs.items()],
            "states": states,
            "states_gone": states_gone,
            "queue_gone": [(seq,) for seq in self.queue_gone],
            "queue": [envelope_row(each) for each in self.queue.values()],
            "timers_gone": [(seq,) for seq in self.timers_gone],
            "timers": [_delay_row(each) for each in self.timers.values()],
            "egress": list(map(msgspec.structs.astuple, self.egress)),
            "cursors": list(self.cursors.items()),
            "parked_gone": [
                (address.type, address.id) for address, each in self.parked.items() if each is None
            ],
            "parked": [
                (at.type, at.id, each.seq, each.trace, each.error, each.since)
                for at, each in self.parked.items()
                if each is not None
            ],
            "dead_gone": [(seq,) for seq, each in self.dead.items() if each is None],
            "dead": [
                (*envelope_row(each.envelope), each.error, each.since)
                for each in self.dead.values()
                if each is not None
            ],
            "positions": list(self.positions.items()),
        }


def state_rows(states: dict[StateKey, StateChange]) -> tuple[list[Row], list[Row]]:
    """Return states as rows of ``state``, and the keys of those to delete."""
    rows: list[Row] = []
    gone: list[Row] = []
    for key, change in states.items():
        if change is None:
            gone.append(key)
        else:
            typename, id, name = key
            cell, expires = change
            rows.append((_plain(typename), id, name, cell.value, cell.stamp, expires))
    return rows, gone


def envelope_row(envelope: Envelope) -> Row:
    """Return a message as a row of ``queue``."""
    target, caller, message = envelope.target, envelope.caller, envelope.message
    return (
        envelope.seq,
        envelope.trace,
        _plain(target.type),
        target.id,
        None if caller is None else _plain(caller.type),
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
        _plain(target.type),
        target.id,
        _plain(caller.type),
        caller.id,
        message.typename,
        message.value,
        message.has_value,
        delay.token,
    )
