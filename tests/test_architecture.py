"""The pictures of ``docs/architecture.md`` follow the source code."""

from __future__ import annotations

import pathlib
import shutil

import pytest
from architecture import layers
from architecture import paths
from architecture import pictures

PARTS = layers.load(pictures.LAYER_TEST).PARTS


def test_the_committed_pictures_are_current() -> None:
    """Generate them with ``python -m tools.architecture``, and commit the result."""
    assert [path.name for path in pictures.outdated()] == []


def test_a_new_import_changes_the_picture_of_the_parts(tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "statefun_flask"
    shutil.copytree(pictures.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = layers.draw(layers.read(pictures.LAYER_TEST, copy))

    with (copy / "flink" / "__init__.py").open("a") as file:
        file.write("\nfrom ..embedded import clock\n")

    assert layers.draw(layers.read(pictures.LAYER_TEST, copy)) != before


def test_an_upward_import_is_refused(tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "statefun_flask"
    shutil.copytree(pictures.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "values" / "message.py").open("a") as file:
        file.write("\nfrom ..core import handler\n")

    with pytest.raises(ValueError, match="'values' imports 'core', which lies above it"):
        layers.read(pictures.LAYER_TEST, copy)


def test_a_part_stands_above_all_parts_that_it_imports() -> None:
    parts = layers.read(pictures.LAYER_TEST, pictures.PACKAGE)
    levels = layers.levels(parts)

    assert all(levels[part.name] > levels[each] for part in parts for each in part.imports)


def test_an_implied_import_is_not_drawn() -> None:
    low = layers.Part("low", (), frozenset())
    middle = layers.Part("middle", (), frozenset({"low"}))
    high = layers.Part("high", (), frozenset({"low", "middle"}))
    by_name = {part.name: part for part in (low, middle, high)}

    assert layers.direct(high, by_name) == {"middle"}


def test_a_step_in_a_missing_module_is_refused() -> None:
    document = pictures.DOCUMENT.read_text().replace("`core/handler.py`", "`core/missing.py`")

    with pytest.raises(ValueError, match=r"names the module 'core/missing\.py'"):
        paths.read(document, pictures.PACKAGE, PARTS)


@pytest.mark.parametrize("heading", paths.HEADINGS.values())
def test_a_missing_list_of_steps_is_refused(heading: str) -> None:
    document = pictures.DOCUMENT.read_text().replace(f"## {heading}\n", "## Another heading\n")

    with pytest.raises(ValueError, match=f"lists no steps below '{heading}'"):
        paths.read(document, pictures.PACKAGE, PARTS)
