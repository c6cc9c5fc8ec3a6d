"""Copies of a database while an engine works on it, and back into an empty data folder."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import os
import pathlib
import shutil
import sqlite3
import time
import typing as t
import urllib.parse

from ..errors import BackupError
from . import schema
from .folder import DATABASE
from .folder import DataFolder

#: How many pages are copied at a time, during which the engine cannot use its database.
_PAGES = 256

#: How long the engine has the database to itself after that, in seconds.
_PAUSE = 0.002

#: What may be in a folder that a backup is restored to.
_EMPTY = {"lock", "lost+found"}


def copy_database(
    connection: sqlite3.Connection, path: str, is_wanted: cabc.Callable[[], bool]
) -> t.BinaryIO:
    """Return an open file with a consistent copy of a connection's database.

    The file has no name any more and ends with its last descriptor. Other threads may use the
    connection meanwhile; what they commit is in the copy.

    :param path: Where the copy is written.
    :param is_wanted: Returns whether to go on.
    :raises BackupError: The copy cannot be written, or is not wanted any more.
    """

    def pause(*progress: int) -> None:
        if not is_wanted():
            raise BackupError("The engine is closing. Back up its data folder once it has ended.")
        time.sleep(_PAUSE)

    remove_copy(path)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as target:
            target.execute("pragma synchronous = off")
            target.execute("pragma journal_mode = off")
            connection.backup(target, pages=_PAGES, progress=pause, sleep=0.005)
            # One file without a log, which can be read from a medium that cannot be written to.
            target.execute("pragma locking_mode = exclusive")
            target.execute("pragma journal_mode = delete")
        return open(path, "rb")
    except (sqlite3.Error, OSError) as exc:
        raise BackupError(
            f"The data cannot be copied to '{path}': {getattr(exc, 'strerror', None) or exc}. Free"
            " some space on its disk, and try again."
        ) from None
    finally:
        remove_copy(path)


def remove_copy(path: str) -> None:
    """Remove a copy that a process has left which was killed."""
    for name in (path, f"{path}-wal", f"{path}-journal"):
        with contextlib.suppress(OSError):
            os.unlink(name)


def check_database(path: str | os.PathLike[str]) -> int:
    """Return the format of a database of an engine that no engine works on. Nothing is written.

    :raises BackupError: It is damaged, or of another program.
    """
    try:
        with _opened_to_read(os.path.abspath(path)) as database:
            (application,) = database.execute("pragma application_id").fetchone()
            if application != schema.APPLICATION:
                raise BackupError(
                    f"'{path}' is not a database of the embedded engine. Name a file that 'flask"
                    " statefun backup' has written."
                )
            (found,) = database.execute("pragma quick_check(1)").fetchone()
            (version,) = database.execute("pragma user_version").fetchone()
    except sqlite3.Error as exc:
        found = str(exc)
    if found != "ok":
        reason = " ".join(found.split())
        raise BackupError(f"'{path}' is damaged: {reason}. Use another backup.")
    return t.cast("int", version)


@contextlib.contextmanager
def _opened_to_read(path: str) -> cabc.Iterator[sqlite3.Connection]:
    """Open a database and leave no file behind.

    :param path: Absolute, so that SQLite does not read '//' as the name of a host.
    """
    uri = f"file:{urllib.parse.quote(path)}?mode=ro"
    # A killed engine leaves a log, which SQLite reads through an index that it makes. Without a log
    # it makes both files, unless the database is said not to change.
    index = f"{path}-shm"
    has_log, has_index = os.path.exists(f"{path}-wal"), os.path.exists(index)
    if not has_log:
        uri += "&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
            yield database
    finally:
        if has_log and not has_index:
            with contextlib.suppress(OSError):
                os.unlink(index)


def restore(backup: str | os.PathLike[str], folder: str | os.PathLike[str]) -> None:
    """Put a backup into a data folder that has no data.

    :raises BackupError: The backup cannot be used, or the folder has data.
    :raises DataFolderError: The folder is in use or cannot be used.
    """
    version = check_database(backup)
    if version > schema.VERSION:
        raise BackupError(
            f"'{backup}' was written by a newer version (its format is {version}, this one reads"
            f" {schema.VERSION}). Upgrade statefun_flask."
        )
    target = pathlib.Path(folder)
    _check_empty(target)
    held = DataFolder(target)
    try:
        _check_empty(target)
        part = target / f"{DATABASE}.part"
        with open(backup, "rb") as source, open(part, "wb", opener=_private) as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
        check_database(part)
        part.replace(target / DATABASE)
        _sync(target)
    except OSError as exc:
        raise BackupError(
            f"'{backup}' cannot be restored to '{folder}': {exc.strerror or exc}. Free some space"
            " on its disk, or name another folder."
        ) from None
    finally:
        held.release()


def _check_empty(folder: pathlib.Path) -> None:
    """Refuse a folder with anything but what a restore that was killed has left."""
    if not folder.is_dir():
        return
    for each in folder.iterdir():
        is_left = each.name == f"{DATABASE}.part" or (
            each.name == DATABASE and not each.stat().st_size
        )
        if each.name not in _EMPTY and not is_left:
            raise BackupError(
                f"'{folder}' is not empty ('{each.name}'). Name an empty or a new folder."
            )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)


def _sync(folder: pathlib.Path) -> None:
    """Make a new name in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
