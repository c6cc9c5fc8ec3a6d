"""``flask statefun pause`` and ``resume``: a person holds back a function type."""

from __future__ import annotations

import click

from .client import asks_engine
from .client import EngineClient
from .client import format_option
from .client import function_argument
from .client import write_one


@click.command(
    "pause",
    short_help="Hold back a function.",
    epilog="Example: flask statefun pause example/greeter",
)
@function_argument
@format_option
@asks_engine
def pause(engine: EngineClient, function: str, output: str) -> None:
    """Stop the calls of a function until 'resume', also after a restart with --data.

    Calls in flight finish. Messages are accepted and wait. Other functions are not affected.
    """
    waiting = engine.post(f"/-/pause/{function}")["waiting"]
    text = f"{function} is paused, {_addresses(waiting)}"
    write_one({"function": function, "waiting": waiting}, output, text)


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
    text = f"{function} is called again, {_addresses(waiting)}"
    write_one({"function": function, "waiting": waiting}, output, text)


def _addresses(waiting: int) -> str:
    return "1 address waits" if waiting == 1 else f"{waiting} addresses wait"
