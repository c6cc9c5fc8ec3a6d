"""A database whose log is missing is refused: the latest commits are in the log."""

from __future__ import annotations

import pathlib
import shutil
import sqlite3

import pytest

from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded.errors import DataFolderError
from statefun_flask.embedded.store import schema
from statefun_flask.embedded.store import sqlite
from statefun_flask.embedded.store.transaction import Transaction


def commit(store: SqliteStore, value: int) -> None:
    transaction = Transaction(store)
    transaction.set_cursor("reader", value)
    transaction.commit()


@pytest.fixture
def killed(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder as a process leaves it that is killed, with a commit in the log."""
    store = SqliteStore(tmp_path / "data")
    commit(store, 7)
    folder = tmp_path / "killed"
    shutil.copytree(tmp_path / "data", folder)
    store.close()
    return folder


def log(folder: pathlib.Path) -> pathlib.Path:
    return folder / "statefun.sqlite3-wal"


def cursor(folder: pathlib.Path) -> int:
    store = SqliteStore(folder)
    try:
        return store.cursor("reader")
    finally:
        store.close()


def test_a_log_that_was_removed_is_missed_until_it_is_back(
    killed: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    log(killed).rename(tmp_path / "log")
    for _ in range(2):
        with pytest.raises(DataFolderError) as info:
            SqliteStore(killed)
        database = killed / "statefun.sqlite3"
        assert str(info.value) == (
            f"'{database}' lacks its log '{database}-wal', which has the latest changes: it was"
            " removed after a process had been killed, or was not copied along. Put it back, or"
            " restore a backup; to go on without these changes, run 'flask statefun vacuum"
            f" --accept-loss {killed}'."
        )
    (tmp_path / "log").rename(log(killed))
    assert cursor(killed) == 7


def test_the_loss_can_be_accepted(killed: pathlib.Path) -> None:
    log(killed).unlink()
    store = SqliteStore(killed, accept_loss=True)
    assert store.cursor("reader") == 0
    store.close()
    assert cursor(killed) == 0


def test_a_database_copied_alone_while_an_engine_runs_is_refused(tmp_path: pathlib.Path) -> None:
    store = SqliteStore(tmp_path / "data")
    commit(store, 7)
    (tmp_path / "copy").mkdir()
    shutil.copy(store.path, tmp_path / "copy")
    store.close()
    with pytest.raises(DataFolderError, match="lacks its log"):
        SqliteStore(tmp_path / "copy")


def test_a_database_copied_alone_after_the_end_is_whole(tmp_path: pathlib.Path) -> None:
    store = SqliteStore(tmp_path / "data")
    commit(store, 7)
    store.close()
    (tmp_path / "copy").mkdir()
    shutil.copy(store.path, tmp_path / "copy")
    assert cursor(tmp_path / "copy") == 7


def test_a_log_that_was_moved_into_the_database_is_followed_by_another(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LOG_SIZE", 10_000)
    store = SqliteStore(tmp_path / "data")
    for number in range(30):
        commit(store, number)
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "data", folder)
        log(folder).unlink()
        with pytest.raises(DataFolderError, match="lacks its log"):
            SqliteStore(folder)
    store.close()


def test_a_log_that_another_program_has_moved_is_not_missing(killed: pathlib.Path) -> None:
    with sqlite3.connect(killed / "statefun.sqlite3") as connection:
        connection.execute("select * from cursor").fetchall()
    connection.close()
    assert not log(killed).exists()
    assert cursor(killed) == 7


@pytest.mark.parametrize("moved", [False, True])
def test_a_start_that_is_refused_does_not_remove_the_log(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, moved: bool
) -> None:
    store = SqliteStore(tmp_path / "data")
    if not moved:
        commit(store, 7)
    folder = tmp_path / "killed"
    shutil.copytree(tmp_path / "data", folder)
    store.close()
    with monkeypatch.context() as patch:
        patch.setattr(schema, "VERSION", 1)
        with pytest.raises(DataFolderError, match="newer version"):
            SqliteStore(folder)
    assert cursor(folder) == (0 if moved else 7)


def test_a_copy_of_an_online_backup_needs_no_log(tmp_path: pathlib.Path) -> None:
    store = SqliteStore(tmp_path / "data")
    commit(store, 7)
    (tmp_path / "copy").mkdir()
    target = sqlite3.connect(tmp_path / "copy" / "statefun.sqlite3")
    store.connection.backup(target)
    target.execute("pragma journal_mode = delete")
    target.close()
    store.close()
    assert cursor(tmp_path / "copy") == 7
