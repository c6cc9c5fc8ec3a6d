"""What a store keeps, and how it is read and written."""

from __future__ import annotations

import collections.abc as cabc
import itertools
import typing as t

import msgspec

from ...values.address import Address
from ..records import Dead
from ..records import Delay
from ..records import EgressRecord
from ..records import Envelope
from ..records import KeyUse
from ..records import Parked
from ..records import StoredValue

#: A value with the instant at which it expires, in milliseconds since 1970; None to delete it.
StateRow = tuple[StoredValue, int | None] | None

#: An address and a client's idempotency key.
Key = tuple[Address, str]


class Changes(msgspec.Struct):
    """What one commit writes. A value of None deletes.

    :param counted: Whether a counter advanced. It is saved even if nothing else changed, so that no
        number is given twice.
    :param forget: Topics with the number up to which their records are deleted.
    :param marks: Instants with the number of the last record that existed then.
    :param held: Function types, and whether a person holds them back.
    """

    counters: dict[str, int]
    counted: bool = False
    state_types: dict[tuple[str, str], str] = {}
    states: dict[Address, dict[str, StateRow]] = {}
    messages: dict[int, Envelope] = {}
    consumed: list[int] = []
    delays: dict[int, Delay] = {}
    removed_delays: set[int] = set()
    records: list[EgressRecord] = []
    forget: dict[str, int] = {}
    marks: dict[int, int | None] = {}
    cursors: dict[str, int] = {}
    parked: dict[Address, Parked | None] = {}
    dead: dict[int, Dead | None] = {}
    positions: dict[str, str] = {}
    keys: dict[Key, KeyUse | None] = {}
    held: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(
            self.counted
            or self.messages
            or self.consumed
            or self.states
            or self.delays
            or self.removed_delays
            or self.records
            or self.cursors
            or self.parked
            or self.dead
            or self.state_types
            or self.positions
            or self.keys
            or self.held
            or self.forget
            or self.marks
        )


def topic_reader(topic: str) -> str:
    """Return the name under which the cursor of those who pop a topic's records is stored."""
    return f"topic:{topic}"


class TopicSize(t.NamedTuple):
    """The records of a topic.

    :param records: How many there are.
    :param bytes: How many bytes their values have.
    :param first: The number of the oldest one.
    """

    name: str
    records: int
    bytes: int
    first: int


def page(records: cabc.Iterable[EgressRecord], limit: int, size: int | None) -> list[EgressRecord]:
    """Return the first records: so many at most, and no more once they have so many bytes."""
    found: list[EgressRecord] = []
    total = 0
    for record in itertools.islice(records, limit):
        found.append(record)
        total += len(record.value)
        if size is not None and total >= size:
            break
    return found


class Store(t.Protocol):
    """Keeps what outlives a call. All reads return what was committed."""

    #: The path of the file; ":memory:" for none.
    path: str

    @property
    def largest(self) -> int:
        """How many bytes the texts and the value of one entry may have."""

    def commit(self, changes: Changes) -> None:
        """Write all changes, or none of them.

        :raises DiskFullError: They cannot be written now.
        """

    def close(self) -> None:
        """Release the file. A store that was closed cannot be used."""

    def copy(self) -> t.BinaryIO:
        """Return an open file with a copy of the database, which any thread may ask for.

        :raises NoDataFolderError: There is no file.
        :raises BackupError: The copy cannot be written.
        """

    def counters(self) -> dict[str, int]:
        """Return the last number of each counter."""

    def state_types(self) -> dict[tuple[str, str], str]:
        """Return the typename of each stored state, by function type and name."""

    def state(self, address: Address) -> dict[str, StoredValue]:
        """Return the values of an address by name, as a new dictionary."""

    def expired(self, now: int, limit: int) -> list[tuple[Address, str]]:
        """Return addresses and names of values that have expired, the oldest first."""

    def addresses(self, typename: str, after: str, limit: int) -> list[Address]:
        """Return addresses of a function type that have state, in the order of their ids."""

    def holders(self, function: str, name: str, limit: int) -> list[Address]:
        """Return addresses of a function type that have a value of a state."""

    def messages(self) -> cabc.Iterator[Envelope]:
        """Yield the messages of all addresses that are not parked, in their order."""

    def queue(self, address: Address, limit: int = -1) -> list[Envelope]:
        """Return the messages of an address in their order."""

    def queue_length(self, address: Address) -> int:
        """Return how many messages an address has."""

    def delay(self, seq: int) -> Delay | None:
        """Return a delay by its number."""

    def delay_of_token(self, caller_id: str, token: str) -> Delay | None:
        """Return the delay that a caller can cancel with a token."""

    def delays_between(self, start: int, end: int) -> list[Delay]:
        """Return the delays due from one instant to before another."""

    def next_delays(self, limit: int) -> list[Delay]:
        """Return the delays that fire first."""

    def records(
        self, after: int, limit: int, name: str | None = None, size: int | None = None
    ) -> list[EgressRecord]:
        """Return records with a higher number: all, or those of a topic or an egress.

        :param size: No more records are returned once their values have so many bytes.
        """

    def records_of(
        self, egress: str, after: int, limit: int, size: int | None = None
    ) -> list[EgressRecord]:
        """Return records of an egress with a higher number, bounded as :meth:`records`."""

    def last_record(self, egress: str) -> int:
        """Return the number of the last record of an egress; 0 for none."""

    def cursor(self, reader: str) -> int:
        """Return the number of the last record that a reader has read."""

    def cursors(self, prefix: str) -> dict[str, int]:
        """Return the numbers of all readers whose names begin with a text."""

    def topic(self, name: str) -> TopicSize | None:
        """Return the size of a topic; None for a topic without records."""

    def topics(self, after: str, limit: int) -> list[TopicSize]:
        """Return topics in the order of their names."""

    def oldest_records(self, topic: str) -> cabc.Iterator[tuple[int, str, int]]:
        """Yield number, egress, and bytes of the value of a topic's records, the oldest first.

        Nothing may be committed meanwhile.
        """

    def marks(self) -> dict[int, int]:
        """Return instants with the number of the last record that existed then, in their order."""

    def shrink(self, pages: int) -> None:
        """Give free pages of the file back to the disk, this many at most, if a lot is free."""

    def parked(self) -> list[Parked]:
        """Return the parked addresses, the oldest first."""

    def held(self) -> list[str]:
        """Return the function types that a person holds back."""

    def dead(self, limit: int = -1) -> list[Dead]:
        """Return the dead letters in the order of their numbers."""

    def dead_letter(self, seq: int) -> Dead | None:
        """Return a dead letter by its number."""

    def old_dead(self, before: int, keep: int | None, limit: int) -> list[int]:
        """Return numbers of dead letters: older than an instant, or not among the newest ones.

        :param keep: How many are the newest ones; None for all.
        """

    def position(self, source: str) -> str | None:
        """Return how far an input was read; None if it was never read."""

    def key_use(self, key: Key) -> KeyUse | None:
        """Return what was sent under an idempotency key."""

    def old_keys(self, before: int, limit: int) -> list[Key]:
        """Return idempotency keys that were used before an instant."""
