"""How long an engine keeps what nobody needs any more, and the sweeps that delete it.

What is deleted: the oldest egress records of each topic, idempotency keys, dead letters, and
values of states whose time to live is over. Messages, delays, parked addresses, and records that a
sink has not acknowledged are never deleted.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import itertools
import math

from .clock import Clock
from .egress import Sinks
from .exchange.states import RegisteredStates
from .records import EgressRecord
from .store.base import Store
from .store.base import TopicSize
from .store.transaction import Transaction

_HOUR = 3600 * 1000
_DAY = 24 * _HOUR

#: How long an idempotency key is remembered, in milliseconds.
REMEMBERED = _DAY

#: A sweep deletes at most so many egress records, and so many of each other kind.
RECORDS = 1_000
OTHERS = 1_000

#: A sweep looks at so many topics besides those that have new records.
TOPICS = 500

#: A sweep gives back at most so many free pages of the file.
PAGES = 500

#: Between two sweeps, in milliseconds, unless there is more to delete.
INTERVAL = 30_000

#: A sweep is followed by a pause of so many times its duration.
_PAUSE = 2

#: The age of records is known to this part of the limit.
_PRECISION = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Retention:
    """What an engine keeps at least. None is no limit.

    A limit is exceeded for a short while, since old data is deleted in small portions.

    :param records: How many egress records of each topic.
    :param record_bytes: How many bytes the values of these records may have.
    :param record_age: For how long, in milliseconds.
    :param dead: How many dead letters.
    :param dead_age: For how long, in milliseconds.
    """

    records: int | None = 10_000
    record_bytes: int | None = 1 << 30
    record_age: int | None = 7 * _DAY
    dead: int | None = 10_000
    dead_age: int | None = 30 * _DAY

    @classmethod
    def of(cls, keep_records: int | None = None, keep_days: float | None = None) -> Retention:
        """Return the default with other limits for egress records; None leaves a limit."""
        return cls(
            records=cls.records if keep_records is None else keep_records,
            record_age=cls.record_age if keep_days is None else max(1, round(keep_days * _DAY)),
        )


#: Keeps egress records and dead letters for ever.
KEEP_ALL = Retention(records=None, record_bytes=None, record_age=None, dead=None, dead_age=None)


class Sweeper:
    """Deletes what a retention does not keep, in portions that take milliseconds.

    The cost of a sweep does not depend on how much is stored.
    """

    def __init__(
        self,
        retention: Retention,
        store: Store,
        transaction: Transaction,
        sinks: Sinks,
        states: RegisteredStates,
        clock: Clock,
    ) -> None:
        self._retention = retention
        self._store = store
        self._transaction = transaction
        self._states = states
        self._clock = clock
        self._topics = TopicSweeper(retention, store, transaction, sinks)
        self._ages = RecordAges(retention.record_age, store, transaction)
        #: How many records were written since the last sweep.
        self._written = 0

    def wrote(self, records: list[EgressRecord]) -> None:
        """Note records that were committed, so that the next sweep looks at their topics."""
        self._written += len(records)
        self._topics.written.update(dict.fromkeys(record.topic for record in records))

    @property
    def is_behind(self) -> bool:
        """Whether as many records were written since the last sweep as a sweep deletes."""
        return self._written >= RECORDS

    def sweep(self) -> bool:
        """Delete a part of what is not kept, and return whether more may be left.

        Everything must be committed before, and a commit must follow.
        """
        now = self._clock.now()
        self._written = 0
        last = self._ages.last_old_record(now)
        more = [
            self._expire(now),
            self._forget_keys(now),
            self._forget_dead(now),
            self._topics.sweep(last),
        ]
        self._store.shrink(PAGES)
        return any(more)

    def sweep_everything(self) -> None:
        """Delete all that is not kept, and commit."""
        more = True
        while more:
            more = self.sweep() or not self._topics.all_swept
            self._transaction.commit()

    def _expire(self, now: int) -> bool:
        found = self._store.expired(now, OTHERS)
        for address, name in found:
            value = self._transaction.state(address).get(name)
            spec = self._states.of(address.type).get(name)
            # A function that has not been called since the start has no specs: the value expires
            # as it was stored. A spec with another time to live moves the expiration.
            expires = None if spec is None or value is None else spec.expires(value)
            if value is None or spec is None or (expires is not None and expires <= now):
                self._transaction.set_state(address, name, None)
            else:
                self._transaction.set_state(address, name, value, expires)
        return len(found) == OTHERS

    def _forget_keys(self, now: int) -> bool:
        found = self._store.old_keys(now - REMEMBERED, OTHERS)
        for key in found:
            self._transaction.set_key_use(key, None)
        return len(found) == OTHERS

    def _forget_dead(self, now: int) -> bool:
        retention = self._retention
        oldest = 0 if retention.dead_age is None else now - retention.dead_age
        found = self._store.old_dead(oldest, retention.dead, OTHERS)
        self._transaction.forget_dead(found)
        return len(found) == OTHERS


class TopicSweeper:
    """Deletes the oldest records of topics that are too large or too old.

    A topic is swept when it has new records, and all topics are swept in turn: those whose records
    become old, and those of an earlier run with other limits.

    A record that its sink has not acknowledged is not deleted, nor are those behind it in its
    topic.
    """

    def __init__(
        self, retention: Retention, store: Store, transaction: Transaction, sinks: Sinks
    ) -> None:
        self._retention = retention
        self._store = store
        self._transaction = transaction
        self._sinks = sinks
        self._records = math.inf if retention.records is None else retention.records
        self._bytes = math.inf if retention.record_bytes is None else retention.record_bytes
        #: Topics with new records, in the order of writing.
        self.written: dict[str, None] = {}
        #: The topic that was swept last, in the order of their names.
        self._swept = ""

    def sweep(self, last: int) -> bool:
        """Delete some records, and return whether more are to be deleted.

        :param last: The number up to which records are too old.
        """
        budget = RECORDS
        for topic in self._next():
            budget -= self._trim(topic, last, budget)
            if not budget:
                self.written[topic.name] = None  # for the rest of its records
                break
        return not budget or bool(self.written)

    @property
    def all_swept(self) -> bool:
        """Whether the last sweep looked at the last topic."""
        return not self._swept

    def _next(self) -> cabc.Iterator[TopicSize]:
        """Yield the topics that are swept now, each once."""
        names = list(itertools.islice(self.written, TOPICS))
        for name in names:
            del self.written[name]
            topic = self._store.topic(name)
            if topic is not None:
                yield topic
        in_turn = self._store.topics(self._swept, TOPICS)
        for topic in in_turn:
            self._swept = topic.name
            if topic.name not in names:
                yield topic
        if len(in_turn) < TOPICS:
            self._swept = ""

    def _trim(self, topic: TopicSize, last: int, budget: int) -> int:
        """Delete the oldest records of a topic, and return how many."""
        excess, surplus = topic.records - self._records, topic.bytes - self._bytes
        if excess <= 0 and surplus <= 0 and topic.first > last:
            return 0
        count = through = 0
        for seq, egress, size in self._store.oldest_records(topic.name):
            is_kept = count >= excess and surplus <= 0 and seq > last
            if is_kept or count == budget or self._sinks.is_waiting(egress, seq):
                break
            through = seq
            count += 1
            surplus -= size
        if count:
            self._transaction.forget_records(topic.name, through)
        return count


class RecordAges:
    """Knows which records are older than a limit.

    A record has no time of its own. Marks are stored instead: instants with the number of the last
    record that existed then.

    :param limit: In milliseconds; None for no limit.
    """

    def __init__(self, limit: int | None, store: Store, transaction: Transaction) -> None:
        self._limit = limit
        self._transaction = transaction
        self._marks = store.marks()

    def last_old_record(self, now: int) -> int:
        """Return the number up to which all records are too old; 0 for none."""
        if self._limit is None:
            return 0
        # If the clock was set back, records of a mark to come existed before it was.
        self._remove([at for at in self._marks if at > now])
        self._add(now, self._limit // _PRECISION)
        old = [at for at in self._marks if at <= now - self._limit]
        self._remove(old[:-1])  # the last one covers them
        return self._marks[old[-1]] if old else 0

    def _add(self, now: int, interval: int) -> None:
        """Mark the last record. The latest mark moves on until it is far from the one before."""
        last = self._transaction.last_number("record")
        before, latest = (0, 0, *sorted(self._marks))[-2:]
        if last == self._marks.get(latest, 0):
            return
        if before and latest - before < interval:
            self._remove([latest])
        self._marks[now] = last
        self._transaction.set_mark(now, last)

    def _remove(self, instants: list[int]) -> None:
        for at in instants:
            del self._marks[at]
            self._transaction.set_mark(at, None)


class SweepSchedule:
    """When an engine sweeps: time and again, and for a third of its time at most.

    Instants and durations are in milliseconds of a clock that never jumps.
    """

    def __init__(self) -> None:
        self._next = self._earliest = 0

    def is_due(self, now: int, *, is_behind: bool) -> bool:
        """Return whether to sweep now.

        :param is_behind: Whether much was written since the last sweep.
        """
        return now >= (self._earliest if is_behind else self._next)

    def swept(self, begun: int, ended: int, *, more: bool) -> None:
        """Note a sweep.

        :param more: Whether it has left something to delete.
        """
        self._earliest = ended + _PAUSE * (ended - begun)
        self._next = self._earliest if more else begun + INTERVAL

    def milliseconds_until_due(self, now: int) -> int:
        """Return how long it takes until the next sweep, if nothing is written before."""
        return max(0, self._next - now)
