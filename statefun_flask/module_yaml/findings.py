"""Findings in a module.yaml, and the errors that carry them."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import typing as t

from ..errors import StateFunError

Severity: t.TypeAlias = t.Literal["error", "warning"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One error or warning, with its place and its fix.

    :param code: The name of its kind, for programs: ``bad-duration``.
    :param text: A sentence that says what is wrong.
    :param fix: A sentence that says what to do.
    :param path: The path in the document, such as ``spec.topics[0].targets[1]``. In a file of
        several documents it begins with the document's number from 0, ``[2]``.
    :param file: The file's name as the caller wrote it.
    :param line: From 1; 0 if the finding is about the whole file.
    :param column: From 1.
    :param severity: An error ends the job or loses data; a warning is about something that the
        runtime ignores.
    """

    code: str
    text: str
    fix: str
    path: str = ""
    file: str = "module.yaml"
    line: int = 0
    column: int = 0
    severity: Severity = "error"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else f"{self.file}: "
        warning = "warning: " if self.severity == "warning" else ""
        path = f"{self.path}: " if self.path else ""
        return printable(f"{place}{warning}{path}{self.text} {self.fix}")


def printable(text: str, keep: str = "") -> str:
    """Return a text in which characters that a terminal would act on are escaped.

    :param keep: Characters that stay, such as line breaks.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in keep else each.encode("unicode_escape").decode()
        for each in text
    )


class ModuleError(StateFunError, ValueError):
    """A module.yaml has errors. The message lists them, one on each line.

    :param findings: The errors.
    """

    def __init__(self, findings: cabc.Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(map(str, self.findings)))


class FormatError(StateFunError, ValueError):
    """A format of module.yaml cannot express a module."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))
