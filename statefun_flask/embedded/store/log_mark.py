"""Notices that SQLite's log is missing.

The latest commits are in the log, ``statefun.sqlite3-wal``, until they are moved into the database.
If the log is removed after a process was killed, or the database is copied alone while an engine
runs, SQLite opens what is left as if nothing was missing.

The table ``opened`` has a row while an engine has the database. Its value is 0 in the database when
the log is moved, and the first commit in the log changes it to 1. So a database with 0 needs its
log; one with 1 was given the content of its log, perhaps by another program.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3

#: Where the header of a database says whether it has a log, and what it says then.
_HEADER = slice(18, 20)
_HAS_LOG = b"\2\2"


def log_of(path: str) -> str:
    """Return the path of a database's log."""
    return f"{path}-wal"


def lacks_log(path: str) -> bool:
    """Return whether a database that works with a log has no file for it.

    A database that cannot be read is left to SQLite, which says why.
    """
    try:
        with open(path, "rb") as file:
            header = file.read(_HEADER.stop)
    except OSError:
        return False
    return header[_HEADER] == _HAS_LOG and not os.path.exists(log_of(path))


def keep_log(path: str) -> None:
    """Make an empty log in place of the one that SQLite has moved and removed at a close."""
    if lacks_log(path):
        with contextlib.suppress(OSError):
            os.close(os.open(log_of(path), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))


class LogMark:
    """The row of a database that is open."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._is_set = False

    def needs_log(self) -> bool:
        """Return whether the database was left in need of a log."""
        return self._connection.execute("select has_log from opened").fetchall() == [(0,)]

    def open(self) -> None:
        """Note in the database that a log will follow."""
        # Without the mark, as on a full disk, a missing log is not noticed.
        with contextlib.suppress(sqlite3.OperationalError):
            self._connection.execute("delete from opened")
            self._connection.execute("insert into opened values (0)")
            self._connection.execute("pragma wal_checkpoint(truncate)")

    def write(self) -> None:
        """Note in the log, as a part of a commit, that there is one."""
        if not self._is_set:
            self._connection.execute("update opened set has_log = 1")

    def written(self) -> None:
        """Note that the commit worked."""
        self._is_set = True

    def moving(self) -> None:
        """Note that the log is moved into the database now, so that a new one follows."""
        self._is_set = False
        self._connection.execute("update opened set has_log = 0")

    def close(self) -> bool:
        """Note that no log follows, and return whether that worked."""
        try:
            self._connection.execute("delete from opened")
        except sqlite3.Error:
            return False
        return True
