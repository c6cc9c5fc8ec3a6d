"""What is done to a data folder while no engine runs on it."""

from __future__ import annotations

import os
import pathlib
import typing as t

from .clock import RealClock
from .egress import READER
from .egress import Sinks
from .errors import DataFolderError
from .exchange.states import RegisteredStates
from .retention import Retention
from .retention import Sweeper
from .store import SqliteStore
from .store.folder import DATABASE
from .store.transaction import Transaction


class Vacuumed(t.NamedTuple):
    """What a vacuum has done.

    :param before: How many bytes the database and its log had.
    :param after: How many bytes the database has now.
    :param deleted: How many things were deleted, by their names.
    :param waiting: How many records wait for their sink, by egress.
    """

    before: int
    after: int
    deleted: dict[str, int]
    waiting: dict[str, int]


def open_existing(folder: str, *, accept_loss: bool = False) -> SqliteStore:
    """Return the store of a data folder that has data.

    :raises DataFolderError: The folder has no data, is in use, or cannot be used.
    """
    if not os.path.isfile(_database(folder)):
        raise DataFolderError(
            f"'{folder}' has no data of an engine. Name the folder that --data of 'flask statefun"
            " dev' names."
        )
    return SqliteStore(folder, accept_loss=accept_loss)


def vacuum(
    folder: str,
    retention: Retention,
    *,
    without_sink: t.Sequence[str] = (),
    accept_loss: bool = False,
) -> Vacuumed:
    """Delete what a retention does not keep, and give the free space back to the disk.

    :param without_sink: Egresses whose records no sink will write any more.
    :param accept_loss: Go on without a log that is missing, and so without the latest commits.
    :raises DataFolderError: The folder has no data, is in use, or cannot be used.
    :raises DiskFullError: There is not enough space to write the file anew.
    """
    before = sum(_size(_database(folder) + each) for each in ("", "-wal"))
    store = open_existing(folder, accept_loss=accept_loss)
    try:
        for egress in without_sink:
            store.forget_reader(f"{READER}{egress}")
        sizes = store.sizes()
        transaction = Transaction(store)
        sinks, states = Sinks(store, transaction), RegisteredStates(transaction)
        sweeper = Sweeper(retention, store, transaction, sinks, states, RealClock())
        sweeper.sweep_everything()
        deleted = {name: sizes[name] - left for name, left in store.sizes().items()}
        waiting = {
            reader.removeprefix(READER): store.waiting(reader.removeprefix(READER), seq)
            for reader, seq in store.cursors(READER).items()
        }
        store.vacuum()
    finally:
        store.close()
    return Vacuumed(before, _size(_database(folder)), deleted, waiting)


def _database(folder: str) -> str:
    return str(pathlib.Path(folder) / DATABASE)


def _size(path: str) -> int:
    return os.path.getsize(path) if os.path.exists(path) else 0
