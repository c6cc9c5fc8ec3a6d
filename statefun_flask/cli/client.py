"""Requests of the commands to the HTTP API of a running ``flask statefun dev``."""

from __future__ import annotations

import collections.abc as cabc
import http.client
import json
import typing as t
import urllib.parse

import click

from ..dev.printable import printable
from ..values.address import Address

port_option = click.option(
    "--port",
    "-p",
    default=8090,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="The port of 'flask statefun dev'.",
)
format_option = click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Lines for people, or a JSON object in each line.",
)
type_option = click.option(
    "--type", "typename", help="The message's type. Needed when the function takes several types."
)


def request(
    port: int,
    method: str,
    path: str,
    body: bytes = b"",
    headers: cabc.Mapping[str, str] | None = None,
) -> t.Any:
    """Return the JSON value of a response.

    :raises click.ClickException: Nothing listens, or the engine refuses the request.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        answer = json.loads(response.read())
    except ConnectionRefusedError:
        raise click.ClickException(
            f"Nothing listens on 127.0.0.1:{port}. Start 'flask statefun dev', or name its --port."
        ) from None
    except (ConnectionError, http.client.RemoteDisconnected):
        raise click.ClickException(
            f"127.0.0.1:{port} closed the connection without a response: it is stopping, or the"
            " request is too large. Check that 'flask statefun dev' runs, and send the request"
            " again."
        ) from None
    except (ValueError, http.client.HTTPException):
        raise click.ClickException(
            f"The program that listens on 127.0.0.1:{port} is not 'flask statefun dev'. Name the"
            " --port of that command."
        ) from None
    finally:
        connection.close()
    if response.status >= 400:
        error = answer.get("error", answer) if isinstance(answer, dict) else answer
        raise click.ClickException(printable(str(error)))
    return answer


def pages(
    port: int, path: str, after: t.Any, last: cabc.Callable[[t.Any], t.Any]
) -> cabc.Iterator[t.Any]:
    """Yield all items that a route lists in pages.

    :param after: The item before the first one.
    :param last: Returns the name of an item, behind which the next page begins.
    """
    while page := request(port, "GET", f"{path}?after={urllib.parse.quote(str(after), safe='')}"):
        yield from page
        after = last(page[-1])


def path_of(*segments: str) -> str:
    """Return a path of segments that are not encoded yet."""
    return "/".join(["", *(urllib.parse.quote(each, safe="") for each in segments)])


def address_segments(function: str, id: str) -> tuple[str, str, str]:
    """Return the segments of an address.

    :raises click.UsageError: The function is not a typename.
    """
    try:
        kind = Address(function, id).type
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None
    return kind.namespace, kind.name, id


def type_header(typename: str | None) -> dict[str, str]:
    """Return the header that names a message's type."""
    return {} if typename is None else {"Content-Type": f"application/vnd.{typename}"}
