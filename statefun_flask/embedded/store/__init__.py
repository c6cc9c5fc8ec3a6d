"""What outlives a call: states, queues, delays, records and positions."""

from __future__ import annotations

import os

from .base import Store as Store
from .memory import MemoryStore as MemoryStore
from .sqlite import SqliteStore as SqliteStore


def open_store(path: str | os.PathLike[str] | None = None) -> Store:
    """Return the store of a data folder, or one in memory.

    :raises DataFolderError: The folder cannot be used.
    """
    return MemoryStore() if path is None else SqliteStore(path)
