"""The worker goes away, and the engine fails: nothing is lost."""

from __future__ import annotations

import datetime as dt
import typing as t

import pytest

Suite: t.TypeAlias = t.Any


def test_messages_wait_for_a_worker_that_is_away(aftermath: Suite) -> None:
    assert aftermath.said("counting/one/worker", 2) == ["away 1", "away 2"]


@pytest.mark.parametrize("id", range(20))
def test_every_message_counts_once_and_in_order(aftermath: Suite, id: int) -> None:
    said = aftermath.said(f"counting/one/survivor-{id}", 20)
    assert said == [f"{'before' if number <= 10 else 'during'} {number}" for number in range(1, 21)]


def test_delays_survive_and_so_do_cancellations(aftermath: Suite) -> None:
    aftermath.said("surviving/delay/one", 2)
    aftermath.engine.advance(dt.timedelta(seconds=1))
    assert aftermath.said("surviving/delay/one", 2) == ["planned", "kept"]


def test_states_are_asked_for_again_and_have_their_values(aftermath: Suite) -> None:
    before = aftermath.calls("scripted/relearning/one", 4)[:2]
    after = aftermath.worker.calls["scripted/relearning/one"][-2:]
    assert [call.states for call in before] == [{}, {"value": None}]
    assert [call.values for call in after] == [[b"after"], [b"after"]]
    assert [call.states for call in after] == [{}, {"value": b"before"}]


def test_a_request_in_flight_is_repeated_with_the_state_from_before(aftermath: Suite) -> None:
    calls = aftermath.calls("scripted/replayed/one", 5)
    assert [(call.values, call.states) for call in calls[2:]] == [
        ([b"hold"], {"value": b"before"}),
        ([b"hold"], {}),
        ([b"hold"], {"value": b"before"}),
    ]
