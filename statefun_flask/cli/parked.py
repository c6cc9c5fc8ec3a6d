"""``flask statefun parked``: the messages that failed."""

from __future__ import annotations

import typing as t

import click

from ..dev.printable import printable
from ..dev.printable import printable_json
from .client import asks_engine
from .client import BodyCommand
from .client import EngineClient
from .client import format_option
from .client import type_header
from .client import type_option
from .client import which_argument
from .client import which_path
from .client import write_all
from .client import write_one

if t.TYPE_CHECKING:
    from ..dev.serializer import JsonObject

_NOTHING = "No address is parked."

_all_option = click.option(
    "--all",
    "several",
    is_flag=True,
    help="Several addresses: all that the message NUMBER has led to, or without a name all.",
)


@click.group("parked", short_help="Deal with messages that failed.")
def parked() -> None:
    """Deal with messages that failed.

    A parked address is not called until its first message is retried, replaced or dropped. It
    is named by its address, or by the NUMBER of the message from outside that led to it.
    """


@parked.command(
    "list", short_help="List them.", epilog="Example: flask statefun parked list --format json"
)
@format_option
@asks_engine
def list_parked(engine: EngineClient, output: str) -> None:
    """List the parked addresses: the message that failed, the error, and how many wait behind."""
    found = engine.pages("/-/parked", 0, lambda each: each["message"]["seq"])
    write_all(found, output, _text, _NOTHING)


def _text(each: JsonObject) -> str:
    behind = f", {each['behind']} behind" if each["behind"] else ""
    value = printable_json(each["message"]["value"])
    return (
        f"{printable(each['address'])}  (message {each['trace']}{behind})  <- {value}\n"
        f"    {printable(each['error'])}"
    )


@parked.command(
    "retry",
    short_help="Try again.",
    epilog="Example: flask statefun parked retry example/greeter/bob",
)
@which_argument
@_all_option
@format_option
@asks_engine
def retry(engine: EngineClient, which: str | None, several: bool, output: str) -> None:
    """Retry the message that failed at an address."""
    path = "/-/retry" + _path(which, several)
    retried = [{"address": each} for each in engine.post(path)["retried"]]
    write_all(
        retried, output, lambda each: f"{printable(each['address'])} is tried again", _NOTHING
    )


@parked.command(
    "drop",
    short_help="Drop the message, and go on with those behind it.",
    epilog="Example: flask statefun parked drop example/greeter/bob",
)
@which_argument
@_all_option
@format_option
@asks_engine
def drop(engine: EngineClient, which: str | None, several: bool, output: str) -> None:
    """Drop the message that failed at an address, so that those behind it go on.

    The message is kept as a dead letter: see 'flask statefun dead'.
    """
    dropped = engine.post("/-/drop" + _path(which, several))["dropped"]
    write_all(
        dropped,
        output,
        lambda each: (
            f"message {each['seq']} to {printable(each['to'])} is dropped; 'flask statefun dead"
            f" revive {each['seq']}' puts it back"
        ),
        _NOTHING,
    )


@parked.command(
    "replace",
    cls=BodyCommand,
    short_help="Try again with another body.",
    epilog='Example: flask statefun parked replace example/greeter/bob \'{"name": "bob"}\'',
)
@which_argument
@click.argument("body")
@type_option
@format_option
@asks_engine
def replace(
    engine: EngineClient, which: str | None, body: str, typename: str | None, output: str
) -> None:
    """Give the message that failed at an address another BODY, and try it again."""
    if which is None:
        raise click.UsageError("Name an address.")
    path = "/-/replace" + which_path(which)
    done = engine.post(path, body.encode("utf-8", "surrogateescape"), type_header(typename))
    address = done["replaced"]
    text = f"{printable(address)} is tried again with another body"
    write_one({"address": address}, output, text)


def _path(which: str | None, several: bool) -> str:
    """Return the end of a path."""
    if which is None:
        if not several:
            raise click.UsageError(
                "Name an address or a number that 'flask statefun parked list' shows, or add --all."
            )
        return "?all"
    return which_path(which) + "?all" * several
