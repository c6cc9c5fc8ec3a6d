"""INFO of an app is shown under ``flask statefun dev``, with the address of the function."""

from __future__ import annotations

import logging
import os
import pathlib
import subprocess
import sys

import pytest
from flask import Flask
from flask.logging import default_handler

from statefun_flask.dev.app_log import show_info

APP = """
from flask import current_app

from statefun_flask import Context, Effects, StateFunFlask

app = StateFunFlask(__name__)
app.logger.info("at the start")


@app.statefun("example/greeter")
def greet(context: Context, name: str) -> Effects:
    current_app.logger.info("greeting %s", name)
    context.logger.info("logged %s", name)
    context.logger.debug("not shown")
    return Effects()
"""


def test_info_is_shown_with_the_address(tmp_path: pathlib.Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "names").write_text("bob\n")
    options = ["--port", "0", "--input", "names", "--to", "example/greeter", "--exit-when-idle"]

    done = subprocess.run(
        [sys.executable, "-m", "flask", "statefun", "dev", "--id", "me", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    lines = [line.partition("] ")[2] for line in done.stderr.splitlines()]
    assert "INFO in app, example/greeter/me: greeting bob" in lines
    assert "INFO in app, example/greeter/me: logged bob" in lines
    assert "not shown" not in done.stderr


def test_a_level_or_a_format_of_the_app_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_handler, "filters", [])
    own = logging.Formatter("%(message)s")
    monkeypatch.setattr(default_handler, "formatter", own)
    app = Flask("an_app_with_a_level")
    app.logger.setLevel(logging.ERROR)

    show_info(app)

    assert app.logger.level == logging.ERROR
    assert default_handler.formatter is own
    assert default_handler.filters == []


def test_it_may_be_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default_handler, "filters", [])
    formatter = logging.Formatter("[%(asctime)s] %(levelname)s in %(module)s: %(message)s")
    monkeypatch.setattr(default_handler, "formatter", formatter)
    app = Flask("an_app_without_a_level")

    show_info(app)
    show_info(app)

    assert app.logger.level == logging.INFO
    assert len(default_handler.filters) == 1
    app.logger.setLevel(logging.NOTSET)
