from __future__ import annotations

import queue

import pytest

from statefun_flask import Address
from statefun_flask import Message
from statefun_flask.dev import history as module
from statefun_flask.dev.history import History
from statefun_flask.embedded import events
from statefun_flask.embedded.records import EgressRecord
from statefun_flask.embedded.records import Envelope


def retried(trace: int) -> events.Retried:
    return events.Retried(at=0, trace=trace, address=Address("a/b", "c"), replaced=False)


def test_events_of_one_cause_in_their_order() -> None:
    history = History()
    told = [retried(1), retried(2), events.Writable(at=0), retried(1)]
    for event in told:
        history.add(event)
    assert history.of(1) == [told[0], told[3]]
    assert history.of(3) == []


def test_the_last_events_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 3)
    history = History()
    for trace in range(5):
        history.add(retried(trace))
    assert [bool(history.of(trace)) for trace in range(5)] == [False, False, True, True, True]


def invocation(trace: int, *sizes: int) -> events.Invocation:
    to = Address("a/b", "c")
    return events.Invocation(
        at=0,
        trace=trace,
        address=to,
        batch=[Envelope(1, trace, to, None, Message("x/y", b"x" * size)) for size in sizes],
        duration=0.0,
        changes=[],
        sends=[],
        delays=[],
        cancelled=[],
        records=[EgressRecord(1, trace, "a/out", "t", None, b"x" * size, "x/y") for size in sizes],
    )


def test_large_events_leave_room_for_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SIZE", 20_000)
    history = History()
    for trace in range(6):
        history.add(invocation(trace, 3000))
    assert [trace for trace in range(6) if history.of(trace)] == [4, 5]
    history.add(invocation(6, *[10] * 15))
    assert [trace for trace in range(7) if history.of(trace)] == [5, 6]
    history.add(invocation(7, 100_000))
    assert [trace for trace in range(8) if history.of(trace)] == [7], "the last one is kept"
    history.add(invocation(8, 10))
    assert [trace for trace in range(9) if history.of(trace)] == [8]


def test_a_follower_gets_what_comes_from_now_on_and_the_end() -> None:
    history = History()
    history.add(retried(1))
    with history.follow() as follower:
        history.add(retried(2))
        history.close()
        assert follower.get_nowait() == retried(2)
        assert follower.get_nowait() is None
    history.add(retried(3))
    with pytest.raises(queue.Empty):
        follower.get_nowait()


def test_a_slow_follower_misses_the_oldest_and_still_gets_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BEHIND", 3)
    history = History()
    with history.follow() as follower:
        for trace in range(5):
            history.add(retried(trace))
        history.close()
        found = [follower.get_nowait() for _ in range(3)]
    assert found == [retried(3), retried(4), None]


def test_who_follows_after_the_end_gets_the_end() -> None:
    history = History()
    history.close()
    with history.follow() as follower:
        assert follower.get_nowait() is None
