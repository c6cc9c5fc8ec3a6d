"""The ``flask statefun`` commands, in modules that are imported when one is used."""

from __future__ import annotations

import importlib
import typing as t

import click
from flask.cli import AppGroup

#: For each command the module of this package that has it, under its own name.
COMMANDS = {
    "check": "check",
    "delays": "engine",
    "dev": "dev",
    "drop": "engine",
    "egress": "engine",
    "flink": "flink",
    "lock": "lock",
    "module": "module",
    "parked": "engine",
    "replace": "engine",
    "retry": "engine",
    "revive": "engine",
    "routes": "routes",
    "send": "engine",
    "serve": "serve",
    "state": "engine",
    "trace": "engine",
}


class CommandGroup(AppGroup):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the command of a name."""
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"{__name__}.{COMMANDS[name]}")
        return t.cast("click.Command", getattr(module, name))


group = CommandGroup("statefun", help="Stateful functions: list, run and serve them.")
