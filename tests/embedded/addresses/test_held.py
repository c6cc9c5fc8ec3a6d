"""Function types that a person holds back."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask.embedded import events
from statefun_flask.embedded import LocalRoutes
from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded.addresses.mailbox import Condition
from statefun_flask.embedded.control import Instance
from statefun_flask.embedded.errors import EndpointDownError
from statefun_flask.embedded.errors import NotHeldError
from statefun_flask.embedded.errors import UnknownDelayError
from statefun_flask.embedded.errors import UnknownTargetError

BOB = Address("ns/fn", "bob")


@pytest.fixture
def calls(script: t.Any, reply: t.Any) -> list[tuple[str, list[bytes], t.Any]]:
    script.add("ns/fn", lambda batch: reply().put("seen", b"1"), ("seen", "a/t"))
    script.add("ns/other", lambda batch: reply())
    return t.cast("list[tuple[str, list[bytes], t.Any]]", script.calls)


def test_only_the_held_type_waits(bench: t.Any, calls: list[t.Any]) -> None:
    made = bench()
    assert made.control.hold("ns/fn") == 0
    made.send("ns/fn", "bob", b"1", b"2")
    made.run("ns/other", "x", b"3")
    assert [each[0] for each in calls] == ["ns/other/x"]
    status = made.engine.status()
    assert (status.held, status.queued, status.idle) == (("ns/fn",), 2, True)
    assert not made.control.is_unfinished(1), "nobody waits for a person"
    assert made.control.hold("ns/fn") == 1, "a second time changes nothing"

    assert made.control.release("ns/fn") == 1
    assert made.control.is_unfinished(1)
    made.run()
    assert [each[:2] for each in calls[1:]] == [("ns/fn/bob", [b"1"]), ("ns/fn/bob", [b"2"])]
    assert made.engine.status().held == ()
    kinds = [type(each) for each in made.events if isinstance(each, events.Held | events.Released)]
    assert kinds == [events.Held, events.Released]


def test_it_is_held_after_a_restart_too(
    bench: t.Any, calls: list[t.Any], tmp_path: pathlib.Path
) -> None:
    first = bench(SqliteStore(tmp_path / "data"))
    first.control.hold("ns/fn")
    first.run("ns/fn", "bob", b"1")
    first.engine.close()
    second = bench(SqliteStore(tmp_path / "data"))
    second.run("ns/fn", "bob", b"2")
    assert (calls, second.engine.status().held) == ([], ("ns/fn",))
    second.control.release("ns/fn")
    second.run()
    second.engine.close()
    assert [value for each in calls for value in each[1]] == [b"1", b"2"]
    assert bench(SqliteStore(tmp_path / "data")).engine.status().held == ()


class Down:
    """An endpoint that is down for the first calls."""

    name, tries, batch = "here", 1, 0

    def __init__(self, function: t.Any, failures: int) -> None:
        self.function = function
        self.failures = failures
        self.calls = 0

    def __call__(self, body: bytes) -> bytes:
        self.calls += 1
        if self.calls <= self.failures:
            raise EndpointDownError(self.name, "refused")
        return bytes(self.function(body))


def test_an_endpoint_that_is_down_is_not_probed_while_its_type_is_held(
    script: t.Any, bench: t.Any, calls: list[t.Any]
) -> None:
    endpoint = Down(script, failures=2)
    made = bench(routes=LocalRoutes(endpoint))
    made.run("ns/fn", "bob")
    assert (endpoint.calls, made.engine.status().down) == (1, ("ns/fn",))
    made.control.hold("ns/fn")
    made.advance(60_000)
    assert (endpoint.calls, made.engine.status().down) == (1, ())
    made.control.release("ns/fn")
    made.advance(60_000)
    assert endpoint.calls == 4, "one more call asks for the state"
    assert made.engine.status() == (0, 0, 0, 0, 0, (), (), False, None, ())


def test_what_cannot_be_held_or_released(bench: t.Any, calls: list[t.Any]) -> None:
    made = bench()
    with pytest.raises(UnknownTargetError, match="No endpoint serves the function 'ns/none'"):
        made.control.hold("ns/none")
    with pytest.raises(NotHeldError, match="Nobody has paused 'ns/fn'"):
        made.control.release("ns/fn")


# -- instances --------------------------------------------------------------------------------


def test_instances_have_messages_or_state(
    script: t.Any, bench: t.Any, calls: list[t.Any], reply: t.Any
) -> None:
    def fail(batch: t.Any) -> None:
        raise ValueError("no")

    script.add("ns/bad", fail)
    made = bench()
    made.run("ns/fn", "", b"1")
    made.run("ns/fn", "bob", b"1")
    made.run("ns/bad", "x", b"1", b"2", b"3")
    made.control.hold("ns/fn")
    made.send("ns/fn", "bob", b"2", b"3")
    made.send("ns/fn", "new", b"4")
    made.run()
    held = Condition.HELD
    expected = [
        Instance(Address("ns/bad", "x"), Condition.PARKED, 3, False),
        Instance(Address("ns/fn", ""), Condition.IDLE, 0, True),
        Instance(BOB, held, 2, True),
        Instance(Address("ns/fn", "new"), held, 1, False),
    ]
    assert made.control.instances() == expected
    assert made.control.instances("ns/fn") == expected[1:]
    assert made.control.instances("ns/other") == []
    paged: list[Instance] = []
    while page := made.control.instances(None, paged[-1].address if paged else None, 1):
        paged += page
    assert paged == expected


# -- delays -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [1, 3600])
def test_a_cancelled_delay_never_fires(
    script: t.Any, bench: t.Any, reply: t.Any, calls: list[t.Any], seconds: int
) -> None:
    script.add(
        "ns/later", lambda batch: reply().later(seconds * 1000, "ns/other", "x", token="tick")
    )
    made = bench()
    made.run("ns/later", "a")
    (delay,) = made.control.delays()
    assert made.control.cancel_delay(delay.seq) == delay
    assert made.control.delays() == []
    with pytest.raises(UnknownDelayError, match=f"There is no delay {delay.seq}"):
        made.control.cancel_delay(delay.seq)
    made.advance(2 * seconds * 1000)
    assert [each[0] for each in calls] == ["ns/later/a"]
    assert [each.delay for each in made.told(events.Cancelled)] == [delay]
    made.run("ns/later", "a")
    assert [each.token for each in made.control.delays()] == ["tick"], "its token is free again"
