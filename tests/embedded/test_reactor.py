"""Waiting for sockets and for other threads at once."""

from __future__ import annotations

import collections.abc as cabc
import queue
import selectors
import socket
import threading
import time
import typing as t

import pytest

from statefun_flask.embedded.reactor import Reactor


@pytest.fixture
def reactor() -> cabc.Iterator[Reactor]:
    made = Reactor()
    made.open()
    yield made
    made.close()


def test_item_ends_the_wait_from_another_thread(reactor: Reactor) -> None:
    inbox: queue.SimpleQueue[int] = queue.SimpleQueue()
    came = threading.Event()

    def put() -> None:
        for number in range(200):
            inbox.put(number)
            reactor.wake()
            assert came.wait(10)
            came.clear()

    thread = threading.Thread(target=put)
    thread.start()
    started = time.monotonic()
    for number in range(200):
        while inbox.empty():
            reactor.wait(30.0, inbox)
        assert inbox.get() == number
        came.set()
    thread.join()
    assert time.monotonic() - started < 20  # no wait was missed, of which each takes 30 s


def test_it_does_not_wait_while_the_inbox_has_items(reactor: Reactor) -> None:
    inbox: queue.SimpleQueue[int] = queue.SimpleQueue()
    inbox.put(1)
    started = time.monotonic()
    reactor.wait(30.0, inbox)
    assert time.monotonic() - started < 10


def test_socket_that_is_ready_has_its_function_called(reactor: Reactor) -> None:
    inbox: queue.SimpleQueue[t.Any] = queue.SimpleQueue()
    came: list[int] = []
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reactor.watch(ours, selectors.EVENT_READ, came.append)
        reactor.wait(0.0, inbox)
        assert came == []
        theirs.send(b"x")
        reactor.wait(30.0, inbox)
        reactor.change(ours, selectors.EVENT_WRITE, came.append)
        reactor.wait(30.0, inbox)
        assert came == [selectors.EVENT_READ, selectors.EVENT_WRITE]
        reactor.forget(ours)
        reactor.wait(0.01, inbox)
        assert len(came) == 2


def test_wake_has_no_effect_before_and_after_the_life_of_a_reactor() -> None:
    reactor = Reactor()
    reactor.wake()
    reactor.open()
    reactor.close()
    reactor.wake()
    reactor.close()
