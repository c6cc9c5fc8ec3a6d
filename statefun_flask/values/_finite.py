"""Numbers that JSON cannot express: NaN and the infinities. Imports nothing of the package."""

from __future__ import annotations

import math
import typing as t


def check_finite(value: t.Any) -> None:
    """Check that a value, made of builtin types, has no number that JSON cannot express.

    :raises ValueError: It has one.
    """
    if (number := nonfinite(value)) is not None:
        raise ValueError(f"JSON cannot express {number}. Use None, or a text.")


def nonfinite(value: t.Any) -> float | None:
    """Return the first number in a value that is NaN or infinite, or None."""
    if isinstance(value, float):
        return None if math.isfinite(value) else value
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple | set | frozenset):
        return None
    return next((each for each in map(nonfinite, value) if each is not None), None)
