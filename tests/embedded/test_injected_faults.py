"""Errors of the disk at every statement and at every operation on files, one after the other.

A client sends until it hears that its message is on disk, as a client of the HTTP API does, under
idempotency keys. Whatever fails on the way, each message is applied once and in its order.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import itertools
import pathlib
import random
import sqlite3
import time
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask.embedded import Control
from statefun_flask.embedded import core as cores
from statefun_flask.embedded import Engine
from statefun_flask.embedded import EngineState
from statefun_flask.embedded import events
from statefun_flask.embedded import InProcess
from statefun_flask.embedded import LocalRoutes
from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded.errors import DataFolderError
from statefun_flask.embedded.errors import EngineStoppedError
from statefun_flask.embedded.errors import NotFoundError
from statefun_flask.embedded.store import sqlite as stores
from statefun_flask.values.message import Message

if t.TYPE_CHECKING:
    from lossy_disk import Disk

T = t.TypeVar("T")

BOB = Address("t/log", "bob")
#: Errors that end by themselves, for which the engine waits, and one that ends the engine.
TEMPORARY = {
    "full": sqlite3.SQLITE_FULL,
    "io": sqlite3.SQLITE_IOERR,
    "busy": sqlite3.SQLITE_BUSY,
}
CODES = {**TEMPORARY, "corrupt": sqlite3.SQLITE_CORRUPT}
WRITES = ("write", "sync", "truncate", "delete")

pytestmark = [
    pytest.mark.usefixtures("has_lossy_disk"),
    # A loop that ends by an error says so in its thread's traceback, too.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


class Fault:
    """Fails from one operation on, for a number of operations.

    :param first: The number of the first operation that fails; the first of all is 0.
    :param names: The operations that count; None for all.
    """

    def __init__(
        self,
        first: int,
        length: int,
        error: cabc.Callable[[], BaseException],
        names: cabc.Container[str] | None = None,
    ) -> None:
        self.count = 0
        self._failing = range(first, first + length)
        self._error = error
        self._names = names

    def stop(self) -> None:
        """Neither fail nor count from now on."""
        self._names = ()

    def __call__(self, name: str) -> None:
        if self._names is None or name in self._names:
            self.count += 1
            if self.count - 1 in self._failing:
                raise self._error()


class Plant:
    """An engine with a client that repeats what failed, and starts the engine again if it ended."""

    def __init__(
        self,
        script: t.Any,
        folder: pathlib.Path,
        disk: Disk,
        statement: Fault,
        engine_class: type[Engine],
    ) -> None:
        self._engine_class = engine_class
        self._script = script
        self._folder = folder
        self._disk = disk
        self._statement = statement
        self.engine: Engine | None = None
        #: Why the engine ended, each time.
        self.ends: list[BaseException] = []
        self.events: list[events.Event] = []

    def _connect(self, path: str) -> sqlite3.Connection:
        connection: t.Any = self._disk.connect(path)
        connection.before = self._statement
        return t.cast("sqlite3.Connection", connection)

    def _running(self) -> Engine:
        engine = self.engine
        if engine is not None and engine.state is EngineState.RUNNING:
            return engine
        if engine is not None:
            assert engine.failure is not None
            self.ends.append(engine.failure)
            self.engine = None
            engine.close()
        store = SqliteStore(self._folder, self._connect)
        engine = self._engine_class(
            LocalRoutes(InProcess(self._script)), store, concurrency=random.choice([1, 4])
        )
        engine.listeners.append(self.events.append)
        self.engine = engine
        engine.start()
        return engine

    def until_done(self, act: cabc.Callable[[Engine], T]) -> T:
        """Return the result of an act, which is repeated after each error."""
        deadline = time.monotonic() + 20
        while True:
            try:
                return act(self._running())
            except (EngineStoppedError, DataFolderError, sqlite3.Error):
                if time.monotonic() > deadline:
                    raise

    def close(self) -> None:
        if self.engine is not None:
            self.engine.close()


def send(plant: Plant, number: int, value: bytes) -> None:
    message = Message("a/t", value)
    plant.until_done(lambda engine: engine.send_once(BOB, message, str(number)))


def work(plant: Plant) -> None:
    """Use all that the engine writes: messages, delays, records, parked and dead ones."""
    for number in range(3):
        send(plant, number, b"%d" % number)
    send(plant, 3, b"later")
    send(plant, 4, b"bad")
    send(plant, 5, b"5")

    def settle(engine: Engine) -> None:
        # A read that failed parks the address with its reason; so does the bad message.
        control = Control(engine)
        engine.wait_idle(10)
        for waiting in control.parked():
            if waiting.envelope.message.value == b"bad":
                control.drop(waiting.parked.address)
            else:
                control.retry(waiting.parked.address)
            settle(engine)
        for delay in control.delays():
            with contextlib.suppress(NotFoundError):
                control.deliver_delay(delay.seq)
            settle(engine)

    plant.until_done(settle)
    send(plant, 6, b"6")
    plant.until_done(settle)
    plant.until_done(lambda engine: engine.flush())


@pytest.fixture
def plants(
    script: t.Any, reply: t.Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> cabc.Iterator[cabc.Callable[..., Plant]]:
    """Run the work with faults, and look whether each message was applied once."""
    from lossy_disk import Disk

    monkeypatch.setattr(cores, "DISK_DELAY", 1)
    monkeypatch.setattr(stores, "LOG_SIZE", 60_000)

    def take(batch: t.Any) -> t.Any:
        log = (batch.states["log"] or b"").rstrip()
        answered = reply()
        for value in batch.values:
            if value == b"bad":
                raise ValueError("bad")
            log += value + b";"
            answered.egress("t/out", value)
            if value == b"later":
                answered.later(3_600_000, "t/log", "bob", b"late", token="t")
        return answered.put("log", log + b" " * 3000)

    script.add("t/log", lambda batch: take(batch), ("log", "a/t"))
    made: list[tuple[Plant, Disk]] = []

    def run(files: Fault, statements: Fault, engine_class: type[Engine] = Engine) -> Plant:
        disk = Disk(files)
        folder = tmp_path / f"data{len(made)}"
        plant = Plant(script, folder, disk, statements, engine_class)
        made.append((plant, disk))
        work(plant)
        files.stop()
        statements.stop()
        check(plant, disk, folder)
        return plant

    yield run
    for plant, disk in made:
        plant.close()
        disk.close()


def check(plant: Plant, disk: Disk, folder: pathlib.Path) -> None:
    """All is applied once and in order, in the engine and in what a power cut leaves."""
    engine = plant.engine
    assert engine is not None
    control = Control(engine)
    log = control.state(BOB)["log"].value.split()[0]
    records = b"".join(each.value + b";" for each in control.egress("t/out"))
    assert log == records
    # The client did not wait for the delay, and settled before the last message.
    assert log in {b"0;1;2;later;5;late;6;", b"0;1;2;later;late;5;6;"}
    assert (control.parked(), control.delays()) == ([], [])
    assert [each.envelope.message.value for each in control.dead()] == [b"bad"]
    assert engine.status().queued == 0
    left = folder.with_suffix(".cut")
    left.mkdir()
    for name, content in disk.cut(random.Random(0)).items():
        (left / name).write_bytes(content)
    store = SqliteStore(left)
    try:
        assert store.state(BOB)["log"].value.split()[0] == log
        assert [each.seq for each in store.records(0, 99)] == list(range(1, log.count(b";") + 1))
        assert store.queue(BOB) == []
    finally:
        store.close()


def never() -> Fault:
    return Fault(-1, 0, Exception)


def at_statements(code: int, first: int, length: int) -> tuple[Fault, Fault]:
    from lossy_disk import error

    return never(), Fault(first, length, lambda: error(code))


def at_files(code: int, first: int, length: int) -> tuple[Fault, Fault]:
    import apsw

    return Fault(first, length, lambda: apsw.exception_for(code), WRITES), never()


def at_reads(code: int, first: int, length: int) -> tuple[Fault, Fault]:
    import apsw

    return Fault(first, length, lambda: apsw.exception_for(code), ("read",)), never()


PLACES = {"statements": at_statements, "files": at_files, "reads": at_reads}


def test_without_a_fault(plants: t.Any) -> None:
    plant = plants(never(), never())
    assert plant.ends == []


@pytest.mark.parametrize("place", PLACES)
def test_a_fault_at_a_few_points(plants: t.Any, place: str) -> None:
    files, statements = never(), never()
    plants(files, statements)
    total = {"statements": statements.count, "files": files.count, "reads": files.count}[place]
    for _ in range(3):
        first, length = random.randrange(total), random.choice([1, 1, 3, 20])
        code = random.choice(list(CODES.values()))
        plants(*PLACES[place](code, first, length))


@pytest.mark.parametrize("statement", ["begin immediate", "commit"])
@pytest.mark.parametrize("code", TEMPORARY)
def test_the_engine_waits_and_says_so(plants: t.Any, code: str, statement: str) -> None:
    from lossy_disk import error

    fault = Fault(2, 2, lambda: error(TEMPORARY[code], "no luck"), [statement])
    plant = plants(never(), fault)
    assert plant.ends == []
    kinds = (events.Full, events.Writable)
    full, writable = (each for each in plant.events if isinstance(each, kinds))
    assert isinstance(full, events.Full)
    assert isinstance(writable, events.Writable)
    assert full.reason == "no luck"


def test_the_engine_ends_with_a_reason(plants: t.Any) -> None:
    from lossy_disk import error

    fault = Fault(2, 1, lambda: error(sqlite3.SQLITE_CORRUPT, "damaged"), ["commit"])
    (end,) = plants(never(), fault).ends
    assert str(end) == "damaged"


class Hasty(Engine):
    """An engine that lets a sender hear of a message that is not on disk."""

    def _resolve_when_committed(self, future: t.Any, result: t.Any) -> None:
        future.set_result(result)


def test_control_a_hasty_engine_loses_messages(plants: t.Any) -> None:
    from lossy_disk import error

    def fails(first: int) -> bool:
        fault = Fault(first, 1, lambda: error(sqlite3.SQLITE_CORRUPT), ["commit"])
        try:
            plants(never(), fault, Hasty)
        except AssertionError:
            return True
        return False

    plants(never(), never(), Hasty)
    assert any(fails(first) for first in range(8))


def test_an_engine_that_cannot_read_its_store_releases_the_folder(
    script: t.Any, tmp_path: pathlib.Path
) -> None:
    class Unreadable(SqliteStore):
        def parked(self) -> t.Any:
            raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(sqlite3.OperationalError):
        Engine(LocalRoutes(InProcess(script)), Unreadable(tmp_path))
    SqliteStore(tmp_path).close()


@pytest.mark.parametrize(
    "statement",
    ["delete from opened", "insert into opened values (0)", "pragma wal_checkpoint(truncate)"],
)
def test_a_folder_is_released_when_its_database_cannot_be_opened(
    tmp_path: pathlib.Path, statement: str
) -> None:
    from lossy_disk import Disk
    from lossy_disk import error

    disk = Disk()

    def connect(path: str) -> sqlite3.Connection:
        connection: t.Any = disk.connect(path)
        connection.before = Fault(0, 1, lambda: error(sqlite3.SQLITE_CORRUPT, "no"), [statement])
        return t.cast("sqlite3.Connection", connection)

    with pytest.raises(DataFolderError, match="cannot be read: no"):
        SqliteStore(tmp_path, connect)
    SqliteStore(tmp_path, disk.connect).close()
    disk.close()


@pytest.mark.parametrize("code", TEMPORARY)
def test_data_that_cannot_be_opened_now_is_not_called_damaged(
    tmp_path: pathlib.Path, code: str
) -> None:
    from lossy_disk import Disk
    from lossy_disk import error

    disk = Disk()

    def connect(path: str) -> sqlite3.Connection:
        connection: t.Any = disk.connect(path)
        fault = Fault(0, 1, lambda: error(TEMPORARY[code], "no luck"), ["pragma user_version"])
        connection.before = fault
        return t.cast("sqlite3.Connection", connection)

    with pytest.raises(DataFolderError) as info:
        SqliteStore(tmp_path, connect)
    reason = (
        "is locked by another program. Close that program, and start again."
        if code in ("busy", "locked")
        else "cannot be written to: no luck. Free some space on its disk, and start again: the"
        " data is unchanged."
    )
    assert str(info.value) == f"'{tmp_path / 'statefun.sqlite3'}' {reason}"
    SqliteStore(tmp_path, disk.connect).close()
    disk.close()


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("place", PLACES)
def test_a_fault_at_each_point(plants: t.Any, place: str, code: str) -> None:
    for first in itertools.count():
        files, statements = PLACES[place](CODES[code], first, 1)
        plants(files, statements)
        if max(files.count, statements.count) <= first:
            break
