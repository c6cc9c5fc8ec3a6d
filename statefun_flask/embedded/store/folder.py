"""The data folder: one engine at a time, and no other program's files."""

from __future__ import annotations

import os
import pathlib

from ..errors import DataFolderError

DATABASE = "statefun.sqlite3"
_LOCK = "lock"


class DataFolder:
    """Holds a folder for this process; makes it if it does not exist.

    :raises DataFolderError: Another process holds it, it is something else, or the operating system
        has no POSIX file locks.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = pathlib.Path(path)
        try:
            import fcntl
        except ImportError:
            raise DataFolderError(
                "A data folder needs the file locks of a POSIX system. Run the engine in memory."
            ) from None
        self._claim()
        self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._lock, 20).decode(errors="replace").strip() or "unknown"
            os.close(self._lock)
            raise DataFolderError(
                f"The data folder '{self.path}' is in use by the process {holder}."
                " Stop that one, or give another folder."
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def _claim(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            names = {each.name for each in self.path.iterdir()}
        except OSError as exc:
            raise DataFolderError(
                f"'{self.path}' cannot be used as a data folder: {exc.strerror or exc}."
                " Give a folder that this user can write to."
            ) from None
        if names and DATABASE not in names and not names <= {_LOCK}:
            raise DataFolderError(
                f"'{self.path}' has other files in it ('{min(names)}'), and no data of this engine."
                " Give an empty or a new folder."
            )

    @property
    def database(self) -> str:
        """The path of the database."""
        return str(self.path / DATABASE)

    def release(self) -> None:
        """Let others have the folder."""
        os.close(self._lock)
