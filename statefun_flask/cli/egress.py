"""``flask statefun egress``: the stored records of a topic."""

from __future__ import annotations

import typing as t

import click

from ..dev.printable import printable
from .client import asks_engine
from .client import EngineClient
from .client import format_option
from .client import path_of
from .client import write_all

if t.TYPE_CHECKING:
    from ..dev.serializer import JsonObject


@click.command(
    "egress",
    short_help="Show the records of a topic.",
    epilog="Example: flask statefun egress greetings --after 2",
)
@click.argument("topic")
@click.option(
    "--after",
    default=0,
    type=click.IntRange(min=0),
    help="Show only records with a higher number.",
)
@format_option
@asks_engine
def egress(engine: EngineClient, topic: str, after: int, output: str) -> None:
    """Show the records of TOPIC, or of the egress with that identifier."""
    records = engine.pages(path_of("-", "egress", topic), after, lambda each: each["seq"])
    more = f" after {after}" if after else ""
    write_all(records, output, _line, f"There is no record of '{topic}'{more}.")


def _line(record: JsonObject) -> str:
    key = "" if record["key"] is None else f"{record['key']}: "
    return printable(f"#{record['seq']} {key}{record['shown']}")
