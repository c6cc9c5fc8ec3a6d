"""The data folder and what it refuses, a full disk, and what is kept without rows."""

from __future__ import annotations

import os
import pathlib
import resource
import sqlite3
import subprocess
import sys
import threading
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask.embedded import events
from statefun_flask.embedded import Store
from statefun_flask.embedded.errors import DataFolderError
from statefun_flask.embedded.errors import DiskFull
from statefun_flask.embedded.records import EgressRecord
from statefun_flask.embedded.records import Envelope
from statefun_flask.embedded.records import StoredValue
from statefun_flask.embedded.store import store as stores
from statefun_flask.values.message import Message


@pytest.fixture
def counter(script: t.Any, answer: t.Any) -> None:
    """A function that keeps what it got, and writes it to an egress."""

    def count(batch: t.Any) -> t.Any:
        answered = answer().put(
            "seen", b"%d" % (int(batch.states["seen"] or 0) + len(batch.values))
        )
        for value in batch.values:
            answered.egress("ns/out", value)
        return answered

    script.add("ns/fn", count, ("seen", "a/t"))


@pytest.mark.parametrize("path", [None, "data"])
def test_every_commit_is_on_disk_when_it_returns(path: str | None, tmp_path: pathlib.Path) -> None:
    store = Store(path and tmp_path / path)
    assert store.connection.execute("pragma synchronous").fetchone() == (2,)  # FULL
    assert store.connection.execute("pragma journal_mode").fetchone() == (
        ("wal",) if path else ("memory",)
    )
    store.close()


def test_folder_of_a_newer_version(tmp_path: pathlib.Path) -> None:
    Store(tmp_path).close()
    database = tmp_path / "statefun.sqlite3"
    with sqlite3.connect(database) as connection:
        connection.execute("pragma user_version = 7")
    connection.close()
    before = database.read_bytes()
    with pytest.raises(DataFolderError) as info:
        Store(tmp_path)
    assert str(info.value) == (
        f"'{database}' was written by a newer version (its format is 7, this one reads 1)."
        " Upgrade statefun_flask, or give another folder."
    )
    assert database.read_bytes() == before


def test_folder_of_another_program(tmp_path: pathlib.Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataFolderError) as info:
        Store(tmp_path)
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
        Store(tmp_path)
    assert str(info.value) == (
        f"'{database}' is a database of another program. Give an empty or a new folder."
    )


def test_database_that_is_none(tmp_path: pathlib.Path) -> None:
    database = tmp_path / "statefun.sqlite3"
    database.write_bytes(b"something else" * 1000)
    with pytest.raises(DataFolderError) as info:
        Store(tmp_path)
    assert str(info.value) == (
        f"'{database}' cannot be read: file is not a database. Give another data folder, or remove"
        " this one if its content is no longer needed."
    )
    assert database.read_bytes() == b"something else" * 1000


def test_file_in_place_of_a_folder(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(DataFolderError) as info:
        Store(file)
    assert str(info.value) == (
        f"'{file}' cannot be used as a data folder: File exists."
        " Give a folder that this user can write to."
    )


def test_folder_that_another_process_uses(tmp_path: pathlib.Path) -> None:
    code = (
        "import sys; from statefun_flask.embedded import Store; Store(sys.argv[1]);"
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
            Store(tmp_path)
        assert str(info.value) == (
            f"The data folder '{tmp_path}' is in use by the process {child.pid}."
            " Stop that one, or give another folder."
        )
        child.kill()
    Store(tmp_path).close()  # a lock does not outlive its process


def test_refused_folder_is_not_held(tmp_path: pathlib.Path) -> None:
    (tmp_path / "statefun.sqlite3").write_bytes(b"x" * 5000)
    for _ in range(2):
        with pytest.raises(DataFolderError, match="cannot be read"):
            Store(tmp_path)


def test_message_that_was_sent_and_consumed_between_commits_is_never_written(
    script: t.Any, bench: t.Any, counter: None
) -> None:
    made = bench()
    statements: list[str] = []
    made.engine.store.connection.set_trace_callback(statements.append)
    made.run("ns/fn", "1", b"x", b"y")
    assert not [each for each in statements if "queue" in each]
    assert sum(each.lower().startswith("commit") for each in statements) == 1


def test_log_is_moved_into_the_database_and_cut(
    script: t.Any,
    bench: t.Any,
    counter: None,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stores, "LOG_SIZE", 100_000)
    made = bench(Store(tmp_path / "data"))
    for n in range(300):
        made.run("ns/fn", str(n), b"x" * 1000)
    assert os.path.getsize(tmp_path / "data/statefun.sqlite3-wal") < 300_000
    assert os.path.getsize(tmp_path / "data/statefun.sqlite3") > 200_000


def test_many_addresses_leave_the_cache_and_are_read_again(
    script: t.Any, bench: t.Any, counter: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "CACHED", 10)
    made = bench()
    for _ in range(3):
        for n in range(40):
            made.run("ns/fn", str(n), b"x")
    assert {made.state("ns/fn", str(n))["seen"] for n in range(40)} == {b"3"}
    assert len(made.engine.store._cache) <= 11


# -- messages ---------------------------------------------------------------------------------


def test_a_message_replaced_and_consumed_between_two_commits_does_not_come_back() -> None:
    bob = Address("ns/fn", "bob")
    store = Store()
    store.changes.queue[1] = Envelope(1, 1, bob, None, Message("x/y", b"bad"))
    store.commit()
    good = Envelope(1, 1, bob, None, Message("x/y", b"good"))
    store.changes.replace(good)
    store.changes.consume([good])
    store.commit()
    assert store.queue(bob) == []
    store.close()


# -- a full disk ------------------------------------------------------------------------------


def fill(made: t.Any) -> None:
    for n in range(1000):
        made.run("ns/fn", str(n), b"x" * 2000)


def check_recovery(made: t.Any, path: pathlib.Path) -> None:
    """What was not written is not lost, and all is there once the disk has space again."""
    (full,) = made.told(events.Full)
    assert full.path == str(path)
    assert full.size == pytest.approx(os.path.getsize(path), abs=10_000)
    made.run("ns/fn", "last", b"x")
    assert made.told(events.Writable)
    values = [made.script.calls[n][0] for n in range(len(made.script.calls))]
    records = made.engine.store.records(0, 10_000)
    assert len(records) == len(values)
    assert [each.seq for each in records] == list(range(1, len(records) + 1))
    assert made.state("ns/fn", "last") == {"seen": b"1"}


def test_full_by_the_number_of_pages(
    script: t.Any, bench: t.Any, counter: None, tmp_path: pathlib.Path
) -> None:
    made = bench(Store(tmp_path / "data"))
    connection = made.engine.store.connection
    connection.execute("pragma max_page_count = 100")
    with pytest.raises(DiskFull) as info:
        fill(made)
    path = tmp_path / "data/statefun.sqlite3"
    assert str(info.value) == (
        f"'{path}' ({os.path.getsize(path)} bytes) cannot be written to: database or disk is full."
        " Free some space on its disk; the engine takes no input until then, and tries again every"
        " 5 s."
    )
    assert made.engine.store.records(0, 1)[0].value == b"x" * 2000  # reads go on
    connection.execute("pragma max_page_count = 1000000")
    check_recovery(made, path)


def test_full_by_the_size_of_files(
    script: t.Any, bench: t.Any, counter: None, tmp_path: pathlib.Path
) -> None:
    made = bench(Store(tmp_path / "data"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        with pytest.raises(DiskFull, match="cannot be written to: disk I/O error"):
            fill(made)
        assert made.engine.store.records(0, 1)[0].value == b"x" * 2000
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    check_recovery(made, tmp_path / "data/statefun.sqlite3")


def test_loop_takes_no_calls_while_the_disk_is_full_and_goes_on_by_itself(
    script: t.Any, counter: None, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from statefun_flask.embedded import core as cores
    from statefun_flask.embedded import Engine
    from statefun_flask.embedded import InProcess
    from statefun_flask.embedded import LocalRoutes

    monkeypatch.setattr(cores, "DISK_DELAY", 20)
    engine = Engine(LocalRoutes(InProcess(script)), Store(tmp_path / "data"), concurrency=2)
    full = threading.Event()
    engine.listeners.append(lambda event: isinstance(event, events.Full) and full.set())
    engine.store.connection.execute("pragma max_page_count = 60")
    engine.start()
    sent = [
        engine.submit([(Address("ns/fn", str(n)), Message("a/t", b"x" * 2000))]) for n in range(200)
    ]
    assert full.wait(10)
    assert engine.status().full == str(tmp_path / "data/statefun.sqlite3")
    assert not sent[-1].done()
    engine.ask(lambda core: core.store.connection.execute("pragma max_page_count = 100000"))
    assert [future.result(10)[0] for future in sent] == list(range(1, 201))
    engine.wait_idle(10)
    records = engine.ask(lambda core: core.store.records(0, 1000))
    assert [each.seq for each in records] == list(range(1, 201))
    engine.close()


def test_messages_in_memory_have_a_row_when_somebody_looks(script: t.Any, bench: t.Any) -> None:
    script.add("ns/fn", lambda batch: None)
    made = bench()
    engine, address = made.engine, Address("ns/fn", "1")
    for value in (b"a", b"b", b"c"):
        made.send("ns/fn", "1", value)
    count = "select count(*) from queue"
    engine.store.commit()
    assert engine.store.connection.execute(count).fetchone() == (0,)
    assert [each.message.value for each in engine.store.queue(address)] == [b"a", b"b", b"c"]
    assert engine.store.connection.execute(count).fetchone() == (3,)
    engine.run_until_idle()
    assert engine.store.connection.execute(count).fetchone() == (0,)
    assert made.delivered("ns/fn", "1") == [b"a", b"b", b"c"]


# -- what has no row ----------------------------------------------------------------------------


def record(seq: int, topic: str, egress: str = "ns/out") -> EgressRecord:
    return EgressRecord(seq, 1, egress, topic, None, b"%d" % seq, "x/y")


def rows(store: Store, table: str) -> int:
    count: int = store.connection.execute(f"select count(*) from {table}").fetchone()[0]
    return count


def test_a_store_in_memory_gives_rows_to_what_is_looked_for() -> None:
    bob, eve = Address("ns/fn", "bob"), Address("ns/fn", "eve")
    store = Store()
    store.changes.queue[1] = waiting = Envelope(1, 1, bob, None, Message("x/y", b"a"))
    store.write(bob, "seen", StoredValue(b"1", 0), 10)
    store.write(eve, "seen", StoredValue(b"1", 0), None)
    store.changes.egress.append(record(1, "a"))
    store.commit()
    assert [rows(store, table) for table in ("queue", "state", "egress")] == [0, 0, 0]

    assert store.queue(bob) == [waiting]
    assert store.expired(10, 5) == [(bob, "seen")]
    assert store.records(0, 5) == [record(1, "a")]
    assert [rows(store, table) for table in ("queue", "state", "egress")] == [1, 2, 1]

    store.changes.consume([waiting])
    store.write(bob, "seen", None, None)
    store.write(eve, "seen", StoredValue(b"2", 0), None)
    store.changes.egress.append(record(2, "a"))
    store.commit()
    assert store.queue(bob) == []
    assert store.addresses("ns/fn", "", 5) == [eve]
    assert store.records_of("ns/out", 0, 5) == [record(1, "a"), record(2, "a")]
    assert store.last_record("ns/out") == 2
    store.close()


def test_a_state_that_left_the_memory_is_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "CACHED", 4)
    store = Store()
    for number in range(20):
        store.write(Address("ns/fn", str(number)), "seen", StoredValue(b"%d" % number, 0), None)
        store.commit()
    assert [store.cells(Address("ns/fn", str(number)))["seen"].value for number in range(20)] == [
        b"%d" % number for number in range(20)
    ]
    store.close()


@pytest.mark.parametrize("looked", [False, True], ids=["kept", "with rows"])
@pytest.mark.parametrize("durable", [False, True], ids=["memory", "folder"])
def test_the_last_delivered_records_of_each_topic_stay(
    durable: bool, looked: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(stores, "KEPT_RECORDS", 2)
    store = Store(tmp_path if durable else None)
    store.changes.egress += [record(seq, "a" if seq % 2 else "b") for seq in range(1, 11)]
    store.changes.egress.append(record(11, "c", "ns/other"))
    store.commit()
    if looked:
        assert len(store.records(0, 20)) == 11
    store.forget_records(8)
    assert [each.seq for each in store.records(0, 20)] == [7, 8, 9, 10, 11]
    store.forget_records(10, "ns/out")
    store.forget_records(11, "ns/other")
    assert [each.seq for each in store.records(0, 20)] == [7, 8, 9, 10, 11]
    store.close()
