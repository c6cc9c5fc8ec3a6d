"""The data of a running engine in one file, and back in a folder."""

from __future__ import annotations

import collections.abc as cabc
import os
import pathlib
import subprocess
import sys
import threading

import click.testing
import pytest

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import LONG
from statefun_flask import StateFunFlask
from statefun_flask import ValueSpec
from statefun_flask.cli import group
from statefun_flask.cli.doctor import folder as examine
from statefun_flask.dev.session import Options
from statefun_flask.dev.session import Session
from statefun_flask.values.address import as_address

SEEN = ValueSpec("seen", int)

app = StateFunFlask("engine")


@app.statefun("example/counter", states=[SEEN])
def count(context: Context, text: str) -> Effects:
    return Effects().update_state(SEEN, (context.get_state(SEEN) or 0) + 1)


def open_session(data: pathlib.Path | None) -> Session:
    with app.app_context():
        session = Session(app, Options(port=0, data=None if data is None else str(data)))
    session.start()
    return session


@pytest.fixture
def session(tmp_path: pathlib.Path) -> cabc.Iterator[Session]:
    made = open_session(tmp_path / "data")
    yield made
    made.close()


def run(*args: object, session: Session | None = None, status: int = 0) -> str:
    port = [] if session is None else ["-p", str(session.server.port)]
    result = click.testing.CliRunner().invoke(group, [*map(str, args), *port])
    assert result.exit_code == status, result.output
    return result.output


def send(session: Session, count: int) -> None:
    message = session.codec.message("example/counter", b"x")
    targets = [f"example/counter/{number % 100}" for number in range(count)]
    session.engine.submit([(as_address(each), message) for each in targets]).result()


def test_backup_of_a_running_engine_is_restored(session: Session, tmp_path: pathlib.Path) -> None:
    send(session, 100)
    target = tmp_path / "monday.sqlite3"
    assert run("backup", target, session=session).startswith(f"'{target}' has 0.")
    assert target.stat().st_mode & 0o777 == 0o600
    run("send", "example/counter/7", "x", "--wait", session=session)

    told = run("restore", target, tmp_path / "new")
    assert told == (
        f"'{tmp_path / 'new'}' has the data of '{target}'."
        f" Start 'flask statefun dev --data {tmp_path / 'new'}'.\n"
    )
    restored = open_session(tmp_path / "new")
    try:
        restored.engine.wait_idle(10)
        assert run("state", "example/counter/7", session=restored) == "seen: 1\n"
        assert len(run("list", session=restored).splitlines()) == 100
    finally:
        restored.close()
    assert run("state", "example/counter/7", session=session) == "seen: 2\n"


def test_what_was_acknowledged_before_is_in_a_backup_under_load(
    session: Session, tmp_path: pathlib.Path
) -> None:
    ended = threading.Event()
    sent: list[int] = []

    def load() -> None:
        while not ended.is_set():
            send(session, 100)
            sent.append(100)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        while len(sent) < 3:
            pass
        acknowledged = sum(sent)
        run("backup", tmp_path / "copy", session=session)
    finally:
        ended.set()
        thread.join()
    run("restore", tmp_path / "copy", tmp_path / "new")
    restored = open_session(tmp_path / "new")
    try:
        restored.engine.wait_idle(10)
        counted = [
            restored.control.state(each)["seen"].as_type(LONG)
            for each in restored.control.addresses("example/counter")
        ]
        assert acknowledged <= sum(counted) <= sum(sent)
    finally:
        restored.close()


def test_a_file_is_replaced_on_demand_only(session: Session, tmp_path: pathlib.Path) -> None:
    target = tmp_path / "copy"
    target.write_text("mine")
    refused = run("backup", target, session=session, status=1)
    assert refused == f"Error: '{target}' exists. Name another file, or add --force.\n"
    assert target.read_text() == "mine"
    run("backup", target, "--force", session=session)
    assert target.read_bytes().startswith(b"SQLite format 3")
    assert sorted(os.listdir(tmp_path)) == ["copy", "data"]


def test_what_cannot_be_backed_up(tmp_path: pathlib.Path) -> None:
    session = open_session(None)
    try:
        refused = run("backup", tmp_path / "copy", session=session, status=1)
        assert refused == (
            "Error: The engine keeps its data in memory, which cannot be backed up. Start it with"
            " --data DIR.\n"
        )
        refused = run("backup", tmp_path / "none" / "copy", session=session, status=1)
        assert "cannot be written: No such file or directory. Name another file." in refused
    finally:
        session.close()
    assert os.listdir(tmp_path) == []
    assert "Nothing listens" in run("backup", tmp_path / "copy", session=session, status=3)
    assert os.listdir(tmp_path) == []


def test_restore_refuses_a_folder_with_data(session: Session, tmp_path: pathlib.Path) -> None:
    run("backup", tmp_path / "copy", session=session)
    refused = run("restore", tmp_path / "copy", tmp_path / "data", status=1)
    assert refused.startswith(f"Error: '{tmp_path / 'data'}' is not empty ('statefun.sqlite3")


def kill(data: pathlib.Path) -> None:
    """Commit in another process, and kill it."""
    code = (
        "import os, sys; from statefun_flask.embedded import SqliteStore;"
        " from statefun_flask.embedded.store.base import Changes;"
        " SqliteStore(sys.argv[1]).commit(Changes({'message': 1000}, counted=True));"
        " os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, data], check=False).returncode == -9


# -- doctor, for a data folder ----------------------------------------------------------------


def test_doctor_looks_at_a_folder(session: Session, tmp_path: pathlib.Path) -> None:
    data = tmp_path / "data"
    (finding,) = examine(data)
    assert finding[1:] == (
        "ok",
        f"'{data}' is in use by the process {os.getpid()}: 'flask statefun status' asks it",
    )
    send(session, 100)
    session.close()
    before = {each.name: each.read_bytes() for each in data.iterdir()}
    (finding,) = examine(data)
    assert finding.state == "ok"
    assert "is sound: " in finding.text
    assert {each.name: each.read_bytes() for each in data.iterdir()} == before

    kill(data)
    before = {each.name: each.read_bytes() for each in data.iterdir()}
    assert before["statefun.sqlite3-wal"], "what is not in the database yet"
    (finding,) = examine(data)
    assert "is sound: " in finding.text
    assert {each.name: each.read_bytes() for each in data.iterdir()} == before

    database = data / "statefun.sqlite3"
    database.write_bytes(database.read_bytes()[:8192] + b"\xff" * 8192)
    (finding,) = examine(data)
    assert finding.state == "broken"
    assert "is damaged" in finding.text


def test_doctor_looks_at_what_is_no_folder_of_an_engine(tmp_path: pathlib.Path) -> None:
    (finding,) = examine(tmp_path / "none")
    assert finding.text == f"'{tmp_path / 'none'}' does not exist yet: 'dev --data' makes it"
    (finding,) = examine(tmp_path)
    assert finding.text == f"'{tmp_path}' has no data of an engine yet"
    (tmp_path / "file").touch()
    (finding,) = examine(tmp_path / "file")
    assert finding.state == "broken"
    assert sorted(os.listdir(tmp_path)) == ["file"]
