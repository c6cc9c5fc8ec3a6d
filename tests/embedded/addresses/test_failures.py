"""A failing message stops its own address only, and a user can resolve it."""

from __future__ import annotations

import typing as t

import pytest

from statefun_flask import Address
from statefun_flask.embedded import events
from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded.errors import EndpointDownError
from statefun_flask.embedded.errors import EndpointError
from statefun_flask.embedded.errors import NotParkedError
from statefun_flask.embedded.errors import SeveralParkedError
from statefun_flask.embedded.errors import UnknownDeadLetterError
from statefun_flask.embedded.errors import UnknownDelayError
from statefun_flask.values.message import Message

BOB = Address("ns/fn", "bob")


@pytest.fixture
def picky(script: t.Any, reply: t.Any) -> set[bytes]:
    """A function that fails for some values, and stores the others in its state."""
    bad = {b"bad"}

    def take(batch: t.Any) -> t.Any:
        for value in batch.values:
            if value in bad:
                raise ValueError(f"no {value.decode()}")
        return reply().put("log", (batch.states["log"] or b"") + b"".join(batch.values))

    script.add("ns/fn", take, ("log", "a/t"))
    return bad


def test_messages_of_a_failed_batch_are_sent_again_one_at_a_time(
    script: t.Any, bench: t.Any, picky: set[bytes]
) -> None:
    made = bench()
    made.run("ns/fn", "bob", b"0", b"1", b"2", b"bad", b"3")
    assert [values for _, values, _ in script.calls] == [
        [b"0"],
        [b"1", b"2", b"bad", b"3"],
        [b"1"],
        [b"2"],
        [b"bad"],
    ]
    assert made.state("ns/fn", "bob") == {"log": b"012"}
    ((parked, envelope, behind),) = made.control.parked()
    assert (parked.address, parked.error, parked.trace) == (BOB, "ValueError: no bad", 4)
    assert (envelope.message.value, behind) == (b"bad", 1)


def test_messages_that_come_while_a_failed_batch_is_taken_apart_are_a_batch_again(
    script: t.Any, bench: t.Any, picky: set[bytes]
) -> None:
    made = bench()
    made.run("ns/fn", "bob", b"0", b"1", b"bad")
    picky.clear()
    made.control.retry(BOB)
    made.run("ns/fn", "bob", b"2", b"3")
    assert [values for _, values, _ in script.calls][-2:] == [[b"bad"], [b"2", b"3"]]


def test_other_addresses_continue(script: t.Any, bench: t.Any, picky: set[bytes]) -> None:
    made = bench()
    made.send("ns/fn", "bob", b"bad", b"1")
    made.run("ns/fn", "eve", b"1")
    assert made.state("ns/fn", "eve") == {"log": b"1"}
    assert made.engine.status().parked == 1


def test_parked_address_still_accepts_messages_and_delays(
    script: t.Any, bench: t.Any, reply: t.Any, picky: set[bytes]
) -> None:
    script.add("ns/timer", lambda batch: reply().later(10, "ns/fn", "bob", b"late"))
    made = bench()
    made.run("ns/fn", "bob", b"bad")
    made.run("ns/timer", "1")
    made.run("ns/fn", "bob", b"more")
    made.advance(10)
    assert [each.message.value for each in made.control.queue(BOB)] == [b"bad", b"more", b"late"]
    picky.clear()
    assert made.control.retry(BOB) == [BOB]
    made.run()
    assert made.state("ns/fn", "bob") == {"log": b"badmorelate"}
    assert made.control.parked() == []


def test_tokens_of_a_parked_address_still_cancel(
    script: t.Any, bench: t.Any, reply: t.Any, picky: set[bytes]
) -> None:
    script.add(
        "ns/timer",
        lambda batch: (
            reply().later(10, "ns/fn", "bob", b"late", token="t")
            if batch.values == [b"send"]
            else reply().cancel("t")
        ),
    )
    made = bench()
    made.run("ns/timer", "1", b"send")
    made.run("ns/fn", "bob", b"bad")
    made.run("ns/timer", "1", b"cancel")
    made.advance(20)
    assert [each.message.value for each in made.control.queue(BOB)] == [b"bad"]


def test_retry_that_fails_parks_again(script: t.Any, bench: t.Any, picky: set[bytes]) -> None:
    made = bench()
    made.run("ns/fn", "bob", b"bad", b"1")
    made.control.retry(1)
    made.run()
    ((_, envelope, behind),) = made.control.parked()
    assert (envelope.message.value, behind) == (b"bad", 1)


def test_drop_continues_with_the_others_and_keeps_the_message(
    script: t.Any, bench: t.Any, picky: set[bytes]
) -> None:
    made = bench()
    made.run("ns/fn", "bob", b"bad", b"1")
    (dropped,) = made.control.drop(1)
    made.run()
    assert dropped.message.value == b"bad"
    assert made.state("ns/fn", "bob") == {"log": b"1"}
    (dead,) = made.control.dead()
    assert (dead.envelope, dead.error) == (dropped, "ValueError: no bad")


def test_dropped_message_can_be_revived(script: t.Any, bench: t.Any, picky: set[bytes]) -> None:
    made = bench()
    made.run("ns/fn", "bob", b"bad")
    (dropped,) = made.control.drop(BOB)
    picky.clear()
    again = made.control.revive(dropped.seq)
    made.run()
    assert (again.trace, again.message) == (dropped.trace, dropped.message)
    assert made.state("ns/fn", "bob") == {"log": b"bad"}
    assert made.control.dead() == []
    with pytest.raises(UnknownDeadLetterError, match="There is no dropped message 1"):
        made.control.revive(dropped.seq)


def test_replace_gives_the_message_another_body(
    script: t.Any, bench: t.Any, picky: set[bytes]
) -> None:
    made = bench()
    made.run("ns/fn", "bob", b"bad", b"1")
    made.control.replace(BOB, Message("x/y", b"good"))
    made.run()
    assert made.state("ns/fn", "bob") == {"log": b"good1"}
    made.run()
    assert made.engine.store.queue(BOB) == []


def test_names_that_are_not_parked(script: t.Any, bench: t.Any, picky: set[bytes]) -> None:
    made = bench()
    with pytest.raises(NotParkedError) as info:
        made.control.retry(BOB)
    assert str(info.value) == (
        "Nothing is parked at 'ns/fn/bob'. List the parked messages to see their names."
    )
    with pytest.raises(NotParkedError, match="Nothing is parked at message 7"):
        made.control.drop(7)
    with pytest.raises(UnknownDelayError, match="There is no delay 7"):
        made.control.deliver_delay(7)


def test_a_number_names_all_parked_messages_of_its_trace(
    script: t.Any, bench: t.Any, reply: t.Any, picky: set[bytes]
) -> None:
    script.add(
        "ns/both", lambda batch: reply().send("ns/fn", "a", b"bad").send("ns/fn", "b", b"bad")
    )
    made = bench()
    made.run("ns/both", "1")
    picky.clear()
    both = [Address("ns/fn", "a"), Address("ns/fn", "b")]
    for command in (made.control.retry, made.control.drop, made.control.parked_at):
        with pytest.raises(SeveralParkedError) as info:
            command(1)
        assert str(info.value) == (
            "Message 1 has led to 2 parked addresses: 'ns/fn/a', 'ns/fn/b'. Name one of them, or"
            " ask for all."
        )
    assert len(made.control.parked()) == 2
    assert made.control.retry(1, several=True) == both


def test_parked_address_outlives_a_restart(
    script: t.Any, bench: t.Any, picky: set[bytes], tmp_path: t.Any
) -> None:
    first = bench(SqliteStore(tmp_path / "data"))
    first.run("ns/fn", "bob", b"bad", b"1")
    first.engine.close()
    second = bench(SqliteStore(tmp_path / "data"))
    second.run("ns/fn", "bob", b"2")
    assert second.error() == "ValueError: no bad"
    picky.clear()
    second.control.retry_all()
    second.run()
    assert second.state("ns/fn", "bob") == {"log": b"bad12"}


def test_function_that_is_no_longer_served_parks_its_messages(
    script: t.Any, bench: t.Any, picky: set[bytes], tmp_path: t.Any
) -> None:
    first = bench(SqliteStore(tmp_path / "data"))
    first.send("ns/fn", "bob", b"1")
    first.engine.close()
    script.functions = {"ns/other": script.functions.pop("ns/fn")}
    second = bench(SqliteStore(tmp_path / "data"))
    second.run()
    assert "No endpoint serves the function 'ns/fn'." in second.error()


def test_exit_out_of_a_call_leaves_the_message_where_it_was(script: t.Any, bench: t.Any) -> None:
    def interrupted(batch: t.Any) -> None:
        if len(script.calls) == 1:
            raise KeyboardInterrupt

    script.add("ns/fn", interrupted)
    made = bench()
    with pytest.raises(KeyboardInterrupt):
        made.run("ns/fn", "bob", b"1")
    made.run()
    assert [values for _, values, _ in script.calls] == [[b"1"], [b"1"]]
    assert made.engine.status().queued == 0


# -- endpoints --------------------------------------------------------------------------------


class Flaky:
    """An endpoint that fails as a test requires."""

    name = "http://127.0.0.1:1/fn"
    tries = 3
    batch = 1000

    def __init__(self, script: t.Any) -> None:
        self.script = script
        self.failures: list[Exception] = []
        self.calls = 0

    def __call__(self, body: bytes) -> bytes:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return t.cast("bytes", self.script(body))


@pytest.fixture
def flaky(script: t.Any, bench: t.Any) -> t.Any:
    from statefun_flask.embedded import LocalRoutes

    script.add("ns/fn", lambda batch: None)
    endpoint = Flaky(script)
    return bench(routes=LocalRoutes(endpoint)), endpoint


def test_endpoint_that_is_down_holds_back_its_function_type_and_parks_nothing(flaky: t.Any) -> None:
    made, endpoint = flaky
    endpoint.failures = [EndpointDownError(endpoint.name, "connection refused") for _ in range(3)]
    for id in ("a", "b", "c"):
        made.send("ns/fn", id, b"x")
    made.run()
    assert endpoint.calls == 1  # b and c wait without a call of their own
    assert made.engine.status().down == ("ns/fn",)
    (down,) = made.told(events.Down)
    assert (down.endpoint, down.reason, down.waiting, down.delay) == (
        endpoint.name,
        "connection refused",
        3,
        100,
    )

    made.advance(100)
    assert endpoint.calls == 2
    made.advance(199)
    assert endpoint.calls == 2  # twice as long as before
    made.advance(401)
    assert endpoint.calls == 6
    assert len(made.script.calls) == 3
    assert made.told(events.Up)[0].typename == "ns/fn"
    assert made.engine.status() == (0, 0, 0, 0, 0, (), (), False, None, ())


def test_waits_between_probes_grow_to_five_seconds(flaky: t.Any) -> None:
    made, endpoint = flaky
    endpoint.failures = [EndpointDownError(endpoint.name, "timeout") for _ in range(9)]
    made.run("ns/fn", "a")
    made.advance(60_000)
    delays = [event.delay for event in made.told(events.Down)]
    assert delays == [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]


def test_message_that_its_endpoint_refuses_is_tried_three_times(flaky: t.Any) -> None:
    made, endpoint = flaky
    endpoint.failures = [EndpointError("status 500") for _ in range(3)]
    made.run("ns/fn", "a")
    assert made.engine.status().retrying == 1
    made.advance(1_000)
    assert endpoint.calls == 3
    assert made.error() == "EndpointError: status 500"
    assert [event.parked for event in made.told(events.Failed)] == [False, False, True]


def test_message_that_is_accepted_at_the_second_try_is_applied_once(flaky: t.Any) -> None:
    made, endpoint = flaky
    endpoint.failures = [EndpointError("status 500")]
    made.run("ns/fn", "a", b"x", b"y")
    made.advance(1_000)
    assert made.delivered("ns/fn", "a") == [b"x", b"y"]
    assert made.control.parked() == []
