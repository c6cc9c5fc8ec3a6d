"""Opening the store's database: how SQLite is to work, and whether the file is ours."""

from __future__ import annotations

import sqlite3

from ..errors import DataFolderError
from . import schema


def connect(path: str) -> sqlite3.Connection:
    """Open a database, or make it.

    :raises DataFolderError: It is damaged, another program's, or of a newer version.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.execute("pragma wal_autocheckpoint = 0")
        connection.execute("pragma cache_size = -16000")
        _prepare(connection, path)
    except sqlite3.DatabaseError as exc:
        connection.close()
        raise DataFolderError(
            f"'{path}' cannot be read: {exc}. Give another data folder, or remove this one if its"
            " content is no longer needed."
        ) from None
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    """Make the tables, or see that they are ours."""
    version = connection.execute("pragma user_version").fetchone()[0]
    application = connection.execute("pragma application_id").fetchone()[0]
    tables = connection.execute("select count(*) from sqlite_master").fetchone()[0]
    if not tables:
        connection.executescript(
            f"begin; {schema.TABLES} pragma application_id = {schema.APPLICATION};"
            f" pragma user_version = {schema.VERSION}; commit;"
        )
    elif application != schema.APPLICATION:
        raise DataFolderError(
            f"'{path}' is a database of another program. Give an empty or a new folder."
        )
    elif version != schema.VERSION:
        raise DataFolderError(
            f"'{path}' was written by a newer version (its format is {version}, this one reads"
            f" {schema.VERSION}). Upgrade statefun_flask, or give another folder."
        )
