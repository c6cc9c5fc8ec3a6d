"""``flask statefun dev``: the app on the embedded engine, with no Java."""

from __future__ import annotations

import io
import os
import pathlib
import re
import sys
import typing as t

import click
from flask.cli import pass_script_info
from flask.cli import ScriptInfo

from ..dev.run import Run

_BROKERS = re.compile(r"module|[^\s,/]+:\d+(,[^\s,/]+:\d+)*")


@click.command("dev", short_help="Run the app on the embedded engine, for development.")
@click.option(
    "--port",
    "-p",
    default=8090,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Where its doors are; 0 for a free one.",
)
@click.option("--data", type=click.Path(file_okay=False), help="Keep everything in this folder.")
@click.option("--module", "-m", type=click.Path(), help="A module.yaml; else ./module.yaml if any.")
@click.option(
    "--kafka",
    metavar="HOST:PORT",
    help="Connect module.yaml's Kafka topics to this broker, or with 'module' to those it names.",
)
@click.option(
    "--group",
    metavar="NAME",
    help="Read offsets from this consumer group and commit them to it. Without it offsets are"
    " committed to a group of the engine's own.",
)
@click.option("--reload", "reloads", is_flag=True, help="Run again when a source file changes.")
@click.option("--input", "input_", metavar="FILE", help="Send the lines of a file; '-' for stdin.")
@click.option("--to", metavar="FUNCTION", help="The function that the lines are for.")
@click.option("--id-field", metavar="NAME", help="The field of each JSON line that is the id.")
@click.option("--id", "id_", metavar="ID", help="The id of lines that are plain text.")
@click.option("--from-start", is_flag=True, help="Read the file from its first line again.")
@click.option("--not-resumable", is_flag=True, help="Read standard input even with --data.")
@click.option("--exit-when-idle", is_flag=True, help="End when all is read and done.")
@click.option(
    "--linger",
    default=10.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Wait for delays due in so many seconds.",
)
@click.option(
    "--clock",
    type=click.Choice(["real", "virtual"]),
    default="real",
    help="'virtual' jumps over the time in which nothing happens.",
)
@click.option(
    "--max-jumps",
    default=1000,
    show_default=True,
    type=click.IntRange(min=0),
    help="How often it may jump.",
)
@click.option(
    "--concurrency",
    default=8,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many calls at a time.",
)
@click.option("--remote", is_flag=True, help="Call the app's own functions by module.yaml's URL.")
@click.option("--quiet", "-q", is_flag=True, help="Show records that leave and errors, no more.")
@click.option("--full-traceback", is_flag=True, help="Show all frames of an exception.")
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    help="Lines for people, or an object a line; text on a terminal and with --quiet, else json.",
)
@pass_script_info
def dev(info: ScriptInfo, /, **given: t.Any) -> None:
    """Run the app's functions on the embedded engine until Ctrl-C.

    It behaves as Flink's runtime does, in one Python process, and tells what is wrong where that
    restarts for ever. In production Flink runs the same app: see 'flask statefun flink'.
    """
    _check(given)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # no value may end the engine
    run = Run(info, given)
    raise SystemExit(run.reloading() if given["reloads"] else run.once())


def _check(given: dict[str, t.Any]) -> None:
    """Refuse options that do not go together."""
    if given["module"] is None and pathlib.Path("module.yaml").exists():
        given["module"] = "module.yaml"
    if given["exit_when_idle"] and given["input_"] is None and given["kafka"] is None:
        raise click.UsageError(
            "--exit-when-idle needs --input or --kafka: without one it has no end."
        )
    if given["kafka"] is not None and given["module"] is None:
        raise click.UsageError("--kafka needs --module, which names the topics. Add it.")
    if given["group"] is not None and given["kafka"] is None:
        raise click.UsageError("--group needs --kafka, which connects the topics. Add it.")
    if given["kafka"] is not None and not _BROKERS.fullmatch(given["kafka"]):
        raise click.UsageError(
            f"'{given['kafka']}' is not the address of a broker. Write --kafka HOST:PORT, or"
            " --kafka module for those that module.yaml names."
        )
    if given["exit_when_idle"] and given["reloads"]:
        raise click.UsageError("--exit-when-idle and --reload do not go together: choose one.")
    if given["clock"] == "virtual" and not given["exit_when_idle"]:
        raise click.UsageError(
            "--clock virtual needs --exit-when-idle: time ends when all is done."
        )
    if given["input_"] == "-" and given["data"] and not given["not_resumable"]:
        raise click.UsageError(
            "Standard input cannot be gone on with after a restart, as --data promises."
            " Give a file, or add --not-resumable."
        )
    if given["input_"] == "-" and given["reloads"] and not given["not_resumable"]:
        raise click.UsageError(
            "Standard input cannot be gone on with after a reload."
            " Give a file, or add --not-resumable."
        )
    if given["input_"] is None:
        for name in ("to", "id_field", "id_", "from_start", "not_resumable"):
            if given[name]:
                raise click.UsageError(f"--{name.strip('_').replace('_', '-')} needs --input.")
    elif given["input_"] != "-" and not os.path.isfile(given["input_"]):
        raise click.UsageError(f"There is no file '{given['input_']}'. Correct --input.")
    if given["id_field"] and given["id_"]:
        raise click.UsageError("--id-field and --id do not go together: choose one.")
