"""After any crash the engine continues: no message is lost, and none is applied twice."""

from __future__ import annotations

import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import time
import typing as t

import pytest

from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded.store import sqlite as stores

CHILD = pathlib.Path(__file__).with_name("crashing.py")

#: The exit status of the child when it crashes at a fail point.
STATUS = 86


class Victim:
    """The crashing engine with its folder."""

    def __init__(self, path: pathlib.Path, total: int) -> None:
        self.out = path / "out.txt"
        self.total = total
        self._command = [sys.executable, str(CHILD), str(path / "data"), str(self.out), str(total)]

    def start(self, fail: str = "") -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._command, fail],
            stdout=subprocess.PIPE,
            text=True,
        )

    def crash(self, fail: str) -> int:
        """Run until it crashes at a fail point, and return its status."""
        return self._run(fail)[0]

    def _run(self, fail: str = "") -> tuple[int, str]:
        with self.start(fail) as child:
            try:
                output, _ = child.communicate(timeout=30)
            finally:
                child.kill()
        return child.returncode, output

    def check(self) -> None:
        """Run to the end, and check that every number was counted and written exactly once."""
        status, output = self._run()
        assert status == 0
        last = json.loads(output.splitlines()[-1])
        assert last == {"counts": [self.total, self.total], "parked": 0}

        records: dict[int, int] = {}
        for line in self.out.read_text().splitlines():
            seq, value = map(int, line.split())
            assert records.setdefault(seq, value) == value
        assert sorted(records) == list(range(1, self.total + 1))
        assert sorted(records.values()) == list(range(self.total))


def test_without_a_crash(tmp_path: pathlib.Path) -> None:
    Victim(tmp_path, 200).check()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "highest"),
    [("call", 60), ("transaction", 8), ("commit", 8), ("deliver", 5), ("checkpoint", 2)],
)
def test_crash_at_a_fail_point(tmp_path: pathlib.Path, point: str, highest: int) -> None:
    victim = Victim(tmp_path, 600)
    for _ in range(5):
        assert victim.crash(f"{point}:{random.randint(1, highest)}") == STATUS
    victim.check()


@pytest.mark.slow
def test_crash_during_recovery(tmp_path: pathlib.Path) -> None:
    victim = Victim(tmp_path, 600)
    for _ in range(5):
        assert victim.crash(f"commit:{random.randint(2, 6)}") == STATUS
        assert victim.crash("recover:1") == STATUS
    victim.check()


@pytest.mark.slow
def test_random_kills(tmp_path: pathlib.Path) -> None:
    victim = Victim(tmp_path, 4000)
    for _ in range(20):
        with victim.start() as child:
            assert child.stdout is not None
            for _ in range(random.randint(1, 20)):
                assert child.stdout.readline()
            time.sleep(random.random() * 0.003)  # at a random instant within a step
            child.kill()
    victim.check()


# -- power cuts -------------------------------------------------------------------------------


def log_end(folder: pathlib.Path) -> int:
    """Return the end of the last commit in SQLite's log; later bytes belong to an older log."""
    data = (folder / "statefun.sqlite3-wal").read_bytes()
    if len(data) < 32:
        return 0
    page_size = struct.unpack(">I", data[8:12])[0]
    end, position = 0, 32
    while position + 24 <= len(data):
        _, pages = struct.unpack(">II", data[position : position + 8])
        if data[position + 8 : position + 16] != data[16:24]:
            break
        position += 24 + page_size
        end = position if pages else end
    return end


@pytest.mark.parametrize("log_size", [50_000, stores.LOG_SIZE])
def test_log_that_is_cut_anywhere_leaves_whole_commits(
    script: t.Any,
    bench: t.Any,
    reply: t.Any,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    log_size: int,
) -> None:
    """The folder is copied during a run, as after a power cut. The copy has whole commits only."""
    monkeypatch.setattr(stores, "LOG_SIZE", log_size)

    def count(batch: t.Any) -> t.Any:
        number = int(batch.states["count"] or 0) + 1
        return reply().put("count", b"%d" % number).egress("t/out", b"%d" % number)

    script.add("t/count", count, ("count", "a/t"))
    made = bench(SqliteStore(tmp_path / "data"))
    ends: list[tuple[int, int]] = []
    for number in range(1, 60):
        made.run("t/count", "1", b"")
        end = log_end(tmp_path / "data")
        if ends and end <= ends[-1][0]:
            ends.clear()  # the log was moved into the database
        ends.append((end, number))
        if number % 6:
            continue
        copy = tmp_path / f"copy{number}"
        shutil.copytree(tmp_path / "data", copy)
        cut = random.randint(0, end)
        os.truncate(copy / "statefun.sqlite3-wal", cut)
        survivors = [number for position, number in ends if position <= cut]
        restored = SqliteStore(copy)
        records = restored.records(0, 1000)
        (rows,) = restored.connection.execute("select value from state").fetchall() or [(b"0",)]
        restored.close()
        assert int(rows[0]) == len(records)
        if survivors:
            assert len(records) == survivors[-1]
        if cut == end:
            assert len(records) == number
    copy = tmp_path / "last"
    shutil.copytree(tmp_path / "data", copy)
    restored = SqliteStore(copy)
    assert len(restored.records(0, 1000)) == 59  # the acknowledged numbers
    restored.close()
