"""Receivers of one egress: each record once, in order, and again what was not acknowledged."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from statefun_flask.embedded import courier
from statefun_flask.embedded import EgressRecord
from statefun_flask.embedded import Store
from statefun_flask.embedded.store import store as stores


class Receiver:
    """Keeps what it is offered."""

    def __init__(self) -> None:
        self.offers: list[list[EgressRecord]] = []
        self.closed: float | None = None

    def offer(self, records: list[EgressRecord]) -> None:
        self.offers.append(records)

    def close(self, timeout: float) -> None:
        self.closed = timeout

    @property
    def numbers(self) -> list[int]:
        return [record.seq for records in self.offers for record in records]


@pytest.fixture
def writer(script: t.Any, answer: t.Any) -> None:
    """A function that writes each message to ``t/out`` and to ``t/other``."""

    def write(batch: t.Any) -> t.Any:
        result = answer()
        for value in batch.values:
            result.egress("t/out", value).egress("t/other", value)
        return result

    script.add("t/write", write)


def drain(made: t.Any) -> None:
    """Have the engine take its acknowledgements; one without a loop does so when it is closed."""
    while not made.engine._inbox.empty():
        made.engine._inbox.get_nowait()()
    made.engine.run_until_idle()


@pytest.mark.usefixtures("writer")
def test_a_receiver_gets_the_records_of_its_egress_once_and_in_order(bench: t.Any) -> None:
    made, receiver = bench(), Receiver()
    made.engine.attach("t/out", receiver)
    made.run("t/write", "1", b"a", b"b")
    made.run("t/write", "2", b"c")
    assert [record.value for records in receiver.offers for record in records] == [b"a", b"b", b"c"]
    assert receiver.numbers == [1, 3, 5]


@pytest.mark.usefixtures("writer")
def test_records_are_pending_until_they_are_acknowledged(bench: t.Any) -> None:
    made, receiver = bench(), Receiver()
    made.engine.attach("t/out", receiver)
    assert not made.engine.status().undelivered
    made.run("t/write", "1", b"a", b"b")
    for seq, pending in ((1, True), (3, False)):
        made.engine.acknowledge("t/out", seq)
        drain(made)
        assert made.engine.status().undelivered is pending


@pytest.mark.usefixtures("writer")
def test_what_was_not_acknowledged_is_offered_after_a_restart(
    bench: t.Any, tmp_path: pathlib.Path
) -> None:
    made = bench(Store(tmp_path))
    made.engine.attach("t/out", Receiver())
    made.run("t/write", "1", b"a", b"b", b"c")
    made.engine.acknowledge("t/out", 3)
    made.engine.close()

    made, receiver = bench(Store(tmp_path)), Receiver()
    made.engine.attach("t/out", receiver)
    assert receiver.numbers == [5]
    made.run("t/write", "1", b"d")
    assert receiver.numbers == [5, 7]


@pytest.mark.usefixtures("writer")
def test_a_slow_receiver_gets_no_more_than_it_can_hold(
    bench: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "AHEAD", 4)
    made, receiver = bench(), Receiver()
    made.engine.attach("t/out", receiver)
    for number in range(20):
        made.run("t/write", str(number), b"x")
    assert receiver.numbers == [1, 3, 5, 7]
    while len(receiver.numbers) < 20:
        made.engine.acknowledge("t/out", receiver.numbers[-1])
        drain(made)
    assert receiver.numbers == list(range(1, 40, 2))


@pytest.mark.usefixtures("writer")
def test_old_acknowledged_records_are_deleted_and_others_kept(
    bench: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "KEPT_RECORDS", 10)
    monkeypatch.setattr(courier, "TIDY", 20)
    made, receiver = bench(), Receiver()
    made.engine.attach("t/out", receiver)
    for number in range(60):
        made.run("t/write", str(number), b"x")
        made.engine.acknowledge("t/out", receiver.numbers[-1])
        drain(made)
    assert 10 <= len(made.control.egress("t/out")) <= 21
    assert len(made.control.egress("t/other")) == 60


@pytest.mark.usefixtures("writer")
def test_the_receiver_is_closed_with_the_engine(bench: t.Any) -> None:
    made, receiver = bench(), Receiver()
    made.engine.attach("t/out", receiver)
    made.engine.close(0.5)
    assert receiver.closed == 0.5


def test_deliver_and_receivers_exclude_each_other(bench: t.Any) -> None:
    made = bench(deliver=len)
    with pytest.raises(ValueError, match="cannot have a receiver") as caught:
        made.engine.attach("t/out", Receiver())
    assert str(caught.value) == (
        "The egress 't/out' cannot have a receiver beside 'deliver', which gets all records."
        " Leave one of them out."
    )
