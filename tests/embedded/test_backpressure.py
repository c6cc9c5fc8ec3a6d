from __future__ import annotations

import threading

import pytest

from statefun_flask import Address
from statefun_flask import Message
from statefun_flask.embedded import backpressure
from statefun_flask.embedded import Engine
from statefun_flask.embedded import InProcess
from statefun_flask.embedded import LocalRoutes
from statefun_flask.embedded import VirtualClock
from statefun_flask.embedded.backpressure import Backpressure


@pytest.fixture
def engine() -> Engine:
    """An engine that handles messages only when a test says so."""
    return Engine(LocalRoutes(InProcess(lambda body: b"\xa2\x06\x00")), clock=VirtualClock())


def wait(engine: Engine, pressed: Backpressure) -> list[int]:
    """Wait for room while one message is handled at a time; return the queue lengths."""
    waiting: list[int] = []

    def handle_one() -> None:
        waiting.append(engine.queued)
        engine.look(lambda core: core.dispatch())

    pressed.wait(threading.Event(), handle_one)
    return waiting


def messages(number: int, size: int) -> list[tuple[Address, Message]]:
    return [(Address("test/fn", str(id)), Message("test/x", bytes(size))) for id in range(number)]


def fill(engine: Engine, number: int) -> None:
    engine.submit(messages(number, 0))


def test_reading_stops_above_a_limit_and_continues_below_four_fifths_of_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backpressure, "MESSAGES", 10)
    pressed = Backpressure(engine)
    with engine:
        fill(engine, 10)
        assert wait(engine, pressed) == []
        fill(engine, 1)
        assert wait(engine, pressed) == [11, 10, 9]


def test_large_messages_take_more_room(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backpressure, "BYTES", 1000)
    pressed = Backpressure(engine)
    with engine:
        fill(engine, 6)
        assert wait(engine, pressed) == []
        pressed.sent(messages(4, 200))
        assert wait(engine, pressed) == [6, 5]
        pressed.sent(messages(4, 0))
        fill(engine, 100)
        assert wait(engine, pressed) == []


def test_a_message_larger_than_all_that_may_wait_is_waited_for(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backpressure, "BYTES", 1000)
    pressed = Backpressure(engine)
    with engine:
        fill(engine, 2)
        pressed.sent(messages(1, 5000))
        assert wait(engine, pressed) == [2, 1]


def test_a_stop_ends_the_wait(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backpressure, "MESSAGES", 1)
    stopping = threading.Event()
    with engine:
        fill(engine, 5)
        Backpressure(engine).wait(stopping, stopping.set)
        assert engine.queued == 5
