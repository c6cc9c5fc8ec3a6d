"""A step: all that a checked answer wants, done in the runtime's order (protocol 1.5)."""

from __future__ import annotations

import collections.abc as cabc

from ..address import Address
from ..message import Message
from . import answers
from . import events
from .calls import Call
from .outlets import Content
from .records import Cell
from .records import Delay
from .records import EgressRecord
from .records import Envelope
from .schedule import Schedule
from .states import Specs
from .store import Store

Send = cabc.Callable[[int, Address, Address | None, Message], Envelope]


class Steps:
    """Does what answers want.

    :param send: Queues a message: its trace, target, caller and body.
    """

    def __init__(self, store: Store, schedule: Schedule, send: Send) -> None:
        self._store = store
        self._schedule = schedule
        self._send = send

    def apply(
        self,
        call: Call,
        result: answers.Result,
        contents: list[Content],
        specs: Specs,
        now: int,
        told: bool,
    ) -> events.Invocation | None:
        """Do what a result wants: messages, delays, records, states; then its batch is done with.

        :param contents: The egress records of the result, read.
        :param told: Whether to return an event that tells of it.
        """
        address, trace = call.address, call.batch[0].trace
        before = dict(self._store.cells(address)) if told and result.mutations else {}
        sends: list[Envelope] = []
        for to, message in result.sends:
            sends.append(self._send(trace, to, address, message))
        delays: list[Delay] = []
        cancelled: list[Delay] = []
        for each in result.delayed:
            if isinstance(each, answers.Cancel):
                cancelled += self._cancel(address, each.token)
            else:
                delays.append(self._delay(trace, address, each, now))
        records: list[EgressRecord] = []
        for (identifier, message), content in zip(result.egresses, contents, strict=True):
            records.append(self._record(trace, identifier, message, content))
        for mutation in result.mutations:
            self._mutate(address, mutation, specs, now)
        self._store.changes.consume(call.batch)
        if not told:
            return None
        return events.Invocation(
            at=now,
            trace=trace,
            address=address,
            batch=call.batch,
            duration=call.duration,
            changes=_changes(result, specs, before),
            sends=sends,
            delays=delays,
            cancelled=cancelled,
            records=records,
        )

    def _delay(self, trace: int, address: Address, later: answers.Later, now: int) -> Delay:
        delay = Delay(
            self._store.count("message"),
            trace,
            now + later.delay,
            later.target,
            address,
            later.message,
            later.token,
        )
        self._schedule.add(delay)
        return delay

    def _cancel(self, address: Address, token: str) -> list[Delay]:
        """Take the delay with a token away; an unknown token, or one that was used up, is fine."""
        pending = self._store.delay(address.id, token)
        if pending is None:
            return []
        self._schedule.forget(pending)
        return [pending]

    def _record(
        self, trace: int, identifier: str, message: Message, content: Content
    ) -> EgressRecord:
        number = self._store.count("record")
        record = EgressRecord(
            number, trace, identifier, content.topic, content.key, content.value, message.typename
        )
        self._store.changes.egress.append(record)
        return record

    def _mutate(self, address: Address, mutation: answers.Mutation, specs: Specs, now: int) -> None:
        if mutation.value is None:
            self._store.write(address, mutation.name, None, None)
        else:
            cell = Cell(mutation.value, now)
            expires = specs[mutation.name].expires(cell)
            self._store.write(address, mutation.name, cell, expires)


def _changes(result: answers.Result, specs: Specs, before: dict[str, Cell]) -> list[events.Change]:
    """Return each changed state once, with its value before and after."""
    after = {mutation.name: mutation.value for mutation in result.mutations}
    changes: list[events.Change] = []
    for name, value in after.items():
        typename = specs[name].typename
        cell = before.get(name)
        changes.append(
            (
                name,
                None if cell is None else Message(typename, cell.value),
                None if value is None else Message(typename, value),
            )
        )
    return changes
