"""Tables and the plot of the HTTP benchmark."""

from __future__ import annotations

import collections.abc as cabc
import pathlib
import platform
import statistics
import subprocess
import xml.sax.saxutils

from . import peers
from . import programs
from .cases import CASES
from .servers import Contestant

#: The comparisons: (contestant, case, compared with, target ratio).
CLAIMS: list[tuple[str, str, str, float | None]] = [
    ("ours granian-direct", "a", "typed granian", 0.8),
    ("ours granian-direct", "a", "js", 1.5),
    ("ours granian-direct", "b", "typed granian", 0.65),
    ("ours granian-direct", "b", "js", 1.0),
    ("ours granian-direct", "c", "typed granian", 0.9),
    ("ours uvicorn", "c", "fork uvicorn", 1.0),
    ("ours granian-asgi", "c", "fork uvicorn", 1.0),
    ("ours waitress", "a", "typed flask-waitress", 0.85),
    ("ours waitress", "a", "constant flask-waitress", 0.75),
    ("ours waitress-direct", "a", "typed waitress", 0.85),
    ("ours granian-asgi", "c", "fork aiohttp", 1.0),
    ("ours granian-asgi", "e", "typed granian-asgi", None),
    ("ours uvicorn", "e", "typed uvicorn", None),
    ("ours granian-direct", "a", "typed granian batch", None),
    ("ours granian-direct", "b", "typed granian batch", None),
    ("ours granian-direct", "c", "typed granian batch", None),
    ("ours waitress", "a", "typed flask-waitress batch", None),
    ("ours waitress-direct", "a", "typed waitress batch", None),
    ("ours granian-direct", "a", "fork uvicorn", 1.7),
    ("ours granian-direct", "b", "fork uvicorn", 1.7),
    ("ours granian-direct", "d", "fork uvicorn", 1.7),
    ("ours granian-direct", "a", "apache aiohttp", 1.7),
    ("ours granian-direct", "a", "go", None),
    ("ours granian-direct", "a", "rust", None),
]

_COLOURS = {
    "ours": "#2f6fb7",
    "typed": "#b9bec6",
    "constant": "#dde0e4",
    "other": "#c98a3b",
    "fork": "#7c9a5e",
    "apache": "#a56a6a",
}
_IDEAL = 256 / 0.05

Medians = cabc.Mapping[tuple[str, str], float]


def table(contestants: cabc.Sequence[Contestant], cases: str, medians: Medians) -> str:
    """Return requests per second as a Markdown table."""
    heads = [f"{name}: {CASES[name].title}" for name in cases]
    lines = [
        f"| requests per second of one core | {' | '.join(heads)} |",
        "|---" * (len(cases) + 1) + "|",
    ]
    for each in contestants:
        title = f"**{_title(each)}**" if each.group == "ours" else each.title
        rates = [_rate(medians.get((each.key, name))) for name in cases]
        lines.append(f"| {title} | {' | '.join(rates)} |")
    return "\n".join(lines)


def ratios(medians: Medians) -> str:
    """Return the targets and the measured ratios as a Markdown table."""
    lines = ["| | case | compared with | target | measured |", "|---|---|---|---|---|"]
    for what, case, beside, asked in CLAIMS:
        if (what, case) in medians and (beside, case) in medians:
            ratio = medians[what, case] / medians[beside, case]
            wanted = "" if asked is None else f"{asked:.2f}"
            lines.append(f"| {what} | {case} | {beside} | {wanted} | {ratio:.2f} |")
    for (key, case), rate in medians.items():
        if case == "e" and key.startswith("ours"):
            lines.append(f"| {key} | e | the ideal | | {rate / _IDEAL:.2f} |")
    return "\n".join(lines)


def spread(figures: cabc.Mapping[tuple[str, str], list[float]]) -> float:
    """Return the median deviation of rounds from their median, as a share of it."""
    shares = [
        max(abs(rate / statistics.median(rates) - 1) for rate in rates)
        for rates in figures.values()
    ]
    return statistics.median(shares)


def write(
    folder: pathlib.Path,
    contestants: cabc.Sequence[Contestant],
    cases: str,
    figures: cabc.Mapping[tuple[str, str], list[float]],
) -> None:
    """Write ``benchmarks.svg`` and ``benchmarks-table.md`` to a folder."""
    medians = {key: statistics.median(rates) for key, rates in figures.items()}
    folder.joinpath("benchmarks.svg").write_text(plot(contestants, cases, medians))
    parts = [
        table(contestants, cases, medians),
        ratios(medians),
        f"Rounds lie {spread(figures):.0%} from their median at most, in the middle of all cases.",
        versions(contestants),
    ]
    folder.joinpath("benchmarks-table.md").write_text("\n\n".join(parts) + "\n")


def versions(contestants: cabc.Sequence[Contestant]) -> str:
    """Return the versions of the measured programs."""
    lines = [f"- {platform.python_implementation()} {platform.python_version()}"]
    for name in dict.fromkeys(each.python for each in contestants if each.python):
        command = [peers.python(name), "-m", "pip", "list", "--format=freeze"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        lines.append(f"- {name}: {', '.join(filter(_is_told, listed.split()))}")
    tools = [each.arguments[0] for each in contestants if each.python is None]
    lines += [f"- {name}: {programs.version(name)}" for name in tools]
    return "\n".join(lines)


def _is_told(requirement: str) -> bool:
    told = "aiohttp apache-flink-statefun flask flink-statefun granian protobuf uvicorn waitress"
    return requirement.partition("==")[0].lower() in told.split()


def _title(contestant: Contestant) -> str:
    owner = "statefun_flask, " if contestant.group == "ours" else ""
    return owner + contestant.title


def _unit(case: str) -> str:
    return "second" if case == "e" else "second of one core"


def _rate(rate: float | None) -> str:
    if rate is None:
        return ""
    return f"{rate:,.0f}" if rate < 10_000 else f"{rate / 1000:,.1f}k"


def plot(contestants: cabc.Sequence[Contestant], cases: str, medians: Medians) -> str:
    """Return bars of all contestants, a panel for each case, as SVG."""
    parts: list[str] = []
    top = 10
    for name in cases:
        bars = sorted(
            (
                (medians[each.key, name], each)
                for each in contestants
                if (each.key, name) in medians
            ),
            key=lambda bar: -bar[0],
        )
        parts.append(
            _text(10, top + 14, f"{name}: {CASES[name].title}, requests per {_unit(name)}", "bold")
        )
        top += 24
        for rate, each in bars:
            width = 400 * rate / bars[0][0]
            colour = _COLOURS[each.group]
            weight = "bold" if each.group == "ours" else "normal"
            parts.append(_text(290, top + 11, _title(each), weight, "end"))
            parts.append(
                f'<rect x="298" y="{top}" width="{width:.1f}" height="14" fill="{colour}"/>'
            )
            parts.append(_text(304 + width, top + 11, _rate(rate)))
            top += 18
        top += 16
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {top}" font-size="11"'
        ' font-family="sans-serif">\n<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _text(x: float, y: float, text: str, weight: str = "normal", anchor: str = "start") -> str:
    escaped = xml.sax.saxutils.escape(text)
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-weight="{weight}" text-anchor="{anchor}">'
        f"{escaped}</text>"
    )
