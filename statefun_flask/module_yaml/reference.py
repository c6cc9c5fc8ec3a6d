"""Writes the reference of all fields as Markdown."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from . import shapes
from .fields import Field
from .fields import Fields
from .fields import Group
from .fields import Struct
from .kinds import Kind
from .kinds import Many
from .model import Version
from .model import VERSIONS

#: The names of the formats in the reference.
_FORMATS = {"1.0": "1.0", "2.0": "2.0", "3.0": "3.0", "3.1": "3.1 and later"}


def markdown() -> str:
    """Return the reference: a section for each kind of component, with a table of its fields."""
    sections = [_section(shape) for shape in shapes.SHAPES]
    return "# The fields of module.yaml\n\n" + "\n".join(sections)


def _section(shape: shapes.Shape) -> str:
    named: dict[str, list[str]] = {}
    for version in VERSIONS:
        if version in shape.kinds:
            named.setdefault(shape.kinds[version], []).append(_FORMATS[version])
    kinds = "\n".join(f"- `{kind}` in format {', '.join(where)}" for kind, where in named.items())
    versions = tuple(version for version in VERSIONS if version in shape.kinds)
    rows = "\n".join(_rows(shape.fields, "", versions))
    return (
        f"## {shape.title}\n\n{shape.doc}\n\n{kinds}\n\n"
        "| field | value | default | |\n|---|---|---|---|\n"
        f"{rows}\n"
    )


def _rows(table: Fields, around: str, versions: tuple[Version, ...]) -> cabc.Iterator[str]:
    for field in table:
        shared = tuple(version for version in versions if version in field.versions)
        if not shared:
            continue
        yield _row(field, around, "" if shared == versions else _only(shared))
        name = f"{around}{field.name}"
        kind = field.kind
        if isinstance(kind, Group):
            yield from _variants(kind, f"{name}.", shared)
        elif (record := _record(kind)) is not None:
            yield from _rows(record.fields, f"{name}[].", shared)


def _variants(group: Group, around: str, versions: tuple[Version, ...]) -> cabc.Iterator[str]:
    if group.attribute:
        tags = " or ".join(f"`{tag}`" for tag in group.tags)
        first = group.variants[0].written_tag
        yield f"| `{around}type` | {tags} | `{first}` | The variant. |"
    for variant in group.variants:
        for row in _rows(variant.fields, around, versions):
            note = f" Only for `{variant.written_tag}`. |" if group.attribute else " |"
            yield row.removesuffix(" |") + note


def _record(kind: Kind) -> Struct[t.Any] | None:
    item = kind.item if isinstance(kind, Many) else None
    return item if isinstance(item, Struct) else None


def _row(field: Field, around: str, note: str) -> str:
    default = "required" if field.required else field.default
    doc = " ".join(filter(None, (field.doc, note)))
    label = field.kind.label.replace("|", "\\|")
    return f"| `{around}{field.name}` | {label} | {default} | {doc} |"


def _only(versions: cabc.Iterable[Version]) -> str:
    return f"Format {', '.join(_FORMATS[version] for version in versions)}."
