"""What is wrong with a module.yaml, or does not fit the app."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import typing as t

from ..errors import StateFunError

Severity: t.TypeAlias = t.Literal["error", "warning"]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong, where it is and what to do about it.

    :param code: A short name of what kind of thing it is, for programs: ``bad-duration``.
    :param text: A sentence that says what is wrong.
    :param fix: A sentence that says what to do.
    :param path: Where in the document, such as ``spec.topics[0].targets[1]``. In a file of several
        documents it begins with the document's number from 0, ``[2]``.
    :param file: The file's name, as it was given.
    :param line: From 1; 0 for what has no place in a file.
    :param column: From 1.
    :param severity: An error stops the job or loses something; a warning is about what the runtime
        passes over in silence.
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
    """A module.yaml has errors. Its text lists them all, one on a line.

    :param findings: All of them.
    """

    def __init__(self, findings: cabc.Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(map(str, self.findings)))


class FormatError(StateFunError, ValueError):
    """A format of module.yaml cannot express what a module holds."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))
