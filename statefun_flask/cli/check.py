"""``flask statefun check``: module files and the lock against the app."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import click
from flask import current_app
from flask.cli import with_appcontext

from ..module_yaml import Finding
from ..module_yaml import ModuleError
from ..module_yaml.compare import compare_files
from ..module_yaml.findings import printable
from ..module_yaml.lock import FILE
from ..module_yaml.lock import Lock

#: The module file that is checked without another name.
MODULE = "module.yaml"


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
    "--lock", "lock_file", metavar="FILE", help=f"The lock. Default: ./{FILE} if it exists."
)
@click.pass_context
@with_appcontext
def check(ctx: click.Context, files: tuple[str, ...], output: str, lock_file: str | None) -> None:
    """Check the module files of one job, and the lock, against the app.

    Without FILES it checks ./module.yaml. Exits with 1 if there is a finding, and with 2 if there
    is nothing to check.
    """
    modules = list(files) or _existing(MODULE)
    locks = _existing(FILE) if lock_file is None else [lock_file]
    compared = [*modules, *locks]
    if not compared:
        raise click.UsageError(
            f"There is nothing to check: neither '{MODULE}' nor '{FILE}' exists here. Name a module"
            " file, or write one with 'flask statefun module'."
        )
    statefun = current_app.extensions["statefun"]
    findings = compare_files(modules, statefun.registry, statefun.settings)
    for lock in locks:
        findings += _of_lock(lock)
    if output == "json":
        described = [dataclasses.asdict(finding) for finding in findings]
        click.echo(json.dumps({"compared": compared, "findings": described}, indent=2))
    elif output == "github":
        for finding in findings:
            click.echo(annotation(finding))
        if not findings:
            click.echo(f"::notice title=statefun::{_escaped(printable(_summary(compared, [])))}")
    else:
        for finding in findings:
            click.echo(str(finding))
        click.echo(printable(_summary(compared, findings)))
    ctx.exit(1 if findings else 0)


def _existing(file: str) -> list[str]:
    return [file] if pathlib.Path(file).exists() else []


def _of_lock(path: str) -> list[Finding]:
    try:
        lock = Lock.read(path)
    except ModuleError as exc:
        return list(exc.findings)
    if lock is None:
        raise click.UsageError(
            f"The lock '{path}' does not exist. Correct --lock, or write the file with 'flask"
            " statefun lock'."
        )
    return lock.check(Lock.of(current_app.extensions["statefun"].registry, path))


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


def _summary(compared: list[str], findings: list[Finding]) -> str:
    errors = sum(finding.severity == "error" for finding in findings)
    warnings = len(findings) - errors
    found = f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}"
    return f"{', '.join(compared)}: {found if findings else 'no findings'}."
