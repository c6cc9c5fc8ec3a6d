"""Passes committed egress records to sinks, such as Kafka topics."""

from __future__ import annotations

import collections
import typing as t

from .records import EgressRecord
from .store.base import Store
from .store.transaction import Transaction

#: A sink gets no more records while it has not acknowledged this many.
AHEAD = 10_000

#: Acknowledged records are deleted once there are this many.
TIDY = 5_000


class Sink(t.Protocol):
    """Writes the records of an egress, each at least once and in the order of their numbers.

    It calls :meth:`.engine.Engine.acknowledge` with the number of the last record written.
    """

    def offer(self, records: list[EgressRecord]) -> None:
        """Accept records. Called in the engine's thread: this method must not wait."""

    def close(self, timeout: float) -> None:
        """Write the offered records, for this many seconds at most, and stop."""


class SinkQueue:
    """Offers the records of one egress to its sink and stores the number acknowledged last."""

    def __init__(self, store: Store, transaction: Transaction, egress: str, sink: Sink) -> None:
        self.sink = sink
        self._store = store
        self._transaction = transaction
        self._egress = egress
        self._reader = f"egress:{egress}"
        self._acknowledged = self._offered = self._tidied = transaction.cursor(self._reader)
        self._last = max(self._acknowledged, store.last_record(egress))
        self._in_flight: collections.deque[int] = collections.deque()

    @property
    def pending(self) -> bool:
        """Whether there are records that the sink has not acknowledged."""
        return self._acknowledged < self._last

    def start(self) -> None:
        """Offer the records that were not acknowledged when the engine last stopped."""
        self._offer_more()

    def committed(self, records: list[EgressRecord]) -> None:
        """Offer records that were committed; those of other egresses are ignored."""
        own = [record for record in records if record.egress == self._egress]
        if not own:
            return
        up_to_date = self._offered == self._last
        self._last = own[-1].seq
        if up_to_date and len(self._in_flight) < AHEAD:
            self._offer(own)

    def acknowledge(self, seq: int) -> None:
        """Note that the sink has written all records up to a number."""
        while self._in_flight and self._in_flight[0] <= seq:
            self._in_flight.popleft()
        self._acknowledged = seq
        self._transaction.set_cursor(self._reader, seq)
        self._tidy()
        self._offer_more()

    def _tidy(self) -> None:
        """Delete acknowledged records except the last ones of each topic, once there are many."""
        if self._acknowledged - self._tidied >= TIDY:
            self._tidied = self._acknowledged
            self._transaction.forget_records(self._egress, self._acknowledged)

    def _offer_more(self) -> None:
        while self._offered < self._last and len(self._in_flight) < AHEAD:
            self._offer(self._store.records_of(self._egress, self._offered, AHEAD))

    def _offer(self, records: list[EgressRecord]) -> None:
        self._in_flight.extend(record.seq for record in records)
        self._offered = records[-1].seq
        self.sink.offer(records)


class Sinks:
    """The sinks of an engine by egress. Records of other egresses stay in the store."""

    def __init__(self, store: Store, transaction: Transaction) -> None:
        self._store = store
        self._transaction = transaction
        self._queues: dict[str, SinkQueue] = {}

    @property
    def pending(self) -> bool:
        """Whether there are records that a sink has not acknowledged."""
        return any(each.pending for each in self._queues.values())

    def attach(self, egress: str, sink: Sink) -> None:
        """Connect an egress to a sink."""
        queue = self._queues[egress] = SinkQueue(self._store, self._transaction, egress, sink)
        queue.start()

    def acknowledge(self, egress: str, seq: int) -> None:
        """Note that the sink of an egress has written all records up to a number."""
        self._queues[egress].acknowledge(seq)

    def committed(self, records: list[EgressRecord]) -> None:
        """Offer records that were committed to their sinks."""
        if records:
            for queue in self._queues.values():
                queue.committed(records)

    def close(self, timeout: float) -> None:
        """Close the sinks, each for this many seconds at most."""
        for queue in self._queues.values():
            queue.sink.close(timeout)
