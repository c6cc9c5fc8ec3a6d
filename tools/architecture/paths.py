"""The pictures of the paths through the package: a column for each part, a row for each step.

``docs/architecture.md`` lists the steps of each path below a heading, as ``1. `core/handler.py`
decodes the request.`` The picture follows the list; a module that does not exist is an error.
"""

from __future__ import annotations

import collections.abc as cabc
import itertools
import pathlib
import re
import typing as t

from . import svg

#: The names of the pictures and the headings of the lists that they are drawn from.
HEADINGS = {"request": "The path of a request", "message": "The path of a message"}

STEP = re.compile(r"^\d+\. (?:`(?P<module>[^`]+)`|\*\*(?P<other>[^*]+)\*\*) (?P<text>.+)$", re.M)
ROW = 30
MARGIN = 20
HEADER = 40
SIZE = 12


class Step(t.NamedTuple):
    """One step of a path.

    :param column: The part to which its module belongs, or a participant outside the package.
    :param label: The module below its part, or the name of the participant.
    """

    column: str
    label: str
    text: str
    is_outside: bool


class Path(t.NamedTuple):
    """A path through the package."""

    name: str
    steps: list[Step]


def read(document: str, package: pathlib.Path, parts: cabc.Sequence[str]) -> list[Path]:
    """Return the paths that a document lists.

    :raises ValueError: A list is missing, or one of its modules does not exist.
    """
    return [
        Path(name, [_step(each, package, parts) for each in _items(document, heading)])
        for name, heading in HEADINGS.items()
    ]


def draw(path: Path, parts: cabc.Sequence[str]) -> str:
    """Return the picture of a path.

    :param parts: All parts, lowest first.
    """
    columns = _columns(path, parts)
    left = float(MARGIN)
    middles: dict[str, float] = {}
    for column in columns:
        widest = max([column, *(s.label for s in path.steps if s.column == column)], key=len)
        width = _width(widest)
        middles[column] = left + width / 2
        left += width + 14
    height = HEADER + ROW * len(path.steps) + MARGIN

    elements = [_lane(column, x, height) for column, x in middles.items()]
    elements += _arrows([middles[step.column] for step in path.steps])
    for number, step in enumerate(path.steps):
        elements += _row(number, step, middles[step.column], left)
    longest = max(len(step.text) for step in path.steps) + 4
    return svg.document(left + longest * SIZE * svg.CHARACTER + MARGIN, height, elements)


def _items(document: str, heading: str) -> list[re.Match[str]]:
    _, _, rest = document.partition(f"## {heading}\n")
    unwrapped = re.sub(r"\n {2,}", " ", rest.partition("\n## ")[0])
    items = list(STEP.finditer(unwrapped))
    if not items:
        raise ValueError(f"docs/architecture.md lists no steps below '{heading}'. Add them.")
    return items


def _step(item: re.Match[str], package: pathlib.Path, parts: cabc.Sequence[str]) -> Step:
    text = item["text"].replace("`", "")
    module = item["module"]
    if module is None:
        return Step(item["other"], item["other"], text, True)
    if not (package / module).exists():
        raise ValueError(
            f"docs/architecture.md names the module '{module}', which does not exist."
            " Correct the list, then run 'python -m tools.architecture'."
        )
    name = module.removesuffix(".py")
    column = max((p for p in parts if name == p or name.startswith(f"{p}/")), key=len)
    return Step(column, name.removeprefix(f"{column}/"), text, False)


def _columns(path: Path, parts: cabc.Sequence[str]) -> list[str]:
    """Return the columns: the start of the path, the highest part to the lowest, and others."""
    used = {step.column for step in path.steps}
    inside = [part for part in reversed(parts) if part in used]
    outside = [step.column for step in path.steps if step.is_outside]
    return list(dict.fromkeys([*outside[:1], *inside, *outside]))


def _lane(column: str, x: float, height: float) -> str:
    title = svg.text(x, MARGIN + 4, column, bold=True, anchor="middle")
    return svg.line(x, HEADER - 6, x, height - MARGIN / 2) + "\n" + title


def _arrows(xs: cabc.Sequence[float]) -> cabc.Iterator[str]:
    for number, (x, to) in enumerate(itertools.pairwise(xs)):
        y, below = _y(number) + 10, _y(number + 1) - 11
        yield svg.arrow(f"M{x:.1f},{y:.1f} L{to:.1f},{below:.1f}")


def _row(number: int, step: Step, x: float, left: float) -> cabc.Iterator[str]:
    y, width = _y(number), _width(step.label)
    fill, stroke = ("#fff5dd", "#c98a3b") if step.is_outside else ("#eef3fa", "#5b7fa8")
    yield svg.box(x - width / 2, y - 10, width, 20, fill=fill, stroke=stroke)
    yield svg.text(x, y + 4, step.label, size=SIZE, anchor="middle")
    yield svg.text(left, y + 4, f"{number + 1}. {step.text}", size=SIZE, fill="#555")


def _y(number: int) -> float:
    return HEADER + ROW * number + ROW / 2


def _width(label: str) -> float:
    return len(label) * SIZE * svg.CHARACTER + 14
