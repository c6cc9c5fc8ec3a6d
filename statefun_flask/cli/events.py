"""``flask statefun events``: what happens in a running engine."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import json
import typing as t

import click

from ..dev.printable import printable
from ..dev.printable import printable_json
from .client import asks_engine
from .client import EngineClient
from .client import format_option
from .client import NoEngine
from .client import write_all

if t.TYPE_CHECKING:
    from ..dev.serializer import JsonObject

#: Fields that have a place of their own in a line, or tell nothing to people.
_PLACED = {"event", "at", "number", "trace", "address", "messages", "traceback"}


@click.command(
    "events",
    short_help="Show what happens, or what has happened.",
    epilog="Example: flask statefun events --follow --format json",
)
@click.option("--follow", "-f", is_flag=True, help="Show the events from now on, until Ctrl-C.")
@format_option
@asks_engine
def events(engine: EngineClient, follow: bool, output: str) -> None:
    """Show the events that the engine keeps: its last 10,000, up to 32 MB."""
    if not follow:
        kept = engine.pages("/-/history", 0, lambda each: each["number"])
        write_all(kept, output, line, "There is no event.")
        return
    try:
        with engine.open("GET", "/-/events", timeout=None) as response:
            for event in _stream(engine.lines(response)):
                click.echo(printable_json(event) if output == "json" else line(event))
    except KeyboardInterrupt:
        return
    raise NoEngine(f"{engine.url} sends no more events: the engine has stopped.")


def _stream(lines: cabc.Iterable[bytes]) -> cabc.Iterator[JsonObject]:
    """Yield the data of server-sent events."""
    for raw in lines:
        if raw.startswith(b"data: "):
            yield json.loads(raw[6:])


def line(event: JsonObject) -> str:
    """Return an event as a line of text."""
    parts = [_time(event.get("at")), event["event"]]
    if "trace" in event:
        parts.append(f"#{event['trace']}")
    if "address" in event:
        parts.append(event["address"])
    if messages := event.get("messages"):
        more = f" and {len(messages) - 1} more" if len(messages) > 1 else ""
        parts.append(f"<- {printable_json(messages[0]['value'])}{more}")
    parts += [_field(*each) for each in event.items() if each[0] not in _PLACED and each[1]]
    return printable("  ".join(each for each in parts if each))


def _field(name: str, value: object) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict) and "to" in value[0]:
        return f"{name}: {', '.join(str(each['to']) for each in value)}"
    if isinstance(value, dict) and "to" in value:
        return f"{name}: {value['to']}"
    return f"{name}: {value if isinstance(value, str | int | float) else printable_json(value)}"


def _time(at: int | None) -> str:
    """Return the time of day of an instant, in milliseconds since 1970."""
    if at is None:
        return ""
    try:
        return dt.datetime.fromtimestamp(at / 1000).strftime("%H:%M:%S.%f")[:-3]
    except (ValueError, OverflowError, OSError):
        return str(at)
