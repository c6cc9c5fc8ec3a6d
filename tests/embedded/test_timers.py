"""Plans follow the monotonic clock, and delays the wall clock."""

from __future__ import annotations

import typing as t

from statefun_flask import Address
from statefun_flask.embedded import events
from statefun_flask.embedded import MemoryStore
from statefun_flask.embedded.clock import VirtualClock
from statefun_flask.embedded.endpoints.routes import InProcess
from statefun_flask.embedded.endpoints.routes import LocalRoutes
from statefun_flask.embedded.errors import EndpointDownError
from statefun_flask.embedded.errors import UnknownTargetError
from statefun_flask.embedded.timers import Plans

HOUR = 3_600_000


class JumpingClock(VirtualClock):
    """A clock whose wall time jumps; its monotonic time does not."""

    ahead = 0

    def now(self) -> int:
        return super().now() + self.ahead


def test_a_plan_is_due_after_its_time_whatever_the_wall_clock_does() -> None:
    clock = JumpingClock()
    plans, done = Plans(clock), []
    plans.add(100, lambda: done.append(1))
    for clock.ahead in (-HOUR, HOUR):
        assert plans.pop() is None
        assert plans.milliseconds_until_due() == 100
    clock.move_to(clock.monotonic() + 100)
    plan = plans.pop()
    assert plan is not None
    plan()
    assert done == [1]
    assert plans.pop() is None
    assert plans.milliseconds_until_due() is None


def test_an_endpoint_is_probed_on_time_after_the_wall_clock_was_set_back(
    script: t.Any, bench: t.Any
) -> None:
    down = True

    def flaky(batch: t.Any) -> None:
        if down:
            raise EndpointDownError("worker", "gone")

    script.add("ns/fn", flaky)
    made = bench()
    clock = JumpingClock()
    made.engine.clock = made.engine._core.clock = made.engine._core.plans._clock = clock
    made.run("ns/fn", "1", b"x")
    clock.ahead, down = -HOUR, False
    clock.move_to(clock.monotonic() + 100)
    made.run()
    assert made.delivered("ns/fn", "1") == [b"x", b"x"]
    assert made.engine.status().idle


class Unserved(LocalRoutes):
    """Routes that forget a function."""

    forgotten = False

    def endpoint(self, typename: str) -> t.Any:
        if self.forgotten:
            raise UnknownTargetError(typename)
        return super().endpoint(typename)


def test_an_endpoint_is_probed_by_another_address_if_the_first_cannot(
    script: t.Any, bench: t.Any
) -> None:
    down = True

    def flaky(batch: t.Any) -> None:
        if down:
            raise EndpointDownError("worker", "gone")

    script.add("ns/fn", flaky)
    routes = Unserved(InProcess(script), script.functions)
    made = bench(routes=routes)
    made.send("ns/fn", "1", b"x")
    made.send("ns/fn", "2", b"x")
    made.run()
    routes.forgotten, down = True, False
    made.advance(100)
    assert made.engine.status().parked == 1
    routes.forgotten = False
    made.advance(10_000)
    assert made.delivered("ns/fn", "2")[-1:] == [b"x"]
    assert made.engine.status().down == ()
    assert made.engine.queued == 0


# -- values that expire -----------------------------------------------------------------------


def test_values_of_functions_that_are_gone_do_not_keep_others_from_expiring(
    script: t.Any, bench: t.Any, reply: t.Any
) -> None:
    """A sweep checks a part of the values only, the oldest first."""
    store = MemoryStore()
    script.add("ns/old", lambda batch: reply().put("n", b"1"), ("n", "a/t", 1, 1000))
    script.add("ns/new", lambda batch: reply().put("n", b"1"), ("n", "a/t", 1, 1000))
    made = bench(store)
    for number in range(1100):
        made.send("ns/old", str(number))
    made.run()
    made.engine.close()
    made = bench(store)
    made.engine.clock.move_to(made.engine.clock.now() + 500)
    for number in range(50):
        made.send("ns/new", str(number))
    made.run()
    for _ in range(3):
        made.advance(2000)
    assert store.expired(made.engine.clock.now(), 10) == []
    assert made.control.addresses("ns/old") == made.control.addresses("ns/new") == []


def test_a_longer_time_to_live_after_a_restart_counts_for_stored_values(
    script: t.Any, bench: t.Any, reply: t.Any
) -> None:
    store = MemoryStore()
    script.add("ns/fn", lambda batch: reply().put("n", b"1"), ("n", "a/t", 1, 1000))
    made = bench(store)
    made.run("ns/fn", "1", b"")
    made.engine.close()
    script.add(
        "ns/fn",
        lambda batch: reply().put("n", b"2") if batch.id == "2" else None,
        ("n", "a/t", 1, 5000),
    )
    made = bench(store)
    made.run("ns/fn", "2", b"")  # which registers the state
    made.advance(3000)
    assert made.control.addresses("ns/fn") == [Address("ns/fn", "1"), Address("ns/fn", "2")]
    made.advance(3000)
    assert made.control.addresses("ns/fn") == []
    assert not made.told(events.Failed)
