"""The egress records of the store in memory, by topic and by egress."""

from __future__ import annotations

import bisect
import collections
import collections.abc as cabc
import heapq
import itertools

from ..records import EgressRecord
from .base import TopicSize


class RecordTable:
    """Egress records in the order of their numbers. The oldest of a topic can be deleted."""

    def __init__(self) -> None:
        self._records: dict[int, EgressRecord] = {}
        self._topics: dict[str, list[int]] = {}
        self._bytes: collections.Counter[str] = collections.Counter()
        #: The names of the topics, sorted.
        self._names: list[str] = []
        #: The numbers of each egress, with some that are deleted.
        self._egresses: dict[str, list[int]] = {}
        self._deleted: collections.Counter[str] = collections.Counter()

    def add(self, record: EgressRecord) -> None:
        """Add a record, which has the highest number so far."""
        seq, topic = record.seq, record.topic
        self._records[seq] = record
        numbers = self._topics.get(topic)
        if numbers is None:
            numbers = self._topics[topic] = []
            bisect.insort(self._names, topic)
        numbers.append(seq)
        self._bytes[topic] += len(record.value)
        self._egresses.setdefault(record.egress, []).append(seq)

    def forget(self, topic: str, last: int) -> None:
        """Delete the records of a topic up to a number."""
        numbers = self._topics.get(topic, [])
        count = bisect.bisect_right(numbers, last)
        touched = set()
        for seq in numbers[:count]:
            record = self._records.pop(seq)
            self._bytes[topic] -= len(record.value)
            self._deleted[record.egress] += 1
            touched.add(record.egress)
        del numbers[:count]
        if count and not numbers:
            del self._topics[topic], self._bytes[topic]
            del self._names[bisect.bisect_left(self._names, topic)]
        for egress in touched:
            self._compact(egress)

    def _compact(self, egress: str) -> None:
        """Remove the deleted numbers of an egress once they are the majority."""
        numbers = self._egresses[egress]
        if 2 * self._deleted[egress] > len(numbers):
            del self._deleted[egress]
            self._egresses[egress] = [seq for seq in numbers if seq in self._records]
            if not self._egresses[egress]:
                del self._egresses[egress]

    # -- reading --------------------------------------------------------------------------

    def after(self, after: int, name: str | None = None) -> cabc.Iterator[EgressRecord]:
        """Yield the records with a higher number: all, or those of a topic or an egress."""
        if name is None:
            return (record for seq, record in self._records.items() if seq > after)
        lists = [each[name] for each in (self._topics, self._egresses) if name in each]
        merged = heapq.merge(*(_after(each, after) for each in lists))
        return self._existing(seq for seq, _ in itertools.groupby(merged))

    def of_egress(self, egress: str, after: int) -> cabc.Iterator[EgressRecord]:
        """Yield the records of an egress with a higher number."""
        return self._existing(_after(self._egresses.get(egress, []), after))

    def _existing(self, numbers: cabc.Iterable[int]) -> cabc.Iterator[EgressRecord]:
        records = self._records
        return (records[seq] for seq in numbers if seq in records)

    def last(self, egress: str) -> int:
        """Return the number of the last record of an egress; 0 for none."""
        numbers = reversed(self._egresses.get(egress, []))
        return next((seq for seq in numbers if seq in self._records), 0)

    def topic(self, name: str) -> TopicSize | None:
        """Return the size of a topic; None for a topic without records."""
        numbers = self._topics.get(name)
        if numbers is None:
            return None
        return TopicSize(name, len(numbers), self._bytes[name], numbers[0])

    def topics(self, after: str, limit: int) -> list[TopicSize]:
        """Return topics in the order of their names."""
        first = bisect.bisect_right(self._names, after)
        found = map(self.topic, self._names[first : first + limit])
        return [each for each in found if each is not None]

    def oldest(self, topic: str) -> cabc.Iterator[tuple[int, str, int]]:
        """Yield number, egress, and bytes of the value of a topic's records."""
        for seq in self._topics.get(topic, []):
            record = self._records[seq]
            yield seq, record.egress, len(record.value)


def _after(numbers: list[int], after: int) -> cabc.Iterator[int]:
    return (numbers[i] for i in range(bisect.bisect_right(numbers, after), len(numbers)))
