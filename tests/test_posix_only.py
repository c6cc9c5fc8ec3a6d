"""The in-memory engine needs no module that only POSIX systems have."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

WITHOUT_POSIX = pathlib.Path(__file__).parent / "shared" / "without_posix.py"

MODULES = """
import importlib, pkgutil, statefun_flask

for each in pkgutil.walk_packages(statefun_flask.__path__, "statefun_flask."):
    importlib.import_module(each.name)
"""
FUNCTION = """
from statefun_flask import Context, Effects, StateFunFlask, ValueSpec

app = StateFunFlask(__name__)
SEEN = ValueSpec("seen", int)


@app.statefun("test/count", states=[SEEN])
def count(context: Context, message: str) -> Effects:
    return Effects().update_state(SEEN, (context.get_state(SEEN) or 0) + 1)


with app.statefun.runtime() as runtime:
    runtime.send("test/count/bob", "one")
    runtime.send("test/count/bob", "two")
    runtime.run_until_idle()
    assert runtime.state("test/count/bob") == {"seen": 2}
"""
COMMAND = """
from statefun_flask import StateFunFlask

app = StateFunFlask(__name__)


@app.statefun("test/echo")
def echo(context, message):
    return None


result = app.test_cli_runner().invoke(args=["statefun", "routes"])
assert result.exit_code == 0, result.output
assert "test/echo" in result.output
"""
DATA_FOLDER = """
from statefun_flask.embedded.errors import DataFolderError
from statefun_flask.embedded.store.folder import DataFolder

try:
    DataFolder("data")
except DataFolderError as exc:
    assert str(exc).startswith("A data folder needs the file locks of a POSIX system."), exc
else:
    raise AssertionError("The folder was taken without a lock.")
"""


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(MODULES, id="importing every module"),
        pytest.param(FUNCTION, id="running a function"),
        pytest.param(COMMAND, id="listing the functions"),
        pytest.param(DATA_FOLDER, id="refusing a data folder"),
    ],
)
def test_without_posix(code: str, tmp_path: pathlib.Path) -> None:
    done = subprocess.run(
        [sys.executable, WITHOUT_POSIX, code], cwd=tmp_path, capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_a_posix_module_is_missing_there(tmp_path: pathlib.Path) -> None:
    done = subprocess.run(
        [sys.executable, WITHOUT_POSIX, "import fcntl"], capture_output=True, text=True
    )

    assert "ModuleNotFoundError: No module named 'fcntl'" in done.stderr
