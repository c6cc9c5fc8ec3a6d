"""Everything that outlives a call, in SQLite: in a folder, or in memory by the same code."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import itertools
import os
import sqlite3
import typing as t

import msgspec

from ...values.address import Address
from ...values.address import wire_type
from ...values.message import Message
from ..errors import DiskFull
from ..exchange.states import StoredValues
from ..records import Dead
from ..records import Delay
from ..records import EgressRecord
from ..records import Envelope
from ..records import Parked
from ..records import StoredValue
from . import database
from . import schema
from .changes import Changes
from .changes import envelope_row
from .changes import Row
from .changes import state_rows
from .folder import DataFolder
from .kept import Kept

#: How many addresses' states are kept in memory.
CACHED = 10_000

#: What a row takes beside the texts and values that are checked, in bytes: numbers, and the text of
#: an error.
ROW_MARGIN = 64 << 10

#: How large the log grows before it is moved into the database, in bytes.
LOG_SIZE = 8 << 20

#: How many delivered records are kept for each topic.
KEPT_RECORDS = 10_000


class Store:
    """Changes are collected and written by :meth:`commit`, in one transaction.

    When a commit fails the changes stay, and the next one tries again. Reads that are not of state
    show what is committed.

    :param path: A data folder; None keeps everything in memory, for as long as the process lives.
    :raises DataFolderError: The folder cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._folder = None if path is None else DataFolder(path)
        self.path = ":memory:" if self._folder is None else self._folder.database
        try:
            self.connection = database.connect(self.path)
        except BaseException:
            if self._folder is not None:
                self._folder.release()
            raise
        self.changes = Changes(Kept())
        self._cache: dict[Address, StoredValues] = {}
        self._counters = dict(self._rows("select name, value from counter"))
        #: Typename by (function type, state), of all that was ever stored.
        self.specs = {(row[0], row[1]): row[2] for row in self._rows("select * from spec")}

    def close(self) -> None:
        """Give the folder back. What was not committed is gone."""
        self.connection.close()
        if self._folder is not None:
            self._folder.release()

    # -- writing --------------------------------------------------------------------------

    @property
    def largest(self) -> int:
        """How many bytes the texts and the value of a row may have."""
        return self.connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) - ROW_MARGIN

    def numbers(self, name: str, count: int) -> range:
        """Return the next numbers of a counter, from 1."""
        first: int = self._counters.get(name, 0) + 1
        self._counters[name] = first + count - 1
        self.changes.counted = True
        return range(first, first + count)

    def write(
        self, address: Address, name: str, cell: StoredValue | None, expires: int | None
    ) -> None:
        """Set or delete the value of a state.

        :param expires: When it expires by itself, in milliseconds since 1970.
        """
        cells = self.cells(address)
        key = (address.type, address.id, name)
        if cell is not None:
            cells[name] = cell
            self.changes.states[key] = (cell, expires)
        else:
            cells.pop(name, None)
            self.changes.states[key] = None

    def commit(self) -> None:
        """Write all changes, or none of them.

        :raises DiskFull: They cannot be written now. They are kept.
        """
        self._trim()
        if not self.changes:
            return
        if self._folder is None:
            self.changes.keep()
        rows = self.changes.rows()
        rows["counters"] = list(self._counters.items())
        try:
            self.connection.execute("begin immediate")
            for key, statement in schema.WRITES:
                if rows[key]:
                    self._write_rows(key, statement, rows[key])
            self.connection.execute("commit")
        except BaseException as exc:
            if self.connection.in_transaction:
                self.connection.execute("rollback")
            if isinstance(exc, sqlite3.OperationalError):
                raise self._disk_full(exc) from exc
            raise
        self.changes = Changes(self.changes.kept)
        self._checkpoint()

    def _write_rows(self, key: str, statement: str, rows: list[Row]) -> None:
        self.connection.executemany(statement, rows)

    def _write_messages(self) -> None:
        """Give the messages a row that have none, since somebody looks for messages."""
        kept = self.changes.kept
        if kept.messages:
            rows = map(envelope_row, kept.messages.values())
            self.connection.executemany(schema.INSERT_MESSAGE, rows)
            kept.messages.clear()

    def _write_states(self) -> None:
        kept = self.changes.kept
        if kept.states:
            rows, gone = state_rows(kept.states)
            self.connection.executemany(schema.WRITE_STATE, rows)
            self.connection.executemany(schema.DELETE_STATE, gone)
            kept.states.clear()

    def _write_records(self) -> None:
        kept = self.changes.kept
        if kept.records:
            rows = map(msgspec.structs.astuple, kept.records)
            self.connection.executemany(schema.INSERT_RECORD, rows)
            kept.records.clear()

    def _trim(self) -> None:
        """Forget the states that were not used for longest, but none that is not written."""
        if len(self._cache) > CACHED:
            written = self.changes.states
            dirty = {(type, id) for type, id, _ in written} if written else set()
            for address in list(itertools.islice(self._cache, CACHED // 2)):
                if (address.type, address.id) not in dirty:
                    del self._cache[address]

    def _disk_full(self, exc: sqlite3.OperationalError) -> Exception:
        code = exc.sqlite_errorcode & 0xFF
        if code not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY):
            return exc
        return DiskFull.of(self.path, str(exc))

    def _checkpoint(self) -> None:
        """Move the log into the database once it is large."""
        log = self.path + "-wal"
        if self._folder is None or os.path.getsize(log) < LOG_SIZE:
            return
        # On a full disk the log just stays, and grows until a commit fails.
        with contextlib.suppress(sqlite3.OperationalError):
            self._move_log()

    def _move_log(self) -> None:
        self.connection.execute("pragma wal_checkpoint(truncate)")

    # -- reading --------------------------------------------------------------------------

    def _rows(self, statement: str, *values: t.Any) -> list[t.Any]:
        return self.connection.execute(statement, values).fetchall()

    def cells(self, address: Address) -> StoredValues:
        """Return all that is stored for an address, with what is not committed yet."""
        cache = self._cache
        cells = cache.pop(address, None)
        if cells is None:
            self._write_states()
            cells = {
                name: StoredValue(value, stamp)
                for name, value, stamp in self.connection.execute(
                    "select name, value, stamp from state where type = ? and id = ?",
                    (str.__str__(address.type), address.id),
                )
            }
        cache[address] = cells
        return cells

    def expired(self, now: int, limit: int) -> list[tuple[Address, str]]:
        """Return addresses and states whose value has expired."""
        self._write_states()
        return [
            (_address(type, id), name)
            for type, id, name in self._rows(
                "select type, id, name from state where expires <= ? limit ?", now, limit
            )
        ]

    def queued(self) -> cabc.Iterator[Envelope]:
        """Yield all messages that wait for an address that is not parked, in their order."""
        for row in self.connection.execute(
            f"select {schema.QUEUE_COLUMNS} from queue where not exists (select 1 from parked"
            " where parked.type = queue.type and parked.id = queue.id) order by seq"
        ):
            yield _envelope(row)

    def queue(self, address: Address, limit: int = -1) -> list[Envelope]:
        """Return the messages that wait for an address."""
        self._write_messages()
        rows = self._rows(
            f"select {schema.QUEUE_COLUMNS} from queue where type = ? and id = ?"
            " order by seq limit ?",
            address.type,
            address.id,
            limit,
        )
        return [_envelope(row) for row in rows]

    def waiting(self, address: Address) -> int:
        """Return how many messages wait for an address."""
        self._write_messages()
        count: int = self._rows(
            "select count(*) from queue where type = ? and id = ?", address.type, address.id
        )[0][0]
        return count

    def is_waiting(self, trace: int) -> bool:
        """Return whether messages of a cause wait, apart from those of parked addresses."""
        self._write_messages()
        return bool(
            self._rows(
                "select 1 from queue where trace = ? and not exists (select 1 from parked where"
                " parked.type = queue.type and parked.id = queue.id) limit 1",
                trace,
            )
        )

    def delay(self, caller_id: str, token: str) -> Delay | None:
        """Return the pending delay with a token, with what is not committed yet."""
        try:
            return self.changes.tokens[caller_id, token]
        except KeyError:
            rows = self._delays("caller_id = ? and token = ?", caller_id, token)
            return rows[0] if rows else None

    def delay_number(self, seq: int) -> Delay | None:
        """Return a pending delay by its number."""
        rows = self._delays("seq = ?", seq)
        return rows[0] if rows else None

    def delays(self, start: int, end: int) -> list[Delay]:
        """Return the delays due from one instant to before another, uncommitted ones too."""
        changes = self.changes
        stored = self._delays("due >= ? and due < ?", start, end)
        return [each for each in stored if each.seq not in changes.timers_gone] + [
            each for each in changes.timers.values() if start <= each.due < end
        ]

    def next_delays(self, limit: int) -> list[Delay]:
        """Return the delays that fire next."""
        return self._delays("true order by due, seq limit ?", limit)

    def _delays(self, condition: str, *values: t.Any) -> list[Delay]:
        statement = f"select {schema.TIMER_COLUMNS} from timer where {condition}"
        return [_delay(row) for row in self._rows(statement, *values)]

    def records(self, after: int, limit: int, topic: str | None = None) -> list[EgressRecord]:
        """Return egress records with higher numbers than one, of all topics or of one."""
        self._write_records()
        which = "" if topic is None else "(topic = ? or egress = ?) and "
        names = () if topic is None else (topic, topic)
        rows = self._rows(
            f"select * from egress where {which}seq > ? order by seq limit ?",
            *names,
            after,
            limit,
        )
        return [EgressRecord(*row) for row in rows]

    def cursor(self, reader: str) -> int:
        """Return the number of the last record that a reader has had."""
        if reader in self.changes.cursors:
            return self.changes.cursors[reader]
        rows = self._rows("select seq from cursor where reader = ?", reader)
        return rows[0][0] if rows else 0

    def records_of(self, egress: str, after: int, limit: int) -> list[EgressRecord]:
        """Return an egress's records with higher numbers than one."""
        self._write_records()
        rows = self._rows(
            "select * from egress where seq > ? and egress = ? order by seq limit ?",
            after,
            egress,
            limit,
        )
        return [EgressRecord(*row) for row in rows]

    def last_record(self, egress: str) -> int:
        """Return the number of an egress's last record; 0 for none."""
        self._write_records()
        rows = self._rows("select max(seq) from egress where egress = ?", egress)
        return rows[0][0] or 0

    def forget_records(self, delivered: int, egress: str | None = None) -> None:
        """Delete the records up to a number, but for the last ones of each topic.

        :param egress: Delete those of its topics alone.
        """
        self.changes.kept.forget_records(delivered, egress, KEPT_RECORDS)
        whose, names = ("", ()) if egress is None else (" where egress = ?", (egress,))
        for (topic,) in self._rows(f"select distinct topic from egress{whose}", *names):
            self.connection.execute(
                "delete from egress where topic = ? and seq <= ? and seq <= (select seq from egress"
                " where topic = ? order by seq desc limit 1 offset ?)",
                (topic, delivered, topic, KEPT_RECORDS),
            )

    def parked(self) -> list[Parked]:
        """Return the parked addresses, those that wait longest first."""
        return [
            Parked(_address(type, id), *rest)
            for type, id, *rest in self._rows("select * from parked order by seq")
        ]

    def dead(self, limit: int = -1) -> list[Dead]:
        """Return the dropped messages."""
        rows = self._rows("select * from dead order by seq limit ?", limit)
        return [Dead(_envelope(row[:9]), row[9], row[10]) for row in rows]

    def addresses(self, typename: str, after: str, limit: int) -> list[Address]:
        """Return addresses of a function type that have state, by id."""
        self._write_states()
        rows = self._rows(
            "select distinct id from state where type = ? and id > ? order by id limit ?",
            typename,
            after,
            limit,
        )
        return [_address(typename, id) for (id,) in rows]

    def position(self, source: str) -> str | None:
        """Return how far an input was read; None when it was never read."""
        rows = self._rows("select value from position where source = ?", source)
        return rows[0][0] if rows else None


def _address(typename: str, id: str) -> Address:
    """Return a stored address; its typename was checked when it came."""
    namespace, _, name = typename.rpartition("/")
    return Address(wire_type(namespace, name), id)


def _envelope(row: t.Any) -> Envelope:
    seq, trace, type, id, caller_type, caller_id, typename, value, has_value = row
    caller = None if caller_type is None else _address(caller_type, caller_id)
    message = Message(typename, value, bool(has_value))
    return Envelope(seq, trace, _address(type, id), caller, message)


def _delay(row: t.Any) -> Delay:
    seq, trace, due, type, id, caller_type, caller_id, typename, value, has_value, token = row
    message = Message(typename, value, bool(has_value))
    return Delay(
        seq, trace, due, _address(type, id), _address(caller_type, caller_id), message, token
    )
