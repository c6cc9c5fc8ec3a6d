"""A store in a SQLite database in a data folder."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import os
import sqlite3
import threading
import typing as t

from ...values.address import Address
from ..errors import DataFolderError
from ..errors import DiskFull
from ..records import Dead
from ..records import Delay
from ..records import EgressRecord
from ..records import Envelope
from ..records import KeyUse
from ..records import Parked
from ..records import StoredValue
from . import backup
from . import base
from . import rows
from . import schema
from .base import Changes
from .base import Key
from .folder import DataFolder
from .rows import plain
from .rows import Row

#: What a row takes beside the texts and values that are checked, in bytes: numbers, and the text of
#: an error.
ROW_MARGIN = 64 << 10

#: How large the log grows before it is moved into the database, in bytes.
LOG_SIZE = 8 << 20

#: What is added to the path of the database for a copy that is being made.
_COPY = ".copy"

#: The largest number that SQLite has.
_LARGEST_SEQ = (1 << 63) - 1

#: Errors of a commit that may end by themselves.
_TEMPORARY = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
}


class SqliteStore:
    """Keeps everything in a folder that one process holds at a time.

    :param path: The data folder. It is made if it does not exist.
    :raises DataFolderError: The folder cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._folder = DataFolder(path)
        self.path = self._folder.database
        self._copying = threading.Lock()
        self._is_closing = False
        backup.remove_copy(self.path + _COPY)
        try:
            self.connection = _open(self.path, check=not self._folder.was_released)
        except BaseException:
            self._folder.release(clean=self._folder.was_released)
            raise

    def close(self) -> None:
        """Release the folder, and end a copy that is being made."""
        self._is_closing = True
        try:
            with self._copying:
                self.connection.close()
        finally:
            self._folder.release()

    def copy(self) -> t.BinaryIO:
        """Return an open file with a consistent copy of the database.

        Any thread may ask for one. The engine goes on meanwhile.

        :raises BackupError: The copy cannot be written, or the store is closed.
        """
        with self._copying:
            return backup.copy_database(
                self.connection, self.path + _COPY, lambda: not self._is_closing
            )

    @property
    def largest(self) -> int:
        """How many bytes the texts and the value of a row may have."""
        return self.connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) - ROW_MARGIN

    # -- writing --------------------------------------------------------------------------

    def commit(self, changes: Changes) -> None:
        """Write all changes, or none of them.

        :raises DiskFull: They cannot be written now.
        """
        by_name = rows.rows(changes)
        try:
            self.connection.execute("begin immediate")
            for name, statement in schema.WRITES:
                if by_name[name]:
                    self._write(name, statement, by_name[name])
            for egress, last in changes.forget.items():
                self._forget_records(egress, last)
            self.connection.execute("commit")
        except BaseException as exc:
            if self.connection.in_transaction:
                self.connection.execute("rollback")
            if isinstance(exc, sqlite3.OperationalError) and exc.sqlite_errorcode & 0xFF in (
                _TEMPORARY
            ):
                raise DiskFull.of(self.path, str(exc)) from exc
            raise
        self._checkpoint()

    def _write(self, name: str, statement: str, values: list[Row]) -> None:
        self.connection.executemany(statement, values)

    def _forget_records(self, egress: str, last: int) -> None:
        topics = self._rows("select distinct topic from egress where egress = ?", egress)
        for (topic,) in topics:
            self.connection.execute(
                "delete from egress where topic = ? and egress = ? and seq <= ? and seq <= (select"
                " seq from egress where topic = ? order by seq desc limit 1 offset ?)",
                (topic, egress, last, topic, base.KEPT_RECORDS),
            )

    def _checkpoint(self) -> None:
        """Move the log into the database once it is large."""
        # On a full disk the log just stays, and grows until a commit fails.
        with contextlib.suppress(OSError, sqlite3.OperationalError):
            if os.path.getsize(self.path + "-wal") >= LOG_SIZE:
                self._move_log()

    def _move_log(self) -> None:
        # There are no other readers, for which this would wait: the lock is exclusive.
        self.connection.execute("pragma wal_checkpoint(truncate)")

    # -- reading --------------------------------------------------------------------------

    def _rows(self, statement: str, *values: t.Any) -> list[t.Any]:
        return self.connection.execute(statement, values).fetchall()

    def counters(self) -> dict[str, int]:
        """Return the last number of each counter."""
        return dict(self._rows("select name, value from counter"))

    def state_types(self) -> dict[tuple[str, str], str]:
        """Return the typename of each stored state, by function type and name."""
        return {(row[0], row[1]): row[2] for row in self._rows("select * from spec")}

    def state(self, address: Address) -> dict[str, StoredValue]:
        """Return the values of an address by name, as a new dictionary."""
        return {
            name: StoredValue(value, stamp)
            for name, value, stamp in self.connection.execute(
                "select name, value, stamp from state where type = ? and id = ?",
                (plain(address.type), address.id),
            )
        }

    def expired(self, now: int, limit: int) -> list[tuple[Address, str]]:
        """Return addresses and names of values that have expired, the oldest first."""
        found = self._rows(
            "select type, id, name from state where expires <= ? order by expires limit ?",
            now,
            limit,
        )
        return [(rows.address(type, id), name) for type, id, name in found]

    def addresses(self, typename: str, after: str, limit: int) -> list[Address]:
        """Return addresses of a function type that have state, in the order of their ids."""
        found = self._rows(
            "select distinct id from state where type = ? and id > ? order by id limit ?",
            typename,
            after,
            limit,
        )
        return [rows.address(typename, id) for (id,) in found]

    def messages(self) -> cabc.Iterator[Envelope]:
        """Yield the messages of all addresses that are not parked, in their order."""
        for row in self.connection.execute(
            f"select {schema.QUEUE_COLUMNS} from queue where not exists (select 1 from parked"
            " where parked.type = queue.type and parked.id = queue.id) order by seq"
        ):
            yield rows.envelope(row)

    def queue(self, address: Address, limit: int = -1) -> list[Envelope]:
        """Return the messages of an address in their order."""
        found = self._rows(
            f"select {schema.QUEUE_COLUMNS} from queue where type = ? and id = ?"
            " order by seq limit ?",
            address.type,
            address.id,
            limit,
        )
        return [rows.envelope(row) for row in found]

    def queue_length(self, address: Address) -> int:
        """Return how many messages an address has."""
        count: int = self._rows(
            "select count(*) from queue where type = ? and id = ?", address.type, address.id
        )[0][0]
        return count

    def delay(self, seq: int) -> Delay | None:
        """Return a delay by its number."""
        return next(iter(self._delays("seq = ?", min(seq, _LARGEST_SEQ))), None)

    def delay_of_token(self, caller_id: str, token: str) -> Delay | None:
        """Return the delay that a caller can cancel with a token."""
        return next(iter(self._delays("caller_id = ? and token = ?", caller_id, token)), None)

    def delays_between(self, start: int, end: int) -> list[Delay]:
        """Return the delays due from one instant to before another."""
        return self._delays("due >= ? and due < ?", start, end)

    def next_delays(self, limit: int) -> list[Delay]:
        """Return the delays that fire first."""
        return self._delays("true order by due, seq limit ?", limit)

    def _delays(self, condition: str, *values: t.Any) -> list[Delay]:
        statement = f"select {schema.TIMER_COLUMNS} from timer where {condition}"
        return [rows.delay(row) for row in self._rows(statement, *values)]

    def records(self, after: int, limit: int, name: str | None = None) -> list[EgressRecord]:
        """Return records with a higher number: all, or those of a topic or an egress."""
        if name is None:
            found = self._rows(
                "select * from egress where seq > ? order by seq limit ?", after, limit
            )
        else:
            found = self._rows(
                "select * from (select * from egress where topic = ? and seq > ? order by seq"
                " limit ?) union select * from (select * from egress where egress = ? and seq > ?"
                " order by seq limit ?) order by seq limit ?",
                *(name, after, limit, name, after, limit, limit),
            )
        return [EgressRecord(*row) for row in found]

    def records_of(self, egress: str, after: int, limit: int) -> list[EgressRecord]:
        """Return records of an egress with a higher number."""
        found = self._rows(
            "select * from egress where egress = ? and seq > ? order by seq limit ?",
            egress,
            after,
            limit,
        )
        return [EgressRecord(*row) for row in found]

    def last_record(self, egress: str) -> int:
        """Return the number of the last record of an egress; 0 for none."""
        return self._rows("select max(seq) from egress where egress = ?", egress)[0][0] or 0

    def cursor(self, reader: str) -> int:
        """Return the number of the last record that a reader has read."""
        found = self._rows("select seq from cursor where reader = ?", reader)
        return found[0][0] if found else 0

    def parked(self) -> list[Parked]:
        """Return the parked addresses, the oldest first."""
        return [
            Parked(rows.address(type, id), *rest)
            for type, id, *rest in self._rows("select * from parked order by seq")
        ]

    def held(self) -> list[str]:
        """Return the function types that a person holds back."""
        return [type for (type,) in self._rows("select type from held order by type")]

    def dead(self, limit: int = -1) -> list[Dead]:
        """Return the dead letters in the order of their numbers."""
        return list(map(_dead, self._rows("select * from dead order by seq limit ?", limit)))

    def dead_letter(self, seq: int) -> Dead | None:
        """Return a dead letter by its number."""
        found = self._rows("select * from dead where seq = ?", min(seq, _LARGEST_SEQ))
        return _dead(found[0]) if found else None

    def position(self, source: str) -> str | None:
        """Return how far an input was read; None if it was never read."""
        found = self._rows("select value from position where source = ?", source)
        return found[0][0] if found else None

    def key_use(self, key: Key) -> KeyUse | None:
        """Return what was sent under an idempotency key."""
        address, name = key
        found = self._rows(
            "select digest, trace, at from idempotency where type = ? and id = ? and key = ?",
            address.type,
            address.id,
            name,
        )
        return KeyUse(*found[0]) if found else None

    def old_keys(self, before: int, limit: int) -> list[Key]:
        """Return idempotency keys that were used before an instant."""
        found = self._rows(
            "select type, id, key from idempotency where at < ? order by at limit ?", before, limit
        )
        return [(rows.address(type, id), key) for type, id, key in found]


def _dead(row: t.Any) -> Dead:
    return Dead(rows.envelope(row[:9]), row[9], row[10])


# -- opening ----------------------------------------------------------------------------------


def _open(path: str, *, check: bool) -> sqlite3.Connection:
    """Open a database, or make it.

    :param check: Look for damage first, since the last process did not close the file.
    :raises DataFolderError: It is damaged, another program's, or of a newer format.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("pragma locking_mode = exclusive")
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.execute("pragma fullfsync = on")
        connection.execute("pragma checkpoint_fullfsync = on")
        connection.execute("pragma cell_size_check = on")
        connection.execute("pragma wal_autocheckpoint = 0")
        connection.execute("pragma cache_size = -16000")
        if check:
            _check(connection, path)
        _prepare(connection, path)
    except sqlite3.DatabaseError as exc:
        connection.close()
        raise _unreadable(path, str(exc)) from None
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: str) -> None:
    (found,) = connection.execute("pragma quick_check(1)").fetchone()
    if found != "ok":
        raise _unreadable(path, found)


def _unreadable(path: str, reason: str) -> DataFolderError:
    return DataFolderError(
        f"'{path}' cannot be read: {reason}. Give another data folder, or remove this one if its"
        " content is no longer needed."
    )


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    """Make the tables, or bring those of an older format up to date."""
    version = connection.execute("pragma user_version").fetchone()[0]
    application = connection.execute("pragma application_id").fetchone()[0]
    tables = connection.execute("select count(*) from sqlite_master").fetchone()[0]
    if tables and application != schema.APPLICATION:
        raise DataFolderError(
            f"'{path}' is a database of another program. Give an empty or a new folder."
        )
    if version > schema.VERSION:
        raise DataFolderError(
            f"'{path}' was written by a newer version (its format is {version}, this one reads"
            f" {schema.VERSION}). Upgrade statefun_flask, or give another folder."
        )
    if tables and version < schema.VERSION:
        _copy(connection, f"{path}.format{version}")
    scripts = [schema.MIGRATIONS[each] for each in range(version, schema.VERSION)]
    if scripts:
        connection.executescript(
            f"begin; {''.join(scripts)} pragma application_id = {schema.APPLICATION};"
            f" pragma user_version = {schema.VERSION}; commit;"
        )


def _copy(connection: sqlite3.Connection, path: str) -> None:
    """Copy the database to a file that only this user can read; one of an earlier try is kept."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
        connection.execute("vacuum into ?", (path,))
