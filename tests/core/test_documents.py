"""The examples in docs/functions.md work."""

from __future__ import annotations

import pathlib
import re
import sys
import types

import pytest

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "functions.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_example_passes(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType(f"example_{number}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(EXAMPLES[number], str(DOCUMENT), "exec"), vars(module))
    tests = [test for name, test in vars(module).items() if name.startswith("test_")]

    assert tests
    for test in tests:
        test()
