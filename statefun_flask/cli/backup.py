"""``flask statefun backup`` and ``restore``: the data of an engine in one file."""

from __future__ import annotations

import os
import pathlib

import click

from .client import asks_engine
from .client import EngineClient

#: For how long the engine may copy its data before it answers, in seconds.
PATIENCE = 3600.0


@click.command(
    "backup",
    short_help="Copy the data of a running engine.",
    epilog="Example: flask statefun backup monday.sqlite3",
)
@click.argument("target", type=click.Path(dir_okay=False, path_type=pathlib.Path))
@click.option("--force", is_flag=True, help="Replace TARGET if it exists.")
@asks_engine
def backup(engine: EngineClient, target: pathlib.Path, force: bool) -> None:
    """Write all data of a running engine to the file TARGET, while it goes on.

    TARGET is one consistent database, with everything that was acknowledged before the command. It
    is checked before it gets its name. 'flask statefun restore' makes a data folder of it.
    """
    _refuse_existing(target, force)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        _download(engine, part)
        version, size = _check(part), part.stat().st_size
        _name(part, target, force)
    except OSError as exc:
        raise click.ClickException(
            f"'{target}' cannot be written: {exc.strerror or exc}. Name another file."
        ) from None
    finally:
        part.unlink(missing_ok=True)
    click.echo(f"'{target}' has {size / 1e6:.1f} MB in format {version} and was checked.")


def _refuse_existing(target: pathlib.Path, force: bool) -> None:
    if not force and os.path.lexists(target):
        raise click.ClickException(f"'{target}' exists. Name another file, or add --force.")


def _download(engine: EngineClient, part: pathlib.Path) -> None:
    """Write the response to a new file that only this user can read, and make it durable."""
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        with engine.open("GET", "/-/backup", timeout=PATIENCE) as response:
            length = int(response.headers.get("Content-Length", 0))
            for chunk in engine.chunks(response):
                file.write(chunk)
        if file.tell() != length:
            raise click.ClickException(
                f"{engine.url} has sent {file.tell()} of {length} bytes. Try again."
            )
        file.flush()
        os.fsync(file.fileno())


def _check(part: pathlib.Path) -> int:
    """Open a copy and return its format."""
    from ..embedded.errors import BackupError
    from ..embedded.store.backup import check_database

    try:
        return check_database(part)
    except BackupError as exc:
        raise click.ClickException(str(exc)) from None


def _name(part: pathlib.Path, target: pathlib.Path, force: bool) -> None:
    """Give a complete file its name, which may have appeared meanwhile."""
    if force:
        part.replace(target)
        return
    try:
        os.link(part, target)
    except FileExistsError:
        _refuse_existing(target, force)
    except OSError:  # the file system has no links
        _refuse_existing(target, force)
        part.replace(target)


@click.command(
    "restore",
    short_help="Make a data folder from a backup.",
    epilog="Example: flask statefun restore monday.sqlite3 data",
)
@click.argument("backup", type=click.Path(exists=True, dir_okay=False))
@click.argument("data", type=click.Path(file_okay=False))
def restore(backup: str, data: str) -> None:
    """Put the file BACKUP into the empty or new folder DATA, for 'flask statefun dev --data'.

    No engine may run on DATA. Delays that were due since the backup fire at the start. What the
    engine has read from Kafka and files after the backup is read again.
    """
    from ..embedded.errors import BackupError
    from ..embedded.errors import DataFolderError
    from ..embedded.store.backup import restore as put_back

    try:
        put_back(backup, data)
    except (BackupError, DataFolderError) as exc:
        raise click.ClickException(str(exc)) from None
    click.echo(f"'{data}' has the data of '{backup}'. Start 'flask statefun dev --data {data}'.")
