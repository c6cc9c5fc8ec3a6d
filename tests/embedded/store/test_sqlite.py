"""The data folder and its database: refusals, migration and release."""

from __future__ import annotations

import collections.abc as cabc
import os
import pathlib
import sqlite3
import stat
import subprocess
import sys

import pytest

from statefun_flask import Address
from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded.errors import DataFolderError
from statefun_flask.embedded.errors import DiskFullError
from statefun_flask.embedded.records import Envelope
from statefun_flask.embedded.records import StoredValue
from statefun_flask.embedded.store import schema
from statefun_flask.embedded.store import sqlite
from statefun_flask.embedded.store.base import Changes
from statefun_flask.embedded.store.transaction import Transaction
from statefun_flask.values.message import Message

BOB = Address("ns/fn", "bob")


def test_every_commit_is_on_disk_when_it_returns(tmp_path: pathlib.Path) -> None:
    store = SqliteStore(tmp_path)
    for pragma, value in (("synchronous", 2), ("journal_mode", "wal"), ("fullfsync", 1)):
        assert store.connection.execute(f"pragma {pragma}").fetchone() == (value,)
    store.close()


def test_folder_of_a_newer_version(tmp_path: pathlib.Path) -> None:
    SqliteStore(tmp_path).close()
    database = tmp_path / "statefun.sqlite3"
    with sqlite3.connect(database) as connection:
        connection.execute("pragma user_version = 7")
    connection.close()
    before = database.read_bytes()
    with pytest.raises(DataFolderError) as info:
        SqliteStore(tmp_path)
    assert str(info.value) == (
        f"'{database}' was written by a newer version (its format is 7, this one"
        f" reads {schema.VERSION}). Upgrade statefun_flask, or give another folder."
    )
    assert database.read_bytes() == before


def test_folder_of_another_program(tmp_path: pathlib.Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataFolderError) as info:
        SqliteStore(tmp_path)
    assert str(info.value) == (
        f"'{tmp_path}' has other files in it ('notes.txt'), and no data of this engine."
        " Give an empty or a new folder."
    )
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]


def test_database_of_another_program(tmp_path: pathlib.Path) -> None:
    database = tmp_path / "statefun.sqlite3"
    with sqlite3.connect(database) as connection:
        connection.execute("create table mine (x)")
    connection.close()
    with pytest.raises(DataFolderError) as info:
        SqliteStore(tmp_path)
    assert str(info.value) == (
        f"'{database}' is a database of another program. Give an empty or a new folder."
    )


def test_file_that_is_not_a_database(tmp_path: pathlib.Path) -> None:
    database = tmp_path / "statefun.sqlite3"
    database.write_bytes(b"something else" * 1000)
    with pytest.raises(DataFolderError) as info:
        SqliteStore(tmp_path)
    assert str(info.value) == (
        f"'{database}' cannot be read: file is not a database. Give another data folder, or remove"
        " this one if its content is no longer needed."
    )
    assert database.read_bytes() == b"something else" * 1000


def test_file_in_place_of_a_folder(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(DataFolderError) as info:
        SqliteStore(file)
    assert str(info.value) == (
        f"'{file}' cannot be used as a data folder: File exists."
        " Give a folder that this user can write to."
    )


def test_folder_that_another_process_uses(tmp_path: pathlib.Path) -> None:
    code = (
        "import sys; from statefun_flask.embedded import SqliteStore; SqliteStore(sys.argv[1]);"
        " print('open', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        with pytest.raises(DataFolderError) as info:
            SqliteStore(tmp_path)
        assert str(info.value) == (
            f"The data folder '{tmp_path}' is in use by the process {child.pid}."
            " Stop that process, or give another folder."
        )
        child.kill()
    SqliteStore(tmp_path).close()  # a lock does not outlive its process


def test_folder_in_place_of_the_database(tmp_path: pathlib.Path) -> None:
    (tmp_path / "statefun.sqlite3").mkdir()
    for _ in range(2):
        with pytest.raises(DataFolderError, match="cannot be read: unable to open database file"):
            SqliteStore(tmp_path)


def test_refused_folder_is_not_held(tmp_path: pathlib.Path) -> None:
    (tmp_path / "statefun.sqlite3").write_bytes(b"x" * 5000)
    for _ in range(2):
        with pytest.raises(DataFolderError, match="cannot be read"):
            SqliteStore(tmp_path)


def test_lost_and_found_of_a_new_volume_is_ignored(
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / "lost+found").mkdir()
    SqliteStore(tmp_path).close()
    SqliteStore(tmp_path).close()


def test_only_the_user_can_read_the_data(tmp_path: pathlib.Path) -> None:
    before = os.umask(0o022)
    try:
        store = SqliteStore(tmp_path / "new" / "data")
        transaction = Transaction(store)
        transaction.set_cursor("reader", 1)
        transaction.commit()
        modes = {
            each.name: stat.S_IMODE(each.stat().st_mode)
            for each in (tmp_path / "new" / "data").iterdir()
        }
        assert stat.S_IMODE((tmp_path / "new" / "data").stat().st_mode) == 0o700
        store.close()
    finally:
        os.umask(before)
    assert modes == {"statefun.sqlite3": 0o600, "statefun.sqlite3-wal": 0o600, "lock": 0o600}


@pytest.mark.parametrize("name", ["lock", "statefun.sqlite3"])
def test_symbolic_links_are_not_followed(tmp_path: pathlib.Path, name: str) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).symlink_to(victim)
    with pytest.raises(DataFolderError, match="Too many levels of symbolic links"):
        SqliteStore(tmp_path / "data")
    assert victim.read_text() == "mine"


def test_another_process_cannot_lock_the_database_meanwhile(tmp_path: pathlib.Path) -> None:
    store = SqliteStore(tmp_path)
    code = (
        "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1], timeout=0);"
        " connection.execute('begin immediate')"
    )
    other = subprocess.run(
        [sys.executable, "-c", code, store.path], capture_output=True, text=True, check=False
    )
    assert "database is locked" in other.stderr
    transaction = Transaction(store)
    transaction.set_cursor("reader", 1)
    transaction.commit()
    store.close()


@pytest.mark.parametrize("code", [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL])
def test_a_commit_that_may_work_later_keeps_its_changes(tmp_path: pathlib.Path, code: int) -> None:
    class Failing(SqliteStore):
        def _write(self, name: str, statement: str, values: object) -> None:
            error = sqlite3.OperationalError("not now")
            error.sqlite_errorcode = code
            raise error

    store = Failing(tmp_path)
    transaction = Transaction(store)
    transaction.set_cursor("reader", 1)
    with pytest.raises(DiskFullError, match="not now"):
        transaction.commit()
    assert not store.connection.in_transaction
    assert transaction
    assert transaction.cursor("reader") == 1
    assert store.cursor("reader") == 0
    store.close()


# -- damage -------------------------------------------------------------------------------------


def damage(folder: pathlib.Path) -> None:
    """Overwrite a page of the state table."""
    store = SqliteStore(folder)
    with store.connection as connection:
        connection.executemany(
            "insert into state values ('ns/fn', ?, 'seen', zeroblob(2000), 0, null)",
            [(str(number),) for number in range(50)],
        )
    store.close()
    database = folder / "statefun.sqlite3"
    data = bytearray(database.read_bytes())
    last = len(data) - 4096
    data[last:] = b"\xab" * 4096
    database.write_bytes(data)


def test_damage_is_found_after_an_unclean_end(tmp_path: pathlib.Path) -> None:
    damage(tmp_path)
    (tmp_path / "lock").write_text("12345\n")  # as after a killed process
    for _ in range(2):
        with pytest.raises(DataFolderError, match="cannot be read: "):
            SqliteStore(tmp_path)


def test_the_file_is_not_checked_after_a_clean_end(tmp_path: pathlib.Path) -> None:
    damage(tmp_path)
    SqliteStore(tmp_path).close()  # a check of a large file would take long at each start


# -- what is written ------------------------------------------------------------------------------


def test_a_message_that_was_sent_and_consumed_between_commits_is_never_written(
    tmp_path: pathlib.Path,
) -> None:
    store = SqliteStore(tmp_path)
    transaction = Transaction(store)
    statements: list[str] = []
    store.connection.set_trace_callback(statements.append)
    transaction.enqueue([Envelope(1, 1, BOB, None, Message("x/y", b"a"))])
    transaction.consume([Envelope(1, 1, BOB, None, Message("x/y", b"a"))])
    transaction.set_cursor("reader", 1)
    transaction.commit()
    assert not [each for each in statements if "queue" in each]
    assert sum(each.lower().startswith("commit") for each in statements) == 1
    store.close()


def test_the_log_is_moved_into_the_database_and_cut(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "LOG_SIZE", 100_000)
    store = SqliteStore(tmp_path)
    transaction = Transaction(store)
    for number in range(300):
        transaction.set_state(Address("ns/fn", str(number)), "seen", StoredValue(b"x" * 1000, 0))
        transaction.commit()
    assert os.path.getsize(tmp_path / "statefun.sqlite3-wal") < 300_000
    assert os.path.getsize(tmp_path / "statefun.sqlite3") > 200_000
    store.close()


@pytest.mark.parametrize(
    "read",
    [
        lambda store: store.records(5, 10, "topic"),
        lambda store: store.records_of("ns/out", 5, 10),
        lambda store: store.last_record("ns/out"),
        lambda store: store.topics("t", 10),
        lambda store: store.topic("topic"),
        lambda store: list(store.oldest_records("topic")),
        lambda store: store.cursors("egress:"),
        lambda store: store.expired(5, 10),
        lambda store: store.old_keys(5, 10),
        lambda store: store.old_dead(5, None, 10),
        lambda store: store.addresses("ns/fn", "", 10),
        lambda store: store.holders("ns/fn", "seen", 10),
        lambda store: store.queue(BOB, 10),
        lambda store: store.delays_between(5, 10),
        lambda store: store.next_delays(10),
        lambda store: store.delay_of_token("bob", "t"),
        lambda store: store.commit(Changes({}, forget={"topic": 5})),
    ],
)
def test_reads_use_an_index(
    tmp_path: pathlib.Path, read: cabc.Callable[[SqliteStore], object]
) -> None:
    store = SqliteStore(tmp_path)
    statements: list[str] = []
    store.connection.set_trace_callback(statements.append)
    read(store)
    store.connection.set_trace_callback(None)
    for each in statements:
        for *_, step in store.connection.execute(f"explain query plan {each}"):
            if step == "SCAN opened":  # which has one row
                continue
            # What is read in the order of an index ends at its limit, as does a subquery.
            assert not step.startswith("SCAN ") or " INDEX " in step or "(subquery" in step, each
            assert "TEMP B-TREE FOR ORDER" not in step, each
            assert "(rowid>?)" not in step, each  # the records of all topics
    store.close()
