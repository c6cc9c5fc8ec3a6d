from __future__ import annotations

import collections.abc as cabc
import threading

import pytest

from statefun_flask import Address
from statefun_flask import Message
from statefun_flask.dev import history as module
from statefun_flask.dev.history import History
from statefun_flask.embedded import events
from statefun_flask.embedded.records import Delay
from statefun_flask.embedded.records import EgressRecord
from statefun_flask.embedded.records import Envelope

TO = Address("a/b", "c")


def retried(trace: int) -> events.Retried:
    return events.Retried(at=0, trace=trace, address=TO, replaced=False)


def message(size: int) -> Message:
    return Message("x/y", b"x" * size)


def invocation(
    trace: int,
    *sizes: int,
    changes: cabc.Sequence[events.Change] = (),
    delays: cabc.Sequence[Delay] = (),
) -> events.Invocation:
    return events.Invocation(
        at=0,
        trace=trace,
        address=TO,
        batch=[Envelope(1, trace, TO, None, message(size)) for size in sizes],
        duration=0.0,
        changes=list(changes),
        sends=[],
        delays=list(delays),
        cancelled=[],
        records=[EgressRecord(1, trace, "a/out", "t", None, b"x" * size, "x/y") for size in sizes],
    )


def test_events_of_one_trace_are_returned_in_their_order() -> None:
    history = History()
    added = [retried(1), retried(2), events.Writable(at=0), retried(1)]
    for event in added:
        history.add(event)
    assert history.of_trace(1) == [added[0], added[3]]
    assert history.of_trace(3) == []


def test_the_last_events_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EVENTS", 3)
    history = History()
    for trace in range(5):
        history.add(retried(trace))
    kept = [bool(history.of_trace(trace)) for trace in range(5)]
    assert kept == [False, False, True, True, True]


def test_large_events_leave_room_for_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 20_000)
    history = History()
    for trace in range(6):
        history.add(invocation(trace, 3000))
    assert [trace for trace in range(6) if history.of_trace(trace)] == [4, 5]
    history.add(invocation(7, 100_000))
    assert [trace for trace in range(8) if history.of_trace(trace)] == [7], "the last one is kept"
    history.add(invocation(8, 10))
    assert [trace for trace in range(9) if history.of_trace(trace)] == [8]


BIG = message(100_000)
ENVELOPE = Envelope(2, 1, TO, None, BIG)


@pytest.mark.parametrize(
    "event",
    [
        invocation(1, 10, changes=[("seen", None, BIG)]),
        invocation(1, 10, changes=[("seen", BIG, None)]),
        invocation(1, 10, 100_000),
        invocation(1, 10, delays=[Delay(1, 1, 1, TO, TO, BIG)]),
        events.Failed(
            at=0, trace=1, address=TO, batch=[ENVELOPE], error=OSError(), parked=True, waiting=0
        ),
        events.Dropped(at=0, trace=1, address=TO, envelope=ENVELOPE),
        events.Fired(at=0, trace=1, delay=Delay(1, 1, 1, TO, TO, BIG), seq=2),
    ],
)
def test_every_payload_of_an_event_counts(event: events.Event) -> None:
    history = History()
    for _ in range(500):
        history.add(event)
    assert 0 < history.size <= module.MAX_BYTES
    assert len(history.of_trace(1)) <= module.MAX_BYTES // 100_000


def test_a_subscriber_gets_the_events_from_now_on_and_the_end() -> None:
    history = History()
    history.add(retried(1))
    with history.subscribe() as subscription:
        history.add(retried(2))
        history.close()
        assert subscription.take() == (0, [retried(2)], True)
    history.add(retried(3))
    assert subscription.take(0) == (0, [], True)


def test_a_slow_subscriber_misses_the_oldest_events_and_learns_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SUBSCRIPTION_BYTES", 3 * module.size_of(retried(1)))
    history = History()
    with history.subscribe() as subscription:
        for trace in range(5):
            history.add(retried(trace))
        history.close()
        assert subscription.take() == (2, [retried(2), retried(3), retried(4)], True)


def test_a_subscription_after_the_end_is_closed() -> None:
    history = History()
    history.close()
    with history.subscribe() as subscription:
        assert subscription.take() == (0, [], True)


def test_a_watch_wakes_for_each_event_of_its_trace_alone() -> None:
    history = History()
    with history.watch(2) as watch:
        history.add(retried(1))
        assert not watch.wait(0)
        history.add(retried(2))
        assert watch.wait(0)
        assert not watch.wait(0)
        batch = invocation(1, 10)
        batch.batch[0] = Envelope(1, 2, TO, None, message(1))
        history.add(batch)
        assert watch.wait(0), "a message of a batch of another trace"


def test_the_end_wakes_a_watch() -> None:
    history = History()
    with history.watch(1) as watch:
        closer = threading.Thread(target=history.close)
        closer.start()
        assert watch.wait(10)
        assert watch.closed
        closer.join()


def test_pages_of_events_have_numbers_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EVENTS", 5)
    kept = History()
    for number in range(1, 9):
        kept.add(events.Retried(at=number, trace=number % 2, address=TO, replaced=False))
    assert [number for number, _ in kept.page(0, 10)] == [4, 5, 6, 7, 8]
    assert [(number, event.at) for number, event in kept.page(5, 2)] == [(6, 6), (7, 7)]
    assert [number for number, _ in kept.page(0, 10, trace=1)] == [5, 7]
    assert [number for number, _ in kept.page(5, 1, trace=1)] == [7]
    assert kept.page(8, 10) == []


def test_a_page_is_short_when_its_events_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_BYTES", 3000)
    kept = History()
    for number in range(3):
        kept.add(events.Cancelled(at=number, trace=1, delay=Delay(1, 1, 1, TO, TO, BIG)))
    assert [number for number, _ in kept.page(0, 10)] == [1], "one at least"
