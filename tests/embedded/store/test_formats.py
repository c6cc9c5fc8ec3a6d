"""Files of older formats are copied and brought up to date, whatever happens meanwhile."""

from __future__ import annotations

import hashlib
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded.errors import DataFolderError
from statefun_flask.embedded.records import Envelope
from statefun_flask.embedded.store import schema
from statefun_flask.values.message import Message

BOB = Address("ns/fn", "bob")
OLDER = range(1, schema.VERSION)

#: Rows of the first format. Later formats have them too.
ROWS = {
    "counter": [("message", 9), ("record", 3), ("trace", 5)],
    "spec": [("ns/fn", "seen", "a/t")],
    "state": [("ns/fn", "bob", "seen", b"1", 5, None), ("ns/fn", "eve", "seen", b"2", 5, 99)],
    "queue": [(7, 3, "ns/fn", "bob", None, None, "x/y", b"a", 1)],
    "timer": [(8, 3, 500, "ns/fn", "bob", "ns/fn", "eve", "x/y", b"b", 1, "token")],
    "egress": [(seq, 1, "ns/out", f"t{seq % 2}", None, b"x" * seq, "x/y") for seq in (1, 2, 3)],
    "cursor": [("egress:ns/out", 2), ("topic:t1", 1)],
    "parked": [("ns/fn", "eve", 4, 2, "error", 77)],
    "dead": [(2, 1, "ns/fn", "bob", None, None, "x/y", b"c", 1, "error", 66)],
    "position": [("file", "42"), ("idempotency:k", "1 2")],
}

Dump = dict[str, list[t.Any]]


def write_format(folder: pathlib.Path, version: int) -> pathlib.Path:
    """Make a folder as an older format had it."""
    folder.mkdir()
    database = folder / "statefun.sqlite3"
    with sqlite3.connect(database) as connection:
        for each in range(version):
            connection.executescript(schema.MIGRATIONS[each])
        connection.execute(f"pragma application_id = {schema.APPLICATION}")
        connection.execute(f"pragma user_version = {version}")
        for table, found in ROWS.items():
            marks = ", ".join("?" * len(found[0]))
            connection.executemany(f"insert into {table} values ({marks})", found)
        if version >= 3:
            connection.execute(
                "insert into topic select topic, count(*), sum(length(value)) from egress"
                " group by topic"
            )
    connection.close()
    return database


def dump(database: pathlib.Path) -> tuple[int, Dump]:
    """Return the format of a database and the rows of the first format's tables."""
    with sqlite3.connect(database) as connection:
        version = connection.execute("pragma user_version").fetchone()[0]
        found = {name: connection.execute(f"select * from {name}").fetchall() for name in ROWS}
    connection.close()
    return version, found


@pytest.mark.parametrize("version", OLDER)
def test_an_older_format_is_copied_and_brought_up_to_date(
    tmp_path: pathlib.Path, version: int
) -> None:
    database = write_format(tmp_path / "data", version)
    before = dump(database)
    store = SqliteStore(tmp_path / "data")
    assert store.queue(BOB) == [Envelope(7, 3, BOB, None, Message("x/y", b"a"))]
    assert [(each.name, each.records, each.bytes, each.first) for each in store.topics("", 9)] == [
        ("t0", 1, 2, 2),
        ("t1", 2, 4, 1),
    ]
    assert store.old_dead(67, None, 9) == [2]
    assert store.key_use((BOB, "k")) is None
    store.close()
    found, rows = dump(database)
    expected = {**ROWS, "position": [("file", "42")]} if version == 1 else ROWS
    assert (found, rows) == (schema.VERSION, expected)
    copy = pathlib.Path(f"{database}.format{version}")
    assert dump(copy) == before == (version, ROWS)
    assert copy.stat().st_mode & 0o777 == 0o600
    SqliteStore(tmp_path / "data").close()


def test_a_new_file_has_the_tables_of_one_that_was_brought_up_to_date(
    tmp_path: pathlib.Path,
) -> None:
    write_format(tmp_path / "old", 1)
    tables = []
    for name in ("old", "new"):
        store = SqliteStore(tmp_path / name)
        tables.append(store.connection.execute("select sql from sqlite_master").fetchall())
        store.close()
    assert sorted(tables[0]) == sorted(tables[1])


def test_scripts_of_older_formats_do_not_change() -> None:
    """A file that was written by one of them is out there."""
    scripts = "".join(schema.MIGRATIONS[each] for each in (0, 1))
    assert hashlib.sha256(scripts.encode()).hexdigest()[:16] == "acffeba73cb0b305"


# -- what happens meanwhile -----------------------------------------------------------------------

CHILD = """
import os, signal, sqlite3, sys
from statefun_flask.embedded import SqliteStore

class Connection(sqlite3.Connection):
    def execute(self, statement, *values):
        return self._run(super().execute, statement, *values)

    def executescript(self, script):
        return self._run(super().executescript, script)

    def _run(self, run, statement, *values):
        if sys.argv[2] in statement:
            kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
            self.set_progress_handler(kill, int(sys.argv[3]))
        return run(statement, *values)

connect = sqlite3.connect
sqlite3.connect = lambda *args, **options: connect(*args, factory=Connection, **options)
SqliteStore(sys.argv[1])
"""


@pytest.mark.parametrize(
    ("statement", "instructions"), [("vacuum into", 20), ("vacuum into", 150), ("begin;", 100)]
)
def test_a_process_killed_in_the_middle_leaves_the_older_file(
    tmp_path: pathlib.Path, statement: str, instructions: int
) -> None:
    database = write_format(tmp_path / "data", 1)
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "data"), statement, str(instructions)],
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    assert dump(database) == (1, ROWS)
    SqliteStore(tmp_path / "data").close()
    assert dump(database)[0] == schema.VERSION
    assert dump(pathlib.Path(f"{database}.format1")) == (1, ROWS)
    assert not list((tmp_path / "data").glob("*.part*"))


def test_a_full_disk_leaves_the_older_file(tmp_path: pathlib.Path) -> None:
    database = write_format(tmp_path / "data", 1)
    code = (
        "import resource, signal, sys; from statefun_flask.embedded import SqliteStore;"
        " signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        " resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, -1)); SqliteStore(sys.argv[1])"
    )
    child = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        f"DataFolderError: The data is of an older format, and no copy of it can be written to"
        f" '{database}.format1': "
    ) in child.stderr
    assert child.stderr.endswith(
        "Free some space on its disk, and start again: the data is unchanged.\n"
    )
    assert dump(database) == (1, ROWS)
    assert sorted(os.listdir(tmp_path / "data")) == ["lock", "statefun.sqlite3"]
    SqliteStore(tmp_path / "data").close()
    assert dump(database)[0] == schema.VERSION


def test_a_migration_that_fails_changes_nothing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = write_format(tmp_path / "data", 1)
    script = schema.MIGRATIONS[1]
    monkeypatch.setitem(schema.MIGRATIONS, 1, script + "insert into absent values (1);")
    with pytest.raises(DataFolderError, match="no such table: absent"):
        SqliteStore(tmp_path / "data")
    assert dump(database) == (1, ROWS)
    monkeypatch.setitem(schema.MIGRATIONS, 1, script)
    SqliteStore(tmp_path / "data").close()


def test_a_copy_is_of_the_file_that_is_brought_up_to_date(tmp_path: pathlib.Path) -> None:
    """Not of one that was brought up to date before: the user may have gone back to its copy."""
    database = write_format(tmp_path / "data", 1)
    copy = pathlib.Path(f"{database}.format1")
    copy.write_bytes(b"older")
    SqliteStore(tmp_path / "data").close()
    assert dump(copy) == (1, ROWS)
