"""A store in a SQLite database in a data folder."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import heapq
import itertools
import operator
import os
import sqlite3
import threading
import typing as t

from ...values.address import Address
from ..errors import DataFolderError
from ..errors import DiskFullError
from ..records import Dead
from ..records import Delay
from ..records import EgressRecord
from ..records import Envelope
from ..records import KeyUse
from ..records import Parked
from ..records import StoredValue
from . import backup
from . import log_mark
from . import rows
from . import schema
from .base import Changes
from .base import Key
from .base import page
from .base import topic_reader
from .base import TopicSize
from .folder import DataFolder
from .rows import plain
from .rows import Row

#: What a row takes beside the texts and values that are checked, in bytes: numbers, and the text of
#: an error.
ROW_MARGIN = 64 << 10

#: How large the log grows before it is moved into the database, in bytes.
LOG_SIZE = 8 << 20

#: So many free pages are kept in any case: they are taken again soon.
FREE_PAGES = 2_000

#: What is added to the path of the database for a copy that is being made.
_COPY = ".copy"

#: The largest number that SQLite has.
_LARGEST_SEQ = (1 << 63) - 1

#: The columns of a :class:`.base.TopicSize`.
_TOPIC = "name, records, bytes, (select min(seq) from egress where topic = name)"

_seq = operator.attrgetter("seq")

#: Errors that may end by themselves.
_TEMPORARY = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
}

Connect = cabc.Callable[[str], sqlite3.Connection]


class SqliteStore:
    """Keeps everything in a folder that one process holds at a time.

    :param path: The data folder. It is made if it does not exist.
    :param connect: Opens a database by its path, in autocommit mode and for all threads. It is for
        a database on another file layer than the operating system's.
    :param accept_loss: Go on without a log that is missing, and so without the latest commits.
    :raises DataFolderError: The folder cannot be used.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        connect: Connect | None = None,
        *,
        accept_loss: bool = False,
    ) -> None:
        self._folder = DataFolder(path)
        self.path = self._folder.database
        lacks_log = log_mark.lacks_log(self.path)
        self._copying = threading.Lock()
        self._is_closing = False
        backup.remove_copy(self.path + _COPY)
        with contextlib.ExitStack() as opened:
            opened.callback(self._folder.release, clean=self._folder.was_released)
            if not lacks_log:
                opened.callback(log_mark.keep_log, self.path)
            self.connection = _open(
                connect or _connect, self.path, check=not self._folder.was_released
            )
            opened.callback(_close, self.connection)
            self._mark = log_mark.LogMark(self.connection)
            try:
                if lacks_log and not accept_loss and self._mark.needs_log():
                    raise self._missing_log()
                self._mark.open()
            except sqlite3.DatabaseError as exc:
                raise _explained(self.path, exc) from None
            opened.pop_all()

    def _missing_log(self) -> DataFolderError:
        return DataFolderError(
            f"'{self.path}' lacks its log '{log_mark.log_of(self.path)}', which has the latest"
            " changes: it was removed after a process had been killed, or was not copied along."
            " Put it back, or restore a backup; to go on without these changes, run 'flask statefun"
            f" vacuum --accept-loss {self._folder.path}'."
        )

    def close(self) -> None:
        """Release the folder, and end a copy that is being made."""
        self._is_closing = True
        is_closed = self._mark.close()
        try:
            with self._copying:
                self.connection.close()
        finally:
            if not is_closed:
                log_mark.keep_log(self.path)
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

        :raises DiskFullError: They cannot be written now.
        """
        by_name = rows.rows(changes)
        with self._writing():
            for name, statement in schema.WRITES:
                if by_name[name]:
                    self._write(name, statement, by_name[name])
            for topic, last in changes.forget.items():
                self._forget_records(topic, last)
        self._checkpoint()

    @contextlib.contextmanager
    def _writing(self) -> cabc.Iterator[None]:
        """Make one commit of what is executed meanwhile.

        :raises DiskFullError: It cannot be written now.
        """
        try:
            self.connection.execute("begin immediate")
            self._mark.write()
            yield
            self.connection.execute("commit")
            self._mark.written()
        except BaseException as exc:
            if self.connection.in_transaction:
                self.connection.execute("rollback")
            if _is_temporary(exc):
                raise DiskFullError.of(self.path, str(exc)) from exc
            raise

    def _write(self, name: str, statement: str, values: list[Row]) -> None:
        self.connection.executemany(statement, values)

    def _forget_records(self, topic: str, last: int) -> None:
        """Delete records of a topic. A topic without records has no cursor either.

        Numbers only grow, so that a reader who begins anew misses nothing and sees nothing twice.
        """
        execute = self.connection.execute
        which = "from egress where topic = ? and seq <= ?"
        execute(
            f"update topic set records = records - (select count(*) {which}),"
            f" bytes = bytes - (select coalesce(sum(length(value)), 0) {which}) where name = ?",
            (topic, last, topic, last, topic),
        )
        execute(f"delete {which}", (topic, last))
        if execute("delete from topic where name = ? and records <= 0", (topic,)).rowcount:
            execute("delete from cursor where reader = ?", (topic_reader(topic),))

    def _checkpoint(self) -> None:
        """Move the log into the database once it is large."""
        # On a full disk the log just stays, and grows until a commit fails.
        with contextlib.suppress(OSError, sqlite3.OperationalError):
            if os.path.getsize(log_mark.log_of(self.path)) >= LOG_SIZE:
                self._mark.moving()
                self._move_log()

    def _move_log(self) -> None:
        # There are no other readers, for which this would wait: the lock is exclusive.
        self.connection.execute("pragma wal_checkpoint(truncate)")

    def shrink(self, pages: int) -> None:
        """Give free pages of the file back to the disk, this many at most, if a lot is free.

        Pages are free when data was deleted, and new data takes them first.
        """
        free, total = self._pragma("freelist_count"), self._pragma("page_count")
        if free >= FREE_PAGES and free > total // 4:
            # Without it the free pages stay, as in a file that is not in incremental mode.
            with contextlib.suppress(OSError, sqlite3.OperationalError):
                # Not by execute(), which would give back one page only.
                self.connection.executescript(f"pragma incremental_vacuum({pages})")
                self._checkpoint()

    def _pragma(self, name: str) -> int:
        value: int = self.connection.execute(f"pragma {name}").fetchone()[0]
        return value

    # -- without an engine ------------------------------------------------------------------

    def vacuum(self) -> None:
        """Write the file anew, without free pages. It needs as much space on the disk as the file.

        :raises DiskFullError: There is not enough space. The file is as before.
        """
        try:
            self._rows("pragma auto_vacuum = incremental")  # a file of format 1 or 2 had no mode
            self._rows("vacuum")
            self._mark.moving()
            self._move_log()
        except sqlite3.OperationalError as exc:
            raise DiskFullError.of(self.path, str(exc)) from exc

    def sizes(self) -> dict[str, int]:
        """Return how many there are of what a sweep deletes."""
        return {
            name: self._rows(f"select count(*) from {table}")[0][0]
            for table, name in schema.SWEPT.items()
        }

    def waiting(self, egress: str, after: int) -> int:
        """Return how many records of an egress have a higher number."""
        count: int = self._rows(
            "select count(*) from egress where egress = ? and seq > ?", egress, after
        )[0][0]
        return count

    def forget_reader(self, reader: str) -> None:
        """Delete the number of the last record that a reader has read."""
        with self._writing():
            self._rows("delete from cursor where reader = ?", reader)

    def values(self, function: str) -> dict[str, int]:
        """Return how many values there are of each state of a function type."""
        names = [name for typename, name in self.state_types() if typename == function]
        found = self._rows(
            "select name, count(*) from state where type = ? group by name", function
        )
        return {**dict.fromkeys(names, 0), **dict(found)}

    def delete_values(self, function: str, name: str) -> None:
        """Delete all values of a state, and forget its type."""
        with self._writing():
            self._rows("delete from state where type = ? and name = ?", function, name)
            self._rows("delete from spec where type = ? and name = ?", function, name)

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

    def holders(self, function: str, name: str, limit: int) -> list[Address]:
        """Return addresses of a function type that have a value of a state."""
        found = self._rows(
            "select id from state where type = ? and name = ? limit ?", function, name, limit
        )
        return [rows.address(function, id) for (id,) in found]

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

    def records(
        self, after: int, limit: int, name: str | None = None, size: int | None = None
    ) -> list[EgressRecord]:
        """Return records with a higher number: all, or those of a topic or an egress.

        :param size: No more records are returned once their values have so many bytes.
        """
        if name is None:
            return page(self._records("seq > ?", after, limit), limit, size)
        both = heapq.merge(
            self._records("topic = ? and seq > ?", name, after, limit),
            self._records("egress = ? and seq > ?", name, after, limit),
            key=_seq,
        )
        # A record whose topic has the name of its egress is in both.
        return page((next(same) for _, same in itertools.groupby(both, _seq)), limit, size)

    def records_of(
        self, egress: str, after: int, limit: int, size: int | None = None
    ) -> list[EgressRecord]:
        """Return records of an egress with a higher number, bounded as :meth:`records`."""
        return page(self._records("egress = ? and seq > ?", egress, after, limit), limit, size)

    def _records(self, condition: str, *values: t.Any) -> cabc.Iterator[EgressRecord]:
        """Yield records as they are read. The last value is the limit."""
        statement = f"select * from egress where {condition} order by seq limit ?"
        return (EgressRecord(*row) for row in self.connection.execute(statement, values))

    def last_record(self, egress: str) -> int:
        """Return the number of the last record of an egress; 0 for none."""
        return self._rows("select max(seq) from egress where egress = ?", egress)[0][0] or 0

    def cursor(self, reader: str) -> int:
        """Return the number of the last record that a reader has read."""
        found = self._rows("select seq from cursor where reader = ?", reader)
        return found[0][0] if found else 0

    def cursors(self, prefix: str) -> dict[str, int]:
        """Return the numbers of all readers whose names begin with a text."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        found = self._rows(
            "select reader, seq from cursor where reader >= ? and reader < ?", prefix, end
        )
        return dict(found)

    def topic(self, name: str) -> TopicSize | None:
        """Return the size of a topic; None for a topic without records."""
        found = self._rows(f"select {_TOPIC} from topic where name = ?", name)
        return TopicSize(*found[0]) if found else None

    def topics(self, after: str, limit: int) -> list[TopicSize]:
        """Return topics in the order of their names."""
        found = self._rows(
            f"select {_TOPIC} from topic where name > ? order by name limit ?", after, limit
        )
        return [TopicSize(*row) for row in found]

    def oldest_records(self, topic: str) -> cabc.Iterator[tuple[int, str, int]]:
        """Yield number, egress, and bytes of the value of a topic's records, the oldest first.

        Nothing may be committed meanwhile.
        """
        return iter(
            self.connection.execute(
                "select seq, egress, length(value) from egress where topic = ? order by seq",
                (topic,),
            )
        )

    def marks(self) -> dict[int, int]:
        """Return instants with the number of the last record that existed then, in their order."""
        return dict(self._rows("select at, seq from mark order by at"))

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

    def old_dead(self, before: int, keep: int | None, limit: int) -> list[int]:
        """Return numbers of dead letters: older than an instant, or not among the newest ones.

        :param keep: How many are the newest ones; None for all.
        """
        newest = -1 if keep is None else keep
        found = self._rows(
            "select seq from (select seq, since from dead where since < ? order by since limit ?)"
            " union select seq from (select seq from dead order by since desc, seq desc"
            " limit ? offset ?) limit ?",
            *(before, limit, 0 if keep is None else limit, newest, limit),
        )
        return [seq for (seq,) in found]

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


def _connect(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def _close(connection: sqlite3.Connection) -> None:
    """Close a connection that is not used; an error of it is not the one to report."""
    with contextlib.suppress(sqlite3.Error):
        connection.close()


def _open(connect: Connect, path: str, *, check: bool) -> sqlite3.Connection:
    """Connect to a database and prepare it for use.

    :param check: Look for damage first, since the last process did not close the file.
    :raises DataFolderError: It is damaged, another program's, or of a newer format.
    """
    try:
        connection = connect(path)
    except sqlite3.OperationalError as exc:
        raise _explained(path, exc) from None
    try:
        connection.execute("pragma locking_mode = exclusive")
        if not connection.execute("pragma page_count").fetchone()[0]:
            connection.execute("pragma auto_vacuum = incremental")  # only a new file can take it
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
    except BaseException as exc:
        connection.close()
        raise _explained(path, exc) from None
    return connection


def _check(connection: sqlite3.Connection, path: str) -> None:
    (found,) = connection.execute("pragma quick_check(1)").fetchone()
    if found != "ok":
        raise _unreadable(path, found)


def _is_temporary(exc: BaseException) -> bool:
    return isinstance(exc, sqlite3.OperationalError) and exc.sqlite_errorcode & 0xFF in _TEMPORARY


def _explained(path: str, exc: BaseException) -> BaseException:
    """Return what is raised for an error of opening a database."""
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return DataFolderError(
            f"'{path}' is locked by another program. Close that program, and start again."
        )
    if code in _TEMPORARY:
        return DataFolderError(
            f"'{path}' cannot be written to: {exc}. Free some space on its disk, and start again:"
            " the data is unchanged."
        )
    return _unreadable(path, str(exc)) if isinstance(exc, sqlite3.DatabaseError) else exc


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
    """Copy the database to a file that only this user can read.

    A copy of an earlier try is replaced: the database was not changed by it.

    :raises DataFolderError: The copy cannot be written.
    """
    part = f"{path}.part"
    try:
        _remove(part)  # which a process has left that was killed
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection.execute("vacuum into ?", (part,))
        _sync(part)
        os.replace(part, path)
        _sync(os.path.dirname(path))
    except (OSError, sqlite3.OperationalError) as exc:
        _remove(part)
        raise DataFolderError(
            f"The data is of an older format, and no copy of it can be written to '{path}':"
            f" {getattr(exc, 'strerror', None) or exc}. Free some space on its disk, and start"
            " again: the data is unchanged."
        ) from None


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
