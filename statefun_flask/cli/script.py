"""The script ``statefun``: the same commands as ``flask statefun``."""

from __future__ import annotations

import sys
import typing as t

import click

from . import ASKING
from . import group


def main() -> t.NoReturn:
    """Run the command of the command line.

    Commands that need no app run without Flask, whose import takes longer than such a command.
    """
    if sys.argv[1:2] and sys.argv[1] in ASKING:
        group.main(prog_name="statefun")
    else:
        _script().main(prog_name="statefun")
    raise SystemExit(0)  # not reached: click ends the process


def _script() -> click.Group:
    """Return the group with the options of the ``flask`` command, such as ``--app``."""
    from flask.cli import FlaskGroup

    class Script(FlaskGroup):
        """Has the commands of the group only, and loads no app to find them."""

        def list_commands(self, ctx: click.Context) -> list[str]:
            """Return the names of all commands."""
            return group.list_commands(ctx)

        def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
            """Import a command."""
            return group.get_command(ctx, name)

    return Script(
        name="statefun",
        help=group.help,
        epilog=group.epilog,
        add_default_commands=False,
        add_version_option=False,
    )
