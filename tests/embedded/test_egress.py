"""The sink of an egress gets each record in order, and unacknowledged ones after a restart."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from statefun_flask.embedded import egress
from statefun_flask.embedded import EgressRecord
from statefun_flask.embedded import SqliteStore


class ListSink:
    """A sink that keeps the offered records."""

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
def writer(script: t.Any, reply: t.Any) -> None:
    """A function that writes each message to ``t/out`` and to ``t/other``."""

    def write(batch: t.Any) -> t.Any:
        result = reply()
        for value in batch.values:
            result.egress("t/out", value).egress("t/other", value)
        return result

    script.add("t/write", write)


@pytest.mark.usefixtures("writer")
def test_a_sink_gets_the_records_of_its_egress_once_and_in_order(bench: t.Any) -> None:
    made, sink = bench(), ListSink()
    made.engine.attach("t/out", sink)
    made.run("t/write", "1", b"a", b"b")
    made.run("t/write", "2", b"c")
    assert [record.value for records in sink.offers for record in records] == [b"a", b"b", b"c"]
    assert sink.numbers == [1, 3, 5]


@pytest.mark.usefixtures("writer")
def test_records_are_pending_until_they_are_acknowledged(bench: t.Any) -> None:
    made, sink = bench(), ListSink()
    made.engine.attach("t/out", sink)
    assert not made.engine.status().undelivered
    made.run("t/write", "1", b"a", b"b")
    for seq, pending in ((1, True), (3, False)):
        made.engine.acknowledge("t/out", seq)
        made.run()
        assert made.engine.status().undelivered is pending


@pytest.mark.usefixtures("writer")
def test_unacknowledged_records_are_offered_after_a_restart(
    bench: t.Any, tmp_path: pathlib.Path
) -> None:
    made = bench(SqliteStore(tmp_path))
    made.engine.attach("t/out", ListSink())
    made.run("t/write", "1", b"a", b"b", b"c")
    made.engine.acknowledge("t/out", 3)
    made.engine.close()

    made, sink = bench(SqliteStore(tmp_path)), ListSink()
    made.engine.attach("t/out", sink)
    assert sink.numbers == [5]
    made.run("t/write", "1", b"d")
    assert sink.numbers == [5, 7]


@pytest.mark.usefixtures("writer")
@pytest.mark.parametrize(("bound", "limit"), [("AHEAD", 4), ("AHEAD_BYTES", 400)])
def test_a_slow_sink_gets_no_more_than_it_can_hold(
    bench: t.Any, monkeypatch: pytest.MonkeyPatch, bound: str, limit: int
) -> None:
    monkeypatch.setattr(egress, bound, limit)
    made, sink = bench(), ListSink()
    made.engine.attach("t/out", sink)
    for number in range(20):
        made.run("t/write", str(number), b"x" * 100)
    assert sink.numbers == [1, 3, 5, 7]
    while len(sink.numbers) < 20:
        made.engine.acknowledge("t/out", sink.numbers[-1])
        made.run()
    assert sink.numbers == list(range(1, 40, 2))


@pytest.mark.usefixtures("writer")
def test_a_slow_sink_gets_no_more_bytes_than_it_can_hold(
    bench: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress, "AHEAD_BYTES", 250)
    made, sink = bench(), ListSink()
    made.engine.attach("t/out", sink)
    for number in range(6):
        made.run("t/write", str(number), b"x" * 100)
    assert sink.numbers == [1, 3, 5]
    made.engine.acknowledge("t/out", 3)
    made.run()
    assert sink.numbers == [1, 3, 5, 7, 9, 11]


@pytest.mark.usefixtures("writer")
def test_the_sink_is_closed_with_the_engine(bench: t.Any) -> None:
    made, sink = bench(), ListSink()
    made.engine.attach("t/out", sink)
    made.engine.close(0.5)
    assert sink.closed == 0.5
