"""After a power cut every acknowledged commit is there, whole and in order.

The file layer under SQLite forgets at random what was not synced. ``STATEFUN_CUTS`` sets the number
of the power cuts of the long form.
"""

from __future__ import annotations

import collections.abc as cabc
import itertools
import os
import pathlib
import random
import sqlite3
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded.records import Dead
from statefun_flask.embedded.records import Delay
from statefun_flask.embedded.records import EgressRecord
from statefun_flask.embedded.records import Envelope
from statefun_flask.embedded.records import KeyUse
from statefun_flask.embedded.records import Parked
from statefun_flask.embedded.records import StoredValue
from statefun_flask.embedded.store import sqlite as stores
from statefun_flask.embedded.store.transaction import Transaction
from statefun_flask.values.message import Message

CUTS = int(os.environ.get("STATEFUN_CUTS", "1000"))

#: How many commits there are in a round, operations on files, about, and power cuts, about.
COMMITS = 40
OPERATIONS = 2800
ROUND = 50

Dump = dict[str, list[t.Any]]


class Cut(t.NamedTuple):
    """The files after a power cut, and how many commits had returned."""

    files: dict[str, bytes]
    commits: int


def change(transaction: Transaction, number: int, chance: random.Random) -> None:
    """Make changes of every kind."""
    at, message = Address("t/fn", str(number % 5)), Message("a/t", chance.randbytes(4000))
    (seq,) = transaction.numbers("message", 1)
    envelope = Envelope(seq, number, at, None, message)
    transaction.enqueue([envelope])
    transaction.set_state_type("t/fn", "value", "a/t")
    transaction.set_state(at, "value", StoredValue(message.value, number), number + 9)
    transaction.add_records([EgressRecord(number, number, "t/out", "out", None, b"x" * 500, "a")])
    transaction.add_delay(Delay(seq, number, number, at, at, message, f"t{number}"))
    transaction.set_positions({"input": str(number)})
    transaction.set_cursor("topic:out", number)
    transaction.set_key_use((at, str(number)), KeyUse(b"digest", number, number))
    if number > 3:
        old = Envelope(seq - 3, number - 3, at, None, message)
        transaction.bury(Dead(old, "error", number))
        for delay in transaction.next_delays(1):
            transaction.remove_delay(delay)
        transaction.set_state(Address("t/fn", str((number + 1) % 5)), "value", None)
    if number % 3:
        transaction.park(Parked(at, seq, number, "error", number))
    else:
        transaction.unpark(Address("t/fn", str((number - 1) % 5)))


class Round:
    """Commits on a lossy disk, with power cuts at random operations.

    :param replaced: Text of a pragma with what is executed in its place.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        seed: int,
        cuts: int = ROUND,
        replaced: tuple[str, str] = ("", ""),
    ) -> None:
        from lossy_disk import Disk
        from lossy_disk import dump

        self.cuts: list[Cut] = []
        self.dumps: list[Dump] = []
        chance = random.Random(seed)
        disk = Disk()

        def connect(path: str) -> sqlite3.Connection:
            connection = disk.connect(path)
            execute = connection.execute

            def replace(statement: str, values: cabc.Sequence[t.Any] = ()) -> t.Any:
                return execute(statement.replace(*replaced) if replaced[0] else statement, values)

            connection.execute = replace  # type: ignore[method-assign]
            return connection

        def perhaps_cut(operation: str) -> None:
            if operation != "read" and chance.random() < cuts / OPERATIONS:
                self.cuts.append(Cut(disk.cut(chance), len(self.dumps) - 1))

        disk.before = perhaps_cut
        store = SqliteStore(folder, connect)
        try:
            self.dumps.append(dump(store.connection))
            transaction = Transaction(store)
            for number in range(1, COMMITS + 1):
                change(transaction, number, chance)
                transaction.commit()
                self.dumps.append(dump(store.connection))
        finally:
            disk.before = lambda operation: None
            store.close()
            disk.close()

    def faults(self, folder: pathlib.Path) -> list[str]:
        """Open what each power cut left, and return what is wrong with it."""
        found = []
        for index, cut in enumerate(self.cuts):
            left = folder / f"cut{index}"
            left.mkdir(parents=True)
            (left / "lock").write_text("7\n")  # the folder was not released
            for name, content in cut.files.items():
                (left / name).write_bytes(content)
            found += [f"cut {index}: {text}" for text in self._faults(left, cut)]
        return found

    def _faults(self, left: pathlib.Path, cut: Cut) -> cabc.Iterator[str]:
        from lossy_disk import dump

        try:
            store = SqliteStore(left)
            try:
                ((found,),) = store.connection.execute("pragma integrity_check(1)").fetchall()
                survivor = dump(store.connection)
            finally:
                store.close()
        except Exception as exc:
            yield f"it cannot be opened: {exc}"
            return
        if found != "ok":
            yield found
        if survivor not in self.dumps:
            yield "a commit is there in part"
            return
        commits = self.dumps.index(survivor)
        if not cut.commits <= commits <= cut.commits + 1:
            yield f"{commits} commits of {cut.commits}"


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, has_lossy_disk: None) -> None:
    """Let the log be moved into the database every few commits."""
    monkeypatch.setattr(stores, "LOG_SIZE", 150_000)


def test_power_cut_loses_no_commit(tmp_path: pathlib.Path) -> None:
    run = Round(tmp_path / "data", random.randrange(10**6))
    assert run.faults(tmp_path) == []


@pytest.mark.parametrize("mode", ["off", "normal"])
def test_control_without_syncs_commits_are_lost(tmp_path: pathlib.Path, mode: str) -> None:
    run = Round(tmp_path / "data", 1, 20, ("synchronous = full", f"synchronous = {mode}"))
    assert run.faults(tmp_path) != []


@pytest.mark.slow
def test_many_power_cuts(tmp_path: pathlib.Path) -> None:
    cuts = 0
    for seed in itertools.count():
        if cuts >= CUTS:
            break
        run = Round(tmp_path / f"data{seed}", seed)
        cuts += len(run.cuts)
        assert run.faults(tmp_path / f"left{seed}") == [], f"seed {seed}"
