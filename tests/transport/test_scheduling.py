from __future__ import annotations

import os
import threading

import pytest

from statefun_flask.transport.scheduling import batch_scheduling
from statefun_flask.transport.scheduling import use_batch_scheduling


def test_the_calling_thread_and_those_that_it_starts_are_meant() -> None:
    if not hasattr(os, "SCHED_BATCH"):
        pytest.skip("Linux alone has this policy")
    policies: list[int] = []

    def note() -> None:
        policies.append(os.sched_getscheduler(0))

    def serve() -> None:
        use_batch_scheduling()
        note()
        started = threading.Thread(target=note)
        started.start()
        started.join()

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()

    assert policies == [os.SCHED_BATCH, os.SCHED_BATCH]
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


@pytest.mark.parametrize("lacking", ["SCHED_BATCH", "permission"])
def test_where_the_policy_cannot_be_set_nothing_happens(
    lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError

    monkeypatch.delattr(os, "SCHED_BATCH", raising=False)
    if lacking == "permission":
        monkeypatch.setattr(os, "SCHED_BATCH", 3, raising=False)
        monkeypatch.setattr(os, "SCHED_OTHER", 0, raising=False)
        monkeypatch.setattr(os, "sched_getscheduler", lambda pid: 0, raising=False)
        monkeypatch.setattr(os, "sched_param", lambda priority: priority, raising=False)
        monkeypatch.setattr(os, "sched_setscheduler", refuse, raising=False)

    use_batch_scheduling()


def test_a_thread_has_its_own_policy_afterwards() -> None:
    if not hasattr(os, "SCHED_BATCH"):
        pytest.skip("Linux alone has this policy")
    with batch_scheduling():
        assert os.sched_getscheduler(0) == os.SCHED_BATCH
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
