"""What a store keeps, and how it is read and written."""

from __future__ import annotations

import collections.abc as cabc
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

#: How many acknowledged records of each topic a store keeps.
KEPT_RECORDS = 10_000

#: A value with the instant at which it expires, in milliseconds since 1970; None to delete it.
StateChange = tuple[StoredValue, int | None] | None

#: An address and a client's idempotency key.
Key = tuple[Address, str]


class Changes(msgspec.Struct):
    """What one commit writes. A value of None deletes.

    :param counted: Whether a counter advanced. It is saved even if nothing else changed, so that no
        number is given twice.
    :param forget: Egresses with the number up to which old records are deleted.
    :param held: Function types, and whether a person holds them back.
    """

    counters: dict[str, int]
    counted: bool = False
    state_types: dict[tuple[str, str], str] = {}
    states: dict[Address, dict[str, StateChange]] = {}
    messages: dict[int, Envelope] = {}
    consumed: list[int] = []
    delays: dict[int, Delay] = {}
    removed_delays: set[int] = set()
    records: list[EgressRecord] = []
    forget: dict[str, int] = {}
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
        )


class Store(t.Protocol):
    """Keeps what outlives a call. All reads return what was committed."""

    #: The path of the file; ":memory:" for none.
    path: str

    @property
    def largest(self) -> int:
        """How many bytes the texts and the value of one entry may have."""

    def commit(self, changes: Changes) -> None:
        """Write all changes, or none of them.

        :raises DiskFull: They cannot be written now.
        """

    def close(self) -> None:
        """Release the file. A store that was closed cannot be used."""

    def copy(self) -> t.BinaryIO:
        """Return an open file with a copy of the database, which any thread may ask for.

        :raises NoDataFolder: There is no file.
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

    def records(self, after: int, limit: int, name: str | None = None) -> list[EgressRecord]:
        """Return records with a higher number: all, or those of a topic or an egress."""

    def records_of(self, egress: str, after: int, limit: int) -> list[EgressRecord]:
        """Return records of an egress with a higher number."""

    def last_record(self, egress: str) -> int:
        """Return the number of the last record of an egress; 0 for none."""

    def cursor(self, reader: str) -> int:
        """Return the number of the last record that a reader has read."""

    def parked(self) -> list[Parked]:
        """Return the parked addresses, the oldest first."""

    def held(self) -> list[str]:
        """Return the function types that a person holds back."""

    def dead(self, limit: int = -1) -> list[Dead]:
        """Return the dead letters in the order of their numbers."""

    def dead_letter(self, seq: int) -> Dead | None:
        """Return a dead letter by its number."""

    def position(self, source: str) -> str | None:
        """Return how far an input was read; None if it was never read."""

    def key_use(self, key: Key) -> KeyUse | None:
        """Return what was sent under an idempotency key."""

    def old_keys(self, before: int, limit: int) -> list[Key]:
        """Return idempotency keys that were used before an instant."""
