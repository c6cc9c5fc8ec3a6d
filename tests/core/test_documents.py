"""The examples in docs/functions.md, and that in docs/testing.md without an engine, work."""

from __future__ import annotations

import pathlib
import re
import sys
import types

import pytest

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def examples(text: str) -> list[str]:
    found: list[str] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return found


FUNCTIONS = examples((DOCS / "functions.md").read_text())
#: The section ends at the next heading; the rest of the page is of the tests with an engine.
WITHOUT_ENGINE = examples(
    (DOCS / "testing.md").read_text().partition("## Without an engine\n")[2].partition("\n## ")[0]
)


def test_both_documents_have_examples() -> None:
    assert FUNCTIONS
    assert WITHOUT_ENGINE


@pytest.mark.parametrize(
    "code",
    [*FUNCTIONS, *WITHOUT_ENGINE],
    ids=[
        *(f"functions.md-{number}" for number in range(len(FUNCTIONS))),
        *(f"testing.md-{number}" for number in range(len(WITHOUT_ENGINE))),
    ],
)
def test_the_example_passes(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("document_example")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, "<example>", "exec"), vars(module))
    tests = [test for name, test in vars(module).items() if name.startswith("test_")]

    assert tests
    for test in tests:
        test()
