"""The ``flask statefun`` commands. The module of a command is imported when the command is used.

The group is a plugin of the ``flask`` command, which loads no app for it. Nothing here imports
Flask, so that the script ``statefun`` starts quickly.
"""

from __future__ import annotations

import importlib
import typing as t

import click

#: The commands that ask a running engine or look at this machine, and need no app.
ASKING = {
    "backup": "backup",
    "dead": "dead",
    "delays": "delays",
    "doctor": "doctor",
    "egress": "egress",
    "events": "events",
    "list": "instances:list_instances",
    "parked": "parked",
    "pause": "pause",
    "restore": "backup",
    "resume": "pause",
    "send": "send",
    "state": "state",
    "status": "status",
    "trace": "trace",
}

#: The module of this package that defines each command, and the function if it has another name.
COMMANDS = {
    **ASKING,
    "check": "check",
    "dev": "dev",
    "flink": "flink",
    "lock": "lock",
    "module": "module",
    "reset": "reset",
    "routes": "routes",
    "serve": "serve",
    "vacuum": "vacuum",
}


class CommandGroup(click.Group):
    """A group that imports a command when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in COMMANDS:
            return None
        module, _, function = COMMANDS[name].partition(":")
        found = importlib.import_module(f"{__name__}.{module}")
        return t.cast("click.Command", getattr(found, function or name))


group = CommandGroup(
    "statefun",
    help="Stateful functions: list, run and serve them, and ask a running engine.",
    epilog="The exit status is 0 if all is well, 1 if something is refused or wrong, 2 for wrong"
    " usage, 3 if no engine answers, 4 if nothing is found, and 5 if the time of --wait is over.",
)
