"""``flask statefun state``: the stored states of a function instance."""

from __future__ import annotations

import typing as t

import click

from ..dev.printable import printable
from ..dev.printable import printable_json
from .client import address_argument
from .client import address_path
from .client import asks_engine
from .client import EngineClient
from .client import format_option
from .client import NothingFound
from .client import write_json

if t.TYPE_CHECKING:
    from ..dev.serializer import JsonObject


@click.command(
    "state",
    short_help="Show the states of a function instance.",
    epilog="Example: flask statefun state example/greeter/bob",
)
@address_argument
@format_option
@asks_engine
def state(engine: EngineClient, address: str, output: str) -> None:
    """Show the states of a function instance. 'flask statefun list' shows which there are."""
    values: JsonObject = engine.get("/-/state" + address_path(address))
    if not values:
        raise NothingFound(f"'{address}' has no state.")
    if output == "json":
        write_json(values)
        return
    for key, value in values.items():
        click.echo(f"{printable(key)}: {printable_json(value)}")
