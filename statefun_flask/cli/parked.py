"""Commands for messages that failed: ``parked``, ``retry``, ``replace``, ``drop``, ``revive``."""

from __future__ import annotations

import click

from ..dev.printable import printable
from ..dev.printable import printable_json
from .client import address_segments
from .client import format_option
from .client import path_of
from .client import port_option
from .client import request
from .client import type_header
from .client import type_option


@click.command("parked", short_help="Show the messages that failed.")
@format_option
@port_option
def parked(output: str, port: int) -> None:
    """Show each parked address: the message that failed, the error, and how many wait behind."""
    found = request(port, "GET", "/-/parked")
    for each in found:
        if output == "json":
            click.echo(printable_json(each))
            continue
        value = printable_json(each["message"]["value"])
        address = printable(each["address"])
        click.echo(f"{each['trace']}  {address}  {each['behind']} behind  {value}")
        click.echo(f"    {printable(each['error'])}")
    if not found:
        click.echo("Nothing is parked.", err=True)


def _path(which: tuple[str, ...]) -> str:
    """Return the path of parked messages: a number, an address, or FUNCTION ID."""
    if len(which) == 1:
        return path_of(which[0]) if which[0].isdecimal() else path_of(*which[0].split("/", 2))
    if len(which) == 2:
        return path_of(*address_segments(*which))
    raise click.UsageError("Name a number that 'flask statefun parked' shows, or FUNCTION ID.")


@click.command("retry", short_help="Try parked messages again.")
@click.argument("which", nargs=-1)
@port_option
def retry(which: tuple[str, ...], port: int) -> None:
    """Try a parked message again. WHICH is its number, or FUNCTION ID. Without it, try all."""
    path = "/-/retry" + (_path(which) if which else "")
    for address in request(port, "POST", path)["retried"]:
        click.echo(f"{printable(address)} is tried again")


@click.command("drop", short_help="Drop a parked message.")
@click.argument("which", nargs=-1, required=True)
@port_option
def drop(which: tuple[str, ...], port: int) -> None:
    """Drop a parked message, so that the messages behind it go on. 'revive' puts it back."""
    for message in request(port, "POST", "/-/drop" + _path(which))["dropped"]:
        click.echo(f"message {message['seq']} to {printable(message['to'])} is dropped")


@click.command("revive", short_help="Put a dropped message back.")
@click.argument("seq", type=click.IntRange(min=0), required=False)
@port_option
def revive(seq: int | None, port: int) -> None:
    """Put the dropped message SEQ back. Without SEQ, list the dropped messages."""
    if seq is None:
        for each in request(port, "GET", "/-/dead"):
            click.echo(printable(f"{each['seq']}  {each['to']}  {each['error']}"))
        return
    message = request(port, "POST", f"/-/revive/{seq}")["revived"]
    click.echo(f"message {message['seq']} to {printable(message['to'])} is queued again")


@click.command("replace", short_help="Give a parked message another body.")
@click.argument("function")
@click.argument("id")
@click.argument("body")
@type_option
@port_option
def replace(function: str, id: str, body: str, typename: str | None, port: int) -> None:
    """Give the message that failed at an instance another BODY, and try it again."""
    path = "/-/replace" + path_of(*address_segments(function, id))
    request(port, "POST", path, body.encode(), type_header(typename))
    click.echo(f"{printable(f'{function}/{id}')} is tried again with another body")
