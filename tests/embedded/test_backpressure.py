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


def fill(engine: Engine, number: int, size: int = 0) -> None:
    first = engine.queued
    addresses = [Address("test/fn", str(first + id)) for id in range(number)]
    engine.submit([(each, Message("test/x", bytes(size))) for each in addresses])


def has_room(pressed: Backpressure, size: int) -> bool:
    with pressed.room(size) as found:
        return found


def test_reading_stops_above_a_limit_and_continues_below_four_fifths_of_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backpressure, "MESSAGES", 10)
    pressed = Backpressure(engine)
    with engine:
        fill(engine, 10)
        assert wait(engine, pressed) == []
        fill(engine, 1)
        assert not has_room(pressed, 0)
        assert wait(engine, pressed) == [11, 10, 9]
        assert has_room(pressed, 0)


def test_large_messages_take_more_room(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backpressure, "BYTES", 1000)
    pressed = Backpressure(engine)
    with engine:
        fill(engine, 5, 200)
        assert wait(engine, pressed) == []
        fill(engine, 1, 1)  # a small message behind large ones
        assert engine.queued_bytes == 1001
        assert wait(engine, pressed) == [6, 5]
        assert engine.queued_bytes == 601
        assert has_room(pressed, 399)
        assert not has_room(pressed, 400)


def test_a_message_larger_than_all_that_may_wait_has_room_while_nothing_waits(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backpressure, "BYTES", 1000)
    pressed = Backpressure(engine)
    with engine:
        assert has_room(pressed, 5000)
        fill(engine, 1, 5000)
        assert not has_room(pressed, 5000)
        assert wait(engine, pressed) == [1]


def test_room_is_kept_for_messages_that_are_being_sent(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backpressure, "BYTES", 1000)
    pressed = Backpressure(engine)
    with engine:
        with pressed.room(600) as first, pressed.room(600) as second:
            assert (first, second) == (True, False)
            assert not has_room(pressed, 600)
            assert has_room(pressed, 400)
        assert has_room(pressed, 600)


def test_a_stop_ends_the_wait(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backpressure, "MESSAGES", 1)
    stopping = threading.Event()
    with engine:
        fill(engine, 5)
        Backpressure(engine).wait(stopping, stopping.set)
        assert engine.queued == 5
