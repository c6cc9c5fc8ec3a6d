"""``flask statefun reset``: deletes the values of a function's states."""

from __future__ import annotations

import click

from ..dev.printable import printable
from ..embedded.errors import DataFolderError
from ..embedded.errors import DiskFullError
from ..embedded.offline import open_existing
from ..embedded.store import SqliteStore
from ..values._text import did_you_mean
from ..values._text import suggestions


@click.command(
    "reset",
    short_help="Delete the values of a function's states.",
    epilog="Example: flask statefun reset data shop/cart items",
)
@click.argument("data", type=click.Path(file_okay=False))
@click.argument("function")
@click.argument("state", required=False)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def reset(data: str, function: str, state: str | None, yes: bool) -> None:
    """Delete the values of all states of FUNCTION, or of its state STATE, for all ids.

    Afterwards the type of a state may be another one. Messages and delays stay. No engine may run
    on the data folder DATA. Nothing brings the values back: make a copy of the folder before.
    """
    try:
        store = open_existing(data)
    except DataFolderError as exc:
        raise click.ClickException(printable(str(exc))) from None
    try:
        values = _values(store, data, function, state)
        if not yes:
            click.echo(printable(f"States of '{function}' in '{data}':"))
            for name, count in values.items():
                click.echo(printable(f"  {name}: {count} value{'s' * (count != 1)}"))
            click.confirm("Delete them?", abort=True)
        for name, count in values.items():
            store.delete_values(function, name)
            click.echo(printable(f"{name}: {count} value{'s' * (count != 1)} deleted"))
    except DiskFullError as exc:
        raise click.ClickException(
            f"'{data}' cannot be written to: {exc.__cause__}. Free some space on its disk, and run"
            " the command again."
        ) from None
    finally:
        store.close()


def _values(store: SqliteStore, data: str, function: str, state: str | None) -> dict[str, int]:
    """Return how many values there are of each state that is meant."""
    values = store.values(function)
    if not values:
        known = sorted({typename for typename, _ in store.state_types()})
        raise click.ClickException(
            printable(
                f"'{data}' has no state of '{function}'."
                f"{did_you_mean(suggestions(function, known))} Name a function as"
                " 'namespace/name'."
            )
        )
    if state is None:
        return values
    if state not in values:
        raise click.ClickException(
            printable(
                f"'{data}' has no state '{state}' of '{function}'."
                f"{did_you_mean(suggestions(state, values))} Its states are:"
                f" {', '.join(values)}."
            )
        )
    return {state: values[state]}
