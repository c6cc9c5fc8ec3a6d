"""The states of an engine: new, running, closing, closed or failed."""

from __future__ import annotations

import collections.abc as cabc
import pathlib
import threading
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask.embedded import Engine
from statefun_flask.embedded import engine as engines
from statefun_flask.embedded import EngineState
from statefun_flask.embedded import InProcess
from statefun_flask.embedded import LocalRoutes
from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded.errors import EngineStoppedError
from statefun_flask.embedded.store.base import Changes
from statefun_flask.values.message import Message

BOB = Address("ns/fn", "bob")
X = Message("a/t", b"x")
CLOSING = "The engine is closing and accepts no more messages. Start another engine."
CLOSED = "The engine no longer runs: it was closed. Start another engine."


@pytest.fixture
def make(script: t.Any, tmp_path: pathlib.Path) -> cabc.Iterator[cabc.Callable[..., Engine]]:
    script.add("ns/fn", lambda batch: None)
    made: list[Engine] = []

    def start(store: SqliteStore | None = None, concurrency: int = 2) -> Engine:
        routes = LocalRoutes(InProcess(script), script.functions)
        engine = Engine(routes, store or SqliteStore(tmp_path / "data"), concurrency=concurrency)
        made.append(engine)
        return engine

    yield start
    for engine in made:
        engine.close()


class SlowSink:
    """A sink that closes when a test says so."""

    def __init__(self) -> None:
        self.closing, self.go_on = threading.Event(), threading.Event()

    def offer(self, records: list[t.Any]) -> None:
        """Ignore the records."""

    def close(self, timeout: float) -> None:
        self.closing.set()
        assert self.go_on.wait(10)


def test_a_life_with_a_loop(make: t.Any, tmp_path: pathlib.Path) -> None:
    engine, sink = make(), SlowSink()
    engine.attach("ns/out", sink)
    states = [engine.state]
    engine.start()
    states.append(engine.state)
    engine.send(BOB, X)
    closer = threading.Thread(target=engine.close)
    closer.start()
    assert sink.closing.wait(10)
    states.append(engine.state)
    for act in (
        lambda: engine.send(BOB, X),
        lambda: engine.send_once(BOB, X, "key"),
        engine.status,
        lambda: engine.wait_idle(10),
    ):
        with pytest.raises(EngineStoppedError) as info:
            act()
        assert str(info.value) == CLOSING
    sink.go_on.set()
    closer.join(10)
    states.append(engine.state)
    assert [state.value for state in states] == ["new", "running", "closing", "closed"]
    with pytest.raises(EngineStoppedError) as info:
        engine.send(BOB, X)
    assert str(info.value) == CLOSED
    assert engine.failure is None
    store = SqliteStore(tmp_path / "data")
    assert store.counters()["trace"] == 1
    store.close()


def test_an_acknowledgement_of_a_sink_is_stored_while_the_engine_closes(
    script: t.Any, reply: t.Any, make: t.Any, tmp_path: pathlib.Path
) -> None:
    engine = make()
    script.add("ns/fn", lambda batch: reply().egress("ns/out", b"1"))

    class Sink(SlowSink):
        def close(self, timeout: float) -> None:
            engine.acknowledge("ns/out", 1)

    engine.attach("ns/out", Sink())
    engine.start()
    engine.send(BOB, X)
    engine.close()
    store = SqliteStore(tmp_path / "data")
    assert store.cursor("egress:ns/out") == 1
    store.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_that_runs_out_of_memory_in_a_commit_fails_and_releases_the_folder(
    make: t.Any, tmp_path: pathlib.Path
) -> None:
    class Exhausted(SqliteStore):
        def _write(self, name: str, statement: str, values: object) -> None:
            raise MemoryError

    engine = make(Exhausted(tmp_path / "data"))
    engine.start()
    with pytest.raises(EngineStoppedError, match="no longer runs") as info:
        engine.send(BOB, X)
    assert isinstance(info.value.__cause__, MemoryError)
    assert engine.state is EngineState.FAILED
    assert isinstance(engine.failure, MemoryError)
    engine.close()
    assert engine.state is EngineState.CLOSED
    assert isinstance(engine.failure, MemoryError)
    store = SqliteStore(tmp_path / "data")
    assert store.counters() == {}  # nothing of the commit was written
    store.close()


@pytest.mark.parametrize("where", ["listener", "function"])
def test_close_does_not_wait_for_ever(
    script: t.Any,
    make: t.Any,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    where: str,
) -> None:
    monkeypatch.setattr(engines, "_GRACE", 0.1)
    entered, go_on = threading.Event(), threading.Event()

    def block(*args: object) -> None:
        entered.set()
        assert go_on.wait(20)

    engine = make(concurrency=1)
    if where == "listener":
        engine.listeners.append(block)
    else:
        script.add("ns/fn", block)
    engine.start()
    engine.submit([(BOB, X)])
    assert entered.wait(10)
    engine.close(0.1)
    assert "did not end in 0.2 seconds" in caplog.text
    assert engine._thread.is_alive(), "close() waited until the call returned"
    SqliteStore(tmp_path / "data").close()  # it is released
    go_on.set()
    engine._thread.join(10)
    assert engine.state is EngineState.CLOSED


def test_a_commit_in_progress_is_not_cut_off_by_a_close(
    make: t.Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_GRACE", 0.0)
    entered, go_on = threading.Event(), threading.Event()

    class Slow(SqliteStore):
        def commit(self, changes: Changes) -> None:
            entered.set()
            assert go_on.wait(20)
            super().commit(changes)

    engine = make(Slow(tmp_path / "data"))
    engine.start()
    engine.submit([(BOB, X)])
    assert entered.wait(10)
    closer = threading.Thread(target=engine.close, args=(0.0,))
    closer.start()
    closer.join(0.2)
    assert closer.is_alive()
    go_on.set()
    closer.join(10)
    store = SqliteStore(tmp_path / "data")
    assert store.counters()["trace"] == 1
    store.close()


def test_two_threads_may_close_an_engine(make: t.Any, tmp_path: pathlib.Path) -> None:
    engine, sink = make(), SlowSink()
    engine.attach("ns/out", sink)
    engine.start()
    closers = [threading.Thread(target=engine.close) for _ in range(2)]
    for closer in closers:
        closer.start()
    assert sink.closing.wait(10)
    sink.go_on.set()
    for closer in closers:
        closer.join(10)
    SqliteStore(tmp_path / "data").close()


# -- how long an acknowledgement takes --------------------------------------------------------


def test_a_sender_does_not_wait_for_calls_in_flight(
    script: t.Any, make: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "COMMIT_INTERVAL", 60.0)
    entered, go_on = threading.Event(), threading.Event()

    def block(batch: t.Any) -> None:
        entered.set()
        assert go_on.wait(20)

    script.add("ns/slow", block)
    engine = make()
    engine.start()
    engine.submit([(Address("ns/slow", "1"), X)])
    assert entered.wait(10)
    try:
        assert engine.submit([(BOB, X)]).result(10) == [2]
    finally:
        go_on.set()


def test_reading_does_not_commit(make: t.Any, tmp_path: pathlib.Path) -> None:
    commits: list[Changes] = []

    class Counting(SqliteStore):
        def commit(self, changes: Changes) -> None:
            commits.append(changes)
            super().commit(changes)

    engine = make(Counting(tmp_path / "data"))
    engine.submit([(BOB, X)])
    assert engine.status().queued == 1
    assert commits == []
    engine.flush()
    assert len(commits) == 1
    engine.flush()
    assert len(commits) == 1
