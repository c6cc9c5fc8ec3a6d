"""The validators of the formats accept the files, and detect a mistake.

The schema of the Compose specification comes with check-jsonschema, with its licence.
"""

from __future__ import annotations

import collections.abc as cabc
import importlib.util
import pathlib
import subprocess
import sys
import typing as t

import greeter
import pytest

pytestmark = pytest.mark.slow

GREETER = pathlib.Path(greeter.__file__).parent
COMPOSE = GREETER / "docker-compose.yaml"
Run = cabc.Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def validate(missing: cabc.Callable[[str], t.NoReturn]) -> Run:
    """Return a function that runs a tool of this Python's: ``validate("module", *arguments)``."""

    def run(module: str, *arguments: str | pathlib.Path) -> subprocess.CompletedProcess[str]:
        if importlib.util.find_spec(module) is None:
            name = module.replace("_", "-")
            missing(f"{name} is not installed. Run the tests by tox, or install it with pip.")
        command = [sys.executable, "-m", module, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    return run


def compose(file: pathlib.Path) -> subprocess.CompletedProcess[str]:
    command = ["docker-compose", "--file", str(file), "config", "--quiet"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def changed(source: pathlib.Path, folder: pathlib.Path, old: str, new: str) -> pathlib.Path:
    """Return a copy of a file in which a word is misspelt."""
    text = source.read_text()
    assert old in text
    copy = folder / source.name
    copy.write_text(text.replace(old, new, 1))
    return copy


def test_docker_compose_accepts_its_file(
    require: cabc.Callable[..., None], tmp_path: pathlib.Path
) -> None:
    require("docker-compose")
    done = compose(COMPOSE)
    assert done.returncode == 0, done.stderr
    wrong = compose(changed(COMPOSE, tmp_path, "depends_on:", "depend_on:"))
    assert wrong.returncode != 0
    assert "depend_on" in wrong.stderr


def test_the_compose_specification_accepts_the_file(validate: Run, tmp_path: pathlib.Path) -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    done = validate("check_jsonschema", *schema, COMPOSE)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = changed(COMPOSE, tmp_path, "stop_grace_period:", "stop_grace:")
    assert "stop_grace" in validate("check_jsonschema", *schema, wrong).stdout


@pytest.mark.parametrize(
    "file", sorted((GREETER / "k8s").glob("*.yaml")), ids=lambda path: path.name
)
def test_kubernetes_accepts_the_manifests(validate: Run, file: pathlib.Path) -> None:
    done = validate("kubernetes_validate", "--strict", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout + done.stderr


def test_a_misspelt_probe_would_be_found(validate: Run, tmp_path: pathlib.Path) -> None:
    wrong = changed(GREETER / "k8s/functions.yaml", tmp_path, "periodSeconds:", "periodSecond:")
    done = validate("kubernetes_validate", "--strict", wrong)
    assert done.returncode != 0
    assert "'periodSecond' was unexpected" in done.stdout + done.stderr
