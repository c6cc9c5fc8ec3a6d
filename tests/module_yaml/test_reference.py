"""The reference of all fields. ``python tests/module_yaml/test_reference.py`` generates it."""

from __future__ import annotations

import pathlib

from statefun_flask.module_yaml.reference import markdown
from statefun_flask.module_yaml.shapes import SHAPES

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "module-fields.md"


def test_the_page_in_the_documentation_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == markdown()


def test_the_reference_names_every_kind_and_field() -> None:
    text = markdown()

    for shape in SHAPES:
        section = text.partition(f"## {shape.title}\n")[2].partition("\n## ")[0]
        for kind in shape.kinds.values():
            assert f"`{kind}`" in section
        for field in shape.fields:
            assert f"| `{field.name}` |" in section


def test_a_row_has_the_default_and_the_variant() -> None:
    assert (
        "| `transport.pool_size` | number from 1 | 1024 | The largest number of connections."
        " Only for `io.statefun.transports.v1/async`. |"
    ) in markdown()


if __name__ == "__main__":
    PAGE.write_text(markdown(), encoding="utf-8")
