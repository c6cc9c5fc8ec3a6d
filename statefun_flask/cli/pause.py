"""``flask statefun pause`` and ``resume``: a person holds back a function type."""

from __future__ import annotations

import click

from .client import asks_engine
from .client import EngineClient
from .client import format_option
from .client import function_argument
from .client import write_json


@click.command(
    "pause",
    short_help="Hold back a function.",
    epilog="Example: flask statefun pause example/greeter",
)
@function_argument
@format_option
@asks_engine
def pause(engine: EngineClient, function: str, output: str) -> None:
    """Call a function no more until 'resume', also after a restart with --data.

    Calls in flight go on. Messages are accepted and wait, and all other functions go on.
    """
    waiting = engine.post(f"/-/pause/{function}")["waiting"]
    if output == "json":
        write_json({"function": function, "waiting": waiting})
    else:
        click.echo(f"{function} is paused, {_addresses(waiting)}")


@click.command(
    "resume",
    short_help="Call a paused function again.",
    epilog="Example: flask statefun resume example/greeter",
)
@function_argument
@format_option
@asks_engine
def resume(engine: EngineClient, function: str, output: str) -> None:
    """Call a function again that was paused."""
    waiting = engine.post(f"/-/resume/{function}")["waiting"]
    if output == "json":
        write_json({"function": function, "waiting": waiting})
    else:
        click.echo(f"{function} is called again, {_addresses(waiting)}")


def _addresses(waiting: int) -> str:
    return "1 address waits" if waiting == 1 else f"{waiting} addresses wait"
