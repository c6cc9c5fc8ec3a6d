"""The ``flask statefun`` commands, each in a module of its own that is imported when it is used."""

from __future__ import annotations

import importlib
import typing as t

import click
from flask.cli import AppGroup

COMMANDS = ("check", "dev", "flink", "lock", "module", "routes", "serve")


class CommandGroup(AppGroup):
    """A group whose commands are the objects of the same name in the modules of this package."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the command of a name."""
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"{__name__}.{name}")
        return t.cast("click.Command", getattr(module, name))


group = CommandGroup("statefun", help="Stateful functions: list, run and serve them.")
