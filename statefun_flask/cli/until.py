"""Times to come, as text for people."""

from __future__ import annotations

import datetime as dt

from ..values._text import duration_text

#: A longer time has no timedelta, in milliseconds.
_LONGEST = 86_400_000 * 999_999_999


def span_text(milliseconds: int) -> str:
    """Return the two largest units of a time to come: ``28 s``, ``2 d 3 h``.

    A time of a second or more is shown in whole seconds, rounded up; one that is over is ``0 s``.
    """
    if milliseconds <= 0:
        return "0 s"
    if milliseconds >= 1000:
        milliseconds = -(-milliseconds // 1000) * 1000
    if milliseconds > _LONGEST:
        return f"{milliseconds // 86_400_000} d"
    return " ".join(duration_text(dt.timedelta(milliseconds=milliseconds)).split()[:4])
