"""``flask statefun routes``: the registered functions as a table."""

from __future__ import annotations

import json
import typing as t

import click
from flask import current_app
from flask.cli import with_appcontext

from ..core.function import StatefulFunction
from ..core.registry import functions_of
from ..values._any import UNTYPED
from ..values.state import ValueSpec
from ..values.types import FLOAT
from ..values.types import INT
from ..values.types import PRIMITIVES

COLUMNS = ("Function", "States", "Messages", "Handler", "Blueprint")
KEYS = tuple(column.lower() for column in COLUMNS)


@click.command(
    "routes",
    short_help="Show the stateful functions of the app.",
    epilog="Example: flask --app greeter statefun routes --sort handler",
)
@click.option(
    "--sort",
    "-s",
    type=click.Choice(KEYS),
    default="function",
    help="Sort by this column. 'function' is the default.",
)
@click.option(
    "--format",
    "output",
    type=click.Choice(["table", "json"]),
    default="table",
    help="'json' for programs: one object with all functions.",
)
@with_appcontext
def routes(sort: str, output: str) -> None:
    """Show the app's stateful functions with their states, message types and handlers.

    A second table has the typename of each type that is not a primitive.
    """
    registry = current_app.extensions["statefun"].registry
    functions = [function for typename in registry for function in functions_of(registry, typename)]
    functions.sort(key=lambda function: _row(function)[KEYS.index(sort)])

    if output == "json":
        click.echo(json.dumps({"functions": [_object(each) for each in functions]}, indent=2))
        return
    if not functions:
        click.echo("No functions were registered.")
        return

    rows = [_row(each) for each in functions]
    columns = COLUMNS if any(row[4] for row in rows) else COLUMNS[:4]
    _print_table(columns, rows)
    if types := _types(functions):
        click.echo()
        _print_table(("Type", "Typename"), types)


def _row(function: StatefulFunction) -> tuple[str, ...]:
    messages = [type.label for type in function.signature.types]
    if function.signature.catch_all is not None:
        messages.append("any")
    return (
        function.typename,
        ", ".join(str(spec) for spec in function.states),
        ", ".join(messages),
        function.handler,
        function.blueprint or "",
    )


def _types(functions: list[StatefulFunction]) -> list[tuple[str, ...]]:
    """Return the types that are not primitives, each with the typename that its values have."""
    types = {
        type.label: type.typename
        for function in functions
        for type in (*function.signature.types, *(spec.type for spec in function.states))
        if type not in PRIMITIVES.values() and type not in (INT, FLOAT, UNTYPED)
    }
    return sorted(types.items())


def _print_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print rows the way ``flask routes`` does. Cells beyond the header are left out."""
    rows = [row[: len(header)] for row in rows]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, tuple("-" * width for width in widths), *rows]:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _object(function: StatefulFunction) -> dict[str, t.Any]:
    return {
        "function": function.typename,
        "states": [_state(spec) for spec in function.states],
        "messages": [type.typename for type in function.signature.types],
        "takes_any": function.signature.catch_all is not None,
        "handler": function.handler,
        "blueprint": function.blueprint,
    }


def _state(spec: ValueSpec[t.Any]) -> dict[str, t.Any]:
    state: dict[str, t.Any] = {"name": spec.name, "type": spec.type.typename}
    if spec.expire_after_write is not None:
        state["expire_after_write_seconds"] = spec.expire_after_write.total_seconds()
    if spec.expire_after_call is not None:
        state["expire_after_call_seconds"] = spec.expire_after_call.total_seconds()
    return state
