"""Messages under an idempotency key, while the disk is full and when the engine ends."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import pathlib
import threading
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask import Message
from statefun_flask.dev import idempotency
from statefun_flask.dev import server
from statefun_flask.embedded import core as cores
from statefun_flask.embedded import SqliteStore
from statefun_flask.values.message import encode

BOB = Address("dev/words", "bob")
Sent: t.TypeAlias = concurrent.futures.Future[t.Any]

HELLO = Message(*encode("hello"))


@pytest.fixture
def full(
    start: cabc.Callable[..., t.Any],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    eventually: cabc.Callable[..., t.Any],
) -> t.Any:
    """A client of a session whose disk is full."""
    monkeypatch.setattr(cores, "DISK_DELAY", 20)
    client = start(data=str(tmp_path / "data"))
    engine = client.session.engine
    engine.look(lambda core: core.store.connection.execute("pragma max_page_count = 1"))
    engine.submit([], {"input": "x" * 1_000_000})
    eventually(lambda: engine.status().full)
    return client


def in_thread(act: cabc.Callable[..., t.Any], *args: t.Any, **named: t.Any) -> Sent:
    """Return the future of a call in a thread, which a test that fails leaves behind."""
    future: Sent = concurrent.futures.Future()

    def run() -> None:
        try:
            future.set_result(act(*args, **named))
        except BaseException as exc:
            future.set_exception(exc)

    threading.Thread(target=run, daemon=True).start()
    return future


def waiting(client: t.Any) -> int:
    """Return how many senders wait for the next commit."""
    count: int = client.session.engine.look(lambda core: len(core.committed))
    return count


def test_a_repeated_key_waits_for_the_first_message_while_the_disk_is_full(
    full: t.Any, eventually: cabc.Callable[..., t.Any]
) -> None:
    before = waiting(full)
    sent: list[Sent] = []

    def wait_or_answered() -> bool:
        return waiting(full) == before + len(sent) or any(each.done() for each in sent)

    for _ in range(2):
        sent.append(in_thread(full.put, "/dev/words/bob", "hello", Idempotency_Key="key"))
        eventually(wait_or_answered)
    assert not any(each.done() for each in sent)

    pages = "pragma max_page_count = 100000"
    full.session.engine.look(lambda core: core.store.connection.execute(pages))
    first, second = [each.result(10) for each in sent]
    assert first["trace"] == second["trace"]
    assert [first, second].count({"trace": first["trace"], "repeated": True}) == 1
    full.idle()
    assert full.get("/-/state/dev/words/bob") == {"seen": 1}


def test_senders_under_a_key_get_an_error_if_the_engine_ends_while_the_disk_is_full(
    full: t.Any, tmp_path: pathlib.Path, eventually: cabc.Callable[..., t.Any]
) -> None:
    engine = full.session.engine
    before = waiting(full)
    sent = [in_thread(idempotency.send, engine, BOB, HELLO, "key") for _ in range(2)]
    eventually(lambda: waiting(full) == before + 2 or any(each.done() for each in sent))
    assert not any(each.done() for each in sent)
    full.session.close()
    for each in sent:
        with pytest.raises(RuntimeError, match="no longer runs: it was closed"):
            each.result(10)
    store = SqliteStore(tmp_path / "data")
    assert store.key_use((BOB, "key")) is None
    assert store.queue(BOB) == []
    store.close()


def test_requests_that_wait_for_the_disk_hold_up_no_other_request(
    full: t.Any, eventually: cabc.Callable[..., t.Any]
) -> None:
    sent = [in_thread(full.put, f"/dev/words/{number}", "x") for number in range(40)]
    eventually(lambda: waiting(full) >= server.COMMIT_THREADS)
    for _ in range(2 * server.QUICK_THREADS):
        assert full.get("/-/status")["full"]
    pages = "pragma max_page_count = 100000"
    full.session.engine.look(lambda core: core.store.connection.execute(pages))
    assert {each.result(20)["trace"] for each in sent} == set(range(1, 41))


def test_a_repeated_key_of_a_message_on_disk_is_answered_at_once(
    start: cabc.Callable[..., t.Any], tmp_path: pathlib.Path
) -> None:
    client = start(data=str(tmp_path / "data"))
    engine = client.session.engine
    assert idempotency.send(engine, BOB, HELLO, "key") == (1, True)
    client.idle()
    assert idempotency.send(engine, BOB, HELLO, "key") == (1, False)
