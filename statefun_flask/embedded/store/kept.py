"""What a store in memory has committed and gives no row until somebody looks for it. Pure.

Nearly all messages are consumed, states changed again and records delivered before anybody does.
"""

from __future__ import annotations

import collections

from ..records import EgressRecord
from ..records import Envelope
from ..records import StoredValue

#: (function type, id, state)
StateKey = tuple[str, str, str]

#: A cell with the instant at which it expires; None to delete it.
StateChange = tuple[StoredValue, int | None] | None


class Kept:
    """Messages, changes of state and egress records, each in the order of the commits."""

    def __init__(self) -> None:
        self.messages: dict[int, Envelope] = {}
        self.states: dict[StateKey, StateChange] = {}
        self.records: list[EgressRecord] = []

    def forget_records(self, delivered: int, egress: str | None, number: int) -> None:
        """Forget the records up to a number, but for the last ones of each topic.

        :param egress: Forget those of its topics alone.
        :param number: How many of each topic are left.
        """
        later: collections.Counter[str] = collections.Counter()
        left: list[EgressRecord] = []
        for record in reversed(self.records):
            is_delivered = record.seq <= delivered and egress in (None, record.egress)
            if not is_delivered or later[record.topic] < number:
                left.append(record)
            later[record.topic] += 1
        left.reverse()
        self.records = left
