"""``flask statefun vacuum``: makes the file of a data folder smaller."""

from __future__ import annotations

import click

from ..dev.printable import printable
from ..embedded.errors import DataFolderError
from ..embedded.errors import DiskFullError
from ..embedded.offline import vacuum as shrink
from ..embedded.retention import Retention
from .keep import keep_days_option
from .keep import keep_records_option


@click.command(
    "vacuum",
    short_help="Make the file of a data folder smaller.",
    epilog="Example: flask statefun vacuum data",
)
@click.argument("data", type=click.Path(file_okay=False))
@keep_records_option
@keep_days_option
@click.option(
    "--without-sink",
    metavar="EGRESS",
    multiple=True,
    help="Nothing will write the records of this egress to Kafka any more, so that they need not"
    " wait for it. Repeatable.",
)
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Go on without SQLite's log if it is missing, and so without the latest changes.",
)
def vacuum(
    data: str,
    keep_records: int | None,
    keep_days: float | None,
    without_sink: tuple[str, ...],
    accept_loss: bool,
) -> None:
    """Delete what is too old in the data folder DATA, and give its free space back to the disk.

    No engine may run on the folder. The disk needs as much free space as the data that is left.
    """
    try:
        done = shrink(
            data,
            Retention.of(keep_records, keep_days),
            without_sink=without_sink,
            accept_loss=accept_loss,
        )
    except DataFolderError as exc:
        raise click.ClickException(printable(str(exc))) from None
    except DiskFullError as exc:
        raise click.ClickException(
            f"'{data}' cannot be written anew: {exc.__cause__}. Free some space on its disk, and"
            " run the command again: nothing that is kept was changed."
        ) from None
    for name, count in done.deleted.items():
        if count:
            click.echo(f"{count} {name} deleted")
    for egress, count in done.waiting.items():
        if count:
            click.echo(
                printable(
                    f"{count} records of '{egress}' wait until Kafka has them: run 'flask statefun"
                    f" dev' with --kafka, or this command with --without-sink {egress}"
                )
            )
    click.echo(f"{done.before} bytes before, {done.after} bytes after")
