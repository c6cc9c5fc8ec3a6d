"""``flask statefun status``: how busy a running engine is."""

from __future__ import annotations

import time
import typing as t

import click

from ..dev.printable import printable
from .client import asks_engine
from .client import EngineClient
from .client import format_option
from .client import TimedOut
from .client import write_json

if t.TYPE_CHECKING:
    from ..dev.serializer import JsonObject

#: How long --wait waits if no number is given, in seconds.
WAIT = 300.0


@click.command(
    "status",
    short_help="Show how busy the engine is.",
    epilog="Example: flask statefun status --wait 60",
)
@click.option(
    "--wait",
    is_flag=False,
    flag_value=WAIT,
    type=click.FloatRange(min=0),
    metavar="[SECONDS]",
    help=f"Wait until the engine is idle, for {WAIT:g} s unless a number is given. After that the"
    " exit status is 5.",
)
@format_option
@asks_engine
def status(engine: EngineClient, wait: float | None, output: str) -> None:
    """Show how busy the engine is.

    An idle engine does nothing more by itself, except that it delivers delayed messages and tries
    endpoints that are down. Parked messages wait for a person.
    """
    found = _idle(engine, wait) if wait is not None else engine.get("/-/status")
    if output == "json":
        write_json(found)
    else:
        _write(found)
    if wait is not None and not found["idle"]:
        raise TimedOut(f"The engine is not idle after {wait:g} s.")


def _idle(engine: EngineClient, wait: float) -> JsonObject:
    """Return the status once the engine is idle, or when the time is over."""
    end = time.monotonic() + wait
    pause = 0.02
    while True:
        found: JsonObject = engine.get("/-/status")
        left = end - time.monotonic()
        if found["idle"] or left <= 0:
            return found
        time.sleep(min(pause, left))
        pause = min(1.5 * pause, 0.5)


def _write(found: JsonObject) -> None:
    click.echo("idle" if found["idle"] else "busy")
    for label, name in (
        ("queued", "queued"),
        ("ready", "ready"),
        ("in flight", "in_flight"),
        ("backing off", "retrying"),
    ):
        click.echo(f"{label:<12}  {found[name]}")
    if found["parked"]:
        click.echo(f"parked        {found['parked']}  (see 'flask statefun parked list')")
    for typename in found["held"]:
        name = printable(typename)
        click.echo(f"paused        {name}  (call it again: 'flask statefun resume {name}')")
    for typename in found["down"]:
        click.echo(f"endpoint down {printable(typename)}")
    if found["undelivered"]:
        click.echo("egress        records wait for Kafka")
    if found["full"]:
        click.echo(f"disk full     {printable(found['full'])}")
