"""The data folder: one process at a time, and no files of other programs."""

from __future__ import annotations

import errno
import os
import pathlib

from ..errors import DataFolderError

DATABASE = "statefun.sqlite3"
_LOCK = "lock"

#: What may be in a folder that has no database yet.
_ALLOWED = {_LOCK, "lost+found"}


class DataFolder:
    """Holds a folder for this process; makes it if it does not exist.

    Only the user who runs the engine can read what it makes.

    :raises DataFolderError: Another process holds it, it is something else, or the operating system
        has no POSIX file locks.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = pathlib.Path(path)
        self._claim()
        self._lock = self._take_lock()
        #: Whether the last process has released the folder, or none has had it.
        self.was_released = not os.pread(self._lock, 1, 0)
        try:
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
            os.fsync(self._lock)  # after a power cut the database is checked
            self._make_database()
        except OSError as exc:
            os.close(self._lock)
            raise self._unusable(exc) from None

    def _claim(self) -> None:
        try:
            if not self.path.is_dir():
                self.path.mkdir(mode=0o700, parents=True)
            names = {each.name for each in self.path.iterdir()}
        except OSError as exc:
            raise self._unusable(exc) from None
        if DATABASE not in names and not names <= _ALLOWED:
            raise DataFolderError(
                f"'{self.path}' has other files in it ('{min(names - _ALLOWED)}'), and no data of"
                " this engine. Give an empty or a new folder."
            )

    def _take_lock(self) -> int:
        try:
            import fcntl
        except ImportError:
            raise DataFolderError(
                "A data folder needs the file locks of a POSIX system. Run the engine in memory."
            ) from None
        try:
            lock = os.open(self.path / _LOCK, _flags(), 0o600)
        except OSError as exc:
            raise self._unusable(exc) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(lock, 20).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise DataFolderError(
                f"The data folder '{self.path}' is in use by the process {holder}."
                " Stop that process, or give another folder."
            ) from None
        return lock

    def _make_database(self) -> None:
        """Make an empty file for the database if there is none, and refuse a symbolic link."""
        if not os.path.lexists(self.database):
            os.close(os.open(self.database, _flags(), 0o600))
        elif os.path.islink(self.database):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

    def _unusable(self, exc: OSError) -> DataFolderError:
        return DataFolderError(
            f"'{self.path}' cannot be used as a data folder: {exc.strerror or exc}."
            " Give a folder that this user can write to."
        )

    @property
    def database(self) -> str:
        """The path of the database."""
        return str(self.path / DATABASE)

    def release(self, *, clean: bool = True) -> None:
        """Let other processes have the folder.

        :param clean: Whether the database was closed, so that the next process need not check it.
        """
        try:
            if clean:
                os.ftruncate(self._lock, 0)
        finally:
            os.close(self._lock)


def _flags() -> int:
    """Return how files are opened: never through a symbolic link, which others may have made."""
    return os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
