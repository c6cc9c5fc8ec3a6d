"""Idempotency keys: one message for each key and address, for 24 hours."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask.embedded import core as cores
from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded.errors import KeyReusedError
from statefun_flask.embedded.errors import UnknownTargetError
from statefun_flask.values.message import Message

BOB, EVE = Address("ns/fn", "bob"), Address("ns/fn", "eve")
X, Y = Message("a/t", b"x"), Message("a/t", b"y")


@pytest.fixture
def made(script: t.Any, bench: t.Any) -> t.Any:
    script.add("ns/fn", lambda batch: None)
    return bench()


def test_a_message_is_sent_once_under_a_key(made: t.Any) -> None:
    assert made.engine.send_once(BOB, X, "k") == (1, True)
    assert made.engine.send_once(BOB, X, "k") == (1, False)
    assert made.engine.send_once(BOB, X, "other") == (2, True)
    made.run()
    assert made.engine.send_once(BOB, X, "k") == (1, False)
    assert made.delivered("ns/fn", "bob") == [b"x", b"x"]


def test_a_key_belongs_to_an_address(made: t.Any) -> None:
    assert made.engine.send_once(BOB, X, "k") == (1, True)
    assert made.engine.send_once(EVE, Y, "k") == (2, True)


@pytest.mark.parametrize("other", [Y, Message("a/other", b"x")])
def test_another_message_under_a_key_is_refused(made: t.Any, other: Message) -> None:
    made.engine.send_once(BOB, X, "k")
    with pytest.raises(KeyReusedError) as info:
        made.engine.send_once(BOB, other, "k")
    assert str(info.value) == (
        "The idempotency key 'k' was used for another message to 'ns/fn/bob'. Use a new key for"
        " each message."
    )
    assert made.engine.queued == 1


def test_a_message_that_was_refused_leaves_its_key_free(made: t.Any) -> None:
    with pytest.raises(UnknownTargetError):
        made.engine.send_once(Address("ns/none", "1"), X, "k")
    with pytest.raises(UnicodeEncodeError):
        made.engine.send_once(BOB, X, "\udcff")
    made.engine.store.largest = 12
    with pytest.raises(ValueError, match="can store 12 bytes at most"):
        made.engine.send_once(BOB, Message("a/t", b"x" * 20), "k")
    assert made.engine.send_once(BOB, Message("a/t"), "k") == (1, True)


def test_a_key_outlives_a_restart_and_is_forgotten_after_a_day(
    script: t.Any, bench: t.Any, tmp_path: pathlib.Path
) -> None:
    script.add("ns/fn", lambda batch: None)
    made = bench(SqliteStore(tmp_path))
    for number in range(50):
        made.engine.send_once(BOB, X, str(number))
    made.engine.close()
    made = bench(SqliteStore(tmp_path))
    made.advance(cores.REMEMBERED - 1)
    assert made.engine.send_once(BOB, X, "7") == (8, False)
    made.advance(1)
    assert made.engine.send_once(BOB, Y, "7") == (51, True)
    made.advance(1)
    (left,) = made.engine.store.connection.execute("select count(*) from idempotency").fetchone()
    assert left == 1
