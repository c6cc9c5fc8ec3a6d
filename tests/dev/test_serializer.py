"""Events as JSON: an object for each event, and one for each egress record."""

from __future__ import annotations

import json
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask import Message
from statefun_flask import StateFunFlask
from statefun_flask.dev.codec import MessageCodec
from statefun_flask.dev.serializer import Serializer
from statefun_flask.embedded import EgressRecord
from statefun_flask.embedded import events
from statefun_flask.embedded.records import Delay
from statefun_flask.embedded.records import Envelope
from statefun_flask.values.message import encode

BOB = Address("dev/words", "bob")
OUT = Address("dev/out", "eve")
STRING = "io.statefun.types/string"


def message(value: t.Any) -> Message:
    return Message(*encode(value))


SENT = Envelope(4, 1, OUT, BOB, message("hi 1"))
DELAY = Delay(5, 1, 99, OUT, BOB, message("late"), "tick")
RECORD = EgressRecord(7, 1, "dev/egress", "lines", None, b"\xff", "x/y")

SENT_OBJECT = {
    "seq": 4,
    "trace": 1,
    "to": "dev/out/eve",
    "from": "dev/words/bob",
    "type": STRING,
    "value": "hi 1",
}
DELAY_OBJECT = {
    "seq": 5,
    "trace": 1,
    "due": 99,
    "to": "dev/out/eve",
    "from": "dev/words/bob",
    "token": "tick",
    "type": STRING,
    "value": "late",
}


@pytest.fixture
def serializer(app: StateFunFlask) -> Serializer:
    return Serializer(MessageCodec(app.statefun.registry))


def test_an_invocation_and_its_records(serializer: Serializer) -> None:
    event = events.Invocation(
        at=10,
        trace=1,
        address=BOB,
        batch=[Envelope(3, 1, BOB, None, message("hi"))],
        duration=0.0012345,
        changes=[("seen", None, message(1))],
        sends=[SENT],
        delays=[DELAY],
        cancelled=[DELAY],
        records=[RECORD],
    )
    assert list(serializer.objects(event)) == [
        {
            "event": "invocation",
            "at": 10,
            "trace": 1,
            "address": "dev/words/bob",
            "messages": [
                {
                    "seq": 3,
                    "trace": 1,
                    "to": "dev/words/bob",
                    "from": None,
                    "type": STRING,
                    "value": "hi",
                }
            ],
            "duration_ms": 1.234,
            "states": {"seen": [None, 1]},
            "sends": [SENT_OBJECT],
            "delays": [DELAY_OBJECT],
            "cancelled": [DELAY_OBJECT],
        },
        {
            "event": "egress",
            "at": 10,
            "seq": 7,
            "trace": 1,
            "egress": "dev/egress",
            "topic": "lines",
            "key": None,
            "value": {"base64": "/w=="},
            "shown": "<1 bytes>",
        },
    ]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            events.Failed(
                at=10,
                trace=1,
                address=OUT,
                batch=[SENT],
                error=ValueError("no"),
                parked=True,
                waiting=2,
            ),
            {
                "event": "error",
                "at": 10,
                "trace": 1,
                "address": "dev/out/eve",
                "messages": [SENT_OBJECT],
                "error": "ValueError: no",
                "traceback": "ValueError: no\n",
                "parked": True,
                "waiting": 2,
            },
        ),
        (
            events.Registered(at=10, typename="dev/words", states=["seen"]),
            {"event": "registered", "at": 10, "typename": "dev/words", "states": ["seen"]},
        ),
        (
            events.Fired(at=10, trace=1, delay=DELAY, seq=8),
            {"event": "fired", "at": 10, "trace": 1, "delay": DELAY_OBJECT, "seq": 8},
        ),
        (
            events.Cancelled(at=10, trace=1, delay=DELAY),
            {"event": "cancelled", "at": 10, "trace": 1, "delay": DELAY_OBJECT},
        ),
        (
            events.Held(at=10, typename="dev/words", waiting=2),
            {"event": "held", "at": 10, "typename": "dev/words", "waiting": 2},
        ),
        (
            events.Retried(at=10, trace=1, address=BOB, replaced=True),
            {
                "event": "retried",
                "at": 10,
                "trace": 1,
                "address": "dev/words/bob",
                "replaced": True,
            },
        ),
        (
            events.Dropped(at=10, trace=1, address=OUT, envelope=SENT),
            {"event": "dropped", "at": 10, "trace": 1, "message": SENT_OBJECT},
        ),
        (
            events.Down(at=10, typename="a/b", endpoint="http://x", reason="r", waiting=1, delay=9),
            {
                "event": "down",
                "at": 10,
                "typename": "a/b",
                "endpoint": "http://x",
                "reason": "r",
                "waiting": 1,
                "delay": 9,
            },
        ),
        (
            events.Up(at=10, typename="a/b", endpoint="http://x"),
            {"event": "up", "at": 10, "typename": "a/b", "endpoint": "http://x"},
        ),
        (
            events.Full(at=10, path="/db", size=1, reason="r"),
            {"event": "full", "at": 10, "path": "/db", "size": 1, "reason": "r"},
        ),
        (events.Writable(at=10), {"event": "writable", "at": 10}),
        (
            events.Undelivered(at=10, error=OSError("gone"), delay=5),
            {"event": "undelivered", "at": 10, "error": "gone", "delay_ms": 5},
        ),
        (
            events.LeftOut(at=10, source="names/0", what="a record"),
            {"event": "leftout", "at": 10, "source": "names/0", "what": "a record"},
        ),
    ],
)
def test_each_event_is_an_object(
    serializer: Serializer, event: events.Event, expected: dict[str, t.Any]
) -> None:
    (made,) = serializer.objects(event)
    assert made == expected
    assert json.loads(json.dumps(made)) == expected


class Unreadable(Exception):
    """An exception that has no text."""

    def __str__(self) -> str:
        raise ZeroDivisionError


def test_an_error_without_a_text_is_an_object(serializer: Serializer) -> None:
    (failed,) = serializer.objects(
        events.Failed(
            at=3, trace=1, address=BOB, batch=[SENT], error=Unreadable(), parked=True, waiting=0
        )
    )
    assert failed["error"] == "Unreadable: <its text cannot be read: ZeroDivisionError>"
    (undelivered,) = serializer.objects(events.Undelivered(at=3, error=Unreadable(), delay=5))
    assert undelivered["error"] == "<its text cannot be read: ZeroDivisionError>"
