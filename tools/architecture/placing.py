"""Places the boxes of a layered graph so that few arrows cross, after Sugiyama.

An arrow over several rows gets a point in each row between, so that it passes between the boxes.
"""

from __future__ import annotations

import collections.abc as cabc
import itertools
import typing as t

SWEEPS = 30
GAP = 26.0
POINT = 4.0

Arrow: t.TypeAlias = tuple[str, str]
Links: t.TypeAlias = cabc.Mapping[str, cabc.Sequence[str]]


class Node(t.NamedTuple):
    """A box, or the point of a long arrow; ``x`` is its middle."""

    name: str
    width: float
    x: float


class Bounds(t.NamedTuple):
    """Where a box is drawn."""

    left: float
    top: float
    width: float
    height: float


def arrange(
    levels: cabc.Mapping[str, int],
    arrows: cabc.Iterable[Arrow],
    widths: cabc.Mapping[str, float],
    order: cabc.Sequence[str],
) -> list[list[Node]]:
    """Return the rows of nodes, the highest first, each from left to right.

    :param levels: The row of each box, 0 at the bottom.
    :param arrows: Pairs of an upper and a lower box.
    :param order: The order in which the boxes of a row stand at first.
    """
    rows: list[list[str]] = [[] for _ in range(max(levels.values()) + 1)]
    for name in order:
        rows[-1 - levels[name]].append(name)
    above: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}
    for arrow in arrows:
        chain = [arrow[0], *points(arrow, levels), arrow[1]]
        first = len(rows) - 1 - levels[arrow[0]]
        for offset, point in enumerate(chain[1:-1], 1):
            rows[first + offset].append(point)
        for upper, lower in itertools.pairwise(chain):
            below.setdefault(upper, []).append(lower)
            above.setdefault(lower, []).append(upper)

    rows = _with_few_crossings(rows, above, below)
    return _with_positions(rows, above, below, widths)


def points(arrow: Arrow, levels: cabc.Mapping[str, int]) -> list[str]:
    """Return the names of an arrow's points, from top to bottom."""
    upper, lower = arrow
    return [f"{upper}>{lower}@{level}" for level in range(levels[upper] - 1, levels[lower], -1)]


def curves(arrows: cabc.Iterable[Arrow], bounds: cabc.Mapping[str, Bounds]) -> list[str]:
    """Return the SVG path of each arrow, from the foot of a box to the top of another one."""
    chains = [[upper, *_points_in(bounds, upper, lower), lower] for upper, lower in arrows]
    starts = _ports([(chain[0], chain[1]) for chain in chains], bounds)
    ends = _ports([(chain[-1], chain[-2]) for chain in chains], bounds)
    found: list[str] = []
    for chain in chains:
        x, y = starts[chain[0], chain[1]], _foot(bounds[chain[0]])
        path = f"M{x:.1f},{y:.1f}"
        for name in chain[1:]:
            last = name == chain[-1]
            to = ends[name, chain[-2]] if last else _middle(bounds[name])
            top = bounds[name].top - (1 if last else 0)
            bend = (top - y) / 2
            path += f" C{x:.1f},{y + bend:.1f} {to:.1f},{top - bend:.1f} {to:.1f},{top:.1f}"
            x, y = to, _foot(bounds[name])
            path += "" if last else f" L{x:.1f},{y:.1f}"
        found.append(path)
    return found


def _with_few_crossings(rows: list[list[str]], above: Links, below: Links) -> list[list[str]]:
    """Reorder each row by the mean position of its neighbours; keep the best order seen."""
    best, fewest = rows, _crossings(rows, below)
    for sweep in range(SWEEPS):
        rows = [list(row) for row in rows]
        down = sweep % 2 == 0
        numbers = range(1, len(rows)) if down else range(len(rows) - 2, -1, -1)
        for number in numbers:
            beside = rows[number - 1] if down else rows[number + 1]
            links = above if down else below
            place = {name: float(index) for index, name in enumerate(beside)}
            own = {name: float(index) for index, name in enumerate(rows[number])}
            rows[number].sort(key=lambda n: _mean(links.get(n, ()), place, own[n]))
        found = _crossings(rows, below)
        if found < fewest:
            best, fewest = rows, found
    return best


def _crossings(rows: list[list[str]], below: Links) -> int:
    count = 0
    for row, lower in itertools.pairwise(rows):
        place = {name: index for index, name in enumerate(lower)}
        ends = [(i, place[each]) for i, name in enumerate(row) for each in below.get(name, ())]
        count += sum(a < c and b > d for a, b in ends for c, d in ends)
    return count


def _with_positions(
    rows: list[list[str]], above: Links, below: Links, widths: cabc.Mapping[str, float]
) -> list[list[Node]]:
    """Draw every node towards its neighbours, without overlaps."""
    x: dict[str, float] = {}
    for row in rows:
        x.update(zip(row, _spread([0.0] * len(row), _widths(row, widths)), strict=True))
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            links = above if down else below
            wanted = [_mean(links.get(name, ()), x, x[name]) for name in row]
            x.update(zip(row, _spread(wanted, _widths(row, widths)), strict=True))
    left = min(x[name] - widths.get(name, POINT) / 2 for row in rows for name in row)
    return [[Node(name, widths.get(name, POINT), x[name] - left) for name in row] for row in rows]


def _spread(wanted: cabc.Sequence[float], widths: cabc.Sequence[float]) -> list[float]:
    """Return the positions nearest to the wanted ones that keep the order and the gaps.

    It is an isotonic regression: neighbours that would overlap form a block around their mean.
    """
    offsets = [0.0]
    for left, right in itertools.pairwise(widths):
        offsets.append(offsets[-1] + (left + right) / 2 + GAP)
    blocks: list[list[float]] = []
    for each, offset in zip(wanted, offsets, strict=True):
        blocks.append([each - offset])
        while len(blocks) > 1 and _average(blocks[-2]) > _average(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    placed = [_average(block) for block in blocks for _ in block]
    return [each + offset for each, offset in zip(placed, offsets, strict=True)]


def _ports(
    pairs: cabc.Iterable[tuple[str, str]], bounds: cabc.Mapping[str, Bounds]
) -> dict[tuple[str, str], float]:
    """Return where arrows leave or reach their boxes, in the order of their other ends."""
    others: dict[str, list[str]] = {}
    for box, other in pairs:
        others.setdefault(box, []).append(other)
    found: dict[tuple[str, str], float] = {}
    for box, names in others.items():
        names.sort(key=lambda name: (_middle(bounds[name]), name))
        step = min(24.0, bounds[box].width / (len(names) + 1))
        for index, name in enumerate(names):
            found[box, name] = _middle(bounds[box]) + step * (index - (len(names) - 1) / 2)
    return found


def _points_in(bounds: cabc.Mapping[str, Bounds], upper: str, lower: str) -> list[str]:
    found = [name for name in bounds if name.startswith(f"{upper}>{lower}@")]
    return sorted(found, key=lambda name: bounds[name].top)


def _widths(row: cabc.Iterable[str], widths: cabc.Mapping[str, float]) -> list[float]:
    return [widths.get(name, POINT) for name in row]


def _mean(names: cabc.Iterable[str], places: cabc.Mapping[str, float], default: float) -> float:
    found = [places[name] for name in names]
    return _average(found) if found else default


def _average(numbers: cabc.Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def _middle(bounds: Bounds) -> float:
    return bounds.left + bounds.width / 2


def _foot(bounds: Bounds) -> float:
    return bounds.top + bounds.height
