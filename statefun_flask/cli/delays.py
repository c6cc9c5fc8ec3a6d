"""``flask statefun delays``: the delayed messages of a running engine."""

from __future__ import annotations

import click

from ..dev.printable import printable
from ..dev.printable import printable_json
from .client import format_option
from .client import port_option
from .client import request


@click.command("delays", short_help="Show or fire delayed messages.")
@click.argument("action", type=click.Choice(["list", "fire"]), default="list")
@click.argument("seq", type=click.IntRange(min=0), required=False)
@format_option
@port_option
def delays(action: str, seq: int | None, output: str, port: int) -> None:
    """List the delayed messages that are due next, or deliver the one with the number SEQ now."""
    if action == "fire":
        if seq is None:
            raise click.UsageError("Name the number of a delay: flask statefun delays fire SEQ.")
        delay = request(port, "POST", f"/-/fire/{seq}")["fired"]
        click.echo(f"delay {seq} is delivered to {printable(delay['to'])}")
        return
    for each in request(port, "GET", "/-/delays"):
        if output == "json":
            click.echo(printable_json(each))
        else:
            token = f"  token {each['token']}" if each["token"] else ""
            line = f"{each['seq']}  due {each['due']}  {each['to']}  "
            click.echo(f"{printable(line)}{printable_json(each['value'])}{printable(token)}")
