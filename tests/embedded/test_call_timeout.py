"""Functions in this process that take long, or never return."""

from __future__ import annotations

import collections.abc as cabc
import logging
import pathlib
import re
import threading
import typing as t

import pytest
from waiting import wait_for

from statefun_flask import Address
from statefun_flask.embedded import Control
from statefun_flask.embedded import Engine
from statefun_flask.embedded import InProcess
from statefun_flask.embedded import LocalRoutes
from statefun_flask.embedded import RealClock
from statefun_flask.embedded.addresses.mailbox import Mailbox
from statefun_flask.embedded.endpoints import pool
from statefun_flask.embedded.errors import CallTimeoutError
from statefun_flask.values.message import Message

TEXT = re.compile(
    r"'ns/fn' did not return for id '(\w+)' within 0\.3 s \(it was at (.*):\d+ in (\w+)\)\. Correct"
    r" the function, or allow more time with --call-timeout\. Its thread still runs if it is"
    r" blocked, and what it returns is ignored\."
)


class Blocking:
    """A function that returns for ids that begin with ``stuck`` when a test says so."""

    def __init__(self, script: t.Any, reply: t.Any) -> None:
        self.go_on = threading.Event()
        self.returned: list[str] = []
        self._reply = reply
        script.add("ns/fn", self._call, ("seen", "a/t"))

    def _call(self, batch: t.Any) -> t.Any:
        if batch.id.startswith("stuck"):
            self.go_on.wait(20)
        self.returned.append(batch.id)
        return self._reply().put("seen", b"1")


@pytest.fixture
def blocking(script: t.Any, reply: t.Any) -> Blocking:
    return Blocking(script, reply)


@pytest.fixture
def make(script: t.Any, blocking: Blocking) -> cabc.Iterator[cabc.Callable[..., Engine]]:
    made: list[Engine] = []

    def start(endpoint: t.Any = None, timeout: float | None = 0.3) -> Engine:
        routes = LocalRoutes(endpoint or InProcess(script), script.functions)
        made.append(Engine(routes, concurrency=2, call_timeout=timeout))
        made[-1].start()
        return made[-1]

    yield start
    blocking.go_on.set()
    for engine in made:
        engine.close()


def send(engine: Engine, *ids: str) -> None:
    engine.submit([(Address("ns/fn", id), Message("a/t", b"x")) for id in ids]).result(10)


def until(condition: cabc.Callable[[], t.Any]) -> None:
    wait_for(condition, "the engine", 20)


def test_functions_that_block_all_threads_stop_no_others(make: t.Any, blocking: Blocking) -> None:
    engine = make()
    control = Control(engine)
    send(engine, "stuck1", "stuck2", "stuck3", "ann")
    engine.wait_idle(20)
    assert blocking.returned == ["ann"]
    parked = {each.parked.address.id: each.parked.error for each in control.parked()}
    assert set(parked) == {"stuck1", "stuck2", "stuck3"}
    for id, text in parked.items():
        found = TEXT.fullmatch(text)
        assert found is not None, text
        assert found.groups() == (id, str(pathlib.Path(__file__)), "_call")

    blocking.go_on.set()
    until(lambda: len(blocking.returned) == 4)
    engine.wait_idle(20)
    assert control.state("ns/fn/stuck1") == {}, "what it returned is ignored"
    control.retry("ns/fn/stuck1")
    engine.wait_idle(20)
    assert control.state("ns/fn/stuck1")["seen"].value == b"1"
    assert {each.parked.address.id for each in control.parked()} == {"stuck2", "stuck3"}


def test_a_replaced_thread_ends_when_its_function_returns(make: t.Any, blocking: Blocking) -> None:
    engine = make()
    before = set(threading.enumerate())
    send(engine, "stuck")
    engine.wait_idle(20)
    blocking.go_on.set()
    until(lambda: len([each for each in before if each.is_alive()]) < len(before))
    send(engine, "ann", "bob")
    engine.wait_idle(20)
    assert sorted(blocking.returned) == ["ann", "bob", "stuck"]


def test_a_slow_call_is_reported_once_with_its_line(
    make: t.Any,
    blocking: Blocking,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "SLOW", 0.1)
    engine = make(timeout=None)
    assert engine.status().slow == ()
    with caplog.at_level(logging.WARNING):
        send(engine, "stuck\x1b")
        until(lambda: caplog.messages)
    found = re.fullmatch(
        r"'ns/fn' has not returned for id 'stuck\\x1b' in 0 s: it is at (.*):\d+ in _call\.",
        caplog.messages[0],
    )
    assert found is not None, caplog.messages
    (slow,) = engine.status().slow
    assert slow[:2] == ("ns/fn", "stuck\x1b")
    assert 0.1 <= slow.seconds < 20
    assert slow.where.endswith("in _call")
    until(lambda: engine.status().slow[0].seconds > 0.3)
    assert len(caplog.messages) == 1
    blocking.go_on.set()
    engine.wait_idle(20)
    assert engine.status().slow == ()


def test_what_a_function_returns_late_is_no_outcome(blocking: Blocking) -> None:
    def call(body: bytes) -> bytes:
        blocking.go_on.wait(20)
        return b"late"

    done: list[pool.Call] = []
    calls = pool.CallPool(1, done.append, 0.1)
    address = Address("ns/fn", "bob")
    late = pool.Call(address, InProcess(call), Mailbox(address), [], {}, b"", RealClock())
    calls.put(late)
    until(lambda: done)
    blocking.go_on.set()
    until(lambda: late.outcome == b"late")
    calls.close(10)
    assert [type(each.outcome) for each in done] == [CallTimeoutError]


def test_a_call_that_ends_while_it_is_looked_at_is_answered_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worker is at the next call by then, which must not be taken for the one before."""
    first, second, looked = threading.Event(), threading.Event(), threading.Event()
    real = pool.line_of

    def look(thread: threading.Thread) -> str:
        first.set()
        until(lambda: len(done) == 1)
        looked.set()
        return real(thread)

    monkeypatch.setattr(pool, "line_of", look)
    done: list[pool.Call] = []
    calls = pool.CallPool(1, done.append, 0.1)
    for event in (first, second):
        address = Address("ns/fn", "bob")
        endpoint = InProcess(lambda body, event=event: b"x" if event.wait(20) else b"")
        calls.put(pool.Call(address, endpoint, Mailbox(address), [], {}, b"", RealClock()))
    assert looked.wait(20)
    second.set()
    until(lambda: len(done) >= 2)
    calls.close(10)
    assert len(done) == 2
    assert done[0].outcome == b"x"


class Elsewhere:
    """An endpoint with a time limit of its own."""

    name, tries, batch = "elsewhere", 3, 1000

    def __init__(self, script: t.Any) -> None:
        self._script = script

    def __call__(self, body: bytes) -> bytes:
        reply: bytes = self._script(body)
        return reply


def test_the_limit_is_for_functions_in_this_process(
    make: t.Any, script: t.Any, blocking: Blocking
) -> None:
    engine = make(Elsewhere(script), timeout=0.05)
    send(engine, "stuck")
    with pytest.raises(TimeoutError):
        engine.wait_idle(0.4)
    blocking.go_on.set()
    engine.wait_idle(20)
    assert Control(engine).parked() == []
    assert blocking.returned == ["stuck"]
