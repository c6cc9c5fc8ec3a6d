"""A step: the effects of one reply. All of them are read and checked before one is applied."""

from __future__ import annotations

import msgspec

from ..values.address import Address
from ..values.message import Message
from . import events
from .endpoints.pool import Call
from .exchange import reply
from .exchange.formats import RecordContent
from .exchange.states import StateSpecs
from .records import Delay
from .records import EgressRecord
from .records import Envelope
from .records import StoredValue
from .store.transaction import Transaction


class Outcome(msgspec.Struct, gc=False):
    """The result of a step.

    :param sends: The messages to other addresses.
    :param delays: The new delays. A delay that the same step cancels is in `cancelled` as well.
    :param cancelled: The cancelled delays.
    :param event: The event to report; None without a listener.
    """

    sends: list[Envelope] = []
    delays: list[Delay] = []
    cancelled: list[Delay] = []
    event: events.Invocation | None = None


class Step:
    """The step of one call.

    :param contents: The contents of the egress records of the result.
    """

    def __init__(
        self,
        call: Call,
        result: reply.Result,
        contents: list[RecordContent],
        specs: StateSpecs,
        transaction: Transaction,
    ) -> None:
        self._call = call
        self._result = result
        self._contents = contents
        self._specs = specs
        self._transaction = transaction
        # A read can fail, but a step must not fail halfway. Therefore all reads happen here.
        self._before = transaction.state(call.address) if result.mutations else {}
        #: Delays by their cancellation token; None for a token without a delay.
        self._pending = {
            each.token: transaction.delay_of_token(call.address.id, each.token)
            for each in result.delayed
            if each.__class__ is reply.Cancel
        }

    def apply(self, now: int, *, with_event: bool) -> Outcome:
        """Write all changes to the transaction, in the same order as the StateFun runtime."""
        call, result, outcome = self._call, self._result, Outcome()
        address, trace = call.address, call.batch[0].trace
        before = dict(self._before) if with_event and result.mutations else {}
        if result.sends:
            outcome.sends = self._send(trace, address)
        for each in result.delayed:
            if isinstance(each, reply.Cancel):
                self._cancel(each.token, outcome)
            else:
                self._delay(trace, address, each, now, outcome)
        records = self._write(trace) if self._contents else []
        for mutation in result.mutations:
            self._mutate(address, mutation, now)
        self._transaction.consume(call.batch)
        if with_event:
            outcome.event = events.Invocation(
                at=now,
                trace=trace,
                address=address,
                batch=call.batch,
                duration=call.duration,
                changes=_changes(result, self._specs, before),
                sends=outcome.sends,
                delays=outcome.delays,
                cancelled=outcome.cancelled,
                records=records,
            )
        return outcome

    def _send(self, trace: int, address: Address) -> list[Envelope]:
        sends = self._result.sends
        numbers = self._transaction.numbers("message", len(sends))
        envelopes = [
            Envelope(seq, trace, target, address, message)
            for seq, (target, message) in zip(numbers, sends, strict=True)
        ]
        self._transaction.enqueue(envelopes)
        return envelopes

    def _delay(
        self, trace: int, address: Address, later: reply.Later, now: int, outcome: Outcome
    ) -> None:
        (seq,) = self._transaction.numbers("message", 1)
        due = now + later.delay
        delay = Delay(seq, trace, due, later.target, address, later.message, later.token)
        self._transaction.add_delay(delay)
        outcome.delays.append(delay)
        if later.token in self._pending:
            self._pending[later.token] = delay

    def _cancel(self, token: str, outcome: Outcome) -> None:
        """Remove the delay of a token. A token without a delay is allowed."""
        delay, self._pending[token] = self._pending[token], None
        if delay is not None:
            self._transaction.remove_delay(delay)
            outcome.cancelled.append(delay)

    def _write(self, trace: int) -> list[EgressRecord]:
        numbers = self._transaction.numbers("record", len(self._contents))
        parts = zip(numbers, self._result.egresses, self._contents, strict=True)
        records = [
            EgressRecord(seq, trace, egress, each.topic, each.key, each.value, message.typename)
            for seq, (egress, message), each in parts
        ]
        self._transaction.add_records(records)
        return records

    def _mutate(self, address: Address, mutation: reply.Mutation, now: int) -> None:
        if mutation.value is None:
            self._transaction.set_state(address, mutation.name, None)
        else:
            value = StoredValue(mutation.value, now)
            expires = self._specs[mutation.name].expires(value)
            self._transaction.set_state(address, mutation.name, value, expires)


def _changes(
    result: reply.Result, specs: StateSpecs, before: dict[str, StoredValue]
) -> list[events.Change]:
    """Return each changed state once, with its value before and after."""
    after = {mutation.name: mutation.value for mutation in result.mutations}
    changes: list[events.Change] = []
    for name, value in after.items():
        typename = specs[name].typename
        stored = before.get(name)
        changes.append(
            (
                name,
                None if stored is None else Message(typename, stored.value),
                None if value is None else Message(typename, value),
            )
        )
    return changes
