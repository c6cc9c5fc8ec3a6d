"""The loop with its workers, on a real clock."""

from __future__ import annotations

import collections.abc as cabc
import sqlite3
import threading
import time
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask.embedded import Control
from statefun_flask.embedded import Engine
from statefun_flask.embedded import events
from statefun_flask.embedded import InProcess
from statefun_flask.embedded import LocalRoutes
from statefun_flask.embedded import MemoryStore
from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded.errors import UnknownTargetError
from statefun_flask.values.message import Message

X = Message("a/t", b"x")


@pytest.fixture
def run(script: t.Any) -> cabc.Iterator[cabc.Callable[..., Engine]]:
    made: list[Engine] = []

    def start(concurrency: int = 4, **options: t.Any) -> Engine:
        engine = Engine(
            LocalRoutes(InProcess(script), script.functions),
            options.pop("store", None),
            concurrency=concurrency,
            **options,
        )
        made.append(engine)
        engine.start()
        return engine

    yield start
    for engine in made:
        engine.close()


def count(script: t.Any, reply: t.Any) -> None:
    script.add(
        "ns/fn",
        lambda b: reply().put("n", b"%d" % (int(b.states["n"] or 0) + len(b.values))),
        ("n", "a/t"),
    )


@pytest.mark.parametrize("concurrency", [1, 4])
def test_every_message_is_applied_once(
    script: t.Any, reply: t.Any, run: t.Any, concurrency: int
) -> None:
    count(script, reply)
    engine = run(concurrency)
    engine.submit([(Address("ns/fn", str(n % 5)), X) for n in range(500)]).result()
    engine.wait_idle(10)
    control = Control(engine)
    values = [control.state(Address("ns/fn", str(n)))["n"].value for n in range(5)]
    assert values == [b"100"] * 5


def test_one_address_has_one_call_at_a_time_and_others_run_meanwhile(
    script: t.Any, run: t.Any
) -> None:
    both = threading.Barrier(2, timeout=10)
    inside: set[str] = set()

    def meet(batch: t.Any) -> None:
        assert batch.id not in inside
        inside.add(batch.id)
        both.wait()  # passes only if the other address is in a call, too
        inside.remove(batch.id)

    script.add("ns/fn", meet)
    engine = run()
    for _ in range(2):
        engine.submit([(Address("ns/fn", "a"), X), (Address("ns/fn", "b"), X)])
        engine.wait_idle(10)
    assert len(script.calls) == 4
    assert engine.status().parked == 0


def test_delay_fires_by_itself(script: t.Any, reply: t.Any, run: t.Any) -> None:
    fired = threading.Event()
    script.add("ns/a", lambda batch: reply().later(20, "ns/b", "1"))
    script.add("ns/b", lambda batch: fired.set())
    run().send(Address("ns/a", "1"), X)
    assert fired.wait(10)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_exit_in_a_function_parks_its_message_and_the_engine_continues(
    script: t.Any, run: t.Any, concurrency: int
) -> None:
    def leave(batch: t.Any) -> None:
        if batch.id == "1":
            raise SystemExit(3)

    script.add("ns/fn", leave)
    engine = run(concurrency)
    engine.send(Address("ns/fn", "1"), X)
    engine.send(Address("ns/fn", "2"), X)
    engine.wait_idle(10)
    assert Control(engine).parked()[0].parked.error == "SystemExit: 3"
    assert len(script.calls) == 2


def test_none_of_several_messages_is_accepted_if_one_has_no_receiver(
    script: t.Any, run: t.Any
) -> None:
    script.add("ns/fn", lambda batch: None)
    engine = run()
    with pytest.raises(UnknownTargetError):
        engine.submit([(Address("ns/fn", "1"), X), (Address("ns/none", "1"), X)]).result()
    assert engine.status().idle
    assert script.calls == []


def test_events_are_reported_after_their_commit(
    script: t.Any, reply: t.Any, run: t.Any, tmp_path: t.Any
) -> None:
    count(script, reply)
    engine = run(store=SqliteStore(tmp_path))
    seen: list[int] = []

    def look(event: object) -> None:
        if isinstance(event, events.Invocation):
            (value,) = engine.store.connection.execute("select value from state").fetchone()
            seen.append(int(value) - int(event.changes[0][2].value))

    engine.listeners.append(look)
    engine.send(Address("ns/fn", "1"), X)
    engine.wait_idle(10)
    assert seen == [0]


def test_position_of_an_input_is_kept_with_its_messages(
    script: t.Any, run: t.Any, tmp_path: t.Any
) -> None:
    script.add("ns/fn", lambda batch: None)
    engine = run(store=SqliteStore(tmp_path / "data"))
    engine.submit([(Address("ns/fn", "1"), X)], {"file": "42"}).result()
    engine.close()
    store = SqliteStore(tmp_path / "data")
    assert store.position("file") == "42"
    store.close()


def test_close_waits_for_calls_and_keeps_their_answers(
    script: t.Any, reply: t.Any, run: t.Any, tmp_path: t.Any
) -> None:
    started, go_on = threading.Event(), threading.Event()

    def slow(batch: t.Any) -> t.Any:
        started.set()
        assert go_on.wait(10)
        return reply().egress("ns/out", b"done")

    script.add("ns/fn", slow)
    engine = run(store=SqliteStore(tmp_path / "data"))
    engine.send(Address("ns/fn", "1"), X)
    assert started.wait(10)
    closing = threading.Thread(target=engine.close, args=(10,))
    closing.start()
    go_on.set()
    closing.join()
    store = SqliteStore(tmp_path / "data")
    assert [each.value for each in store.records(0, 10)] == [b"done"]
    assert list(store.messages()) == []
    store.close()


class SlowSink:
    """A sink that closes as slowly as a Kafka egress, while messages are sent."""

    def offer(self, records: list[t.Any]) -> None:
        """Ignore the records."""

    def close(self, timeout: float) -> None:
        time.sleep(0.05)


@pytest.mark.parametrize("attempt", range(4))
def test_messages_acknowledged_during_a_close_are_in_the_folder(
    script: t.Any, run: t.Any, tmp_path: t.Any, attempt: int
) -> None:
    script.add("ns/fn", lambda batch: None)
    engine = run(store=SqliteStore(tmp_path / "data"))
    engine.attach("ns/out", SlowSink())
    acknowledged: list[str] = []
    refused: list[str] = []
    warm = threading.Barrier(7, timeout=10)

    def send(sender: int) -> None:
        for number in range(1_000_000):
            name = f"{sender}:{number}"
            try:
                engine.submit([(Address("ns/fn", name), X)], {name: "sent"}).result(10)
            except RuntimeError as exc:
                refused.append(str(exc))
                return
            acknowledged.append(name)
            if number == 20:
                warm.wait()

    senders = [threading.Thread(target=send, args=(sender,)) for sender in range(6)]
    for sender in senders:
        sender.start()
    warm.wait()
    engine.close()
    store = SqliteStore(tmp_path / "data")  # the folder is free at once
    for sender in senders:
        sender.join(10)
    assert set(refused) <= {
        "The engine is closing and accepts no more messages. Start another engine.",
        "The engine no longer runs: it was closed. Start another engine.",
    }
    assert len(refused) == 6
    stored = {name for (name,) in store.connection.execute("select source from position")}
    store.close()
    assert len(acknowledged) > 120
    assert set(acknowledged) <= stored


def test_a_close_whose_parts_fail_commits_and_releases_the_folder(
    script: t.Any, run: t.Any, tmp_path: t.Any, caplog: t.Any
) -> None:
    script.add("ns/fn", lambda batch: None)
    engine = run(store=SqliteStore(tmp_path / "data"))

    class Failing(SlowSink):
        def close(self, timeout: float) -> None:
            raise ZeroDivisionError("a sink's fault")

    engine.attach("ns/out", Failing())
    engine.send(Address("ns/fn", "1"), X)
    engine.close()
    (logged,) = caplog.records
    assert logged.getMessage() == (
        "A part of closing the engine failed. The engine is closed anyway."
    )
    assert str(logged.exc_info[1]) == "a sink's fault"
    store = SqliteStore(tmp_path / "data")
    assert store.counters()["trace"] == 1  # it was committed
    store.close()
    with pytest.raises(RuntimeError, match="no longer runs: it was closed"):
        engine.send(Address("ns/fn", "1"), X)


def test_closed_engine_says_so(script: t.Any, run: t.Any) -> None:
    script.add("ns/fn", lambda batch: None)
    engine = run()
    engine.close()
    with pytest.raises(RuntimeError) as info:
        engine.send(Address("ns/fn", "1"), X)
    assert str(info.value) == "The engine no longer runs: it was closed. Start another engine."


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_failed_engine_raises_for_all_who_wait(script: t.Any, run: t.Any) -> None:
    script.add("ns/fn", lambda batch: None)
    store = MemoryStore()
    engine = run(store=store)
    assert engine.failure is None

    def broken(changes: object) -> None:
        raise sqlite3.OperationalError("no such table: counter")

    store.commit = broken  # type: ignore[method-assign]
    for act in (
        lambda: engine.send(Address("ns/fn", "1"), X),
        lambda: engine.wait_idle(10),
        lambda: engine.send(Address("ns/fn", "1"), X),
    ):
        with pytest.raises(RuntimeError, match="no longer runs: no such table"):
            act()
    assert isinstance(engine.failure, sqlite3.OperationalError)


def test_a_closed_engine_has_not_failed(script: t.Any, run: t.Any) -> None:
    engine = run()
    engine.close()
    assert engine.failure is None


def test_a_listener_that_fails_is_logged_and_the_engine_continues(
    script: t.Any, run: t.Any, caplog: pytest.LogCaptureFixture
) -> None:
    script.add("ns/fn", lambda batch: None)
    engine = run()
    seen: list[object] = []

    def broken(event: object) -> None:
        raise ZeroDivisionError("a listener's bug")

    engine.listeners.extend([broken, seen.append])
    engine.send(Address("ns/fn", "1"), X)
    engine.wait_idle(10)
    assert len(seen) == 1
    (logged,) = caplog.records
    assert logged.getMessage() == (
        "A listener failed at the event 'Invocation'. The engine goes on."
    )
    assert logged.exc_info is not None
    assert isinstance(logged.exc_info[1], ZeroDivisionError)


def test_a_callback_after_a_commit_that_fails_is_logged_and_others_are_called(
    script: t.Any, run: t.Any, caplog: pytest.LogCaptureFixture
) -> None:
    script.add("ns/fn", lambda batch: None)
    engine = run()

    def broken() -> None:
        raise ZeroDivisionError("a callback's bug")

    engine.look(lambda core: core.committed.append(broken))
    engine.send(Address("ns/fn", "1"), X)
    engine.send(Address("ns/fn", "1"), X)
    assert [each.getMessage() for each in caplog.records] == [
        "A callback failed after a commit. The engine goes on."
    ]


def test_a_cancelled_submission_is_not_sent_and_does_not_end_the_engine(
    script: t.Any, run: t.Any
) -> None:
    script.add("ns/fn", lambda batch: None)
    engine = run(concurrency=1)
    busy, go_on = threading.Event(), threading.Event()

    def hold(core: t.Any) -> None:
        busy.set()
        assert go_on.wait(10)

    holder = threading.Thread(target=engine.look, args=(hold,))
    holder.start()
    assert busy.wait(10)
    cancelled = engine.submit([(Address("ns/fn", "cancelled"), X)])
    assert cancelled.cancel()
    sent = engine.submit([(Address("ns/fn", "sent"), X)])
    go_on.set()
    holder.join(10)
    assert sent.result(10) == [1]
    assert not sent.cancel()
    engine.wait_idle(10)
    assert [at for at, _, _ in script.calls] == ["ns/fn/sent"]


def test_a_submission_that_is_cancelled_at_any_moment_does_not_end_the_engine(
    script: t.Any, run: t.Any
) -> None:
    script.add("ns/fn", lambda batch: None)
    engine = run()
    sent = 0
    for number in range(300):
        future = engine.submit([(Address("ns/fn", str(number)), X)])
        if number % 3:
            time.sleep(number % 7 / 100_000)
        sent += not future.cancel()
    engine.wait_idle(10)
    assert len(script.calls) == sent


def test_no_delay_fires_too_early(script: t.Any, reply: t.Any, run: t.Any) -> None:
    """Not even by the part of a millisecond that the clock does not show."""
    waited: list[float] = []

    def wait(batch: t.Any) -> t.Any:
        (value,) = batch.values
        if value != b"x":
            waited.append(time.time() - float(value))
            return None
        return reply().later(2, "ns/fn", batch.id, str(time.time()).encode())

    script.add("ns/fn", wait)
    engine = run()
    for number in range(50):
        engine.send(Address("ns/fn", str(number)), X)
    engine.wait_idle(10)
    deadline = time.monotonic() + 10
    while len(waited) < 50 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert len(waited) == 50
    assert min(waited) >= 0.002
