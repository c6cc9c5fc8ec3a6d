"""``flask statefun trace``: the events that a message caused, as a tree."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import click

from ..dev.printable import printable
from ..dev.printable import printable_json
from .client import asks_engine
from .client import EngineClient
from .client import format_option
from .client import NothingFound
from .until import span_text

if t.TYPE_CHECKING:
    from ..dev.serializer import JsonObject

#: Deeper lines are indented no further, and begin with their depth. A chain of messages can be as
#: deep as it is long.
MAX_INDENT = 20


@click.command(
    "trace",
    short_help="Show the events that a message caused.",
    epilog="Example: flask statefun trace 1",
)
@click.argument("number", type=click.IntRange(min=0))
@format_option
@asks_engine
def trace(engine: EngineClient, number: int, output: str) -> None:
    """Show the events that the message NUMBER from outside caused, as a tree.

    The engine keeps its last 10,000 events, up to 32 MB.
    """
    events = engine.pages(f"/-/trace/{number}", 0, lambda each: each["number"])
    lines = map(printable_json, events) if output == "json" else tree(list(events))
    found = False
    for line in lines:
        found = True
        click.echo(line)
    if not found:
        raise NothingFound(
            f"No event of message {number} is kept: it was not handled yet, or it is older than the"
            " last 10,000 events (32 MB)."
        )


class _Line(t.NamedTuple):
    """A line of the tree: a text, or the message with a number and all that it caused."""

    depth: int
    text: str = ""
    seq: int | None = None


class _Causes(t.NamedTuple):
    """What became of the messages of a trace, by their numbers.

    :param handled: The event that handled a message.
    :param records: The egress records of the batch that begins with a message.
    :param fired: The number under which a delayed message was queued when it was due.
    :param cancelled: The delays that were cancelled.
    """

    handled: dict[int, JsonObject]
    records: dict[int, list[JsonObject]]
    fired: dict[int, int]
    cancelled: set[int]


def tree(events: list[JsonObject]) -> cabc.Iterator[str]:
    """Yield the lines of a tree. The events that a message caused stand below the message."""
    invocations = [each for each in events if each["event"] == "invocation"]
    handled = {
        message["seq"]: event
        for event in events
        if event["event"] in ("invocation", "error")
        for message in event["messages"]
    }
    fired = {each["delay"]["seq"]: each["seq"] for each in events if each["event"] == "fired"}
    cancelled = {each["delay"]["seq"] for each in events if each["event"] == "cancelled"}
    cancelled.update(delay["seq"] for each in invocations for delay in each["cancelled"])
    causes = _Causes(handled, _records(events), fired, cancelled)

    caused = {sent["seq"] for each in invocations for sent in each["sends"]}
    caused.update(
        fired[x["seq"]] for each in invocations for x in each["delays"] if x["seq"] in fired
    )
    roots = [seq for seq in handled if seq not in caused]
    if any(_sender(handled[seq], seq) is not None for seq in roots):
        yield "(earlier events are not kept any more)"
    shown: set[int] = set()
    stack = [_Line(0, seq=seq) for seq in reversed(roots)]
    while stack:
        line = stack.pop()
        if line.seq is None:
            yield _indented(line.depth, line.text)
            continue
        event = handled[line.seq]
        if id(event) in shown:  # a message of a batch that stands elsewhere
            continue
        shown.add(id(event))
        yield _indented(line.depth, _head(event))
        stack += reversed(list(_below(event, line.depth + 1, line.seq, causes)))


def _sender(event: JsonObject, seq: int) -> str | None:
    """Return the address that sent a message; None for a message from outside."""
    found: str | None = next(each["from"] for each in event["messages"] if each["seq"] == seq)
    return found


def _indented(depth: int, text: str) -> str:
    number = f"[{depth}] " if depth > MAX_INDENT else ""
    return f"{'  ' * min(depth, MAX_INDENT)}{number}{text}"


def _head(event: JsonObject) -> str:
    value = printable_json(event["messages"][0]["value"])
    failed = f"  FAILED  {event['error']}" if event["event"] == "error" else ""
    return f"{printable(event['address'])}  <- {value}{printable(failed)}"


def _below(event: JsonObject, depth: int, seq: int, causes: _Causes) -> cabc.Iterator[_Line]:
    """Yield the lines below an event."""
    for sent in event.get("sends", ()):
        if sent["seq"] in causes.handled:
            yield _Line(depth, seq=sent["seq"])
        else:
            yield _Line(depth, f"{printable(sent['to'])}  (waits)")
    for delay in event.get("delays", ()):
        sent_as = causes.fired.get(delay["seq"])
        if sent_as in causes.handled:
            yield _Line(depth, seq=sent_as)
        else:
            yield _Line(depth, printable(f"{delay['to']}  ({_delay(delay, event, causes)})"))
    for record in causes.records.get(seq, ()):
        key = "" if record["key"] is None else f"{record['key']}: "
        yield _Line(depth, printable(f"=> {record['topic']} {key}{record['shown']}"))


def _delay(delay: JsonObject, event: JsonObject, causes: _Causes) -> str:
    """Return what has become of a delayed message that was not handled."""
    if delay["seq"] in causes.cancelled:
        return "cancelled"
    if delay["seq"] in causes.fired:
        return "waits"
    token = f", token {delay['token']}" if delay["token"] else ""
    return f"delayed by {span_text(delay['due'] - event['at'])}{token}"


def _records(events: list[JsonObject]) -> dict[int, list[JsonObject]]:
    """Return the egress records by the first message of the batch that wrote them."""
    found: dict[int, list[JsonObject]] = {}
    seq = 0
    for event in events:
        if event["event"] == "invocation":
            seq = event["messages"][0]["seq"]
        elif event["event"] == "egress":
            found.setdefault(seq, []).append(event)
    return found
