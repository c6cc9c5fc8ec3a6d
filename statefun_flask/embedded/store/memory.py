"""A store of plain dictionaries, which ends with the process."""

from __future__ import annotations

import bisect
import collections.abc as cabc
import heapq
import itertools
import operator
import typing as t

from ...values.address import Address
from ..errors import NoDataFolderError
from ..records import Dead
from ..records import Delay
from ..records import EgressRecord
from ..records import Envelope
from ..records import KeyUse
from ..records import Parked
from ..records import StoredValue
from . import base
from .base import Changes
from .base import Key
from .base import StateRow
from .base import TopicSize
from .record_table import RecordTable

K = t.TypeVar("K")
V = t.TypeVar("V")

#: As many bytes as a row of SQLite, so that a message is refused in memory as it is on disk.
_LARGEST = 1_000_000_000 - (64 << 10)

_seq = operator.attrgetter("seq")
_age = operator.attrgetter("since", "envelope.seq")


class MemoryStore:
    """Keeps everything in memory."""

    path = ":memory:"

    def __init__(self) -> None:
        self.largest = _LARGEST
        self._counters: dict[str, int] = {}
        self._state_types: dict[tuple[str, str], str] = {}
        self._states: dict[Address, dict[str, tuple[StoredValue, int | None]]] = {}
        #: Instants at which values expire; entries of values that have changed are ignored.
        self._expirations: list[tuple[int, int, Address, str]] = []
        self._ticket = itertools.count()
        self._messages: dict[int, Envelope] = {}
        self._delays: dict[int, Delay] = {}
        #: Instants and numbers of the delays, sorted.
        self._due: list[tuple[int, int]] = []
        self._tokens: dict[tuple[str, str], Delay] = {}
        self._records = RecordTable()
        self._marks: dict[int, int] = {}
        self._cursors: dict[str, int] = {}
        self._parked: dict[Address, Parked] = {}
        self._dead: dict[int, Dead] = {}
        self._positions: dict[str, str] = {}
        self._keys: dict[Key, KeyUse] = {}
        self._held: set[str] = set()

    def close(self) -> None:
        """Do nothing: the content ends with the object."""

    def copy(self) -> t.BinaryIO:
        """Refuse: there is no file.

        :raises NoDataFolderError: Always.
        """
        raise NoDataFolderError

    # -- writing --------------------------------------------------------------------------

    def commit(self, changes: Changes) -> None:
        """Apply all changes."""
        self._counters = dict(changes.counters)
        self._state_types.update(changes.state_types)
        for address, values in changes.states.items():
            self._write_state(address, values)
        for seq in changes.consumed:
            del self._messages[seq]
        self._messages.update(changes.messages)
        for seq in changes.removed_delays:
            self._remove_delay(seq)
        for delay in changes.delays.values():
            self._add_delay(delay)
        for record in changes.records:
            self._records.add(record)
        _update(self._marks, changes.marks)
        self._cursors.update(changes.cursors)
        for topic, last in changes.forget.items():
            self._forget_records(topic, last)
        _update(self._parked, changes.parked)
        _update(self._dead, changes.dead)
        self._positions.update(changes.positions)
        for key in changes.keys:
            self._keys.pop(key, None)  # the keys stay in the order of their use
        _update(self._keys, changes.keys)
        for typename, held in changes.held.items():
            if held:
                self._held.add(typename)
            else:
                self._held.discard(typename)

    def _write_state(self, address: Address, values: dict[str, StateRow]) -> None:
        stored = self._states.setdefault(address, {})
        for name, change in values.items():
            if change is None:
                stored.pop(name, None)
                continue
            stored[name] = change
            expires = change[1]
            if expires is not None:
                entry = (expires, next(self._ticket), address, name)
                heapq.heappush(self._expirations, entry)
        if not stored:
            del self._states[address]

    def _add_delay(self, delay: Delay) -> None:
        self._delays[delay.seq] = delay
        bisect.insort(self._due, (delay.due, delay.seq))
        if delay.token is not None:
            self._tokens[delay.caller.id, delay.token] = delay

    def _remove_delay(self, seq: int) -> None:
        delay = self._delays.pop(seq)
        del self._due[bisect.bisect_left(self._due, (delay.due, seq))]
        if delay.token is not None:
            del self._tokens[delay.caller.id, delay.token]

    def _forget_records(self, topic: str, last: int) -> None:
        self._records.forget(topic, last)
        if self._records.topic(topic) is None:
            self._cursors.pop(base.topic_reader(topic), None)

    def shrink(self, pages: int) -> None:
        """Do nothing: there is no file."""

    # -- reading --------------------------------------------------------------------------

    def counters(self) -> dict[str, int]:
        """Return the last number of each counter."""
        return dict(self._counters)

    def state_types(self) -> dict[tuple[str, str], str]:
        """Return the typename of each stored state, by function type and name."""
        return dict(self._state_types)

    def state(self, address: Address) -> dict[str, StoredValue]:
        """Return the values of an address by name, as a new dictionary."""
        stored = self._states.get(address)
        return {} if stored is None else {name: value for name, (value, _) in stored.items()}

    def expired(self, now: int, limit: int) -> list[tuple[Address, str]]:
        """Return addresses and names of values that have expired, the oldest first."""
        heap = self._expirations
        found: dict[tuple[Address, str], tuple[int, int, Address, str]] = {}
        while heap and heap[0][0] <= now and len(found) < limit:
            entry = expires, _, address, name = heapq.heappop(heap)
            current = self._states.get(address, {}).get(name)
            if current is not None and current[1] == expires:
                found[address, name] = entry
        for entry in found.values():
            heapq.heappush(heap, entry)  # they stay until they are deleted
        return list(found)

    def addresses(self, typename: str, after: str, limit: int) -> list[Address]:
        """Return addresses of a function type that have state, in the order of their ids."""
        found = (each for each in self._states if each.type == typename and each.id > after)
        return heapq.nsmallest(limit, found, key=lambda each: each.id)

    def holders(self, function: str, name: str, limit: int) -> list[Address]:
        """Return addresses of a function type that have a value of a state."""
        found = (
            each
            for each, values in self._states.items()
            if each.type == function and name in values
        )
        return list(itertools.islice(found, limit))

    def messages(self) -> cabc.Iterator[Envelope]:
        """Yield the messages of all addresses that are not parked, in their order."""
        for seq in sorted(self._messages):
            envelope = self._messages[seq]
            if envelope.target not in self._parked:
                yield envelope

    def queue(self, address: Address, limit: int = -1) -> list[Envelope]:
        """Return the messages of an address in their order."""
        found = [each for each in self._messages.values() if each.target == address]
        found.sort(key=_seq)
        return found if limit < 0 else found[:limit]

    def queue_length(self, address: Address) -> int:
        """Return how many messages an address has."""
        return sum(each.target == address for each in self._messages.values())

    def delay(self, seq: int) -> Delay | None:
        """Return a delay by its number."""
        return self._delays.get(seq)

    def delay_of_token(self, caller_id: str, token: str) -> Delay | None:
        """Return the delay that a caller can cancel with a token."""
        return self._tokens.get((caller_id, token))

    def delays_between(self, start: int, end: int) -> list[Delay]:
        """Return the delays due from one instant to before another."""
        first = bisect.bisect_left(self._due, (start, 0))
        last = bisect.bisect_left(self._due, (end, 0))
        return [self._delays[seq] for _, seq in self._due[first:last]]

    def next_delays(self, limit: int) -> list[Delay]:
        """Return the delays that fire first."""
        return [self._delays[seq] for _, seq in self._due[:limit]]

    def records(
        self, after: int, limit: int, name: str | None = None, size: int | None = None
    ) -> list[EgressRecord]:
        """Return records with a higher number: all, or those of a topic or an egress.

        :param size: No more records are returned once their values have so many bytes.
        """
        return base.page(self._records.after(after, name), limit, size)

    def records_of(
        self, egress: str, after: int, limit: int, size: int | None = None
    ) -> list[EgressRecord]:
        """Return records of an egress with a higher number, bounded as :meth:`records`."""
        return base.page(self._records.of_egress(egress, after), limit, size)

    def last_record(self, egress: str) -> int:
        """Return the number of the last record of an egress; 0 for none."""
        return self._records.last(egress)

    def topic(self, name: str) -> TopicSize | None:
        """Return the size of a topic; None for a topic without records."""
        return self._records.topic(name)

    def topics(self, after: str, limit: int) -> list[TopicSize]:
        """Return topics in the order of their names."""
        return self._records.topics(after, limit)

    def oldest_records(self, topic: str) -> cabc.Iterator[tuple[int, str, int]]:
        """Yield number, egress, and bytes of the value of a topic's records, the oldest first.

        Nothing may be committed meanwhile.
        """
        return self._records.oldest(topic)

    def marks(self) -> dict[int, int]:
        """Return instants with the number of the last record that existed then, in their order."""
        return dict(sorted(self._marks.items()))

    def cursors(self, prefix: str) -> dict[str, int]:
        """Return the numbers of all readers whose names begin with a text."""
        return {name: seq for name, seq in self._cursors.items() if name.startswith(prefix)}

    def cursor(self, reader: str) -> int:
        """Return the number of the last record that a reader has read."""
        return self._cursors.get(reader, 0)

    def parked(self) -> list[Parked]:
        """Return the parked addresses, the oldest first."""
        return sorted(self._parked.values(), key=_seq)

    def held(self) -> list[str]:
        """Return the function types that a person holds back."""
        return sorted(self._held)

    def dead(self, limit: int = -1) -> list[Dead]:
        """Return the dead letters in the order of their numbers."""
        found = [self._dead[seq] for seq in sorted(self._dead)]
        return found if limit < 0 else found[:limit]

    def dead_letter(self, seq: int) -> Dead | None:
        """Return a dead letter by its number."""
        return self._dead.get(seq)

    def old_dead(self, before: int, keep: int | None, limit: int) -> list[int]:
        """Return numbers of dead letters: older than an instant, or not among the newest ones.

        :param keep: How many are the newest ones; None for all.
        """
        newest = sorted(self._dead.values(), key=_age, reverse=True)
        older = [each for each in newest if each.since < before]
        found = {each.envelope.seq for each in (*older, *([] if keep is None else newest[keep:]))}
        return sorted(found)[:limit]

    def position(self, source: str) -> str | None:
        """Return how far an input was read; None if it was never read."""
        return self._positions.get(source)

    def key_use(self, key: Key) -> KeyUse | None:
        """Return what was sent under an idempotency key."""
        return self._keys.get(key)

    def old_keys(self, before: int, limit: int) -> list[Key]:
        """Return idempotency keys that were used before an instant."""
        old = itertools.takewhile(lambda each: each[1].at < before, self._keys.items())
        return [key for key, _ in itertools.islice(old, limit)]


def _update(stored: dict[K, V], changes: dict[K, V | None]) -> None:
    for key, value in changes.items():
        if value is None:
            stored.pop(key, None)
        else:
            stored[key] = value
