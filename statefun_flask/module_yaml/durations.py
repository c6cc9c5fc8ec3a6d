"""Durations in the runtime's grammar: a whole number and a unit, such as ``5 min``."""

from __future__ import annotations

import datetime as dt
import re

from ..values._text import did_you_mean

_FORM = re.compile(r"\s*(\d+)\s*([^\d\s]*)\s*")

#: In nanoseconds.
_UNITS = {
    ("d", "day", "days"): 86_400_000_000_000,
    ("h", "hour", "hours"): 3_600_000_000_000,
    ("m", "min", "minute", "minutes"): 60_000_000_000,
    ("s", "sec", "secs", "second", "seconds"): 1_000_000_000,
    ("", "ms", "milli", "millis", "millisecond", "milliseconds"): 1_000_000,
    ("µs", "μs", "micro", "micros", "microsecond", "microseconds"): 1000,
    ("ns", "nano", "nanos", "nanosecond", "nanoseconds"): 1,
}
_SIZES = {name: size for names, size in _UNITS.items() for name in names}

#: Units that people write, with the runtime's names for them.
_MEANT = {"mins": "min", "hr": "h", "hrs": "h", "us": "µs", "msec": "ms", "msecs": "ms"}

#: The largest number of Java's type Long.
_MAX = 2**63 - 1
#: The digits of a number that is certainly larger. Python refuses to read thousands of them.
_MAX_DIGITS = 1000


#: The digits of a number that a hint is computed for.
_HINTED_DIGITS = 9


def parse(text: str) -> dt.timedelta:
    """Return the duration that the runtime reads from a text, cut to whole microseconds.

    :raises ValueError: The text is not a duration. The message is a hint, or empty.
    """
    matched = _FORM.fullmatch(text)
    if matched is None:
        raise ValueError(_hint(text))
    number, unit = matched.groups()
    size = _SIZES.get(unit.lower())
    if size is None:
        meant = _MEANT.get(unit.lower())
        raise ValueError(did_you_mean([f"{number}{meant}"]).strip() if meant else "")
    if len(number) > _MAX_DIGITS or int(number) > _MAX:
        raise ValueError("The number is too large.")
    try:
        return dt.timedelta(microseconds=int(number) * size // 1000)
    except OverflowError:
        raise ValueError("The number is too large.") from None


def _hint(text: str) -> str:
    fraction = re.fullmatch(r"\s*(\d+)[.,](\d+)\s*([a-zA-Z]*)\s*", text)
    if fraction is not None:
        size = _SIZES.get(fraction[3].lower(), 0)
        if len(fraction[1] + fraction[2]) > _HINTED_DIGITS:
            return ""
        span = size * int(fraction[1] + fraction[2]) // (1000 * 10 ** len(fraction[2]))
        return did_you_mean([written(dt.timedelta(microseconds=span))]).strip() if span else ""
    clock = re.fullmatch(r"\s*(\d+):(\d\d)\s*", text)
    if clock is not None and len(clock[1]) <= _HINTED_DIGITS:
        return did_you_mean([f"{int(clock[1]) * 60 + int(clock[2])}min"]).strip()
    return ""


def expiration(span: dt.timedelta | None, mode: str) -> str:
    """Return the expiration of a state as a predicate: ``expires 1h after write``."""
    return "never expires" if span is None else f"expires {written(span)} {mode.replace('-', ' ')}"


def written(span: dt.timedelta) -> str:
    """Return a duration in the runtime's grammar, in the largest unit that needs no fraction."""
    microseconds = span // dt.timedelta(microseconds=1)
    for unit, size in (
        ("d", 86_400_000_000),
        ("h", 3_600_000_000),
        ("min", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1000),
    ):
        if microseconds and microseconds % size == 0:
            return f"{microseconds // size}{unit}"
    return f"{microseconds}µs" if microseconds else "0ms"
