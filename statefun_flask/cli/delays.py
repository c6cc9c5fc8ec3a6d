"""``flask statefun delays``: the delayed messages of a running engine."""

from __future__ import annotations

import typing as t

import click

from ..dev.printable import printable
from ..dev.printable import printable_json
from .client import asks_engine
from .client import EngineClient
from .client import format_option
from .client import number_argument
from .client import write_all
from .client import write_one
from .until import span_text

if t.TYPE_CHECKING:
    from ..dev.serializer import JsonObject


@click.group("delays", short_help="Deal with delayed messages.")
def delays() -> None:
    """Deal with delayed messages."""


@delays.command(
    "list", short_help="List them.", epilog="Example: flask statefun delays list --limit 5"
)
@click.option(
    "--limit",
    default=100,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Show at most so many, those that are due first.",
)
@format_option
@asks_engine
def list_delays(engine: EngineClient, limit: int, output: str) -> None:
    """List the delayed messages that are due next, each with its number."""
    write_all(engine.get(f"/-/delays?limit={limit}"), output, _line, "No message is delayed.")


def _line(delay: JsonObject) -> str:
    token = f"  (token {delay['token']})" if delay["token"] else ""
    due = f"in {span_text(delay['due_in_ms'])}"
    head = printable(f"{delay['seq']}  {due}  {delay['to']}")
    return f"{head}  <- {printable_json(delay['value'])}{printable(token)}"


@delays.command(
    "fire", short_help="Deliver one now.", epilog="Example: flask statefun delays fire 7"
)
@number_argument
@format_option
@asks_engine
def fire(engine: EngineClient, number: int, output: str) -> None:
    """Deliver the delayed message NUMBER now."""
    delay = engine.post(f"/-/fire/{number}")["fired"]
    write_one(delay, output, f"delay {number} is delivered to {printable(delay['to'])}")


@delays.command(
    "cancel", short_help="Remove one.", epilog="Example: flask statefun delays cancel 7"
)
@number_argument
@format_option
@asks_engine
def cancel(engine: EngineClient, number: int, output: str) -> None:
    """Remove the delayed message NUMBER, so that it is never delivered."""
    delay = engine.post(f"/-/cancel/{number}")["cancelled"]
    write_one(delay, output, f"delay {number} to {printable(delay['to'])} is cancelled")
