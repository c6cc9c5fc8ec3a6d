"""The example in docs/functions.md works."""

from __future__ import annotations

import pathlib
import re
import typing as t

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "functions.md"


def test_the_example_passes() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    names: dict[str, t.Any] = {"__name__": "example"}

    exec(compile(code, str(DOCUMENT), "exec"), names)
    names["test_greet"]()
