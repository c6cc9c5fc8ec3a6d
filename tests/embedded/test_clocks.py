"""A wall clock that is set back or forward by a day.

Delays, times to live and idempotency keys follow the wall clock. Retries, probes and tries to write
to a full disk do not.
"""

from __future__ import annotations

import pathlib
import tempfile
import threading
import typing as t

import pytest
from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies as st
from jumping_clock import JumpingClock

from statefun_flask import Address
from statefun_flask.embedded import core as cores
from statefun_flask.embedded import Engine
from statefun_flask.embedded import InProcess
from statefun_flask.embedded import LocalRoutes
from statefun_flask.embedded import RealClock
from statefun_flask.embedded import retention
from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded.addresses.backoff import FIRST_DELAY
from statefun_flask.embedded.addresses.backoff import RETRY_DELAY
from statefun_flask.embedded.errors import DiskFullError
from statefun_flask.embedded.errors import EndpointDownError
from statefun_flask.embedded.store.base import Changes
from statefun_flask.values.message import Message

HOUR = 3_600_000
DAY = 24 * HOUR
BOB = Address("ns/fn", "bob")

both_ways = pytest.mark.parametrize("jump", [-DAY, DAY], ids=["back", "forward"])


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


class Trying:
    """An endpoint that fails until it is told not to, and tries a message three times."""

    def __init__(self, script: t.Any, error: Exception) -> None:
        self.calls = 0
        self.failing = True
        self._script, self._error = script, error

    def __call__(self, body: bytes) -> bytes:
        self.calls += 1
        if self.failing:
            raise self._error
        reply: bytes = self._script(body)
        return reply


# -- the engine's own plans -------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize(
    ("error", "delay"),
    [
        (ValueError("not now"), RETRY_DELAY),
        (EndpointDownError("test", "away"), FIRST_DELAY),
    ],
    ids=["retry", "probe"],
)
def test_a_failed_call_is_repeated_after_its_delay(
    script: t.Any, bench: t.Any, clock: JumpingClock, jump: int, error: Exception, delay: int
) -> None:
    script.add("ns/fn", lambda batch: None)
    endpoint = Trying(script, error)
    target = InProcess(endpoint)
    target.tries = 3
    made = bench(routes=LocalRoutes(target), clock=clock)
    made.run("ns/fn", "bob", b"x")
    assert endpoint.calls == 1
    endpoint.failing = False
    clock.jump(jump)
    made.advance(delay - 1)
    assert endpoint.calls == 1
    made.advance(1)
    assert made.delivered("ns/fn", "bob") == [b"x"]


@both_ways
def test_a_full_disk_is_tried_again_after_its_delay(
    script: t.Any, bench: t.Any, clock: JumpingClock, tmp_path: pathlib.Path, jump: int
) -> None:
    tries: list[int] = []

    class Full(SqliteStore):
        def commit(self, changes: Changes) -> None:
            tries.append(clock.monotonic())
            if len(tries) < 2:
                raise DiskFullError(self.path, 0, "no space") from OSError("no space")
            super().commit(changes)

    script.add("ns/fn", lambda batch: None)
    made = bench(Full(tmp_path / "data"), clock=clock)
    made.send("ns/fn", "bob", b"x")
    with pytest.raises(DiskFullError):
        made.engine.run_until_idle()
    clock.jump(jump)
    assert made.engine.look(lambda core: core.seconds_until_due()) == cores.DISK_DELAY / 1000
    assert made.engine.look(lambda core: core.next_instant()) == clock.now() + cores.DISK_DELAY


# -- what follows the wall clock ----------------------------------------------------------------


def test_a_jump_forward_delivers_what_is_due_and_no_more(
    script: t.Any, bench: t.Any, reply: t.Any, clock: JumpingClock
) -> None:
    def later(batch: t.Any) -> t.Any:
        return reply().later(int(batch.values[0]), "ns/log", "1", batch.values[0])

    script.add("ns/fn", later)
    script.add("ns/log", lambda batch: None)
    made = bench(clock=clock)
    delays = [HOUR, DAY, DAY + 1, 1000]
    for delay in delays:
        made.run("ns/fn", "bob", b"%d" % delay)
    clock.jump(DAY)
    made.run()
    assert made.delivered("ns/log", "1") == [b"1000", b"%d" % HOUR, b"%d" % DAY]
    made.advance(1)
    assert made.delivered("ns/log", "1")[3:] == [b"%d" % (DAY + 1)]


def test_a_jump_back_neither_loses_nor_hastens_a_delay(
    script: t.Any, bench: t.Any, reply: t.Any, clock: JumpingClock
) -> None:
    def later(batch: t.Any) -> t.Any:
        return reply().later(1000, "ns/log", "1", batch.values[0])

    script.add("ns/fn", later)
    script.add("ns/log", lambda batch: None)
    made = bench(clock=clock)
    made.run("ns/fn", "bob", b"before")
    clock.jump(-DAY)
    made.run("ns/fn", "bob", b"after")
    made.advance(1000)
    assert made.delivered("ns/log", "1") == [b"after"]
    made.advance(DAY - 1)
    assert made.delivered("ns/log", "1") == [b"after"]
    made.advance(1)
    assert made.delivered("ns/log", "1") == [b"after", b"before"]


@pytest.mark.parametrize(("jump", "left"), [(-DAY, b"1"), (HOUR - 1, b"1"), (HOUR, None)])
def test_a_value_expires_by_the_wall_clock(
    script: t.Any,
    bench: t.Any,
    reply: t.Any,
    clock: JumpingClock,
    jump: int,
    left: bytes | None,
) -> None:
    script.add("ns/fn", lambda batch: reply().put("n", b"1"), ("n", "a/t", 1, HOUR))
    made = bench(clock=clock)
    made.run("ns/fn", "bob", b"")
    clock.jump(jump)
    made.advance(0)
    assert made.state("ns/fn", "bob").get("n") == left


@pytest.mark.parametrize(("jump", "is_new"), [(-DAY, False), (DAY - 1, False), (DAY, True)])
def test_a_key_is_remembered_for_a_day_of_the_wall_clock(
    script: t.Any, bench: t.Any, clock: JumpingClock, jump: int, is_new: bool
) -> None:
    script.add("ns/fn", lambda batch: None)
    made = bench(clock=clock)
    send = made.engine.send_once
    assert send(BOB, Message("a/t", b"x"), "key") == (1, True)
    clock.jump(jump)
    assert send(BOB, Message("a/t", b"x"), "key")[1] is is_new


# -- anything in any order ----------------------------------------------------------------------

moves = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.sampled_from([0, 1, 50, 59_999, 60_000, 61_000, DAY])),
        st.tuples(st.just("jump"), st.sampled_from([-DAY, -HOUR, -1, 1, HOUR, DAY])),
        st.tuples(st.just("advance"), st.sampled_from([0, 1, 50, 60_000])),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=12,
)


@given(moves)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_each_delay_fires_once_and_never_early(
    script: t.Any, bench: t.Any, reply: t.Any, given: list[tuple[str, int]]
) -> None:
    clock = JumpingClock()
    fired: list[int] = []
    due: dict[int, int] = {}

    def log(batch: t.Any) -> None:
        for value in batch.values:
            assert clock.now() >= due[int(value)]
            fired.append(int(value))

    def later(batch: t.Any) -> t.Any:
        number, delay = map(int, batch.values[0].split())
        due[number] = clock.now() + delay
        return reply().later(delay, "ns/log", "1", b"%d" % number)

    script.add("ns/fn", later)
    script.add("ns/log", log)
    with tempfile.TemporaryDirectory() as folder:
        made = bench(SqliteStore(f"{folder}/data"), clock=clock)
        for move, amount in given:
            if move == "send":
                made.run("ns/fn", str(len(due)), b"%d %d" % (len(due), amount))
            elif move == "advance":
                made.advance(amount)
            elif move == "jump":
                clock.jump(amount)
                made.run()
            else:
                made.engine.close()
                made = bench(SqliteStore(f"{folder}/data"), clock=clock)
            late = {number for number, at in due.items() if at <= clock.now()} - set(fired)
            assert move == "restart" or not late
        clock.jump(100 * DAY)
        made.run()
        made.engine.close()
    assert sorted(fired) == sorted(due)


# -- with a loop --------------------------------------------------------------------------------


def test_an_idle_loop_notices_a_jump(
    script: t.Any, reply: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks at the wall clock at each sweep at the latest."""
    monkeypatch.setattr(retention, "INTERVAL", 20)
    came = threading.Event()

    class Clock(RealClock):
        ahead = 0

        def now(self) -> int:
            return super().now() + self.ahead

    clock = Clock()
    script.add("ns/fn", lambda batch: reply().later(HOUR, "ns/log", "1"))
    script.add("ns/log", lambda batch: came.set())
    with Engine(LocalRoutes(InProcess(script)), clock=clock, concurrency=1) as engine:
        engine.start()
        engine.send(BOB, Message("a/t", b""))
        engine.wait_idle(10)
        assert not came.is_set()
        clock.ahead = DAY
        assert came.wait(10)
