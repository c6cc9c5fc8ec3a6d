"""The ``flask statefun`` commands. The module of a command is imported when the command is used."""

from __future__ import annotations

import importlib
import typing as t

import click
from flask.cli import AppGroup

#: The module of this package that defines each command, as a function with the command's name.
COMMANDS = {
    "check": "check",
    "delays": "delays",
    "dev": "dev",
    "drop": "parked",
    "egress": "stored",
    "flink": "flink",
    "lock": "lock",
    "module": "module",
    "parked": "parked",
    "replace": "parked",
    "reset": "reset",
    "retry": "parked",
    "revive": "parked",
    "routes": "routes",
    "send": "send",
    "serve": "serve",
    "state": "stored",
    "trace": "trace",
    "vacuum": "vacuum",
}


class CommandGroup(AppGroup):
    """A group that imports a command when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"{__name__}.{COMMANDS[name]}")
        return t.cast("click.Command", getattr(module, name))


group = CommandGroup("statefun", help="Stateful functions: list, run and serve them.")
