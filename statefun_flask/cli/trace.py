"""``flask statefun trace``: the events that a message caused, as a tree."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import click

from ..dev.printable import printable
from ..dev.printable import printable_json
from .client import format_option
from .client import port_option
from .client import request

if t.TYPE_CHECKING:
    from ..dev.serializer import JsonObject

#: Deeper lines are indented no further, and begin with their depth. A chain of messages can be as
#: deep as it is long.
MAX_INDENT = 20


@click.command("trace", short_help="Show the events that a message caused.")
@click.argument("number", type=click.IntRange(min=0))
@format_option
@port_option
def trace(number: int, output: str, port: int) -> None:
    """Show the events that the message NUMBER caused, as a tree."""
    events = request(port, "GET", f"/-/trace/{number}")
    if output == "json":
        for event in events:
            click.echo(printable_json(event))
        return
    if not events:
        raise click.ClickException(
            f"No event of message {number} is kept. The engine keeps the last 10,000 events, up to"
            " 32 MB."
        )
    for line in tree(events):
        click.echo(line)


class _Line(t.NamedTuple):
    """A line of the tree: a text, or the message with a number and all that it caused."""

    depth: int
    text: str = ""
    seq: int | None = None


def tree(events: list[JsonObject]) -> cabc.Iterator[str]:
    """Yield the lines of a tree. The events that a message caused stand below the message."""
    handled = {
        message["seq"]: event
        for event in events
        if event["event"] in ("invocation", "error")
        for message in event["messages"]
    }
    caused = {
        sent["seq"]
        for event in events
        if event["event"] == "invocation"
        for sent in (*event["sends"], *event["delays"])
    }
    records = _records(events)
    shown: set[int] = set()
    # A delayed message is queued under a new number when it is due, and so is a root as well.
    stack = [_Line(0, seq=seq) for seq in reversed(handled) if seq not in caused]
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
        stack += reversed(list(_below(event, line.depth + 1, handled, records.get(line.seq, ()))))


def _indented(depth: int, text: str) -> str:
    number = f"[{depth}] " if depth > MAX_INDENT else ""
    return f"{'  ' * min(depth, MAX_INDENT)}{number}{text}"


def _head(event: JsonObject) -> str:
    value = printable_json(event["messages"][0]["value"])
    failed = f"  FAILED  {event['error']}" if event["event"] == "error" else ""
    return f"{printable(event['address'])}  <- {value}{printable(failed)}"


def _below(
    event: JsonObject,
    depth: int,
    handled: cabc.Container[int],
    records: cabc.Iterable[JsonObject],
) -> cabc.Iterator[_Line]:
    """Yield the lines below an event."""
    for sent in event.get("sends", ()):
        if sent["seq"] in handled:
            yield _Line(depth, seq=sent["seq"])
        else:
            yield _Line(depth, f"{printable(sent['to'])}  (waits)")
    for delay in event.get("delays", ()):
        yield _Line(depth, f"{printable(delay['to'])}  (delayed)")
    for record in records:
        key = "" if record["key"] is None else f"{record['key']}: "
        yield _Line(depth, printable(f"=> {record['topic']} {key}{record['shown']}"))


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
