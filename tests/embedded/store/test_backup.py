"""Copies of a database that an engine works on, and back into a data folder."""

from __future__ import annotations

import collections.abc as cabc
import itertools
import os
import pathlib
import sqlite3
import threading
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask.embedded import MemoryStore
from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded.errors import BackupError
from statefun_flask.embedded.errors import DataFolderError
from statefun_flask.embedded.errors import NoDataFolderError
from statefun_flask.embedded.records import StoredValue
from statefun_flask.embedded.store import backup
from statefun_flask.embedded.store import schema
from statefun_flask.embedded.store.base import Changes
from statefun_flask.embedded.store.folder import DataFolder

#: So many that a copy takes many steps.
ADDRESSES = [Address("ns/fn", str(number)) for number in range(300)]


def write(store: SqliteStore, number: int) -> None:
    """Give all addresses the same value in one commit."""
    value = StoredValue(b"%d " % number + bytes(20_000), 0)
    changes = Changes({"message": number}, counted=True)
    changes.states = {each: {"seen": (value, None)} for each in ADDRESSES}
    store.commit(changes)


def numbers(path: str | os.PathLike[str]) -> tuple[int, set[int]]:
    """Return the counter of a database, and the values of its states."""
    with sqlite3.connect(path) as connection:
        (counter,) = connection.execute("select value from counter").fetchone()
        values = connection.execute("select value from state").fetchall()
    connection.close()
    assert len(values) == len(ADDRESSES)
    return counter, {int(value.split()[0]) for (value,) in values}


@pytest.fixture
def store(tmp_path: pathlib.Path) -> cabc.Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "data")
    write(made, 1)
    yield made
    made.close()


def save(store: SqliteStore, path: pathlib.Path) -> pathlib.Path:
    with store.copy() as copy:
        path.write_bytes(copy.read())
    return path


def test_a_copy_made_during_commits_is_one_of_them(
    store: SqliteStore, tmp_path: pathlib.Path
) -> None:
    ended = threading.Event()
    last: list[int] = []

    def commit() -> None:
        for number in itertools.count(2):
            write(store, number)
            last.append(number)
            if ended.is_set():
                return

    writer = threading.Thread(target=commit)
    writer.start()
    try:
        before = 1
        for turn in range(3):
            copied = save(store, tmp_path / str(turn))
            assert backup.check_database(copied) == schema.VERSION
            counter, values = numbers(copied)
            assert values == {counter}, "a part of a commit"
            assert counter >= before
            before = counter
    finally:
        ended.set()
        writer.join()
    assert last, "there were commits meanwhile"
    assert sorted(os.listdir(tmp_path / "data")) == [
        "lock",
        "statefun.sqlite3",
        "statefun.sqlite3-wal",
    ]


def test_a_copy_ends_with_the_store(tmp_path: pathlib.Path, monkeypatch: t.Any) -> None:
    store = SqliteStore(tmp_path / "data")
    write(store, 1)
    monkeypatch.setattr(backup, "_PAGES", 1)
    monkeypatch.setattr(backup, "_PAUSE", 0.01)
    failures: list[BaseException] = []

    def copy() -> None:
        try:
            store.copy()
        except BackupError as exc:
            failures.append(exc)

    copying = threading.Thread(target=copy)
    copying.start()
    while not (tmp_path / "data" / "statefun.sqlite3.copy").exists():
        assert copying.is_alive()
    store.close()
    copying.join(10)
    assert "The engine is closing" in str(failures[0])
    assert sorted(os.listdir(tmp_path / "data")) == ["lock", "statefun.sqlite3"]
    SqliteStore(tmp_path / "data").close()


def test_what_a_killed_process_has_left_is_removed(tmp_path: pathlib.Path) -> None:
    SqliteStore(tmp_path / "data").close()
    left = tmp_path / "data" / "statefun.sqlite3.copy"
    left.write_text("half of it")
    SqliteStore(tmp_path / "data").close()
    assert not left.exists()


def test_memory_has_no_copy() -> None:
    with pytest.raises(NoDataFolderError, match=r"Start it with --data DIR\."):
        MemoryStore().copy()


# -- restoring --------------------------------------------------------------------------------


@pytest.fixture
def saved(store: SqliteStore, tmp_path: pathlib.Path) -> pathlib.Path:
    return save(store, tmp_path / "saved.sqlite3")


@pytest.mark.parametrize("exists", [False, True])
def test_a_backup_is_restored(saved: pathlib.Path, tmp_path: pathlib.Path, exists: bool) -> None:
    folder = tmp_path / "new"
    if exists:
        folder.mkdir()
    backup.restore(saved, folder)
    assert sorted(os.listdir(folder)) == ["lock", "statefun.sqlite3"]
    assert (folder / "statefun.sqlite3").stat().st_mode & 0o777 == 0o600
    restored = SqliteStore(folder)
    assert restored.counters() == {"message": 1}
    assert len(restored.addresses("ns/fn", "", 1000)) == len(ADDRESSES)
    restored.close()


def test_a_restore_that_was_killed_is_repeated(saved: pathlib.Path, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    for name in ("lock", "statefun.sqlite3"):
        (folder / name).touch()
    (folder / "statefun.sqlite3.part").write_bytes(saved.read_bytes()[:10_000])
    backup.restore(saved, folder)
    assert numbers(folder / "statefun.sqlite3") == (1, {1})


def test_a_folder_with_data_is_left_alone(saved: pathlib.Path, tmp_path: pathlib.Path) -> None:
    SqliteStore(tmp_path / "other").close()
    before = (tmp_path / "other" / "statefun.sqlite3").read_bytes()
    with pytest.raises(BackupError, match=r"is not empty \('statefun.sqlite3'\)"):
        backup.restore(saved, tmp_path / "other")
    assert (tmp_path / "other" / "statefun.sqlite3").read_bytes() == before
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.txt").touch()
    with pytest.raises(BackupError, match=r"is not empty \('notes.txt'\)"):
        backup.restore(saved, tmp_path / "notes")


def test_a_folder_in_use_is_refused(saved: pathlib.Path, tmp_path: pathlib.Path) -> None:
    held = DataFolder(tmp_path / "other")
    with pytest.raises(DataFolderError, match=f"is in use by the process {os.getpid()}"):
        backup.restore(saved, tmp_path / "other")
    held.release()


def test_a_damaged_backup_is_refused(saved: pathlib.Path, tmp_path: pathlib.Path) -> None:
    content = bytearray(saved.read_bytes())
    content[4096 * 4 : 4096 * 40] = b"\xff" * 4096 * 36
    saved.write_bytes(content)
    with pytest.raises(BackupError, match=r"is damaged: .* Use another backup\."):
        backup.restore(saved, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("length", [0, 50, 4096 * 20])
def test_a_backup_that_was_cut_off_is_refused(
    saved: pathlib.Path, tmp_path: pathlib.Path, length: int
) -> None:
    os.truncate(saved, length)
    with pytest.raises(BackupError):
        backup.restore(saved, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_other_files_and_newer_formats_are_refused(
    saved: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    other = tmp_path / "other.sqlite3"
    with sqlite3.connect(other) as connection:
        connection.execute("create table mine (id)")
    connection.close()
    with pytest.raises(BackupError, match="is not a database of the embedded engine"):
        backup.restore(other, tmp_path / "new")
    with sqlite3.connect(saved) as connection:
        connection.execute(f"pragma user_version = {schema.VERSION + 4}")
    connection.close()
    with pytest.raises(BackupError, match=f"its format is {schema.VERSION + 4}"):
        backup.restore(saved, tmp_path / "new")
    with pytest.raises(BackupError, match="is damaged: unable to open database file"):
        backup.restore(tmp_path / "none", tmp_path / "new")
