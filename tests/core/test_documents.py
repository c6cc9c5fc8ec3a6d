"""The example in docs/testing.md of a test without an engine works."""

from __future__ import annotations

import pathlib
import re
import typing as t

DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "testing.md"


def test_the_example_passes() -> None:
    section = DOCUMENT.read_text().partition("## Without an engine")[2]
    code = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]
    names: dict[str, t.Any] = {"__name__": "example"}

    exec(compile(code, str(DOCUMENT), "exec"), names)
    names["test_greet"]()
