"""The golden lines of the log: one for each event."""

from __future__ import annotations

import collections.abc as cabc
import re
import typing as t

import click
import pytest

from statefun_flask import Address
from statefun_flask import Message
from statefun_flask import StateFunFlask
from statefun_flask.dev import text_log as module
from statefun_flask.dev.codec import MessageCodec
from statefun_flask.dev.text_log import TextLog
from statefun_flask.embedded import EgressRecord
from statefun_flask.embedded import events
from statefun_flask.embedded.records import Delay
from statefun_flask.embedded.records import Envelope
from statefun_flask.errors import StateFunError
from statefun_flask.values.message import encode

BOB = Address("dev/words", "bob")
OUT = Address("dev/out", "eve")
NOON = 1_795_521_600_000


def message(value: t.Any) -> Message:
    return Message(*encode(value))


def envelope(value: t.Any = "hi", seq: int = 3, target: Address = BOB) -> Envelope:
    return Envelope(seq, 1, target, None, message(value))


def delay(due: int = NOON + 90_000) -> Delay:
    return Delay(5, 1, due, OUT, BOB, message("later"), "tick")


def record(value: bytes = b"hello", key: str | None = "k") -> EgressRecord:
    return EgressRecord(1, 1, "dev/egress", "lines", key, value, "x/y")


def invocation(**changed: t.Any) -> events.Invocation:
    fields: dict[str, t.Any] = {
        "trace": 1,
        "address": BOB,
        "batch": [envelope()],
        "duration": 0.0004,
        "changes": [],
        "sends": [],
        "delays": [],
        "cancelled": [],
        "records": [],
    }
    return events.Invocation(at=NOON, **{**fields, **changed})


def raised(text: str = "bad word") -> ValueError:
    try:
        raise ValueError(text)
    except ValueError as exc:
        return exc


def failed(error: BaseException, **changed: t.Any) -> events.Failed:
    fields: dict[str, t.Any] = {
        "trace": 2,
        "address": BOB,
        "batch": [envelope("bad")],
        "parked": True,
        "waiting": 3,
    }
    return events.Failed(at=NOON, error=error, **{**fields, **changed})


Show = cabc.Callable[..., list[str]]


@pytest.fixture
def show(app: StateFunFlask) -> Show:
    """Show events, and return the lines without colours and the time of day."""

    def run(*shown: events.Event, **options: t.Any) -> list[str]:
        lines: list[str] = []
        screen = TextLog(MessageCodec(app.statefun.registry), lines.append, **options)
        for each in shown:
            screen.show(each)
        return [re.sub(r"^\d\d:\d\d:\d\d\.\d{3} ", "", click.unstyle(line)) for line in lines]

    return run


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (invocation(), '#1 dev/words/bob  <- str "hi"  0.4 ms'),
        (
            invocation(
                changes=[("seen", None, message(1)), ("old", message("x"), None)],
                sends=[envelope(target=OUT)],
                delays=[delay()],
                cancelled=[delay()],
                records=[record(), record(b"\xff", None)],
            ),
            (
                '#1 dev/words/bob  <- str "hi"  0.4 ms  seen: none -> 1  old: "x" -> none'
                "  -> dev/out/eve  -> dev/out/eve in 1 min 30 s  x dev/out/eve (tick cancelled)"
                "  => lines k: hello  => lines <1 bytes>"
            ),
        ),
        (
            invocation(batch=[envelope(), envelope("ho", 4)]),
            '#1 dev/words/bob  <- 2 messages, the first str "hi"  0.4 ms',
        ),
        (events.Fired(at=NOON, trace=1, delay=delay(), seq=8), "#1 dev/out/eve  <- delay is over"),
        (
            events.Retried(at=NOON, trace=2, address=BOB, replaced=False),
            "#2 dev/words/bob is tried again",
        ),
        (
            events.Retried(at=NOON, trace=2, address=BOB, replaced=True),
            "#2 dev/words/bob is tried again with another body",
        ),
        (
            events.Dropped(at=NOON, trace=2, address=BOB, envelope=envelope()),
            (
                "#2 dev/words/bob continues without message 3, which 'flask statefun dead revive 3'"
                " sends again"
            ),
        ),
        (
            events.Held(at=NOON, typename="dev/words", waiting=1),
            (
                "dev/words is paused by a person: 1 address waits; 'flask statefun resume"
                " dev/words' calls it again"
            ),
        ),
        (
            events.Released(at=NOON, typename="dev/words", waiting=1),
            "dev/words is called again",
        ),
        (
            events.Cancelled(at=NOON, trace=1, delay=delay()),
            "#1 dev/out/eve  delay is cancelled",
        ),
        (
            events.Down(
                at=NOON,
                typename="dev/pay",
                endpoint="http://127.0.0.1:9000/pay",
                reason="connection refused",
                waiting=14,
                delay=800,
            ),
            (
                "endpoint http://127.0.0.1:9000/pay is down (connection refused): 14 addresses of"
                " dev/pay wait, next try in 0.8 s"
            ),
        ),
        (
            events.Up(at=NOON, typename="dev/pay", endpoint="http://127.0.0.1:9000/pay"),
            "endpoint http://127.0.0.1:9000/pay answers dev/pay again",
        ),
        (
            events.Full(at=NOON, path="/data/db", size=4096, reason="disk full"),
            (
                "/data/db (4096 bytes) cannot be written to: disk full. No function is called until"
                " then; free some space on its disk."
            ),
        ),
        (events.Writable(at=NOON), "the data can be written again"),
        (
            events.Undelivered(at=NOON, error=OSError("gone"), delay=1500),
            "records were not accepted (gone); they are sent again in 1.5 s",
        ),
        (
            events.Disconnected(at=NOON, broker="here:9092", reason="Connection refused"),
            (
                "Kafka at here:9092 does not answer (Connection refused): its topics"
                " continue when it answers"
            ),
        ),
        (
            events.Connected(at=NOON, broker="here:9092"),
            "Kafka at here:9092 answers again",
        ),
        (
            events.TopicMissing(at=NOON, topic="names", broker="here:9092"),
            ("topic 'names' does not exist at here:9092: it is read from its start once it exists"),
        ),
        (
            events.LeftOut(at=NOON, source="names/0", what="offset 2, which is gone"),
            "names/0 skips offset 2, which is gone",
        ),
    ],
)
def test_each_event_is_a_line(show: Show, event: events.Event, line: str) -> None:
    assert show(event) == [line]


def test_the_line_begins_with_the_time(app: StateFunFlask) -> None:
    lines: list[str] = []
    TextLog(MessageCodec(app.statefun.registry), lines.append).show(invocation())
    assert re.match(r"\d\d:\d\d:00\.000 #1 ", click.unstyle(lines[0]))


def test_states_that_a_function_names_are_not_shown(show: Show) -> None:
    assert show(events.Registered(at=NOON, typename="dev/words", states=["seen"])) == []


def test_a_failure_shows_the_users_frames_and_the_remedy(show: Show) -> None:
    lines = show(failed(raised()), package="/nowhere/")
    assert lines[0] == '#2 dev/words/bob  <- str "bad"  FAILED  ValueError: bad word'
    assert re.fullmatch(r"    .*test_text_log\.py:\d+ in raised", lines[1])
    assert lines[2:] == [
        "        raise ValueError(text)",
        (
            "  dev/words/bob is parked at message 2 (3 more wait behind it); all others continue."
            " Correct the code and start again (--reload does so automatically), or:"
        ),
        "    retry    flask statefun parked retry dev/words/bob",
        "    replace  flask statefun parked replace dev/words/bob BODY",
        "    drop     flask statefun parked drop dev/words/bob",
    ]


@pytest.mark.parametrize(
    ("id", "which"),
    [("a b; rm", "'dev/words/a b; rm'"), ("it's", "'dev/words/it'\"'\"'s'"), ("a\nb", "2")],
)
def test_the_commands_of_a_failure_can_be_pasted_in_a_shell(
    show: Show, id: str, which: str
) -> None:
    event = failed(raised())
    event.address = Address("dev/words", id)
    assert show(event)[-1] == f"    drop     flask statefun parked drop {which}"


def test_frames_of_libraries_are_hidden_by_default(show: Show) -> None:
    def through_a_library() -> BaseException:
        try:
            re.sub("a", lambda _: [][0], "a")
        except IndexError as exc:
            return exc
        raise AssertionError

    error = through_a_library()
    short = "\n".join(show(failed(error), package="/nowhere/"))
    assert "(your frames only; --full-traceback shows all)" in short
    assert re.findall(r"(\S+):\d+ in", short)
    assert not [each for each in re.findall(r"(\S+):\d+ in", short) if "test_text_log" not in each]
    full = "\n".join(show(failed(error), full_traceback=True))
    assert "Traceback (most recent call last):" in full


def test_a_failure_that_is_tried_again_and_one_of_our_own(show: Show) -> None:
    lines = show(failed(StateFunError("no such egress"), parked=False))
    assert lines == [
        '#2 dev/words/bob  <- str "bad"  FAILED  no such egress',
        "  Its messages are sent again one at a time.",
    ]


def test_quiet_shows_records_and_errors(show: Show) -> None:
    fired = events.Fired(at=NOON, trace=1, delay=delay(), seq=8)
    shown = show(invocation(records=[record()]), fired, failed(raised()), quiet=True)
    assert shown[0] == "lines k: hello"
    assert "FAILED" in shown[1]


def test_invocations_above_a_limit_per_second_are_only_counted(
    show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHOWN", 3)
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    assert len(show(*[invocation()] * 10, sampled=True)) == 3
    assert len(show(*[invocation()] * 10)) == 10

    lines: list[str] = []
    screen = TextLog(t.cast("MessageCodec", _Nothing()), lines.append, sampled=True)
    for _ in range(10):
        screen.show(invocation())
    now[0] += 1
    screen.show(invocation())
    assert click.unstyle(lines[3]) == (
        "… 7 more invocations in that second (--format json shows all)"
    )
    assert len(lines) == 5


class _Nothing:
    def label(self, message: Message) -> str:
        return "str"

    def show(self, message: Message) -> str:
        return ""


def test_an_id_cannot_move_the_cursor(show: Show) -> None:
    evil = Address("dev/words", "a\x1b[2J\nb")
    (line,) = show(invocation(address=evil, records=[record(b"x", "k\n\x07")]))
    assert line == '#1 dev/words/a\\x1b[2J\\nb  <- str "hi"  0.4 ms  => lines k\\n\\x07: x'


class Unreadable(Exception):
    """An exception that has no text."""

    def __str__(self) -> str:
        raise ZeroDivisionError


def test_an_error_without_a_text_is_shown(show: Show) -> None:
    event = events.Undelivered(at=0, error=Unreadable(), delay=1000)
    text = "<its text cannot be read: ZeroDivisionError>"
    assert show(event) == [f"records were not accepted ({text}); they are sent again in 1.0 s"]
    assert (
        "Unreadable: <its text cannot be read: ZeroDivisionError>" in show(failed(Unreadable()))[0]
    )


def test_an_event_that_cannot_be_shown_is_named(show: Show) -> None:
    assert show(invocation(delays=[delay(2**62)])) == ["Invocation cannot be shown: OverflowError"]


def test_an_instant_outside_the_calendar_is_shown_as_a_number(app: StateFunFlask) -> None:
    lines: list[str] = []
    TextLog(MessageCodec(app.statefun.registry), lines.append).show(events.Writable(at=10**17))
    assert [click.unstyle(line) for line in lines] == [
        "100000000000000000 the data can be written again"
    ]
