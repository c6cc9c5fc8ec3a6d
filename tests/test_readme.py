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
