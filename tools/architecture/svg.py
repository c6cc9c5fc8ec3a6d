"""The few SVG elements that the pictures consist of."""

from __future__ import annotations

import collections.abc as cabc
import html

HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" \
width="{width:.0f}" height="{height:.0f}" font-family="sans-serif">
<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" \
orient="auto"><path d="M0,0.5 L8,4 L0,7.5 z" fill="#555"/></marker></defs>
<rect width="100%" height="100%" fill="white"/>
"""
#: The mean width of a character, in parts of the font size.
CHARACTER = 0.56


def document(width: float, height: float, elements: cabc.Iterable[str]) -> str:
    """Return a whole picture."""
    return HEAD.format(width=width, height=height) + "\n".join(elements) + "\n</svg>\n"


def text(
    x: float,
    y: float,
    content: str,
    *,
    size: int = 12,
    bold: bool = False,
    fill: str = "#222",
    anchor: str = "start",
) -> str:
    """Return a line of text whose baseline is at ``y``."""
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}"'
        f' text-anchor="{anchor}"{weight}>{html.escape(content)}</text>'
    )


def box(x: float, y: float, width: float, height: float, *, fill: str, stroke: str) -> str:
    """Return a rectangle whose upper left corner is at ``x`` and ``y``."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="4"'
        f' fill="{fill}" stroke="{stroke}"/>'
    )


def arrow(commands: str) -> str:
    """Return an arrow along the commands of an SVG path."""
    return f'<path d="{commands}" fill="none" stroke="#555" marker-end="url(#arrow)"/>'


def line(x1: float, y1: float, x2: float, y2: float) -> str:
    """Return a thin grey line."""
    return f'<path d="M{x1:.1f},{y1:.1f} L{x2:.1f},{y2:.1f}" stroke="#ddd"/>'
