"""``flask statefun check``: module files and the lock against the app."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import json
import pathlib

import click
from flask import current_app
from flask.cli import with_appcontext

from ..module_yaml import Finding
from ..module_yaml import ModuleError
from ..module_yaml import read
from ..module_yaml import ReadResult
from ..module_yaml.compare import compare
from ..module_yaml.findings import printable
from ..module_yaml.lock import FILE
from ..module_yaml.lock import Lock


@click.command(
    "check",
    short_help="Check module files and the lock against the app.",
    epilog="Example: flask --app greeter statefun check module.yaml",
)
@click.argument("files", nargs=-1, metavar="[module.yaml]…")
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    help="'json' is for programs, 'github' makes annotations of a pull request.",
)
@click.option(
    "--lock",
    "path",
    default=FILE,
    show_default=True,
    metavar="FILE",
    help="The lock; a missing one is not compared.",
)
@click.pass_context
@with_appcontext
def check(ctx: click.Context, files: tuple[str, ...], output: str, path: str) -> None:
    """Check the module files of one job, and the lock, against the app.

    Exits with 1 if there is a finding.
    """
    findings = [*findings_of(files), *_of_lock(path)]
    if output == "json":
        click.echo(json.dumps({"findings": [dataclasses.asdict(f) for f in findings]}, indent=2))
    elif output == "github":
        for finding in findings:
            click.echo(annotation(finding))
    else:
        for finding in findings:
            click.echo(str(finding))
        click.echo(_summary(findings))
    ctx.exit(1 if findings else 0)


def findings_of(files: cabc.Sequence[str]) -> list[Finding]:
    """Return the findings of the module files of one job, read and compared with the app."""
    readings: list[ReadResult] = []
    findings: list[Finding] = []
    for file in files:
        try:
            readings.append(read(pathlib.Path(file)))
        except ModuleError as exc:
            findings += exc.findings
    findings += [finding for reading in readings for finding in reading.findings]
    # Components with errors would seem to be missing.
    if readings and not any(finding.severity == "error" for finding in findings):
        statefun = current_app.extensions["statefun"]
        modules = [reading.module for reading in readings]
        findings += compare(modules, statefun.registry, statefun.settings)
    return findings


def _of_lock(path: str) -> list[Finding]:
    try:
        lock = Lock.read(path)
    except ModuleError as exc:
        return list(exc.findings)
    return lock.check(Lock.of(current_app.extensions["statefun"].registry)) if lock else []


def annotation(finding: Finding) -> str:
    """Return a finding as a workflow command of GitHub."""
    place = f",line={finding.line},col={finding.column}" if finding.line else ""
    file = _escaped(printable(finding.file), ":,")
    text = printable(f"{finding.path}: " * bool(finding.path) + f"{finding.text} {finding.fix}")
    return f"::{finding.severity} file={file}{place},title={finding.code}::{_escaped(text)}"


def _escaped(text: str, more: str = "") -> str:
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _summary(findings: list[Finding]) -> str:
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    if not findings:
        return "No findings."
    return f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}."
