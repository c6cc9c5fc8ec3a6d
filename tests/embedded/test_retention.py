"""What an engine keeps, and that nothing it has no use for grows for ever."""

from __future__ import annotations

import collections.abc as cabc
import pathlib
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
from statefun_flask.embedded import VirtualClock
from statefun_flask.embedded.retention import KEEP_ALL
from statefun_flask.embedded.retention import Retention
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
    request: pytest.FixtureRequest, script: t.Any, bench: t.Any, answer: t.Any, tmp_path: t.Any
) -> cabc.Callable[..., t.Any]:
    """Return a function that makes an engine which goes on with the data of the last one."""
    memory = open_store() if request.param == "memory" else None

    def write(batch: t.Any) -> t.Any:
        result = answer()
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


def test_marks_of_ages_are_few(reopen: t.Any) -> None:
    made = reopen(retention=Retention(record_age=3 * DAY))
    for _ in range(24 * 5):
        write(made, "t/a")
        made.advance(HOUR)
    assert 20 <= len(made.engine.store.marks()) <= 105
    made.advance(30 * DAY)  # nothing is written: nothing is to be known
    assert len(made.engine.store.marks()) <= 2


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


def test_an_engine_has_limits_by_default_and_a_test_engine_has_none(reopen: t.Any) -> None:
    made = reopen()
    write(made, "t/a", 10_010)
    made.advance(1)
    assert len(numbers(made, "t/a")) == 10_000
    made = reopen(retention=KEEP_ALL)
    write(made, "t/a", 10)
    made.advance(365 * DAY)
    assert len(numbers(made, "t/a")) == 10_010


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
    script: t.Any, bench: t.Any, answer: t.Any
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
    script: t.Any, bench: t.Any, answer: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retentions, "OTHERS", 10)
    script.add("t/fn", lambda batch: answer().put("n", b"1"), ("n", "a/t", 1, 1000))
    made = bench()
    for number in range(45):
        made.engine.send_once(Address("t/fn", str(number)), Message("a/t", b""), "key")
    made.run()
    made.advance(DAY + 1)
    assert made.control.addresses("t/fn") == []
    assert made.engine.store.old_keys(made.clock.now() + 1, 100) == []


# -- when it happens ----------------------------------------------------------------------------


def test_a_sweep_in_the_midst_of_a_long_advance(
    reopen: t.Any, script: t.Any, answer: t.Any
) -> None:
    """An engine on the virtual clock does not keep a year's records until its end."""
    sizes = []

    def tick(batch: t.Any) -> t.Any:
        sizes.append(len(numbers(made, "t/out")))
        return answer().egress("t/out", b"x").later(HOUR, "t/tick", "1")

    script.add("t/tick", tick)
    made = reopen(retention=Retention(records=5))
    made.send("t/tick", "1")
    made.advance(100 * HOUR)
    assert max(sizes) <= 7


def test_a_busy_engine_sweeps_too(script: t.Any, answer: t.Any) -> None:
    """It always has something to do: each message sends the next one."""
    calls = 0

    def again(batch: t.Any) -> t.Any:
        nonlocal calls
        calls += 1
        return answer().egress("t/out", b"x").send("t/again", batch.id)

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
