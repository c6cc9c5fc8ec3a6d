"""``flask statefun state`` and ``egress``: the stored states and records of a running engine."""

from __future__ import annotations

import click

from ..dev.printable import printable
from ..dev.printable import printable_json
from .client import address_segments
from .client import format_option
from .client import pages
from .client import path_of
from .client import port_option
from .client import request


@click.command("state", short_help="Show the states of a function instance.")
@click.argument("function")
@click.argument("id", required=False)
@port_option
def state(function: str, id: str | None, port: int) -> None:
    """Show the states of the instance ID of FUNCTION. Without ID, list the instances with state."""
    namespace, name, _ = address_segments(function, "")
    if id is None:
        path = path_of("-", "addresses", namespace, name)
        for address in pages(port, path, "", lambda each: each.split("/", 2)[2]):
            click.echo(printable(address))
        return
    values = request(port, "GET", path_of("-", "state", namespace, name, id))
    for key, value in values.items():
        click.echo(f"{printable(key)}: {printable_json(value)}")
    if not values:
        click.echo(printable(f"{function}/{id} has no state."), err=True)


@click.command("egress", short_help="Show the records of a topic.")
@click.argument("topic")
@click.option(
    "--after",
    default=0,
    type=click.IntRange(min=0),
    help="Show only records with a higher number.",
)
@format_option
@port_option
def egress(topic: str, after: int, output: str, port: int) -> None:
    """Show the records of TOPIC, or of the egress with that identifier."""
    for record in pages(port, path_of("-", "egress", topic), after, lambda each: each["seq"]):
        if output == "json":
            click.echo(printable_json(record))
        else:
            key = "" if record["key"] is None else f"{record['key']}: "
            click.echo(printable(f"#{record['seq']} {key}{record['shown']}"))
