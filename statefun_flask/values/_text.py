"""Text for people: error messages, listings and logs. Imports nothing of the package."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import difflib
import types
import typing as t

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000))


def suggestions(name: str, known: cabc.Iterable[str]) -> list[str]:
    """Return at most three known names that are similar to a misspelt one."""
    return difflib.get_close_matches(name, sorted(known), n=3)


def did_you_mean(names: cabc.Sequence[str]) -> str:
    """Return a sentence that offers names, or an empty string when there are none."""
    return " Did you mean " + " or ".join(f"'{name}'" for name in names) + "?" if names else ""


def shorten(text: str) -> str:
    """Return a text of at most 60 characters; a longer one is cut and ends with ``…``."""
    return text if len(text) <= 60 else text[:59] + "…"


def duration_text(duration: dt.timedelta) -> str:
    """Return a duration for people: ``2 s``, ``1 h 30 min``."""
    milliseconds = duration // dt.timedelta(milliseconds=1)
    parts = []
    for unit, size in _UNITS:
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count} {unit}")
    if milliseconds or not parts:
        parts.append(f"{milliseconds} ms")
    return " ".join(parts)


def annotation_text(annotation: t.Any) -> str:
    """Return an annotation as its author writes it, without modules: ``dict[str, Item | None]``."""
    if annotation is types.NoneType:
        return "None"
    if annotation is Ellipsis:
        return "..."
    origin, parts = t.get_origin(annotation), t.get_args(annotation)
    if origin is t.Annotated:
        return annotation_text(parts[0])
    if origin is t.Literal:
        return f"Literal[{', '.join(map(repr, parts))}]"
    if origin in (t.Union, types.UnionType):
        return " | ".join(map(annotation_text, parts))
    if origin is not None:
        name = getattr(origin, "__name__", str(origin))
        return f"{name}[{', '.join(map(annotation_text, parts))}]"
    return getattr(annotation, "__name__", None) or repr(annotation)
