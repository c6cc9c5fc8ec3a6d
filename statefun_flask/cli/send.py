"""``flask statefun send``: a message to a function of a running engine."""

from __future__ import annotations

import collections.abc as cabc
import sys
import typing as t

import click

from ..dev.printable import printable
from .client import address_argument
from .client import address_path
from .client import asks_engine
from .client import BodyCommand
from .client import EngineClient
from .client import format_option
from .client import type_header
from .client import type_option
from .client import write_json
from .trace import tree

if t.TYPE_CHECKING:
    from ..dev.serializer import JsonObject


@click.command(
    "send",
    cls=BodyCommand,
    short_help="Send a message to a function.",
    epilog='Example: flask statefun send example/greeter/bob \'{"name": "bob"}\' --wait',
)
@address_argument
@click.argument("body", default="-")
@type_option
@click.option("--wait", is_flag=True, help="Wait, and print all that the message causes.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, 300),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long --wait waits. It waits for delays that are due in this time, too.",
)
@click.option(
    "--idempotency-key",
    help="Send the message once under this key. The key is remembered for 24 hours.",
)
@format_option
@asks_engine
def send(
    engine: EngineClient,
    address: str,
    body: str,
    typename: str | None,
    wait: bool,
    timeout: float,
    idempotency_key: str | None,
    output: str,
) -> None:
    """Send BODY to a function instance. '-' reads BODY from standard input.

    BODY is text for a str function, and JSON for every other declared type.
    """
    headers = type_header(typename)
    if idempotency_key is not None:
        headers["Idempotency-Key"] = idempotency_key
    data = sys.stdin.buffer.read() if body == "-" else body.encode("utf-8", "surrogateescape")
    path = address_path(address)
    if wait:
        path += f"?wait&timeout={timeout:.3f}"
    answer = engine.request("PUT", path, data, headers, timeout=timeout if wait else 0.0)
    if output == "json":
        write_json(answer)
        return
    again = " (sent before under this key)" if answer.get("repeated") else ""
    click.echo(f"message {answer['trace']}{again}")
    for line in tree(answer.get("events", [])):
        click.echo(line)
    for line in _waiting(answer.get("waiting", ())):
        click.echo(line)


def _waiting(waiting: cabc.Iterable[JsonObject]) -> cabc.Iterator[str]:
    """Yield a line for each address at which something waits for a person."""
    for each in waiting:
        address = printable(each["address"])
        if "held" in each:
            function = printable(each["held"])
            yield f"{address} waits: {function} is paused; 'flask statefun resume {function}'"
        else:
            yield (
                f"{address} waits behind message {each['behind']}, which is parked:"
                f" {printable(each['error'])}"
            )
