"""A step: all that a checked answer wants, done in the runtime's order (protocol 1.5)."""

from __future__ import annotations

import collections.abc as cabc
import itertools

from ..values.address import Address
from ..values.message import Message
from . import events
from .endpoints.pool import Call
from .exchange import answer
from .exchange.formats import RecordContent
from .exchange.states import StateSpecs
from .records import Delay
from .records import EgressRecord
from .records import Envelope
from .records import StoredValue
from .store.store import Store
from .timers import Schedule

Sends = cabc.Sequence[tuple[Address, Message]]
Send = cabc.Callable[[cabc.Iterable[int], Address | None, Sends], list[Envelope]]

#: Delays by their cancellation token; None for a token without a delay.
Pending = dict[str, Delay | None]


class Steps:
    """Does what answers want.

    :param send: Queues messages: their traces, their caller, and their targets and bodies.
    """

    def __init__(self, store: Store, schedule: Schedule, send: Send) -> None:
        self._store = store
        self._schedule = schedule
        self._send = send

    def read(self, address: Address, result: answer.Result) -> Pending:
        """Read from the store what :meth:`apply` needs, since a read can fail.

        :return: The delays that the result cancels, by their token.
        """
        if result.mutations:
            self._store.cells(address)  # they are in memory then
        return {
            each.token: self._store.delay(address.id, each.token)
            for each in result.delayed
            if isinstance(each, answer.Cancel)
        }

    def apply(
        self,
        call: Call,
        result: answer.Result,
        contents: list[RecordContent],
        pending: Pending,
        specs: StateSpecs,
        now: int,
        told: bool,
    ) -> events.Invocation | None:
        """Do what a result wants: messages, delays, records, states; then its batch is done with.

        Everything was checked and read before, so that nothing here fails halfway.

        :param contents: The egress records of the result, read.
        :param pending: What :meth:`read` returned; it is changed.
        :param told: Whether to return an event that tells of it.
        """
        address, trace = call.address, call.batch[0].trace
        before = dict(self._store.cells(address)) if told and result.mutations else {}
        sends = self._send(itertools.repeat(trace), address, result.sends) if result.sends else []
        delays: list[Delay] = []
        cancelled: list[Delay] = []
        for each in result.delayed:
            if isinstance(each, answer.Cancel):
                cancelled += self._cancel(pending, each.token)
            else:
                delays.append(self._delay(trace, address, each, now))
                if each.token in pending:
                    pending[each.token] = delays[-1]
        records = self._write(trace, result, contents) if contents else []
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

    def _delay(self, trace: int, address: Address, later: answer.Later, now: int) -> Delay:
        delay = Delay(
            self._store.numbers("message", 1)[0],
            trace,
            now + later.delay,
            later.target,
            address,
            later.message,
            later.token,
        )
        self._schedule.add(delay)
        return delay

    def _cancel(self, pending: Pending, token: str) -> list[Delay]:
        """Take the delay with a token away; an unknown token, or one that was used up, is fine."""
        delay, pending[token] = pending[token], None
        if delay is None:
            return []
        self._schedule.forget(delay)
        return [delay]

    def _write(
        self, trace: int, result: answer.Result, contents: list[RecordContent]
    ) -> list[EgressRecord]:
        numbers = self._store.numbers("record", len(contents))
        records: list[EgressRecord] = []
        for seq, (egress, message), each in zip(numbers, result.egresses, contents, strict=True):
            typename = message.typename
            records.append(
                EgressRecord(seq, trace, egress, each.topic, each.key, each.value, typename)
            )
        self._store.changes.egress += records
        return records

    def _mutate(
        self, address: Address, mutation: answer.Mutation, specs: StateSpecs, now: int
    ) -> None:
        if mutation.value is None:
            self._store.write(address, mutation.name, None, None)
        else:
            cell = StoredValue(mutation.value, now)
            expires = specs[mutation.name].expires(cell)
            self._store.write(address, mutation.name, cell, expires)


def _changes(
    result: answer.Result, specs: StateSpecs, before: dict[str, StoredValue]
) -> list[events.Change]:
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
