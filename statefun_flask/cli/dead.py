"""``flask statefun dead``: messages that were dropped."""

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

if t.TYPE_CHECKING:
    from ..dev.serializer import JsonObject


@click.group("dead", short_help="Deal with messages that were dropped.")
def dead() -> None:
    """Deal with dead letters: messages that 'flask statefun parked drop' has dropped."""


@dead.command(
    "list", short_help="List them.", epilog="Example: flask statefun dead list --format json"
)
@click.option(
    "--limit",
    default=1000,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Show at most so many, the oldest first.",
)
@format_option
@asks_engine
def list_dead(engine: EngineClient, limit: int, output: str) -> None:
    """List the dead letters, the oldest first, each with its number and the error."""
    letters = engine.get(f"/-/dead?limit={limit}")
    write_all(letters, output, _line, "There is no dead letter.")


def _line(letter: JsonObject) -> str:
    value = printable_json(letter["value"])
    return (
        f"{letter['seq']}  {printable(letter['to'])}  <- {value}\n    {printable(letter['error'])}"
    )


@dead.command(
    "revive", short_help="Queue one again.", epilog="Example: flask statefun dead revive 7"
)
@number_argument
@format_option
@asks_engine
def revive(engine: EngineClient, number: int, output: str) -> None:
    """Queue the dead letter NUMBER again, behind the messages of its address."""
    message = engine.post(f"/-/revive/{number}")["revived"]
    text = f"message {message['seq']} to {printable(message['to'])} is queued again"
    write_one(message, output, text)


@dead.command(
    "purge", short_help="Delete for good.", epilog="Example: flask statefun dead purge --all"
)
@click.argument("number", type=click.IntRange(min=0), required=False)
@click.option("--all", "several", is_flag=True, help="Delete all dead letters.")
@format_option
@asks_engine
def purge(engine: EngineClient, number: int | None, several: bool, output: str) -> None:
    """Delete the dead letter NUMBER for good, or --all."""
    if (number is None) != several:
        raise click.UsageError(
            "Name the number of a dead letter that 'flask statefun dead list' shows, or --all."
        )
    if number is None:
        count = engine.post("/-/purge?all")["purged"]
        what = "dead letter is" if count == 1 else "dead letters are"
        write_one({"purged": count}, output, f"{count} {what} deleted")
    else:
        letter = engine.post(f"/-/purge/{number}")["purged"]
        text = f"message {letter['seq']} to {printable(letter['to'])} is deleted"
        write_one(letter, output, text)
