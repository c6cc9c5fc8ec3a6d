"""What is kept in memory is bounded by bytes, measured: many large things, and small bounds."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import gc
import pathlib
import socket
import threading
import tracemalloc
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import Message
from statefun_flask import StateFunFlask
from statefun_flask import ValueSpec
from statefun_flask.dev import history as histories
from statefun_flask.embedded import backpressure
from statefun_flask.embedded.store import transaction as transactions

KIB, MIB = 1 << 10, 1 << 20

#: The bound of each memory in these tests, how large a thing is, and how many there are: 12 MB.
BOUND, SIZE, COUNT = MIB, 100 * KIB, 120

TEXT = ValueSpec("text", str)


@pytest.fixture
def app() -> StateFunFlask:
    app = StateFunFlask("memory")

    @app.statefun("mem/state", states=[TEXT])
    def state(context: Context, size: int) -> Effects:
        return Effects().update_state(TEXT, context.self_address.id[:1] * size)

    @app.statefun("mem/fail")
    def fail(context: Context, size: int) -> Effects:
        large = bytes(size)
        raise ValueError(f"{len(large)} bytes are not wanted")

    @app.statefun("mem/take")
    def take(context: Context, text: str) -> Effects:
        return Effects()

    return app


@pytest.fixture(autouse=True)
def _bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "MAX_BYTES", BOUND)
    monkeypatch.setattr(histories, "SUBSCRIPTION_BYTES", BOUND)
    monkeypatch.setattr(transactions, "CACHED_BYTES", BOUND)
    monkeypatch.setattr(backpressure, "BYTES", BOUND)


@contextlib.contextmanager
def measured() -> cabc.Iterator[cabc.Callable[[], int]]:
    """Return a function that gives how many bytes of Python's memory came since the start."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]

        def growth() -> int:
            gc.collect()
            return tracemalloc.get_traced_memory()[0] - before

        yield growth
    finally:
        tracemalloc.stop()


def send(client: t.Any, type: str, value: t.Any, ids: cabc.Iterable[t.Any]) -> None:
    engine = client.session.engine
    message = client.session.codec.message(type, str(value).encode(), None)
    for id in ids:
        engine.send(Address(type, str(id)), Message(message.typename, message.value[:]))
    engine.wait_idle(20)


def test_states_on_disk_do_not_stay_in_memory(
    start: cabc.Callable[..., t.Any], app: StateFunFlask, tmp_path: pathlib.Path
) -> None:
    client = start(app, data=str(tmp_path / "data"))
    with measured() as growth:
        send(client, "mem/state", SIZE, range(COUNT))
        assert growth() < 4 * BOUND
        # Reading them does not fill the memory either.
        for id in range(COUNT):
            assert client.session.control.state(f"mem/state/{id}")
        send(client, "mem/take", "x", [1])
        assert growth() < 4 * BOUND


def test_failed_calls_do_not_keep_what_their_functions_had(
    start: cabc.Callable[..., t.Any], app: StateFunFlask
) -> None:
    client = start(app)
    with measured() as growth:
        send(client, "mem/fail", SIZE, range(COUNT))
        assert client.get("/-/status")["parked"] == COUNT
        assert growth() < 4 * BOUND


def test_events_of_large_messages_and_a_reader_that_does_not_read(
    start: cabc.Callable[..., t.Any], app: StateFunFlask
) -> None:
    client = start(app)
    with socket.create_connection(client.session.server.address) as reader:
        reader.sendall(b"GET /-/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert reader.recv(12) == b"HTTP/1.1 200"
        with measured() as growth:
            for id in range(COUNT):
                send(client, "mem/take", "x" * SIZE, [id])
            # The history, the subscription, and what the server has in JSON.
            assert growth() < 8 * BOUND


def test_messages_that_wait(start: cabc.Callable[..., t.Any], tmp_path: pathlib.Path) -> None:
    app = StateFunFlask("held")
    held = threading.Event()

    @app.statefun("mem/held")
    def hold(context: Context, text: str) -> Effects:
        held.wait(20)
        return Effects()

    client = start(app, data=str(tmp_path / "data"))
    statuses = []
    with measured() as growth:
        for id in range(COUNT):
            statuses.append(client.request("PUT", f"/mem/held/{id}", "x" * SIZE).status)
        assert set(statuses) == {200, 503}
        assert growth() < 4 * BOUND
    held.set()
