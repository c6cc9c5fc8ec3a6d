"""The records of one egress on their way to a receiver that takes its time."""

from __future__ import annotations

import collections
import typing as t

from .records import EgressRecord
from .store.store import Store

#: A receiver gets no more while it has so many that it did not acknowledge.
AHEAD = 10_000

#: After how many acknowledged records old ones are deleted.
TIDY = 5_000


class Receiver(t.Protocol):
    """Takes the records of an egress, each at least once and in the order of their numbers.

    It says by :meth:`.engine.Engine.acknowledge` up to which one it has them.
    """

    def offer(self, records: list[EgressRecord]) -> None:
        """Take records. Called in the engine's thread, so it never waits."""

    def close(self, timeout: float) -> None:
        """Get rid of what it was offered, within so many seconds, and end."""


class Courier:
    """Offers committed records to their receiver, and keeps how far it has them."""

    def __init__(self, store: Store, egress: str, receiver: Receiver) -> None:
        self.receiver = receiver
        self._store = store
        self._egress = egress
        self._reader = f"egress:{egress}"
        self._taken = self._offered = self._tidied = store.cursor(self._reader)
        self._last = max(self._taken, store.last_record(egress))
        self._flying: collections.deque[int] = collections.deque()

    @property
    def pending(self) -> bool:
        """Whether the receiver lacks records."""
        return self._taken < self._last

    def start(self) -> None:
        """Offer what was left over."""
        self._offer_more()

    def written(self, records: list[EgressRecord]) -> None:
        """Note that records were committed, of this egress and of others."""
        own = [record for record in records if record.egress == self._egress]
        if not own:
            return
        up_to_date = self._offered == self._last
        self._last = own[-1].seq
        if up_to_date and len(self._flying) < AHEAD:
            self._offer(own)

    def acknowledged(self, seq: int) -> None:
        """Note that the receiver has all records up to a number."""
        while self._flying and self._flying[0] <= seq:
            self._flying.popleft()
        self._taken = self._store.changes.cursors[self._reader] = seq
        self._offer_more()

    def _offer_more(self) -> None:
        while self._offered < self._last and len(self._flying) < AHEAD:
            self._offer(self._store.records_of(self._egress, self._offered, AHEAD))

    def _offer(self, records: list[EgressRecord]) -> None:
        self._flying.extend(record.seq for record in records)
        self._offered = records[-1].seq
        self.receiver.offer(records)

    def tidy(self) -> None:
        """Delete acknowledged records but for the last ones of each topic, once there are many."""
        if self._taken - self._tidied >= TIDY:
            self._tidied = self._taken
            self._store.forget_records(self._taken, self._egress)
