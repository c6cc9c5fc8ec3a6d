"""The kinds of values that are durations or dates."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re

from . import durations
from .kinds import INTEGER
from .kinds import integer_of
from .kinds import node_is_number
from .kinds import Text
from .kinds import text_of
from .model import V2_VERSIONS
from .nodes import Node
from .nodes import Report

_DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [-+]\d{4}")

#: What a timedelta can hold; StateFun's own limit is far below.
_MAX_MILLISECONDS = dt.timedelta.max // dt.timedelta(milliseconds=1)


@dataclasses.dataclass(frozen=True)
class Duration:
    """A whole number with a unit.

    :param positive: Whether zero is refused.
    """

    label: str = "duration"
    positive: bool = False

    def read(self, node: Node, report: Report) -> dt.timedelta | None:
        """Return the duration."""
        text = text_of(node, report, "a duration")
        if text is None:
            return None
        if report.version in V2_VERSIONS and node_is_number(node):
            report.error(
                node,
                "unquoted",
                f"{text} is a number without a unit, which format {report.version} refuses.",
                f"Write {text}ms.",
            )
            return None
        try:
            span = durations.parse(text)
        except ValueError as exc:
            hint = f" {exc}" if str(exc) else ""
            report.error(
                node,
                "bad-duration",
                f"'{text}' is not a duration.{hint}",
                "Write a whole number and one of the units d, h, min, s, ms, µs, ns, such as 30s.",
            )
            return None
        if self.positive and not span:
            report.error(
                node,
                "zero-duration",
                f"'{text}' is not allowed: the duration must be more than zero.",
                "Write a longer duration, such as 10s.",
            )
            return None
        return span

    def write(self, value: dt.timedelta) -> str:
        """Return the duration with its unit."""
        return durations.written(value)


@dataclasses.dataclass(frozen=True)
class Milliseconds:
    """A duration as a bare number of milliseconds."""

    label: str = "milliseconds"

    def read(self, node: Node, report: Report) -> dt.timedelta | None:
        """Return the duration."""
        text = text_of(node, report, "a number")
        if text is None:
            return None
        matched = INTEGER.fullmatch(text)
        number = integer_of(node, text, report) if matched else 0
        if number is None:
            return None
        if number <= 0 or number > _MAX_MILLISECONDS:
            try:
                meant = f" {durations.parse(text) // dt.timedelta(milliseconds=1)}"
            except ValueError:
                meant = ""
            report.error(
                node,
                "bad-milliseconds",
                f"'{text}' is not a number of milliseconds; the runtime reads it as 0 and fails."
                if matched is None
                else f"{text} is not a number of milliseconds from 1 to {_MAX_MILLISECONDS}.",
                f"Write{meant}, digits only."
                if meant.strip("0 ")
                else "Write digits, such as 60000.",
            )
            return None
        return dt.timedelta(milliseconds=number)

    def write(self, value: dt.timedelta) -> int:
        """Return the milliseconds."""
        return value // dt.timedelta(milliseconds=1)


@dataclasses.dataclass(frozen=True)
class Date(Text):
    """``yyyy-MM-dd HH:mm:ss.SSS Z``."""

    label: str = "`yyyy-MM-dd HH:mm:ss.SSS Z`"

    def check(self, node: Node, text: str, report: Report) -> str | None:
        """Return the date if the runtime can read it."""
        try:
            if _DATE.fullmatch(text) is None:
                raise ValueError
            dt.datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f %z")
        except ValueError:
            report.error(
                node,
                "bad-date",
                f"'{text}' is not a date that the runtime reads.",
                "Write it as '2020-02-01 04:15:00.000 +0000': three digits of a second, and a"
                " numeric zone.",
            )
            return None
        return text
