"""Reads one component: an endpoint, a function, an ingress or an egress."""

from __future__ import annotations

import difflib
import typing as t

from ..values._text import did_you_mean
from ..values._text import suggestions
from . import shapes
from .endpoint_fields import TYPE
from .fields import mapping_of
from .fields import read_fields
from .io_fields import DIRECTION
from .kinds import either
from .kinds import report_unknown
from .kinds import text_of
from .model import Component
from .model import Extension
from .nodes import Mapping
from .nodes import Node
from .nodes import Report
from .yaml_text import serialize

#: Kinds of StateFun 2.x which need descriptors of protobuf messages, and which the table lacks.
_BY_DESCRIPTOR = (
    "statefun.kafka.io/protobuf-ingress",
    "statefun.kinesis.io/protobuf-ingress",
    "org.apache.flink.statefun.sdk/protobuf-router",
)
#: The namespaces of StateFun.
_OWN = ("io.statefun.", "statefun.kafka.io/", "statefun.kinesis.io/")

#: The name of an entry of each section.
ENTRIES = {
    "functions": "function",
    "endpoints": "endpoint",
    "ingresses": "ingress",
    "egresses": "egress",
    "routers": "router",
}


def read_document(node: Node, report: Report) -> Component | None:
    """Read one document of a format 3.1 file."""
    if not isinstance(node, Mapping):
        report.error(
            node,
            "not-a-component",
            f"This document is {getattr(node, 'what', 'nothing')}, not a component.",
            "Write 'kind: …' and 'spec: …' here.",
        )
        return None
    for name in node.values:
        if name not in ("kind", "spec"):
            report_unknown(node, name, ("kind", "spec"), report)
    kind, spec = node.get("kind"), node.get("spec")
    for name, value in (("kind", kind), ("spec", spec)):
        if value is None:
            report.error(
                node,
                "not-a-component",
                f"This document has no '{name}'.",
                f"Write '{name}: …'; every document has a kind and a spec.",
            )
    if kind is None or spec is None:
        return None
    type = text_of(kind, report)
    return None if type is None else _read(node, "extensions", type, kind, spec, {}, report)


def read_entry(section: str, node: Node, report: Report) -> Component | None:
    """Read one entry of a section of a file of format 1.0, 2.0 or 3.0."""
    entry = mapping_of(node, report)
    if entry is None:
        return None
    inner = _inner(ENTRIES[section], entry, report)
    if inner is None:
        return None
    meta = _required(inner, "meta", report)
    spec = _required(inner, "spec", report)
    if meta is None or spec is None:
        return None
    called = "kind" if section in ("functions", "endpoints") else "type"
    kind = _required(meta, called, report, mapping=False)
    type = None if kind is None else text_of(kind, report)
    if kind is None or type is None:
        return None
    values: dict[str, t.Any] = {}
    if section == "functions":
        complete = read_fields((TYPE,), meta, report, values, ("kind",))
    elif section in DIRECTION:
        complete = read_fields((DIRECTION[section],), meta, report, values, ("type",))
    else:
        complete = True
    return _read(inner, section, type, kind, spec, values if complete else None, report)


def _inner(name: str, entry: Mapping, report: Report) -> Mapping | None:
    """Return the mapping below the name of an entry."""
    if name not in entry.values:
        near = suggestions(name, entry.values)
        report.error(
            entry,
            "missing",
            f"'{name}' is missing.{did_you_mean(near[:1])}",
            f"Write '- {name}:' and below it 'meta' and 'spec'.",
        )
        return None
    beside = [each for each in ("meta", "spec") if each in entry.values]
    for each in beside:
        report.error(
            entry.keys[each],
            "sibling",
            f"'{each}' stands beside '{name}', not below it, so the runtime does not find it.",
            "Indent it by two more spaces.",
        )
    if len(beside) == 2:
        return entry
    below = entry.get(name)
    return mapping_of(below if below is not None else entry.values[name], report)


def _required(node: Mapping, name: str, report: Report, mapping: bool = True) -> t.Any:
    value = node.get(name)
    if value is None:
        report.error(node, "missing", f"'{name}' is missing.", f"Write '{name}: …'.")
        return None
    return mapping_of(value, report) if mapping else value


def _read(
    node: Mapping,
    section: str,
    type: str,
    kind: Node,
    spec: Node,
    beside: dict[str, t.Any] | None,
    report: Report,
) -> Component | None:
    """Read a component of a kind.

    :param beside: The values beside the spec; None if one was refused.
    """
    values = dict(beside or {})
    known = shapes.shapes(section, report.version)
    shape = known.get(type.lower() if section == "functions" else type)
    if shape is None:
        _report_kind(type, kind, known, report)
        return Extension(
            node=node,
            section=section,
            type=type,
            id=values.get("id") or values.get("functions"),
            spec=serialize(spec),
        )
    mapping = mapping_of(spec, report)
    if mapping is None:
        return None
    before = len(report.findings)
    complete = read_fields(shape.fields, mapping, report, values)
    if not complete or beside is None:
        return None
    part: Component = shape.model(node=node, **{**values, **shape.constants})
    # Rules would report the default of a refused field.
    if not any(each.severity == "error" for each in report.findings[before:]):
        for rule in shape.rules:
            rule(part, mapping, report)
    return part


def _report_kind(type: str, node: Node, known: t.Collection[str], report: Report) -> None:
    if type in _BY_DESCRIPTOR and report.version != "3.1":
        return
    near = did_you_mean(suggestions(type, known)[:1])
    # The kinds of a jar resemble StateFun's: only a difference of a letter or two is a mistake.
    mistyped = difflib.get_close_matches(type, known, 1, 0.9)
    if mistyped or type.startswith(_OWN) or "/" not in type:
        report.error(
            node,
            "unknown-kind",
            f"Format {report.version} has no kind '{type}'.{near}",
            f"Write {either(known)}.",
        )
    else:
        report.warning(
            node,
            "unknown-kind",
            f"'{type}' is not one of StateFun's kinds.",
            "Check the name, and that a jar provides it.",
        )
