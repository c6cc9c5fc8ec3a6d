"""``flask statefun lock``: writes the states that the app declares, for later checks."""

from __future__ import annotations

import os
import pathlib

import click
from flask import current_app
from flask.cli import with_appcontext

from ..module_yaml import ModuleError
from ..module_yaml.lock import FILE
from ..module_yaml.lock import Lock
from ..values._text import did_you_mean
from ..values._text import suggestions


@click.command(
    "lock",
    short_help="Write down the states that the app declares.",
    epilog="Example: flask --app greeter statefun lock",
)
@click.option(
    "--accept",
    "accepted",
    multiple=True,
    metavar="NAMESPACE/NAME/STATE",
    help="Accept a state that has changed or vanished. Repeatable.",
)
@click.option(
    "--lock", "path", default=FILE, show_default=True, metavar="FILE", help="The file to write."
)
@with_appcontext
def lock(accepted: tuple[str, ...], path: str) -> None:
    """Write every state's type and expiration to a file, which belongs in version control.

    New states are added. A state that has changed or vanished is refused unless --accept names it,
    because a running job may hold it.
    """
    try:
        old = Lock.read(path) or Lock({}, path)
    except ModuleError as exc:
        raise click.ClickException(str(exc)) from None
    new = Lock.of(current_app.extensions["statefun"].registry, path)
    for key in accepted:
        if key not in old.entries:
            near = did_you_mean(suggestions(key, old.entries)[:1])
            raise click.UsageError(
                f"'{key}' is not in '{path}', so there is nothing to accept.{near}"
                " Write 'namespace/name/state'."
            )
    refused = old.refused(new, accepted)
    if refused:
        raise click.ClickException("\n".join([f"'{path}' was not written.", *map(str, refused)]))

    _write(pathlib.Path(path), new.text())
    added = [key for key in new.entries if key not in old.entries]
    click.echo(
        f"'{path}' has {len(new.entries)} state{'s' * (len(new.entries) != 1)},"
        f" {len(added)} of them new."
    )


def _write(path: pathlib.Path, text: str) -> None:
    """Replace a file atomically."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        scratch.write_text(text)
        scratch.replace(path)
    except OSError as exc:
        scratch.unlink(missing_ok=True)
        raise click.ClickException(
            f"Cannot write '{path}': {exc.strerror}. Name another file with --lock."
        ) from None
