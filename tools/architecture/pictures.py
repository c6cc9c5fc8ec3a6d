"""The pictures and where they are committed."""

from __future__ import annotations

import pathlib

from . import layers
from . import paths

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / "statefun_flask"
DOCUMENT = ROOT / "docs" / "architecture.md"
LAYER_TEST = ROOT / "tests" / "test_layers.py"


def draw(document: str) -> dict[pathlib.Path, str]:
    """Return each picture's path and text.

    :param document: The text of ``docs/architecture.md``, which lists the steps of each path.
    :raises ValueError: The document names a module that does not exist.
    """
    parts = layers.read(LAYER_TEST, PACKAGE)
    names = [part.name for part in parts]
    drawn = {_path("layers"): layers.draw(parts)}
    for path in paths.read(document, PACKAGE, names):
        drawn[_path(path.name)] = paths.draw(path, names)
    return drawn


def outdated() -> dict[pathlib.Path, str]:
    """Return the pictures whose committed text differs, with the text that they should have."""
    drawn = draw(DOCUMENT.read_text(encoding="utf-8"))
    return {path: text for path, text in drawn.items() if _committed(path) != text}


def _path(name: str) -> pathlib.Path:
    return DOCUMENT.with_name(f"architecture-{name}.svg")


def _committed(path: pathlib.Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None
