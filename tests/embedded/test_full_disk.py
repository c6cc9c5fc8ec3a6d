"""While the disk is full, no message is lost, and commands see all steps so far."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import os
import pathlib
import resource
import threading
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask.embedded import core as cores
from statefun_flask.embedded import Engine
from statefun_flask.embedded import events
from statefun_flask.embedded import InProcess
from statefun_flask.embedded import LocalRoutes
from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded.errors import DiskFullError
from statefun_flask.embedded.errors import NotParkedError
from statefun_flask.embedded.errors import UnknownDeadLetterError
from statefun_flask.embedded.errors import UnknownDelayError
from statefun_flask.embedded.store.base import Changes
from statefun_flask.values.message import Message

BOB = Address("ns/fn", "bob")


class LimitedStore(SqliteStore):
    """A store on a disk that a test fills."""

    is_full = False

    def commit(self, changes: Changes) -> None:
        if self.is_full:
            raise DiskFullError(self.path, 0, "no space") from OSError("no space")
        super().commit(changes)


@pytest.fixture
def made(script: t.Any, bench: t.Any, reply: t.Any, tmp_path: pathlib.Path) -> t.Any:
    """An engine with a picky function, and one that sends to it later."""
    bad = {b"bad"}

    def take(batch: t.Any) -> t.Any:
        for value in batch.values:
            if value in bad:
                raise ValueError("bad")
        return reply().put("log", (batch.states["log"] or b"") + b"".join(batch.values))

    script.add("ns/fn", take, ("log", "a/t"))
    script.add("ns/timer", lambda batch: reply().later(1000, "ns/fn", "bob", b"late"))
    made = bench(LimitedStore(tmp_path / "data"))
    made.bad = bad
    return made


def run(made: t.Any) -> None:
    """Handle messages with a full disk."""
    with pytest.raises(DiskFullError):
        made.run()


def check(made: t.Any, expected: bytes) -> None:
    """Free some space, and check that the messages were handled once, in order, and stored."""
    made.bad.clear()
    made.engine.store.is_full = False
    made.run()
    assert made.state("ns/fn", "bob") == {"log": expected}
    assert made.engine.store.queue(BOB) == []
    assert made.engine.store.parked() == made.engine.store.next_delays(9) == []


def test_a_delay_is_delivered_once(made: t.Any) -> None:
    made.run("ns/timer", "1")
    (delay,) = made.control.delays()
    made.engine.store.is_full = True
    assert made.control.deliver_delay(delay.seq) == delay
    assert made.control.delays() == []
    with pytest.raises(UnknownDelayError):
        made.control.deliver_delay(delay.seq)
    run(made)
    check(made, b"late")


def test_a_dead_letter_is_revived_once(made: t.Any) -> None:
    made.run("ns/fn", "bob", b"bad")
    made.engine.store.is_full = True
    (dropped,) = made.control.drop(BOB)
    assert [each.envelope for each in made.control.dead()] == [dropped]
    made.control.revive(dropped.seq)
    assert made.control.dead() == []
    with pytest.raises(UnknownDeadLetterError):
        made.control.revive(dropped.seq)
    made.bad.clear()
    run(made)
    check(made, b"bad")


@pytest.mark.parametrize("command", ["retry", "drop", "replace"])
def test_messages_behind_a_parked_one_are_handled_in_order(made: t.Any, command: str) -> None:
    made.run("ns/fn", "bob", b"bad", b"1")
    made.engine.store.is_full = True
    made.send("ns/fn", "bob", b"2")  # neither in a mailbox nor on disk
    run(made)
    assert [each.message.value for each in made.control.queue(BOB)] == [b"bad", b"1", b"2"]
    (waiting,) = made.control.parked()
    assert waiting.behind == 2
    made.bad.clear()
    if command == "retry":
        made.control.retry(BOB)
    elif command == "drop":
        made.control.drop(BOB)
    else:
        made.control.replace(BOB, Message("a/t", b"good"))
    with pytest.raises(NotParkedError):
        made.control.retry(BOB)
    made.send("ns/fn", "bob", b"3")
    assert made.engine.queued == (3 if command == "drop" else 4)
    run(made)
    first = {"retry": b"bad", "drop": b"", "replace": b"good"}[command]
    check(made, first + b"123")


def test_commands_see_steps_that_are_not_committed(made: t.Any) -> None:
    made.run("ns/fn", "bob", b"a")
    made.engine.store.is_full = True
    made.send("ns/fn", "bob", b"b")
    run(made)
    assert made.state("ns/fn", "bob") == {"log": b"ab"}
    made.send("ns/fn", "eve", b"bad")
    run(made)
    (waiting,) = made.control.parked()
    assert waiting.envelope.message.value == b"bad"
    assert made.control.queue(Address("ns/fn", "eve")) == [waiting.envelope]
    assert made.engine.store.state(BOB)["log"].value == b"a"


# -- by SQLite's own limits -----------------------------------------------------------------------


@pytest.fixture
def counter(script: t.Any, reply: t.Any) -> None:
    """A function that stores its messages, and writes them to an egress."""

    def count(batch: t.Any) -> t.Any:
        seen = int(batch.states["seen"] or 0) + len(batch.values)
        answered = reply().put("seen", b"%d" % seen)
        for value in batch.values:
            answered.egress("ns/out", value)
        return answered

    script.add("ns/fn", count, ("seen", "a/t"))


def fill(made: t.Any) -> None:
    for n in range(1000):
        made.run("ns/fn", str(n), b"x" * 2000)


def check_recovery(made: t.Any, path: pathlib.Path) -> None:
    """Unwritten changes are not lost, and they are written once the disk has space again."""
    (full,) = made.told(events.Full)
    assert full.path == str(path)
    assert full.size == pytest.approx(os.path.getsize(path), abs=10_000)
    made.run("ns/fn", "last", b"x")
    assert made.told(events.Writable)
    records = made.engine.store.records(0, 10_000)
    assert len(records) == len(made.script.calls)
    assert [each.seq for each in records] == list(range(1, len(records) + 1))
    assert made.state("ns/fn", "last") == {"seen": b"1"}


@pytest.mark.usefixtures("counter")
def test_full_by_the_number_of_pages(bench: t.Any, tmp_path: pathlib.Path) -> None:
    made = bench(SqliteStore(tmp_path / "data"))
    connection = made.engine.store.connection
    connection.execute("pragma max_page_count = 100")
    with pytest.raises(DiskFullError) as info:
        fill(made)
    path = tmp_path / "data/statefun.sqlite3"
    assert str(info.value) == (
        f"'{path}' ({os.path.getsize(path)} bytes) cannot be written to: database or disk is full."
        " Free some space on its disk; the engine accepts no input until then, and tries again"
        " every 5 s."
    )
    assert made.engine.store.records(0, 1)[0].value == b"x" * 2000  # reads still work
    connection.execute("pragma max_page_count = 1000000")
    check_recovery(made, path)


@pytest.mark.usefixtures("counter")
def test_full_by_the_size_of_files(bench: t.Any, tmp_path: pathlib.Path) -> None:
    made = bench(SqliteStore(tmp_path / "data"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        with pytest.raises(DiskFullError, match="cannot be written to: disk I/O error"):
            fill(made)
        assert made.engine.store.records(0, 1)[0].value == b"x" * 2000
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    check_recovery(made, tmp_path / "data/statefun.sqlite3")


# -- with a loop ----------------------------------------------------------------------------------


@pytest.fixture
def loop(
    script: t.Any, counter: None, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> cabc.Iterator[Engine]:
    monkeypatch.setattr(cores, "DISK_DELAY", 20)
    store = LimitedStore(tmp_path / "data")
    engine = Engine(LocalRoutes(InProcess(script)), store, concurrency=2)
    engine.start()
    yield engine
    engine.close()


def test_no_call_and_no_acknowledgement_until_the_disk_has_space(loop: Engine) -> None:
    full = threading.Event()
    loop.listeners.append(lambda event: isinstance(event, events.Full) and full.set())
    loop.store.is_full = True  # type: ignore[attr-defined]
    sent = [loop.submit([(Address("ns/fn", str(n)), Message("a/t", b"x"))]) for n in range(200)]
    assert full.wait(10)
    assert loop.status().full == loop.store.path
    done, _ = concurrent.futures.wait(sent, timeout=0.05)
    assert not done
    loop.store.is_full = False  # type: ignore[attr-defined]
    assert [future.result(10)[0] for future in sent] == list(range(1, 201))
    loop.wait_idle(10)
    records = loop.look(lambda core: core.store.records(0, 1000))
    assert [each.seq for each in records] == list(range(1, 201))


def test_a_command_returns_when_its_change_is_on_disk(loop: Engine) -> None:
    loop.send(BOB, Message("a/t", b"x"))
    loop.wait_idle(10)
    loop.store.is_full = True  # type: ignore[attr-defined]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        flushed = pool.submit(loop.act, lambda core: core.transaction.set_cursor("reader", 7))
        done, _ = concurrent.futures.wait([flushed], timeout=0.05)
        assert not done
        loop.store.is_full = False  # type: ignore[attr-defined]
        flushed.result(10)
    assert loop.store.cursor("reader") == 7
