"""The examples of docs/testing.md pass, and the tests that docs/engines.md names exist."""

from __future__ import annotations

import pathlib
import re

import pytest

pytest_plugins = ["pytester"]

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("engine", ["embedded", pytest.param("flink", marks=pytest.mark.e2e)])
def test_the_example_passes(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setattr(pytester, "_method", "subprocess")
    text = (ROOT / "docs" / "testing.md").read_text()
    files = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text, re.DOTALL))
    assert files.keys() == {"carts.py", "conftest.py", "test_carts.py", "test_runtime.py"}
    for name, code in files.items():
        (pytester.path / name).write_text(code)
    pytester.runpytest("--statefun-engine", engine).assert_outcomes(passed=4)


def test_the_tests_that_the_table_of_rows_names_exist() -> None:
    text = (ROOT / "docs" / "engines.md").read_text()
    rows = [line for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(line.split("|")[1]) for line in rows] == list(range(81, 102))
    for line in rows:
        named = re.findall(r"`([\w/.]+\.py)::(\w+)`", line)
        assert named, f"no test is named in: {line}"
        for path, function in named:
            code = (ROOT / "tests" / path).read_text()
            assert f"def {function}(" in code, f"{path} has no {function}"
