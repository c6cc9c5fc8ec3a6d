"""Reads a module.yaml of any format."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import os
import pathlib
import typing as t

from .components import read_document
from .components import read_entry
from .fields import mapping_of
from .findings import Finding
from .findings import ModuleError
from .kinds import node_is_number
from .kinds import report_unknown
from .kinds import text_of
from .model import Component
from .model import Extension
from .model import HttpEndpoint
from .model import Module
from .model import Version
from .nodes import compose
from .nodes import items
from .nodes import Mapping
from .nodes import Node
from .nodes import Report
from .nodes import Scalar

#: The sections of the formats of one document.
_SECTIONS: dict[str, tuple[str, ...]] = {
    "1.0": ("functions", "routers", "ingresses", "egresses"),
    "2.0": ("functions", "routers", "ingresses", "egresses"),
    "3.0": ("endpoints", "ingresses", "egresses"),
}


@dataclasses.dataclass(frozen=True)
class ReadResult:
    """A module with the findings about its file.

    :param module: The components without errors.
    :param findings: The errors and warnings, in the order of their positions.
    :param text: The file's text.
    """

    module: Module
    findings: tuple[Finding, ...]
    text: str

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that are errors."""
        return tuple(each for each in self.findings if each.severity == "error")


def load(source: str | os.PathLike[str]) -> Module:
    """Return a module.

    :param source: A path, or the text itself, which has at least one line break.
    :raises ModuleError: The file has errors, or cannot be read.
    """
    reading = read(source)
    if reading.errors:
        raise ModuleError(reading.errors)
    return reading.module


def read(source: str | os.PathLike[str], file: str | None = None) -> ReadResult:
    """Return the components of a module that have no errors, and all findings.

    :param source: A path, or the text itself, which has at least one line break.
    :param file: The name of the file in findings.
    :raises ModuleError: The file cannot be opened.
    """
    name, text = _text(source)
    report = Report(file or name)
    documents = compose(text, report)
    if not documents and not report.findings:
        report.error(
            Node(1, 1),
            "empty",
            "The file has no content.",
            "Write at least an endpoint and an ingress in it.",
        )
    components: list[Component] = []
    first = documents[0] if documents else None
    if len(documents) == 1 and isinstance(first, Mapping) and _is_old(first):
        report.version = _version(first, report)
        components += _read_old(first, report)
    else:
        found = (read_document(node, report) for node in documents)
        components += [each for each in found if each is not None]
    _check_duplicates(components, report)
    version = t.cast("Version", report.version)
    return ReadResult(Module(version, tuple(components), report.file), report.sorted(), text)


def _text(source: str | os.PathLike[str]) -> tuple[str, str]:
    if isinstance(source, str) and "\n" in source:
        return "module.yaml", source.removeprefix("\ufeff")
    name = os.fspath(source)
    try:
        return name, pathlib.Path(source).read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise ModuleError(
            [
                Finding(
                    "unreadable",
                    f"The file cannot be read: {exc.strerror}.",
                    "Name the app's module file.",
                    file=name,
                )
            ]
        ) from None
    except UnicodeDecodeError as exc:
        raise ModuleError(
            [
                Finding(
                    "unreadable",
                    f"The file is not UTF-8: byte {exc.start} is {exc.object[exc.start]:#04x}.",
                    "Save it as UTF-8.",
                    file=name,
                )
            ]
        ) from None


def _is_old(document: Mapping) -> bool:
    return "version" in document.values or (
        "module" in document.values and "kind" not in document.values
    )


def _version(document: Mapping, report: Report) -> str:
    """Return the format, or the likely one if it is not valid."""
    node = document.get("version")
    spec = document.at("module", "spec")
    guess = "2.0" if isinstance(spec, Mapping) and "functions" in spec.values else "3.0"
    if node is None:
        report.error(
            document,
            "missing",
            "'version' is missing.",
            f'Write version: "{guess}" at the top.',
        )
        return guess
    version = text_of(node, report)
    if version not in _SECTIONS:
        report.error(
            node,
            "bad-version",
            f"There is no format '{version}'.",
            'Write "3.0", or for StateFun 2.x "2.0" or "1.0". From 3.1 on a file is several'
            " documents, each with a kind and a spec, and has no version.",
        )
        return guess
    if node_is_number(node):
        report.error(
            node,
            "unquoted-version",
            f"The version {version} is a number without quotes, and the runtime expects a string.",
            f'Write version: "{version}".',
        )
    return version


def _read_old(document: Mapping, report: Report) -> cabc.Iterator[Component]:
    _only(document, ("version", "module"), report)
    module = _below(document, "module", report)
    if module is None:
        return
    _only(module, ("meta", "spec"), report)
    _check_remote(module, report)
    spec = _below(module, "spec", report)
    if spec is None:
        return
    sections = _SECTIONS[report.version]
    _only(spec, sections, report)
    for section in sections:
        node = spec.get(section)
        if node is None:
            continue
        if not isinstance(node, Mapping | Scalar):
            found = (read_entry(section, each, report) for each in items(node))
            yield from (each for each in found if each is not None)
        else:
            report.error(
                node,
                "wrong-type",
                f"This is {node.what}, not a list.",
                "Write '- ' before each entry.",
            )


def _check_remote(module: Mapping, report: Report) -> None:
    node = module.at("meta", "type")
    given = isinstance(node, Scalar) and node.text
    if not given or node is module:
        report.error(
            module,
            "missing",
            "'meta' with 'type: remote' is missing.",
            "Write 'meta: {type: remote}'.",
        )
    elif str(given).lower() != "remote":
        report.error(
            node, "bad-choice", f"The type '{given}' is not 'remote'.", "Write 'type: remote'."
        )


def _below(node: Mapping, name: str, report: Report) -> Mapping | None:
    value = node.get(name)
    if value is None:
        report.error(
            node, "missing", f"'{name}' is missing.", f"Write '{name}:' with its contents."
        )
        return None
    return mapping_of(value, report)


def _only(node: Mapping, known: cabc.Collection[str], report: Report) -> None:
    for name in node.values:
        if name in known:
            continue
        if name not in ("functions", "routers"):
            report_unknown(node, name, known, report)
            continue
        report.warning(
            node.keys[name],
            "unknown-field",
            f"'{name}' belongs to StateFun before 3.0, and later versions ignore it.",
            "Write 'endpoints' for functions, and 'targets' in topics for routers.",
        )


def _check_duplicates(components: list[Component], report: Report) -> None:
    seen: dict[tuple[str, str], int] = {}
    for component in components:
        if isinstance(component, Extension):
            continue
        if (functions := getattr(component, "functions", None)) is not None:
            what, name = "functions", functions
        else:
            what = "ingress" if "Ingress" in type(component).__name__ else "egress"
            name = getattr(component, "id", "")
        place = component.name_place(report.version)
        if (what, name) in seen:
            report.error(
                place,
                "duplicate",
                f"{_called(what, component)} '{name}' appears twice, first on line"
                f" {seen[what, name]}.",
                "Remove one of them, or give it another name.",
            )
        seen.setdefault((what, name), place.line)


def _called(what: str, component: Component) -> str:
    if what != "functions":
        return f"The {what}"
    return (
        "The pattern"
        if isinstance(component, HttpEndpoint) and component.states is None
        else "The function"
    )
