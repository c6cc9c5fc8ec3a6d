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

from ..dev import isolate
from ..dev.run import Run
from ..embedded.engine import CALL_TIMEOUT
from ..transport.left_threads import end_despite_threads
from .keep import keep_days_option
from .keep import keep_records_option

_BROKERS = re.compile(r"module|[^\s,/]+:\d+(,[^\s,/]+:\d+)*")


@click.command(
    "dev",
    short_help="Run the app on the embedded engine, for development.",
    epilog="Example: flask --app greeter statefun dev --reload --data data",
)
@click.option(
    "--port",
    "-p",
    default=8090,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port of the HTTP API; 0 takes a free port.",
)
@click.option("--data", type=click.Path(file_okay=False), help="Keep all data in this folder.")
@keep_records_option
@keep_days_option
@click.option(
    "--module", "-m", type=click.Path(), help="A module.yaml. Default: ./module.yaml if it exists."
)
@click.option(
    "--kafka",
    metavar="HOST:PORT",
    help="Connect the Kafka topics of module.yaml to this broker, or with 'module' to the brokers"
    " that module.yaml names.",
)
@click.option(
    "--group",
    metavar="NAME",
    help="Read offsets from this consumer group and commit them to it. Without it offsets are"
    " committed to a group of the engine's own.",
)
@click.option("--reload", "reloads", is_flag=True, help="Restart when a source file changes.")
@click.option("--input", "input_", metavar="FILE", help="Send the lines of a file; '-' is stdin.")
@click.option("--to", metavar="FUNCTION", help="The function that gets the lines.")
@click.option("--id-field", metavar="NAME", help="The field of each JSON line that is the id.")
@click.option("--id", "id_", metavar="ID", help="The id of lines that are plain text.")
@click.option("--from-start", is_flag=True, help="Read the file from its first line.")
@click.option("--not-resumable", is_flag=True, help="Allow standard input with --data.")
@click.option("--exit-when-idle", is_flag=True, help="End when all input is processed.")
@click.option(
    "--linger",
    default=10.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="With --exit-when-idle, wait for delays that are due in so many seconds.",
)
@click.option(
    "--clock",
    type=click.Choice(["real", "virtual"]),
    default="real",
    help="'virtual' skips the time in which nothing happens.",
)
@click.option(
    "--max-jumps",
    default=1000,
    show_default=True,
    type=click.IntRange(min=0),
    help="How often the virtual clock may skip time.",
)
@click.option(
    "--concurrency",
    default=8,
    show_default=True,
    type=click.IntRange(min=1),
    help="Concurrent calls: in process in all, over HTTP to each endpoint.",
)
@click.option(
    "--call-timeout",
    default=CALL_TIMEOUT,
    show_default=True,
    type=click.FloatRange(min=0),
    help="The seconds that a function may take; 0 for any time. Needs a concurrency of 2 or more.",
)
@click.option(
    "--isolate",
    metavar="[N]",
    is_flag=False,
    flag_value=str(os.cpu_count() or 1),
    type=click.IntRange(min=1),
    help="Run the functions in N child processes; without a number, one for each core.",
)
@click.option("--remote", is_flag=True, help="Call the app's functions at module.yaml's URL.")
@click.option("--quiet", "-q", is_flag=True, help="Show only egress records and errors.")
@click.option("--full-traceback", is_flag=True, help="Show all frames of an exception.")
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    help="Lines for people, or a JSON object in each line. Default: text on a terminal and with"
    " --quiet, json otherwise.",
)
@pass_script_info
def dev(info: ScriptInfo, /, **given: t.Any) -> None:
    """Run the app's functions on the embedded engine until Ctrl-C.

    The engine behaves as the StateFun runtime on Flink, in one Python process. It reports an error
    and continues where Flink would restart the job. In production Flink runs the same app:
    see 'flask statefun flink'.
    """
    if isolate.is_child():
        isolate.serve(info.load_app())
        end_despite_threads(0, grace=0.5)
        return
    _check(given)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # no value may end the command
    run = Run(info, given)
    status = run.reloading() if given["reloads"] else run.once()
    end_despite_threads(status)
    raise SystemExit(status)


def _check(given: dict[str, t.Any]) -> None:
    """Refuse options that exclude each other, and default to ./module.yaml."""
    if given["module"] is None and pathlib.Path("module.yaml").exists():
        given["module"] = "module.yaml"
    if given["exit_when_idle"] and given["input_"] is None and given["kafka"] is None:
        raise click.UsageError("--exit-when-idle needs an input that ends. Add --input or --kafka.")
    if given["kafka"] is not None and given["module"] is None:
        raise click.UsageError("--kafka needs --module, which names the topics. Add it.")
    if given["group"] is not None and given["kafka"] is None:
        raise click.UsageError("--group needs --kafka, which connects the topics. Add it.")
    if given["kafka"] is not None and not _BROKERS.fullmatch(given["kafka"]):
        raise click.UsageError(
            f"'{given['kafka']}' is not the address of a broker. Write --kafka HOST:PORT, or"
            " --kafka module for those that module.yaml names."
        )
    if given["isolate"] and given["remote"]:
        raise click.UsageError(
            "--isolate runs the functions in processes of this command, and --remote calls them"
            " elsewhere. Choose one."
        )
    if given["exit_when_idle"] and given["reloads"]:
        raise click.UsageError("--exit-when-idle and --reload exclude each other. Choose one.")
    if given["clock"] == "virtual" and not given["exit_when_idle"]:
        raise click.UsageError("--clock virtual needs a run that ends. Add --exit-when-idle.")
    if given["input_"] == "-" and given["data"] and not given["not_resumable"]:
        raise click.UsageError(
            "Standard input cannot be resumed after a restart, as --data promises."
            " Name a file, or add --not-resumable."
        )
    if given["input_"] == "-" and given["reloads"] and not given["not_resumable"]:
        raise click.UsageError(
            "Standard input cannot be resumed after a reload. Name a file, or add --not-resumable."
        )
    if given["input_"] is None:
        for name in ("to", "id_field", "id_", "from_start", "not_resumable"):
            if given[name]:
                raise click.UsageError(f"--{name.strip('_').replace('_', '-')} needs --input.")
    elif given["input_"] != "-" and not os.path.isfile(given["input_"]):
        raise click.UsageError(f"The file '{given['input_']}' does not exist. Correct --input.")
    if given["id_field"] and given["id_"]:
        raise click.UsageError("--id-field and --id exclude each other. Choose one.")
