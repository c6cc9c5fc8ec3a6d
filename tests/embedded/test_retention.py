"""What an engine keeps, and that nothing it has no use for grows for ever."""

from __future__ import annotations

import collections.abc as cabc
import pathlib
import random
import time
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask.embedded import Control
from statefun_flask.embedded import EgressRecord
from statefun_flask.embedded import Engine
from statefun_flask.embedded import InProcess
from statefun_flask.embedded import LocalRoutes
from statefun_flask.embedded import open_store
from statefun_flask.embedded import retention as retentions
from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded import Store
from statefun_flask.embedded import VirtualClock
from statefun_flask.embedded.clock import EPOCH
from statefun_flask.embedded.egress import Sinks
from statefun_flask.embedded.exchange.states import RegisteredStates
from statefun_flask.embedded.retention import KEEP_ALL
from statefun_flask.embedded.retention import Retention
from statefun_flask.embedded.retention import Sweeper
from statefun_flask.embedded.retention import SweepSchedule
from statefun_flask.embedded.store.transaction import Transaction
from statefun_flask.values.message import Message

SECOND = 1000
HOUR = 3600 * SECOND
DAY = 24 * HOUR


class Idle:
    """A sink that accepts records and acknowledges nothing by itself."""

    def offer(self, records: list[EgressRecord]) -> None:
        pass

    def close(self, timeout: float) -> None:
        pass


@pytest.fixture(params=["memory", "folder"])
def reopen(
    request: pytest.FixtureRequest, script: t.Any, bench: t.Any, reply: t.Any, tmp_path: t.Any
) -> cabc.Callable[..., t.Any]:
    """Return a function that makes an engine which goes on with the data of the last one."""
    memory = open_store() if request.param == "memory" else None

    def write(batch: t.Any) -> t.Any:
        result = reply()
        for value in batch.values:
            result.egress(batch.id, value)
        return result

    script.add("t/write", write)
    made: list[t.Any] = []

    def make(**options: t.Any) -> t.Any:
        if made:
            made[-1].engine.close()
        made.append(bench(memory or SqliteStore(tmp_path / "data"), **options))
        if len(made) > 1:
            made[-1].clock.move_to(made[-2].clock.now())
        return made[-1]

    return make


def write(made: t.Any, topic: str, count: int = 1, body: bytes = b"x") -> None:
    made.run("t/write", topic, *([body] * count))


def numbers(made: t.Any, topic: str) -> list[int]:
    return [each.seq for each in made.control.egress(topic, limit=100_000)]


# -- egress records ---------------------------------------------------------------------------


def test_the_newest_records_of_each_topic_are_kept(reopen: t.Any) -> None:
    made = reopen(retention=Retention(records=3))
    write(made, "t/a", 10)
    write(made, "t/b", 2)
    made.advance(1)
    assert numbers(made, "t/a") == [8, 9, 10]
    assert numbers(made, "t/b") == [11, 12]


def test_records_are_kept_up_to_a_number_of_bytes(reopen: t.Any) -> None:
    made = reopen(retention=Retention(record_bytes=250))
    write(made, "t/a", 5, b"x" * 100)
    made.advance(1)
    assert numbers(made, "t/a") == [4, 5]


def test_records_are_kept_for_a_while(reopen: t.Any) -> None:
    made = reopen(retention=Retention(record_age=7 * DAY))
    write(made, "t/a")
    made.advance(4 * DAY)
    write(made, "t/a")
    write(made, "t/b")
    made.advance(2 * DAY)
    assert numbers(made, "t/a") == [1, 2]
    made = reopen(retention=Retention(record_age=7 * DAY))  # the ages are in the store
    made.advance(DAY + 2 * HOUR)
    assert numbers(made, "t/a") == [2]
    made.advance(4 * DAY)
    assert numbers(made, "t/a") == numbers(made, "t/b") == []
    assert made.engine.store.topics("", 10) == []
    write(made, "t/a")
    assert numbers(made, "t/a") == [4]


def test_marks_of_ages_are_few() -> None:
    store = open_store()
    transaction = Transaction(store)
    ages = retentions.RecordAges(DAY, store, transaction)
    for minute in range(3 * 24 * 60):
        transaction.numbers("record", 1)
        last = ages.last_old_record(minute * 60 * SECOND)
        expected = minute - 24 * 60
        assert 0 <= expected - last + 1 <= 16 if last else expected < 16
    transaction.commit()
    assert 80 <= len(store.marks()) <= 105
    for minute in range(3 * 24 * 60, 5 * 24 * 60):  # nothing is written: nothing is to be known
        ages.last_old_record(minute * 60 * SECOND)
    transaction.commit()
    assert len(store.marks()) == 1


def test_a_clock_set_back_does_not_keep_records_for_ever(tmp_path: pathlib.Path) -> None:
    class Clock(VirtualClock):
        def set(self, instant: int) -> None:
            self._now = instant

    store, clock = open_store(), Clock()
    transaction = Transaction(store)
    ages = retentions.RecordAges(7 * DAY, store, transaction)
    begin = clock.now()
    transaction.numbers("record", 5)
    assert ages.last_old_record(begin + 300 * DAY) == 0
    transaction.numbers("record", 5)
    assert ages.last_old_record(begin) == 0
    assert ages.last_old_record(begin + 8 * DAY) == 10


def test_popped_and_unpopped_records_are_deleted_alike(reopen: t.Any) -> None:
    made = reopen(retention=Retention(records=3))
    write(made, "t/a", 10)
    made.advance(1)
    popped = [made.control.pop("t/a") for _ in range(4)]
    assert [each and each.seq for each in popped] == [8, 9, 10, None]
    write(made, "t/a", 5)
    made.advance(1)
    assert made.control.pop("t/a").seq == 13
    made.advance(8 * DAY)
    assert made.control.pop("t/a") is None
    assert made.engine.store.cursors("topic:") == {}
    write(made, "t/a")
    assert made.control.pop("t/a").seq == 16


def test_an_engine_has_limits_by_default(reopen: t.Any, script: t.Any, reply: t.Any) -> None:
    def write(batch: t.Any) -> t.Any:
        result = reply()
        for _ in range(10_010):
            result.egress("t/a", b"x")
        return result

    script.add("t/many", write)
    made = reopen(retention=KEEP_ALL)
    made.run("t/many", "1", b"")
    made.advance(365 * DAY)
    assert len(numbers(made, "t/a")) == 10_010
    made = reopen()
    made.advance(1)
    assert len(numbers(made, "t/a")) == 10_000
    made.advance(8 * DAY)
    assert numbers(made, "t/a") == []


# -- records of sinks ---------------------------------------------------------------------------


def test_records_that_a_sink_has_not_acknowledged_stay(reopen: t.Any) -> None:
    limits = Retention(records=2, record_age=DAY)
    made = reopen(retention=limits)
    made.engine.attach("t/out", Idle())
    write(made, "t/out", 10)
    write(made, "t/other", 10)
    made.advance(3 * DAY)
    assert len(numbers(made, "t/out")) == 10
    assert numbers(made, "t/other") == []
    made.engine.acknowledge("t/out", 7)
    made.advance(1)
    assert numbers(made, "t/out") == [8, 9, 10]
    made.engine.acknowledge("t/out", 10)
    made.advance(1)
    assert numbers(made, "t/out") == []


def test_records_wait_for_their_sink_also_while_the_engine_runs_without_it(reopen: t.Any) -> None:
    limits = Retention(records=2, record_age=DAY)
    made = reopen(retention=limits)
    made.engine.attach("t/out", Idle())  # which never acknowledges anything
    write(made, "t/out", 5)
    made = reopen(retention=limits)
    write(made, "t/out", 5)
    made.advance(3 * DAY)
    assert len(numbers(made, "t/out")) == 10


# -- everything else ----------------------------------------------------------------------------


def test_dead_letters_are_deleted_by_age_and_by_number(
    script: t.Any, bench: t.Any, reply: t.Any
) -> None:
    def fail(batch: t.Any) -> t.Any:
        raise RuntimeError("no")

    script.add("t/fail", fail)
    made = bench(retention=Retention(dead=3, dead_age=10 * DAY))
    for number in range(5):
        made.send("t/fail", str(number))
        made.advance(DAY)
        made.control.drop(f"t/fail/{number}")
        made.advance(1)
    assert [each.envelope.target.id for each in made.control.dead()] == ["2", "3", "4"]
    made.advance(8 * DAY)
    assert [each.envelope.target.id for each in made.control.dead()] == ["3", "4"]
    made.advance(3 * DAY)
    assert made.control.dead() == []


def test_many_expired_values_and_keys_are_deleted_in_portions(
    script: t.Any, bench: t.Any, reply: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retentions, "OTHERS", 10)
    script.add("t/fn", lambda batch: reply().put("n", b"1"), ("n", "a/t", 1, 1000))
    made = bench()
    for number in range(45):
        made.engine.send_once(Address("t/fn", str(number)), Message("a/t", b""), "key")
    made.run()
    made.advance(DAY + 1)
    assert made.control.addresses("t/fn") == []
    assert made.engine.store.old_keys(made.clock.now() + 1, 100) == []


# -- when it happens ----------------------------------------------------------------------------


def test_a_sweep_in_the_midst_of_a_long_advance(reopen: t.Any, script: t.Any, reply: t.Any) -> None:
    """An engine on the virtual clock does not keep a year's records until its end."""
    sizes = []

    def tick(batch: t.Any) -> t.Any:
        sizes.append(len(numbers(made, "t/out")))
        return reply().egress("t/out", b"x").later(HOUR, "t/tick", "1")

    script.add("t/tick", tick)
    made = reopen(retention=Retention(records=5))
    made.send("t/tick", "1")
    made.advance(30 * HOUR)
    assert max(sizes) <= 7


def test_a_busy_engine_sweeps_too(script: t.Any, reply: t.Any) -> None:
    """It always has something to do: each message sends the next one."""
    calls = 0

    def again(batch: t.Any) -> t.Any:
        nonlocal calls
        calls += 1
        return reply().egress("t/out", b"x").send("t/again", batch.id)

    script.add("t/again", again)
    routes = LocalRoutes(InProcess(script), script.functions)
    with Engine(routes, concurrency=1, retention=Retention(records=100)) as engine:
        engine.start()
        engine.send(Address("t/again", "1"), Message("a/t", b""))
        deadline = time.monotonic() + 20
        control = Control(engine)
        while (first := control.egress("t/out", 0, 1)) == [] or first[0].seq < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert calls > 100
        assert not engine.status().idle


def test_sweeps_leave_time_for_work() -> None:
    schedule = SweepSchedule()
    assert schedule.is_due(0, is_behind=False)
    schedule.swept(0, 10, more=False)
    assert not schedule.is_due(20, is_behind=True)
    assert schedule.is_due(30, is_behind=True)
    assert not schedule.is_due(29_999, is_behind=False)
    assert schedule.milliseconds_until_due(20_000) == 10_000
    assert schedule.is_due(30_000, is_behind=False)
    schedule.swept(30_000, 30_010, more=True)
    assert not schedule.is_due(30_029, is_behind=False)
    assert schedule.is_due(30_030, is_behind=False)


# -- what it costs --------------------------------------------------------------------------------


def filled(path: pathlib.Path, topics: int, records: int) -> SqliteStore:
    """Return a store with so many records in each of so many topics."""
    store = SqliteStore(path)
    transaction = Transaction(store)
    for _ in range(records):
        transaction.add_records(
            EgressRecord(seq, 1, "ns/out", f"topic-{index:04}", None, b"x" * 20, "x/y")
            for index, seq in enumerate(transaction.numbers("record", topics))
        )
    transaction.commit()
    return store


def sweeper(store: Store, transaction: Transaction, retention: Retention) -> Sweeper:
    sinks, states = Sinks(store, transaction), RegisteredStates(transaction)
    return Sweeper(retention, store, transaction, sinks, states, VirtualClock())


def work(store: SqliteStore, act: cabc.Callable[[], object]) -> int:
    """Return how many instructions SQLite executes, in hundreds."""
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    store.connection.set_progress_handler(tick, 100)
    act()
    store.connection.set_progress_handler(None, 0)
    return count


@pytest.mark.parametrize("keep", [5, 1000])
def test_the_cost_of_a_sweep_does_not_depend_on_how_much_is_stored(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    monkeypatch.setattr(retentions, "TOPICS", 10)
    monkeypatch.setattr(retentions, "RECORDS", 50)
    small, large = (
        max_cost(filled(tmp_path / str(topics), topics, records), Retention(records=keep))
        for topics, records in ((20, 20), (100, 60))
    )
    assert large <= 1.5 * small + 5


def max_cost(store: SqliteStore, retention: Retention) -> int:
    """Return the cost of the dearest of three sweeps."""
    transaction = Transaction(store)
    made = sweeper(store, transaction, retention)

    def sweep() -> None:
        made.sweep()
        transaction.commit()

    cost = max(work(store, sweep) for _ in range(3))
    store.close()
    return cost


def test_topics_are_swept_in_turn_until_all_are_small(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retentions, "TOPICS", 7)
    monkeypatch.setattr(retentions, "RECORDS", 50)
    store = filled(tmp_path, 40, 20)
    transaction = Transaction(store)
    made = sweeper(store, transaction, Retention(records=5))
    sweeps = 0
    while any(topic.records > 5 for topic in store.topics("", 100)):
        made.sweep()
        transaction.commit()
        sweeps += 1
        assert sweeps < 30
    assert [topic.records for topic in store.topics("", 100)] == [5] * 40
    assert store.records(0, 1)[0].seq == 15 * 40 + 1
    store.close()


def test_a_topic_that_waits_for_its_sink_does_not_keep_others_from_being_swept(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retentions, "RECORDS", 10)
    store = open_store()
    transaction = Transaction(store)
    for topic in ("a", "b", "c"):
        seqs = transaction.numbers("record", 100)
        transaction.add_records(
            EgressRecord(seq, 1, f"ns/{topic}", topic, None, b"x", "x/y") for seq in seqs
        )
    transaction.set_cursor("egress:ns/a", 0)
    transaction.commit()
    made = sweeper(store, transaction, Retention(records=5))
    for _ in range(30):
        made.sweep()
        transaction.commit()
    assert [topic.records for topic in store.topics("", 10)] == [100, 5, 5]


# -- a year ---------------------------------------------------------------------------------------


def live(made: t.Any, days: int, per_day: int) -> None:
    """Let days pass in which messages come, some of them under keys, and some are dropped."""
    chance = random.Random(7)
    for day in range(days):
        for number in range(per_day):
            id = str(chance.randrange(1000))
            key = f"{day}-{number}"
            made.engine.send_once(Address("t/work", id), Message("a/t", key.encode()), key)
        made.send("t/fail", str(day), b"x" * 100)
        made.run()
        for waiting in made.control.parked():
            made.control.drop(waiting.parked.address)
        for _ in range(per_day // 2):
            made.control.pop("t/out")
        made.advance(DAY)


@pytest.mark.parametrize(
    ("weeks", "per_day"), [(3, 15), pytest.param(52, 20, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("kept", [False, True])
def test_a_file_does_not_grow_after_its_first_week(
    script: t.Any,
    bench: t.Any,
    reply: t.Any,
    tmp_path: pathlib.Path,
    weeks: int,
    per_day: int,
    kept: bool,
) -> None:
    def work(batch: t.Any) -> t.Any:
        value = random.Random(batch.id).randbytes(400)
        return reply().put("last", value).egress("t/out", value).egress(f"t/{batch.id}", value)

    def fail(batch: t.Any) -> t.Any:
        raise RuntimeError("no")

    script.add("t/work", work, ("last", "a/t", 1, 3 * DAY))
    script.add("t/fail", fail)
    limits = Retention(records=5 * per_day, record_age=5 * DAY, dead_age=6 * DAY)

    def after(days: int) -> int:
        """Return the size of the file after a run."""
        made = bench(SqliteStore(tmp_path / "data"), retention=KEEP_ALL if kept else limits)
        made.clock.move_to(EPOCH + (8 * DAY if days > 7 else 0))
        live(made, days, per_day)
        made.engine.close()
        return (tmp_path / "data" / "statefun.sqlite3").stat().st_size

    first = after(7)
    last = after(7 * (weeks - 1))
    # Pages that are half full come and go.
    assert (last > 1.5 * first) if kept else (last <= 1.05 * first)
