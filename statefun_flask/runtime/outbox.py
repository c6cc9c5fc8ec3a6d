"""Egress records on their way out: each at least once, in the order of their numbers."""

from __future__ import annotations

import collections.abc as cabc

from .records import EgressRecord
from .store import Store

#: How many records the receiver gets at a time.
SIZE = 1_000

#: After how many delivered records old ones are deleted.
_TIDY = 5_000

_READER = "deliver"

Deliver = cabc.Callable[[list[EgressRecord]], None]


class Outbox:
    """Hands committed records to their receiver; the next commit notes that it has them.

    :param deliver: The receiver; None when records are only read and popped.
    """

    def __init__(self, store: Store, deliver: Deliver | None) -> None:
        self._store = store
        self._deliver = deliver
        self._tidied = store.cursor(_READER)
        #: Whether there may be records that the receiver does not have.
        self.pending = deliver is not None
        #: What was just written, if it is all that is pending: it need not be read again.
        self._fresh: list[EgressRecord] = []

    def written(self, records: list[EgressRecord]) -> None:
        """Note that records were committed."""
        if self._deliver is not None and records:
            self._fresh = [] if self.pending else records
            self.pending = True

    def run(self) -> None:
        """Deliver what is committed. Raises what the receiver raises; it gets the records again."""
        if self._deliver is None or not self.pending:
            return
        records, self._fresh = self._fresh, []
        if not records:
            records = self._store.records(self._store.cursor(_READER), SIZE)
        if records:
            self._deliver(records)
            self._store.fail.hit("deliver")
            self._store.changes.cursors[_READER] = records[-1].seq
        self.pending = len(records) >= SIZE

    def tidy(self) -> None:
        """Delete delivered records but for the last ones of each topic, once there are many."""
        delivered = self._store.cursor(_READER)
        if delivered - self._tidied >= _TIDY:
            self._tidied = delivered
            self._store.forget_records(delivered)
