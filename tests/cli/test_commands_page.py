"""The examples of docs/commands.md, executed in their order on one engine."""

from __future__ import annotations

import pathlib
import re
import shlex

import click.testing
import pytest

from statefun_flask.cli import ASKING
from statefun_flask.cli import group
from statefun_flask.dev.session import Options
from statefun_flask.dev.session import Session

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "commands.md"


def examples() -> list[tuple[list[str], str]]:
    """Return each command with the output that the page shows."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL):
        for example in block.split("$ statefun ")[1:]:
            line, _, output = example.partition("\n")
            found.append((shlex.split(line), output))
    return found


def as_pattern(output: str) -> str:
    """Return a regular expression for an output in which ``…`` stands for anything."""
    return re.escape(output).replace("…", "(?s:.*)")


def test_the_examples_show_what_the_commands_print(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    namespace = {"__name__": "bank"}
    exec(compile(code, str(PAGE), "exec"), namespace)
    monkeypatch.chdir(tmp_path)
    runner = click.testing.CliRunner()
    app = namespace["app"]
    with app.app_context():  # type: ignore[attr-defined]
        session = Session(app, Options(port=0, data="data"))  # type: ignore[arg-type]
    session.start()
    monkeypatch.setenv("STATEFUN_ENGINE", session.url)
    try:
        for arguments, expected in examples():
            result = runner.invoke(group, arguments)
            assert re.fullmatch(as_pattern(expected), result.output), (arguments, result.output)
            session.engine.wait_idle(10)
    finally:
        session.close()


def test_every_command_has_an_example() -> None:
    assert {arguments[0] for arguments, _ in examples()} == set(ASKING)
