from __future__ import annotations

import pathlib
import re
import subprocess
import sys
import types
import typing as t

import pytest

from statefun_flask import ValueSpec

README = pathlib.Path(__file__).parents[1] / "README.md"


@pytest.fixture
def readme(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Return the README's Python blocks as one module."""
    module = types.ModuleType("readme")
    monkeypatch.setitem(sys.modules, "readme", module)
    for code in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL):
        exec(compile(code, str(README), "exec"), module.__dict__)
    return module


def test_its_test_passes(readme: types.ModuleType) -> None:
    readme.test_greeter()


def test_its_app_greets(readme: types.ModuleType, request_body: t.Any, answered: t.Any) -> None:
    client = readme.app.test_client()
    states = {ValueSpec("seen_count", int): 2}
    bob = readme.GreetRequest("bob")

    def post(body: bytes) -> t.Any:
        response = client.post("/statefun", data=body, content_type="application/octet-stream")
        assert response.status_code == 200, response.text
        return answered(response.data)

    first = post(request_body("example/greeter", bob, bob, id="bob", states=states))
    assert first.sends == [
        (
            "example/relay/bob",
            f"Say hello to bob from Flask. I've seen them {seen} times now.",
        )
        for seen in (3, 4)
    ]
    assert first.changes == [("seen_count", 4)]

    second = post(request_body("example/relay", first.texts[0], id="bob"))
    ((egress, record),) = second.egresses
    assert egress == "example/greets"
    assert b"greetings" in record.value
    assert first.texts[0].encode() in record.value


@pytest.fixture
def shop(tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a folder with the README's program as it stands in the file."""
    program, *_ = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (tmp_path / "greeter_app.py").write_text(program)
    return tmp_path


def statefun(folder: pathlib.Path, *arguments: str, given: str = "") -> str:
    """Return the output of a command for the program."""
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "greeter_app", "statefun", *arguments],
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_its_program_works_with_module_check_and_dev(shop: pathlib.Path) -> None:
    options = ("--kafka", "localhost:9092", "--ingress", "names=example/greeter")
    (shop / "module.yaml").write_text(statefun(shop, "module", *options))
    assert "id: example/greets" in (shop / "module.yaml").read_text()
    assert statefun(shop, "check") == "module.yaml: no findings.\n"

    names = '{"name": "ann"}\n{"name": "bob"}\n'
    dev = ("dev", "--port", "0", "--input", "-", "--id-field", "name", "--exit-when-idle", "-q")
    greetings = statefun(shop, *dev, given=names).splitlines()
    assert sorted(greetings) == [
        f"greetings {name}: Say hello to {name} from Flask. I've seen them 1 times now."
        for name in ("ann", "bob")
    ]


TEST = """\
import pytest
from greeter_app import GreetRequest, app


@pytest.fixture
def statefun_app():
    return app


def test_a_greeting(statefun_engine):
    statefun_engine.send("example/greeter/bob", GreetRequest("bob"))
    (record,) = statefun_engine.records("greetings")
    assert record.key == "bob"
    assert record.text.startswith("Say hello to bob")
"""


@pytest.mark.parametrize("engine", ["embedded", pytest.param("flink", marks=pytest.mark.e2e)])
def test_its_program_works_with_pytest(shop: pathlib.Path, engine: str) -> None:
    (shop / "test_greeter.py").write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-q", "--statefun-engine", engine]
    done = subprocess.run(command, cwd=shop, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
def test_its_first_command_greets_in_a_fresh_clone(tmp_path: pathlib.Path) -> None:
    """The command needs only Python and a package index."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", README.parent, clone], check=True)
    (line,) = re.findall(r"^python3 -m venv .* statefun dev .*$", README.read_text(), re.MULTILINE)
    done = subprocess.run(
        ["bash", "-c", line], cwd=clone, stdout=subprocess.PIPE, text=True, check=True
    )
    greetings = [each for each in done.stdout.splitlines() if each.startswith("greetings ")]
    assert len(greetings) == len(set(greetings)) == 100
