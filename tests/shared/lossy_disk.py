"""A file layer below SQLite that forgets what was not synced, and that fails when it is told to.

It is a VFS of apsw, another binding of SQLite. :class:`Connection` gives apsw's connection the
methods and the exceptions of :mod:`sqlite3`, so that the real store runs on it.
"""

from __future__ import annotations

import collections.abc as cabc
import itertools
import os
import pathlib
import random
import sqlite3
import typing as t

import apsw

#: A disk writes a sector whole or not at all.
SECTOR = 512

_numbers = itertools.count()

#: An offset with bytes, or a size to which the file is cut.
Operation = tuple[int, bytes] | int


class _Content:
    """A file: the bytes that are safe, and the operations since then."""

    def __init__(self) -> None:
        self.durable = bytearray()
        self.pending: list[Operation] = []
        #: Operations of which a sync failed. No later sync makes them safe.
        self.doubtful: list[Operation] = []

    def sync(self) -> None:
        for each in self.pending:
            _perform(self.durable, each)
            # What the operation has replaced cannot come back.
            self.doubtful = [old for old in self.doubtful if not _overlap(old, each)]
        self.pending.clear()

    def fail_to_sync(self) -> None:
        self.doubtful += self.pending
        self.pending.clear()

    def survivors(self, chance: random.Random, share: float) -> bytes:
        """Return what is left after a power cut: some sectors of the unsynced writes, or none."""
        left = bytearray(self.durable)
        for each in (*self.doubtful, *self.pending):
            if isinstance(each, int):
                if chance.random() < share:
                    _perform(left, each)
                continue
            offset, data = each
            for start in range(0, len(data), SECTOR):
                if chance.random() < share:
                    _perform(left, (offset + start, data[start : start + SECTOR]))
        return bytes(left)


def _perform(content: bytearray, operation: Operation) -> None:
    if isinstance(operation, int):
        del content[operation:]
        content.extend(bytes(operation - len(content)))
        return
    offset, data = operation
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data


def _overlap(one: Operation, other: Operation) -> bool:
    return _end(one) > _start(other) and _end(other) > _start(one)


def _start(operation: Operation) -> int:
    return operation if isinstance(operation, int) else operation[0]


def _end(operation: Operation) -> int:
    return 1 << 63 if isinstance(operation, int) else operation[0] + len(operation[1])


class Disk:
    """The files of SQLite in a folder, written through to real files.

    :param before: Called before each operation with its name: ``read``, ``write``, ``sync``,
        ``truncate`` or ``delete``. An exception of apsw that it raises is the operation's result.
    """

    def __init__(self, before: cabc.Callable[[str], None] = lambda name: None) -> None:
        self.before = before
        self._contents: dict[str, _Content] = {}
        self._name = f"lossy{next(_numbers)}"
        self._vfs = _Vfs(self._name, self)

    def connect(self, path: str) -> sqlite3.Connection:
        """Open a database on this disk, as :class:`.SqliteStore` wants it."""
        with _Translated():
            opened = Connection(apsw.Connection(path, vfs=self._name))
        return t.cast("sqlite3.Connection", opened)

    def content(self, path: str) -> _Content:
        """Return a file's content; a new file for a new path."""
        found = self._contents.get(path)
        if found is None:
            found = self._contents[path] = _Content()
            found.durable += pathlib.Path(path).read_bytes() if os.path.exists(path) else b""
        return found

    def delete(self, path: str) -> None:
        """Delete a file, which is safe at once."""
        self._contents.pop(path, None)

    def cut(self, chance: random.Random) -> dict[str, bytes]:
        """Return the files that a power cut leaves now, by their names."""
        share = chance.choice([0.0, 1.0, chance.random()])
        return {
            os.path.basename(path): content.survivors(chance, share)
            for path, content in self._contents.items()
        }

    def close(self) -> None:
        """Unregister the file layer."""
        self._vfs.unregister()


class _Vfs(apsw.VFS):
    def __init__(self, name: str, disk: Disk) -> None:
        self._disk = disk
        super().__init__(name, "")

    def xOpen(self, name: t.Any, flags: list[int]) -> apsw.VFSFile:
        return _File(name, flags, self._disk)

    def xDelete(self, name: str, sync: bool) -> None:
        self._disk.before("delete")
        super().xDelete(name, sync)
        self._disk.delete(name)


class _File(apsw.VFSFile):
    def __init__(self, name: t.Any, flags: list[int], disk: Disk) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        # A temporary file has no name.
        self._content = _Content() if path is None else disk.content(path)

    def xRead(self, amount: int, offset: int) -> bytes:
        self._disk.before("read")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.before("write")
        self._content.pending.append((offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        self._disk.before("truncate")
        self._content.pending.append(size)
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        try:
            self._disk.before("sync")
        except apsw.Error:
            # The operating system takes the pages for written, and never writes them.
            self._content.fail_to_sync()
            raise
        self._content.sync()


class Connection:
    """A connection of apsw with the methods of one of :mod:`sqlite3`.

    :ivar before: Called with each statement before it is executed.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.before: cabc.Callable[[str], None] = lambda statement: None

    def execute(self, statement: str, values: cabc.Sequence[t.Any] = ()) -> _Rows:
        """Execute a statement and read all of its rows."""
        self.before(statement)
        with _Translated():
            return _Rows(
                self._connection.execute(statement, tuple(values)), self._connection.changes
            )

    def executemany(self, statement: str, rows: cabc.Iterable[cabc.Sequence[t.Any]]) -> _Rows:
        """Execute a statement once for each row of values."""
        self.before(statement)
        with _Translated():
            return _Rows(
                self._connection.executemany(statement, map(tuple, rows)),
                self._connection.changes,
            )

    def executescript(self, script: str) -> None:
        """Execute several statements."""
        self.execute(script)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction has begun."""
        return self._connection.in_transaction

    def getlimit(self, category: int) -> int:
        """Return a limit of the connection."""
        return self._connection.limit(category)

    def close(self) -> None:
        """Close the database."""
        with _Translated():
            self._connection.close()


class _Rows:
    """A cursor whose rows are all read."""

    def __init__(self, cursor: t.Any, changes: cabc.Callable[[], int]) -> None:
        self._rows = iter(list(cursor))
        #: How many rows the statement has changed.
        self.rowcount = changes()

    def __iter__(self) -> cabc.Iterator[tuple[t.Any, ...]]:
        return self._rows

    def fetchall(self) -> list[tuple[t.Any, ...]]:
        return list(self._rows)

    def fetchone(self) -> tuple[t.Any, ...] | None:
        return next(self._rows, None)


class _Translated:
    """Turns exceptions of apsw into those of :mod:`sqlite3`."""

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        if isinstance(exc, apsw.Error):
            code = getattr(exc, "extendedresult", 0) or exc.result
            raise error(code, str(exc)) from exc


def error(code: int, text: str = "injected") -> sqlite3.DatabaseError:
    """Return the exception of :mod:`sqlite3` for a result code."""
    kind = {
        sqlite3.SQLITE_CORRUPT: sqlite3.DatabaseError,
        sqlite3.SQLITE_NOTADB: sqlite3.DatabaseError,
        sqlite3.SQLITE_CONSTRAINT: sqlite3.IntegrityError,
    }.get(code & 0xFF, sqlite3.OperationalError)
    made = kind(text)
    made.sqlite_errorcode = code
    return made


def dump(connection: sqlite3.Connection) -> dict[str, list[t.Any]]:
    """Return the rows of all tables but ``opened``, which changes at each start."""
    tables = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
    return {
        name: sorted(connection.execute(f"select * from {name}").fetchall(), key=repr)
        for (name,) in tables
        if name != "opened"
    }
