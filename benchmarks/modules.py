"""Reading and checking a module of 200 functions: ``python -m benchmarks.modules [--quick]``.

The table compares reading with PyYAML's C loader, which makes dicts and lists of the same text
without any check. It also has the time of the whole command, with the start of Python and of the
app."""

from __future__ import annotations

import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import timeit
import typing as t

import yaml

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import ValueSpec
from statefun_flask.module_yaml import dump
from statefun_flask.module_yaml import read
from statefun_flask.module_yaml.compare import compare
from statefun_flask.module_yaml.generate import generate
from statefun_flask.module_yaml.generate import Request
from statefun_flask.module_yaml.model import HttpEndpoint
from statefun_flask.module_yaml.model import Module
from statefun_flask.module_yaml.model import Version
from statefun_flask.module_yaml.model import VERSIONS

FUNCTIONS = 200
APP = """\
from benchmarks.modules import register
from statefun_flask import StateFunFlask

app = StateFunFlask("app")
register(app.statefun.registry)
"""


def function(context: Context, message: str) -> Effects:
    """Do nothing."""
    return Effects()


def register(registry: FunctionRegistry) -> FunctionRegistry:
    """Register 200 functions with two states each."""
    states: list[ValueSpec[t.Any] | str] = [ValueSpec("seen", int), ValueSpec("last", str)]
    for number in range(FUNCTIONS):
        registry.register(f"example/function{number}", function, states=states)
    return registry


def module(version: Version) -> str:
    """Return a module with an endpoint and a topic for each of the functions."""
    registry = register(FunctionRegistry())
    names = [str(name) for name in registry]
    request = Request(
        version=version,
        url="http://127.0.0.1:5000/statefun",
        kafka="127.0.0.1:9092",
        ingresses=tuple((f"topic-{name.partition('/')[2]}", name, None) for name in names),
        group="benchmark",
    )
    made = generate(registry, request)
    if version not in ("1.0", "2.0"):
        # A pattern would suffice, but an endpoint per function is more to read.
        (pattern,) = made.endpoints
        own = [
            HttpEndpoint(**{**vars(pattern), "functions": name, "max_batch": 500}) for name in names
        ]
        made = Module(version, (*own, *made.components[1:]))
    return dump(made)


def reading(version: Version, rounds: int) -> None:
    """Measure the time to read and to compare a module."""
    text = module(version)
    registry = register(FunctionRegistry())
    assert read(text).findings == ()
    assert compare([read(text).module], registry) == []
    assert len(read(text).module.endpoints) == FUNCTIONS

    parsed = read(text).module
    cases: dict[str, t.Callable[[], object]] = {
        "PyYAML": lambda: list(yaml.load_all(text, yaml.CSafeLoader)),
        "read": lambda: read(text),
        "compare": lambda: compare([parsed], registry),
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            times[name].append(timeit.timeit(case, number=1) * 1000)
    floor = statistics.median(times["PyYAML"])
    lines = text.count("\n")
    print(f"\nformat {version}: {FUNCTIONS} functions, {lines} lines")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"  {name:8} {median:7.1f} ms   {median / floor:5.2f}")


def command(rounds: int) -> None:
    """Time ``flask statefun check`` in a process of its own."""
    times = []
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        (path / "app.py").write_text(APP)
        (path / "module.yaml").write_text(module("3.1"))
        arguments = [sys.executable, "-m", "flask", "--app", str(path / "app.py")]
        arguments += ["statefun", "check", str(path / "module.yaml")]
        for _ in range(rounds):
            run = lambda: subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)  # noqa: E731
            times.append(timeit.timeit(run, number=1))
    print(f"\nflask statefun check: {statistics.median(times):.2f} s")


def main() -> None:
    """Print a table for each format, and the time of the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few rounds only")
    rounds = 5 if parser.parse_args().quick else 30
    for version in VERSIONS:
        reading(version, rounds)
    command(max(3, rounds // 5))


if __name__ == "__main__":
    main()
