"""The changes since the last commit, and reads that see them."""

from __future__ import annotations

import collections.abc as cabc

from ...values.address import Address
from ..records import Dead
from ..records import Delay
from ..records import EgressRecord
from ..records import Envelope
from ..records import KeyUse
from ..records import Parked
from ..records import StoredValue
from .base import Changes
from .base import Key
from .base import Store

#: The states of this many addresses are kept in memory, and about this many bytes of values.
CACHED = 10_000
CACHED_BYTES = 64 << 20


class Transaction:
    """Collects changes, answers reads of them, and commits them to a store.

    A message that is sent and consumed between two commits is never written: a commit writes the
    net effect of whole steps. If a commit fails, the changes stay for the next one.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counters = store.counters()
        self._changes = Changes(self._counters)
        self._tokens: dict[tuple[str, str], Delay | None] = {}
        self._states: dict[Address, dict[str, StoredValue]] = {}
        self._state_bytes = 0
        #: The typename of each state that was ever stored, by function type and name.
        self.state_types = store.state_types()

    def __bool__(self) -> bool:
        return bool(self._changes)

    def commit(self) -> list[EgressRecord]:
        """Write all changes, and return the egress records among them.

        :raises DiskFullError: They cannot be written now. They are kept.
        """
        changes = self._changes
        try:
            if not changes:
                return []
            self._store.commit(changes)
            self._changes = Changes(self._counters)
            self._tokens = {}
            return changes.records
        finally:
            self._trim()

    def _trim(self) -> None:
        """Remove the addresses used least recently from memory, except uncommitted ones."""
        if len(self._states) <= CACHED and self._state_bytes <= CACHED_BYTES:
            return
        changed = self._changes.states
        for address in [each for each in self._states if each not in changed]:
            self._state_bytes -= _size(self._states.pop(address))
            if len(self._states) <= CACHED // 2 and self._state_bytes <= CACHED_BYTES // 2:
                break

    # -- numbers --------------------------------------------------------------------------

    def numbers(self, counter: str, count: int) -> range:
        """Return the next numbers of a counter, which starts at 1."""
        first = self._counters.get(counter, 0) + 1
        self._counters[counter] = first + count - 1
        self._changes.counted = True
        return range(first, first + count)

    # -- messages -------------------------------------------------------------------------

    def enqueue(self, envelopes: cabc.Iterable[Envelope]) -> None:
        """Add messages to the queues of their addresses."""
        messages = self._changes.messages
        for envelope in envelopes:
            messages[envelope.seq] = envelope

    def consume(self, envelopes: cabc.Iterable[Envelope]) -> None:
        """Remove messages from their queues."""
        changes = self._changes
        messages = changes.messages
        for envelope in envelopes:
            if messages.pop(envelope.seq, None) is None:
                changes.consumed.append(envelope.seq)

    def replace(self, envelope: Envelope) -> None:
        """Store a message in place of the one with its number."""
        self.consume([envelope])
        self._changes.messages[envelope.seq] = envelope

    def queue_length(self, address: Address) -> int:
        """Return how many messages an address has."""
        changes = self._changes
        new = sum(each.target == address for each in changes.messages.values())
        if not changes.consumed:
            return new + self._store.queue_length(address)
        return len(self.queue(address))

    def queue(self, address: Address, limit: int = -1) -> list[Envelope]:
        """Return the messages of an address in their order."""
        changes = self._changes
        consumed = set(changes.consumed)
        wanted = limit if limit < 0 else limit + len(consumed)
        found = {
            each.seq: each
            for each in self._store.queue(address, wanted)
            if each.seq not in consumed
        }
        found.update(
            (seq, each) for seq, each in changes.messages.items() if each.target == address
        )
        ordered = [found[seq] for seq in sorted(found)]
        return ordered if limit < 0 else ordered[:limit]

    # -- states ---------------------------------------------------------------------------

    def state(self, address: Address) -> dict[str, StoredValue]:
        """Return the values of an address by name; do not change the dictionary."""
        states = self._states
        values = states.pop(address, None)
        if values is None:
            values = self._store.state(address)
            self._state_bytes += _size(values)
        states[address] = values  # the last one is the one used most recently
        return values

    def set_state(
        self, address: Address, name: str, value: StoredValue | None, expires: int | None = None
    ) -> None:
        """Set or delete the value of a state.

        :param expires: When it expires, in milliseconds since 1970.
        """
        values = self.state(address)
        changes = self._changes.states
        changed = changes.get(address)
        if changed is None:
            changed = changes[address] = {}
        if name in values:
            self._state_bytes -= len(values[name].value)
        if value is not None:
            self._state_bytes += len(value.value)
            values[name] = value
            changed[name] = value, expires
        else:
            values.pop(name, None)
            changed[name] = None

    def set_state_type(self, function: str, name: str, typename: str) -> None:
        """Store the typename of a state, which its values keep."""
        self.state_types[function, name] = typename
        self._changes.state_types[function, name] = typename

    def holder(self, function: str, name: str) -> Address | None:
        """Return an address of a function type that has a value of a state; None if none has."""
        deleted = set()
        for address, values in self._changes.states.items():
            if address.type == function and name in values:
                if values[name] is not None:
                    return address
                deleted.add(address)
        stored = self._store.holders(function, name, len(deleted) + 1)
        return next((each for each in stored if each not in deleted), None)

    def addresses(self, function: str, after: str, limit: int) -> list[Address]:
        """Return addresses of a function type that have state, in the order of their ids."""
        changed = {
            address: self.state(address)
            for address in self._changes.states
            if address.type == function and address.id > after
        }
        stored = self._store.addresses(function, after, limit + len(changed))
        found = {each for each in stored if each not in changed}
        found.update(address for address, values in changed.items() if values)
        return sorted(found, key=lambda each: each.id)[:limit]

    # -- delays ---------------------------------------------------------------------------

    def add_delay(self, delay: Delay) -> None:
        """Add a delay, which takes its token."""
        self._changes.delays[delay.seq] = delay
        if delay.token is not None:
            self._tokens[delay.caller.id, delay.token] = delay

    def remove_delay(self, delay: Delay) -> None:
        """Remove a delay, which frees its token."""
        if self._changes.delays.pop(delay.seq, None) is None:
            self._changes.removed_delays.add(delay.seq)
        if delay.token is not None:
            self._tokens[delay.caller.id, delay.token] = None

    def delay(self, seq: int) -> Delay | None:
        """Return a pending delay by its number."""
        found = self._changes.delays.get(seq)
        if found is None and seq not in self._changes.removed_delays:
            found = self._store.delay(seq)
        return found

    def delay_of_token(self, caller_id: str, token: str) -> Delay | None:
        """Return the pending delay that a caller can cancel with a token."""
        try:
            return self._tokens[caller_id, token]
        except KeyError:
            return self._store.delay_of_token(caller_id, token)

    def delays_between(self, start: int, end: int) -> list[Delay]:
        """Return the delays due from one instant to before another."""
        found = self._pending(self._store.delays_between(start, end))
        return found + [each for each in self._changes.delays.values() if start <= each.due < end]

    def next_delays(self, limit: int) -> list[Delay]:
        """Return the delays that fire first."""
        changes = self._changes
        found = self._pending(self._store.next_delays(limit + len(changes.removed_delays)))
        found += changes.delays.values()
        return sorted(found, key=lambda each: (each.due, each.seq))[:limit]

    def _pending(self, delays: list[Delay]) -> list[Delay]:
        removed = self._changes.removed_delays
        return [each for each in delays if each.seq not in removed] if removed else delays

    # -- egress ---------------------------------------------------------------------------

    def add_records(self, records: cabc.Iterable[EgressRecord]) -> None:
        """Add egress records. They can be read once they are committed."""
        self._changes.records += records

    def forget_records(self, topic: str, last: int) -> None:
        """Delete the committed records of a topic up to a number."""
        self._changes.forget[topic] = last

    def last_number(self, counter: str) -> int:
        """Return the last number of a counter; 0 before the first one."""
        return self._counters.get(counter, 0)

    def set_mark(self, at: int, seq: int | None) -> None:
        """Store the number of the last record that existed at an instant; None to remove it."""
        self._changes.marks[at] = seq

    def cursor(self, reader: str) -> int:
        """Return the number of the last record that a reader has read."""
        found = self._changes.cursors.get(reader)
        return self._store.cursor(reader) if found is None else found

    def set_cursor(self, reader: str, seq: int) -> None:
        """Store the number of the last record that a reader has read."""
        self._changes.cursors[reader] = seq

    # -- parked addresses and dead letters ------------------------------------------------

    def park(self, parked: Parked) -> None:
        """Store that an address is parked."""
        self._changes.parked[parked.address] = parked

    def unpark(self, address: Address) -> None:
        """Store that an address is not parked any more."""
        self._changes.parked[address] = None

    def hold(self, typename: str, held: bool) -> None:
        """Store whether a person holds back a function type."""
        self._changes.held[typename] = held

    def bury(self, dead: Dead) -> None:
        """Make a message a dead letter."""
        self.consume([dead.envelope])
        self._changes.dead[dead.envelope.seq] = dead

    def exhume(self, seq: int) -> Dead | None:
        """Remove a dead letter and return it; None if there is none with the number."""
        changed = self._changes.dead
        found = changed[seq] if seq in changed else self._store.dead_letter(seq)
        if found is not None:
            changed[seq] = None
        return found

    def forget_dead(self, seqs: cabc.Iterable[int]) -> None:
        """Delete dead letters for good."""
        self._changes.dead.update(dict.fromkeys(seqs))

    def dead(self, limit: int = -1) -> list[Dead]:
        """Return the dead letters in the order of their numbers."""
        changed = self._changes.dead
        wanted = limit if limit < 0 else limit + len(changed)
        found = {each.envelope.seq: each for each in self._store.dead(wanted)}
        for seq, each in changed.items():
            if each is None:
                found.pop(seq, None)
            else:
                found[seq] = each
        ordered = [found[seq] for seq in sorted(found)]
        return ordered if limit < 0 else ordered[:limit]

    # -- inputs ---------------------------------------------------------------------------

    def position(self, source: str) -> str | None:
        """Return how far an input was read; None if it was never read."""
        found = self._changes.positions.get(source)
        return self._store.position(source) if found is None else found

    def set_positions(self, positions: cabc.Mapping[str, str]) -> None:
        """Store how far inputs were read."""
        self._changes.positions.update(positions)

    def key_use(self, key: Key) -> KeyUse | None:
        """Return what was sent under an idempotency key."""
        changed = self._changes.keys
        return changed[key] if key in changed else self._store.key_use(key)

    def set_key_use(self, key: Key, use: KeyUse | None) -> None:
        """Store what was sent under an idempotency key; None to forget the key."""
        self._changes.keys[key] = use


def _size(values: dict[str, StoredValue]) -> int:
    return sum(len(each.value) for each in values.values())
