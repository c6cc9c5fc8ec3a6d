"""``flask statefun list``: the function instances of a running engine."""

from __future__ import annotations

import typing as t

import click

from ..dev.printable import printable
from .client import asks_engine
from .client import EngineClient
from .client import format_option
from .client import optional_function_argument
from .client import write_all

if t.TYPE_CHECKING:
    from ..dev.serializer import JsonObject


@click.command(
    "list",
    short_help="List function instances.",
    epilog="Example: flask statefun list example/greeter",
)
@optional_function_argument
@format_option
@asks_engine
def list_instances(engine: EngineClient, function: str | None, output: str) -> None:
    """List the instances that have messages or state: of one function type, or of all.

    The conditions are idle, ready, in flight, backing off (after a failure), endpoint down, held
    (by 'pause') and parked.
    """
    path = "/-/instances" + ("" if function is None else f"/{function}")
    instances = engine.pages(path, "", lambda each: each["address"])
    which = "" if function is None else f" of '{function}'"
    write_all(instances, output, _line, f"No instance{which} has messages or state.")


def _line(instance: JsonObject) -> str:
    queued = f", {instance['queued']} queued" if instance["queued"] else ""
    stored = "" if instance["state"] else ", no state"
    return printable(f"{instance['address']}  {instance['condition']}{queued}{stored}")
