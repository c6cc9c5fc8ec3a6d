"""Builds the contestants in other languages once, below the user's cache folder."""

from __future__ import annotations

import collections.abc as cabc
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import typing as t

from . import peers

HERE = pathlib.Path(__file__).parent / "contestants"


class Program(t.NamedTuple):
    """How a contestant is built and run, in the folder of its sources.

    :param tools: The programs that must be installed.
    :param version: Prints a tool's version.
    """

    tools: tuple[str, ...]
    build: tuple[tuple[str, ...], ...]
    run: tuple[str, ...]
    version: tuple[str, ...]


_MAVEN = ("mvn", "-q", "-B")

PROGRAMS = {
    "go": Program(
        ("go",), (("go", "build", "-o", "person", "."),), ("./person",), ("go", "version")
    ),
    "js": Program(
        ("node", "npm"),
        (("npm", "install", "--no-audit", "--no-fund", "--silent"),),
        ("node", "index.js"),
        ("node", "--version"),
    ),
    "java": Program(
        ("java", "mvn"),
        (
            (
                "mvn",
                "-q",
                "-B",
                "compile",
                "dependency:copy-dependencies",
                "-DoutputDirectory=target/lib",
            ),
        ),
        ("java", "-cp", "target/classes:target/lib/*", "Person"),
        ("java", "--version"),
    ),
    "rust": Program(
        ("cargo", "protoc"),
        (("cargo", "build", "--release", "--quiet"),),
        ("./target/release/person",),
        ("cargo", "--version"),
    ),
}


def missing(name: str) -> list[str]:
    """Return the tools that a program lacks."""
    return [tool for tool in PROGRAMS[name].tools if shutil.which(tool) is None]


def folder(name: str) -> pathlib.Path:
    """Return the folder of a built program, which is built if it is missing.

    :raises subprocess.CalledProcessError: A build fails; its output is on standard error.
    """
    built = peers.cache() / f"{name}-{_digest(HERE / name)}"
    if built.exists():
        return built
    print(f"building the contestant in {name} …", file=sys.stderr)
    built.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=built.parent) as unfinished:
        shutil.copytree(HERE / name, unfinished, dirs_exist_ok=True)
        for command in PROGRAMS[name].build:
            subprocess.run(command, cwd=unfinished, check=True, stdout=sys.stderr)
        os.rename(unfinished, built)
        os.mkdir(unfinished)
    return built


def version(name: str) -> str:
    """Return the version of a program's tool."""
    command = PROGRAMS[name].version
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return output.splitlines()[0]


def _digest(sources: pathlib.Path) -> str:
    """Return a name for the state of the sources, so that a change causes a new build."""
    digest = hashlib.sha256()
    for path in _files(sources):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _files(sources: pathlib.Path) -> cabc.Iterable[pathlib.Path]:
    return sorted(path for path in sources.rglob("*") if path.is_file())
