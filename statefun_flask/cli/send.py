"""``flask statefun send``: a message to a function of a running engine."""

from __future__ import annotations

import sys

import click

from ..dev.printable import printable_json
from .client import address_segments
from .client import path_of
from .client import port_option
from .client import request
from .client import type_header
from .client import type_option


@click.command("send", short_help="Send a message to a function.")
@click.argument("function")
@click.argument("id")
@click.argument("body", default="-")
@type_option
@click.option("--wait", is_flag=True, help="Wait, and print all events that the message causes.")
@click.option(
    "--idempotency-key",
    help="Send the message once under this key. The key is remembered for 24 hours.",
)
@port_option
def send(
    function: str,
    id: str,
    body: str,
    typename: str | None,
    wait: bool,
    idempotency_key: str | None,
    port: int,
) -> None:
    """Send BODY to the instance ID of FUNCTION. '-' reads BODY from standard input.

    BODY is text for a str function, and JSON for every other declared type.
    """
    headers = type_header(typename)
    if idempotency_key is not None:
        headers["Idempotency-Key"] = idempotency_key
    data = sys.stdin.buffer.read() if body == "-" else body.encode()
    path = path_of(*address_segments(function, id)) + "?wait=1" * wait
    answer = request(port, "PUT", path, data, headers)
    click.echo(f"message {answer['trace']}")
    for event in answer.get("events", ()):
        click.echo(printable_json(event))
