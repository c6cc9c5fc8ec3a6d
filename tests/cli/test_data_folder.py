"""The commands that work on a data folder while no engine runs: ``vacuum`` and ``reset``."""

from __future__ import annotations

import collections.abc as cabc
import itertools
import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import sys
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask import StateFunFlask
from statefun_flask.embedded import in_flight
from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded.records import EgressRecord
from statefun_flask.embedded.records import StoredValue
from statefun_flask.embedded.retention import REMEMBERED
from statefun_flask.embedded.retention import Retention
from statefun_flask.embedded.store import schema
from statefun_flask.embedded.store.transaction import Transaction

DATABASE = "statefun.sqlite3"
DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "data-folder.md"


@pytest.fixture
def run() -> cabc.Callable[..., tuple[int, str]]:
    """Run a command and return its exit status and its output."""
    runner = StateFunFlask("app").test_cli_runner()

    def invoke(*args: t.Any, given: str | None = None) -> tuple[int, str]:
        found = runner.invoke(args=["statefun", *map(str, args)], input=given)
        return found.exit_code, found.output

    return invoke


@pytest.fixture
def data(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with 300 records in each of two topics, and with values of two functions."""
    store = SqliteStore(tmp_path / "data")
    transaction = Transaction(store)
    for egress in ("ns/out", "ns/log"):
        seqs = transaction.numbers("record", 300)
        transaction.add_records(
            EgressRecord(seq, 1, egress, egress, None, b"x" * 1000, "x/y") for seq in seqs
        )
    for id in ("bob", "eve"):
        transaction.set_state(Address("ns/fn", id), "seen", StoredValue(b"1", 0))
        transaction.set_state(Address("ns/other", id), "seen", StoredValue(b"1", 0))
    transaction.set_state(Address("ns/fn", "bob"), "last", StoredValue(b"1", 0))
    for function, name in (("ns/fn", "seen"), ("ns/fn", "last"), ("ns/other", "seen")):
        transaction.set_state_type(function, name, "a/t")
    transaction.set_cursor("egress:ns/log", transaction.last_number("record") - 50)
    transaction.commit()
    store.close()
    return tmp_path / "data"


@pytest.fixture
def in_use(data: pathlib.Path) -> cabc.Iterator[int]:
    """The process that an engine runs in on the folder."""
    code = (
        "import sys; from statefun_flask.embedded import SqliteStore; SqliteStore(sys.argv[1]);"
        " print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, data], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child.pid
        child.kill()


def size(data: pathlib.Path) -> int:
    return (data / DATABASE).stat().st_size


# -- vacuum ---------------------------------------------------------------------------------------


def test_vacuum_deletes_what_is_too_old_and_gives_the_space_back(
    run: t.Any, data: pathlib.Path
) -> None:
    before = size(data)
    status, output = run("vacuum", data, "--keep-records", "10")
    assert (status, output) == (
        0,
        (
            "540 egress records deleted\n"
            "50 records of 'ns/log' wait until Kafka has them: run 'flask statefun dev' with"
            " --kafka, or this command with --without-sink ns/log\n"
            f"{before} bytes before, {size(data)} bytes after\n"
        ),
    )
    assert size(data) < before / 3
    status, output = run("vacuum", data, "--keep-records", "10", "--without-sink", "ns/log")
    assert output.startswith("40 egress records deleted\n")
    store = SqliteStore(data)
    assert [topic.records for topic in store.topics("", 9)] == [10, 10]
    store.close()


def test_vacuum_sweeps_all_topics_of_many(
    run: t.Any, data: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from statefun_flask.embedded import retention

    monkeypatch.setattr(retention, "TOPICS", 1)
    monkeypatch.setattr(retention, "RECORDS", 7)
    run("vacuum", data, "--keep-records", "10", "--without-sink", "ns/log")
    store = SqliteStore(data)
    assert [topic.records for topic in store.topics("", 9)] == [10, 10]
    store.close()


def test_vacuum_lets_a_file_of_an_older_format_give_space_back_later(
    run: t.Any, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "data").mkdir()
    with sqlite3.connect(tmp_path / "data" / DATABASE) as connection:
        connection.executescript(schema.MIGRATIONS[0])
        connection.execute(f"pragma application_id = {schema.APPLICATION}")
        connection.execute("pragma user_version = 1")
    connection.close()
    modes = []
    for _ in range(2):
        store = SqliteStore(tmp_path / "data")
        modes.append(store.connection.execute("pragma auto_vacuum").fetchone()[0])
        store.close()
        assert run("vacuum", tmp_path / "data")[0] == 0
    assert modes == [0, 2]


def test_an_engine_gives_space_back_by_itself(
    data: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from statefun_flask.embedded.store import sqlite

    monkeypatch.setattr(sqlite, "FREE_PAGES", 10)
    monkeypatch.setattr(sqlite, "LOG_SIZE", 10_000)
    before = size(data)
    store = SqliteStore(data)
    transaction = Transaction(store)
    for topic in ("ns/out", "ns/log"):
        transaction.forget_records(topic, 1000)
    transaction.commit()
    for _ in range(20):
        store.shrink(20)
    assert size(data) < before / 3
    store.close()


@pytest.mark.parametrize("command", [["vacuum"], ["reset", "ns/fn", "--yes"]])
def test_a_folder_that_an_engine_uses_is_left_alone(
    run: t.Any, data: pathlib.Path, in_use: int, command: list[str]
) -> None:
    name, *rest = command
    assert run(name, data, *rest) == (
        1,
        (
            f"Error: The data folder '{data}' is in use by the process {in_use}. Stop that process,"
            " or give another folder.\n"
        ),
    )


@pytest.mark.parametrize("command", [["vacuum"], ["reset", "ns/fn", "--yes"]])
def test_a_folder_without_data_is_not_made(
    run: t.Any, tmp_path: pathlib.Path, command: list[str]
) -> None:
    name, *rest = command
    assert run(name, tmp_path / "none", *rest) == (
        1,
        (
            f"Error: '{tmp_path / 'none'}' has no data of an engine. Name the folder that --data of"
            " 'flask statefun dev' names.\n"
        ),
    )
    assert os.listdir(tmp_path) == []


def test_vacuum_without_space_changes_nothing(data: pathlib.Path) -> None:
    code = (
        "import resource, signal, sys; from statefun_flask import StateFunFlask;"
        " signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        " resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, -1));"
        " StateFunFlask('app').cli.main(['statefun', 'vacuum', sys.argv[1]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, data], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert re.fullmatch(
        rf"Error: '{data}' cannot be written anew: .*\. Free some space on its disk, and run the"
        r" command again: nothing that is kept was changed\.\n",
        done.stderr,
    )
    store = SqliteStore(data)
    assert [topic.records for topic in store.topics("", 9)] == [300, 300]
    store.close()


def test_vacuum_that_is_killed_changes_nothing(data: pathlib.Path) -> None:
    code = """
import os, signal, sqlite3, sys
from statefun_flask.embedded import offline, retention

class Connection(sqlite3.Connection):
    def execute(self, statement, *values):
        if statement == "vacuum":
            self.set_progress_handler(lambda: os.kill(os.getpid(), signal.SIGKILL), 2000)
        return super().execute(statement, *values)

connect = sqlite3.connect
sqlite3.connect = lambda *args, **options: connect(*args, factory=Connection, **options)
offline.vacuum(sys.argv[1], retention.Retention())
"""
    child = subprocess.run([sys.executable, "-c", code, data], check=False)
    assert child.returncode == -signal.SIGKILL
    store = SqliteStore(data)
    assert [topic.records for topic in store.topics("", 9)] == [300, 300]
    assert len(store.records(0, 1000)) == 600
    store.close()


def test_vacuum_goes_on_without_a_missing_log(
    run: t.Any, data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    store = SqliteStore(data)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / DATABASE).write_bytes((data / DATABASE).read_bytes())
    store.close()
    status, output = run("vacuum", tmp_path / "copy")
    assert status == 1
    assert "lacks its log" in output
    assert run("vacuum", tmp_path / "copy", "--accept-loss")[0] == 0
    assert run("vacuum", tmp_path / "copy")[0] == 0


# -- reset ----------------------------------------------------------------------------------------


def test_reset_asks_and_deletes_all_values_of_a_function(run: t.Any, data: pathlib.Path) -> None:
    question = (
        f"States of 'ns/fn' in '{data}':\n  last: 1 value\n  seen: 2 values\nDelete them? [y/N]: "
    )
    assert run("reset", data, "ns/fn", given="n\n") == (1, question + "n\nAborted!\n")
    assert run("reset", data, "ns/fn", given="y\n") == (
        0,
        question + "y\nlast: 1 value deleted\nseen: 2 values deleted\n",
    )
    store = SqliteStore(data)
    assert store.state_types() == {("ns/other", "seen"): "a/t"}
    assert store.addresses("ns/fn", "", 9) == []
    assert [each.id for each in store.addresses("ns/other", "", 9)] == ["bob", "eve"]
    store.close()


def test_reset_deletes_the_values_of_one_state(run: t.Any, data: pathlib.Path) -> None:
    assert run("reset", data, "ns/fn", "seen", "--yes") == (0, "seen: 2 values deleted\n")
    store = SqliteStore(data)
    assert store.values("ns/fn") == {"last": 1}
    store.close()


def test_reset_of_something_that_does_not_exist(run: t.Any, data: pathlib.Path) -> None:
    assert run("reset", data, "ns/fm", "--yes") == (
        1,
        (
            f"Error: '{data}' has no state of 'ns/fm'. Did you mean 'ns/fn'? Name a function as"
            " 'namespace/name'.\n"
        ),
    )
    assert run("reset", data, "ns/fn", "sen", "--yes") == (
        1,
        (
            f"Error: '{data}' has no state 'sen' of 'ns/fn'. Did you mean 'seen'? Its states are:"
            " last, seen.\n"
        ),
    )


# -- the engine -----------------------------------------------------------------------------------


def test_dev_keeps_as_many_records_as_it_is_told(
    data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "app.py").write_text(
        "from statefun_flask import Effects, StateFunFlask\n"
        "app = StateFunFlask('app')\n"
        "@app.statefun('ns/fn')\n"
        "def fn(context, text: str):\n"
        "    return Effects()\n"
    )
    (tmp_path / "lines").write_text("a\n")
    options = ["--data", str(data), "--keep-records", "10", "--keep-days", "0.5", "--port", "0"]
    options += ["--input", "lines", "--id", "1", "--exit-when-idle"]
    subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", "statefun", "dev", *options],
        cwd=tmp_path,
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    store = SqliteStore(data)
    assert {topic.name: topic.records for topic in store.topics("", 9)} == {
        "ns/out": 10,
        "ns/log": 50,  # which Kafka does not have yet
    }
    store.close()


# -- the document ---------------------------------------------------------------------------------


def table(heading: str) -> list[list[str]]:
    """Return the rows of the first table below a heading of the document."""
    section = DOCUMENT.read_text().split(f"## {heading}\n")[1]
    lines = itertools.takewhile(lambda line: line != "", section[section.index("|") :].splitlines())
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines][2:]


def test_the_document_has_the_limits() -> None:
    def days(limit: int | None) -> str:
        assert limit is not None
        return f"{limit // 86_400_000} days"

    limits = Retention()
    assert limits.record_bytes == 1 << 30
    assert table("What is kept, and for how long")[:3] == [
        [
            "egress records of each topic",
            f"{limits.records:,}, and 1 GiB of values",
            days(limits.record_age),
        ],
        ["dead letters", f"{limits.dead:,}", days(limits.dead_age)],
        ["idempotency keys", "", f"{REMEMBERED // 3_600_000} hours"],
    ]


def test_the_document_has_all_formats() -> None:
    assert [row[0] for row in table("Formats")] == [str(each + 1) for each in range(schema.VERSION)]


def test_the_document_has_all_files(data: pathlib.Path) -> None:
    store = SqliteStore(data)
    names = set(os.listdir(data))
    store.close()
    listed = {row[0].strip("`") for row in table("What is in it")}
    assert names <= listed
    # An engine makes the one, and a migration the other.
    assert listed - names == {in_flight.NAME, "statefun.sqlite3.format1"}


def test_the_commands_of_the_document_work(run: t.Any, data: pathlib.Path) -> None:
    commands = re.findall(r"^flask statefun (.*)$", DOCUMENT.read_text(), re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        name, _, *rest = command.replace("example/greeter", "ns/fn").split()
        assert run(name, data, *rest, *(["--yes"] if name == "reset" else []))[0] == 0
