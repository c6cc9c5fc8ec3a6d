"""A message that the engine cannot handle parks its address, after each start again."""

from __future__ import annotations

import sqlite3
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask.embedded import events
from statefun_flask.embedded import InProcess
from statefun_flask.embedded import LocalRoutes
from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded.errors import StepFailedError
from statefun_flask.embedded.store.transaction import Transaction
from statefun_flask.values.egress import PLAYGROUND
from statefun_flask.values.message import Message


class Unreadable(Exception):
    """An exception that has no text."""

    def __str__(self) -> str:
        raise ZeroDivisionError


def raising(exc: Exception) -> t.Any:
    def function(batch: t.Any) -> None:
        raise exc

    return function


FAULTS: dict[str, tuple[t.Any, tuple[t.Any, ...], str]] = {
    "surrogate": (
        lambda reply: raising(ValueError("file \udcff name")),
        (),
        "ValueError: file \\udcff name",
    ),
    "unreadable": (
        lambda reply: raising(Unreadable()),
        (),
        "Unreadable: <its text cannot be read: ZeroDivisionError>",
    ),
    "long": (lambda reply: raising(ValueError("x" * 100_000)), (), "ValueError: xxx"),
    "topic": (
        lambda reply: (
            lambda batch: reply().egress("ns/out", b'{"topic": {}, "payload": "x"}', PLAYGROUND)
        ),
        (),
        "Make it with 'playground_record'",
    ),
    "delay": (
        lambda reply: lambda batch: reply().later(2**63 - 1, "ns/fn", "1"),
        (),
        "Use a delay of at most",
    ),
    "expiration": (
        lambda reply: lambda batch: reply().put("n", b"1"),
        (("n", "a/t", 1, 2**63 - 1),),
        "or no expiration",
    ),
    "size": (
        lambda reply: lambda batch: reply().egress("ns/out", b"x" * 400_000),
        (),
        "Make it smaller",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_message_that_no_commit_could_write_parks_its_address_at_every_start(
    script: t.Any, bench: t.Any, reply: t.Any, tmp_path: t.Any, fault: str
) -> None:
    function, states, reason = FAULTS[fault]
    script.add("ns/fn", function(reply), *states)
    script.add("ns/other", lambda batch: None)

    def start() -> t.Any:
        made = bench(SqliteStore(tmp_path / "data"))
        made.engine.store.connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 300_000)
        return made

    made = start()
    made.send("ns/fn", "1", b"poison", b"behind")
    made.engine.close()  # the message is on disk, and was not handled
    made = start()
    for restart in range(3):
        made.run("ns/other", str(restart))
        assert made.delivered("ns/other", str(restart)) == [b""]
        assert reason in made.error()
        assert len(made.error()) <= 10_000
        made.engine.close()
        made = start()
        made.control.retry(Address("ns/fn", "1"))
        made.run()
        assert reason in made.error()
    (dropped,) = made.control.drop(Address("ns/fn", "1"))
    assert dropped.message.value == b"poison"
    made.run()
    (waiting,) = made.control.parked()
    assert waiting.envelope.message.value == b"behind"


class FaultyRoutes(LocalRoutes):
    """Routes with a bug in one egress and in the lookup of one function."""

    faulty = True

    def egress(self, identifier: str) -> t.Any:
        if self.faulty and identifier == "ns/faulty":
            raise ZeroDivisionError("a bug")
        return super().egress(identifier)


def test_unforeseen_exception_in_a_step_parks_and_leaves_nothing_of_the_step(
    script: t.Any, bench: t.Any, reply: t.Any, tmp_path: t.Any
) -> None:
    def function(batch: t.Any) -> t.Any:
        answered = reply().put("n", b"1").send("ns/other", "sent").later(5, "ns/other", "later")
        return answered.egress("ns/out", b"one").egress("ns/faulty", b"two")

    script.add("ns/fn", function, ("n", "a/t"))
    script.add("ns/other", lambda batch: reply().egress("ns/out", b"other"))
    routes = FaultyRoutes(InProcess(script), script.functions)
    made = bench(SqliteStore(tmp_path / "data"), routes=routes)
    made.run("ns/fn", "1", b"bad")
    made.run("ns/other", "1")
    expected = (
        "The engine failed at the request or the reply of 'ns/fn' for id '1' (ZeroDivisionError: a"
        " bug). Correct the function or drop the message, and report the traceback."
    )
    assert made.error() == expected
    (failed,) = made.told(events.Failed)
    assert isinstance(failed.error, StepFailedError)
    assert isinstance(failed.error.__cause__, ZeroDivisionError)
    made.engine.close()

    made = bench(SqliteStore(tmp_path / "data"), routes=routes)
    made.run()
    assert made.error() == expected
    assert made.state("ns/fn", "1") == {}
    assert made.control.delays() == []
    assert made.delivered("ns/other", "sent") == []
    assert [(each.seq, each.value) for each in made.control.egress("ns/out")] == [(1, b"other")]
    routes.faulty = False
    made.control.retry(Address("ns/fn", "1"))
    made.run()
    assert [each.seq for each in made.control.egress("ns/out")] == [1, 2, 4]
    assert made.state("ns/fn", "1") == {"n": b"1"}


def test_unforeseen_exception_while_a_request_is_made_parks(
    script: t.Any, bench: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from statefun_flask.embedded.exchange import request

    script.add("ns/fn", lambda batch: None)
    write = request.write

    def faulty(address: Address, *rest: t.Any) -> bytes:
        if address.id == "bad":
            raise MemoryError
        return write(address, *rest)

    monkeypatch.setattr(request, "write", faulty)
    made = bench()
    made.send("ns/fn", "bad", b"1", b"2")
    made.send("ns/fn", "good", b"1")
    made.run()
    assert made.delivered("ns/fn", "good") == [b"1"]
    assert "(MemoryError: )" in made.error()
    assert made.engine.status().in_flight == 0
    monkeypatch.undo()
    made.control.retry(Address("ns/fn", "bad"))
    made.run()
    assert made.delivered("ns/fn", "bad") == [b"1", b"2"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (Address("ns/fn", "1"), Message("a/\udcff", b"x")),
        (Address("ns/fn", "1"), Message("a/t", b"x" * 100_000)),
        (Address("ns/fn", "x" * 100_000), Message("a/t", b"x")),
    ],
)
def test_message_from_outside_that_cannot_be_stored_is_refused(
    script: t.Any, bench: t.Any, address: Address, message: Message
) -> None:
    script.add("ns/fn", lambda batch: None)
    made = bench()
    made.engine.store.largest = 34464
    with pytest.raises(ValueError, match=r"surrogates not allowed|can store 34464 bytes at most"):
        made.engine.submit(
            [(Address("ns/fn", "2"), Message("a/t", b"")), (address, message)]
        ).result()
    made.run("ns/fn", "3")
    assert [at for at, _, _ in script.calls] == ["ns/fn/3"]


def test_position_that_cannot_be_stored_is_refused(script: t.Any, bench: t.Any) -> None:
    script.add("ns/fn", lambda batch: None)
    made = bench()
    with pytest.raises(ValueError, match="surrogates not allowed"):
        made.engine.submit([], {"input:/a/\udcff": "1"}).result()
    made.run("ns/fn", "3")
    assert made.delivered("ns/fn", "3") == [b""]


def test_body_that_cannot_be_stored_does_not_replace_a_parked_message(
    script: t.Any, bench: t.Any
) -> None:
    script.add("ns/fn", raising(ValueError("no")))
    made = bench()
    made.run("ns/fn", "1", b"bad")
    made.engine.store.largest = 34464
    with pytest.raises(ValueError, match="can store 34464 bytes at most"):
        made.control.replace(Address("ns/fn", "1"), Message("a/t", b"x" * 100_000))
    (waiting,) = made.control.parked()
    assert waiting.envelope.message.value == b"bad"


def test_commit_that_fails_is_rolled_back_and_tried_again(tmp_path: t.Any) -> None:
    store = SqliteStore(tmp_path / "data")
    transaction = Transaction(store)
    transaction.set_cursor("reader", 2**63)
    with pytest.raises(OverflowError):
        transaction.commit()
    assert not store.connection.in_transaction
    transaction.set_cursor("reader", 7)
    transaction.commit()
    assert store.cursor("reader") == 7
    store.close()


def test_cancellations_within_a_reply_follow_its_order(
    script: t.Any, bench: t.Any, reply: t.Any
) -> None:
    """A cancelled delay may be one that was pending before, or one of the same answer."""

    def function(batch: t.Any) -> t.Any:
        if batch.values == [b"first"]:
            return reply().later(9, "ns/fn", "1", b"a", token="t")
        answered = reply().cancel("t").cancel("t").later(9, "ns/fn", "1", b"b", token="t")
        return answered.cancel("t").later(9, "ns/fn", "1", b"c", token="t").cancel("none")

    script.add("ns/fn", function)
    made = bench()
    made.run("ns/fn", "1", b"first")
    made.run("ns/fn", "1", b"second")
    assert [each.message.value for each in made.control.delays()] == [b"c"]
    (*_, last) = made.told(events.Invocation)
    assert [each.message.value for each in last.cancelled] == [b"a", b"b"]
