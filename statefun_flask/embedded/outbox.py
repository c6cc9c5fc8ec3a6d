"""Egress records on their way out: each at least once, in the order of their numbers."""

from __future__ import annotations

import collections.abc as cabc

from .courier import Courier
from .courier import Receiver
from .courier import TIDY
from .records import EgressRecord
from .store.store import Store

#: How many records the receiver gets at a time.
SIZE = 1_000

_READER = "deliver"

Deliver = cabc.Callable[[list[EgressRecord]], None]


class Outbox:
    """Hands committed records to their receivers; the next commit notes who has them.

    :param deliver: The receiver of all records; None when they are only read and popped, or each
        egress has one of its own.
    """

    def __init__(self, store: Store, deliver: Deliver | None) -> None:
        self._store = store
        self._deliver = deliver
        self._tidied = store.cursor(_READER)
        self._couriers: dict[str, Courier] = {}
        self._pending = deliver is not None
        #: What was just written, if it is all that is pending: it need not be read again.
        self._fresh: list[EgressRecord] = []

    @property
    def pending(self) -> bool:
        """Whether there may be records that a receiver does not have."""
        return self._pending or any(each.pending for each in self._couriers.values())

    def attach(self, egress: str, receiver: Receiver) -> None:
        """Give an egress a receiver of its own.

        :raises ValueError: There is one for all.
        """
        if self._deliver is not None:
            raise ValueError(
                f"The egress '{egress}' cannot have a receiver beside 'deliver', which gets all"
                " records. Leave one of them out."
            )
        courier = self._couriers[egress] = Courier(self._store, egress, receiver)
        courier.start()

    def acknowledge(self, egress: str, seq: int) -> None:
        """Note that an egress's receiver has the records up to a number."""
        self._couriers[egress].acknowledged(seq)

    def close(self, timeout: float) -> None:
        """End the receivers, each after so many seconds at most."""
        for courier in self._couriers.values():
            courier.receiver.close(timeout)

    def written(self, records: list[EgressRecord]) -> None:
        """Note that records were committed."""
        if not records:
            return
        if self._deliver is not None:
            self._fresh = [] if self._pending else records
            self._pending = True
        for courier in self._couriers.values():
            courier.written(records)

    def run(self) -> None:
        """Deliver what is committed. Raises what the receiver raises; it gets the records again."""
        if self._deliver is None or not self._pending:
            return
        records, self._fresh = self._fresh, []
        if not records:
            records = self._store.records(self._store.cursor(_READER), SIZE)
        if records:
            self._deliver(records)
            self._store.fail.hit("deliver")
            self._store.changes.cursors[_READER] = records[-1].seq
        self._pending = len(records) >= SIZE

    def tidy(self) -> None:
        """Delete delivered records but for the last ones of each topic, once there are many."""
        for courier in self._couriers.values():
            courier.tidy()
        delivered = self._store.cursor(_READER)
        if delivered - self._tidied >= TIDY:
            self._tidied = delivered
            self._store.forget_records(delivered)
