"""The picture of the parts: a box for each, arrows from a part to those that it imports.

``tests/test_layers.py`` lists the parts and reads the import statements. A part stands above all
parts that it imports. An import that other arrows imply is not drawn.
"""

from __future__ import annotations

import collections.abc as cabc
import functools
import importlib.util
import pathlib
import textwrap
import typing as t

from . import placing
from . import svg

WIDEST = 46
LINE = 15
MARGIN = 20
BETWEEN_ROWS = 46


class Part(t.NamedTuple):
    """A part of the package.

    :param contents: The names of its folders and modules; empty for a single module.
    :param imports: The names of the parts that it imports.
    """

    name: str
    contents: tuple[str, ...]
    imports: frozenset[str]

    @property
    def title(self) -> str:
        """The name of the folder or the file."""
        return f"{self.name}/" if self.contents else f"{self.name}.py"

    @property
    def lines(self) -> list[str]:
        """The contents as lines of text."""
        return textwrap.wrap(", ".join(self.contents), WIDEST, break_on_hyphens=False)

    @property
    def width(self) -> float:
        """The width of the box."""
        title = len(self.title) * 13 * svg.CHARACTER * 1.15
        return max([title, *(len(each) * 11 * svg.CHARACTER for each in self.lines)]) + 20

    @property
    def height(self) -> float:
        """The height of the box."""
        return 26 + LINE * len(self.lines)


@functools.cache
def load(layer_test: pathlib.Path) -> t.Any:
    """Return the module that lists the parts as ``PARTS``."""
    spec = importlib.util.spec_from_file_location("layer_test", layer_test)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(layer_test: pathlib.Path, package: pathlib.Path) -> list[Part]:
    """Return the parts, lowest first.

    :param layer_test: The file that lists the parts.
    :raises ValueError: A part imports from a part above it.
    """
    test = load(layer_test)
    imports: dict[str, set[str]] = {name: set() for name in test.PARTS}
    for file in sorted(package.rglob("*.py")):
        own = test.part(file, package)
        imports[own] |= test.parts_imported(file, package) - {own}
    order = list(imports)
    for name, imported in imports.items():
        above = [each for each in sorted(imported) if order.index(each) > order.index(name)]
        if above:
            raise ValueError(f"'{name}' imports '{above[0]}', which lies above it. Turn it round.")
    return [
        Part(name, _contents(package / name), frozenset(imported))
        for name, imported in imports.items()
    ]


def draw(parts: cabc.Sequence[Part]) -> str:
    """Return the picture of the parts."""
    by_name = {part.name: part for part in parts}
    arrows = [(part.name, each) for part in parts for each in sorted(direct(part, by_name))]
    rows = placing.arrange(
        levels(parts), arrows, {part.name: part.width for part in parts}, list(by_name)
    )

    heights = [max(by_name[n.name].height for n in row if n.name in by_name) for row in rows]
    tops = [MARGIN + sum(heights[:i]) + BETWEEN_ROWS * i for i in range(len(rows))]
    bounds: dict[str, placing.Bounds] = {}
    for row, top, height in zip(rows, tops, heights, strict=True):
        for node in row:
            own = by_name[node.name].height if node.name in by_name else height
            left = node.x - node.width / 2 + MARGIN
            bounds[node.name] = placing.Bounds(left, top + (height - own) / 2, node.width, own)

    elements = [svg.arrow(each) for each in placing.curves(arrows, bounds)]
    for name, part in by_name.items():
        elements += _box(part, bounds[name])
    width = max(each.left + each.width for each in bounds.values()) + MARGIN
    return svg.document(width, tops[-1] + heights[-1] + MARGIN, elements)


def levels(parts: cabc.Sequence[Part]) -> dict[str, int]:
    """Return each part's row, 0 at the bottom: one above the highest part that it imports."""
    found: dict[str, int] = {}
    for part in parts:
        found[part.name] = 1 + max((found[each] for each in part.imports), default=-1)
    return found


def direct(part: Part, by_name: cabc.Mapping[str, Part]) -> set[str]:
    """Return the imports of a part that no other of its imports implies."""
    implied: set[str] = set()
    for each in part.imports:
        implied |= _reached(each, by_name) - {each}
    return set(part.imports) - implied


def _reached(name: str, by_name: cabc.Mapping[str, Part]) -> set[str]:
    """Return a part and all parts that it imports, directly or not."""
    found = {name}
    for each in by_name[name].imports:
        found |= _reached(each, by_name)
    return found


def _contents(folder: pathlib.Path) -> tuple[str, ...]:
    """Return the public folders and modules of a part's folder."""
    folders = sorted(f"{each.parent.name}/" for each in folder.glob("*/__init__.py"))
    modules = sorted(each.stem for each in folder.glob("*.py"))
    return tuple(each for each in folders + modules if not each.startswith("_"))


def _box(part: Part, bounds: placing.Bounds) -> cabc.Iterator[str]:
    fill, stroke = ("#eef3fa", "#5b7fa8") if part.contents else ("#f7f7f7", "#999")
    left, top, width, height = bounds
    yield svg.box(left, top, width, height, fill=fill, stroke=stroke)
    middle = left + width / 2
    yield svg.text(middle, top + 17, part.title, size=13, bold=True, anchor="middle")
    for number, line in enumerate(part.lines, 1):
        y = top + 17 + LINE * number
        yield svg.text(middle, y, line, size=11, fill="#555", anchor="middle")
