"""Tables of fields: they read a mapping, report errors in it, and write it."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import re
import typing as t

from ..values._text import did_you_mean
from ..values._text import suggestions
from .kinds import Kind
from .kinds import report_choice
from .kinds import text_of
from .model import Part
from .model import Version
from .model import VERSIONS
from .nodes import Mapping
from .nodes import Node
from .nodes import Report
from .nodes import Unread

M = t.TypeVar("M", bound=Part)


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a mapping.

    :param kind: The kind of its value; a :class:`Group` is a mapping whose fields belong to the
        same part of the model.
    :param doc: Its meaning, in a sentence.
    :param attribute: Its name in the model; the field's own in snake case if not given.
    :param default: The runtime's default, for the reference.
    :param versions: The formats that have it.
    :param written: False for an alternative to another field.
    :param instead: The field to write in formats that do not have this one.
    """

    name: str
    kind: Kind | Group
    doc: str
    attribute: str = ""
    required: bool = False
    default: str = ""
    versions: tuple[Version, ...] = VERSIONS
    written: bool = True
    instead: str = ""

    @property
    def target(self) -> str:
        """Its name in the model."""
        return self.attribute or re.sub("(?<=[a-z])[A-Z]", lambda m: f"_{m[0]}", self.name).lower()


Fields: t.TypeAlias = tuple[Field, ...]


@dataclasses.dataclass(frozen=True)
class Variant:
    """One of the forms of a group.

    :param value: Its name in the model.
    :param tag: Its name in the file.
    """

    value: str
    fields: Fields = ()
    tag: str = ""
    doc: str = ""
    #: Values that the presence of the group implies.
    presets: cabc.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    #: Fields of other variants that people write here, with the fix for each.
    strangers: cabc.Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def written_tag(self) -> str:
        """Its name in the file."""
        return self.tag or self.value


@dataclasses.dataclass(frozen=True)
class Group:
    """A mapping inside another whose fields belong to the same part of the model.

    :param variants: Its forms, which the field ``type`` names; the first is the default. A group of
        one variant has no such field.
    :param attribute: The attribute of the model that names the variant.
    """

    variants: tuple[Variant, ...]
    attribute: str = ""

    @property
    def label(self) -> str:
        """Its name in the reference."""
        return "mapping"

    @property
    def tags(self) -> dict[str, Variant]:
        """The variants by their names in the file."""
        return {variant.written_tag: variant for variant in self.variants}

    def choose(self, node: Mapping, report: Report) -> Variant | None:
        """Return the variant of a mapping."""
        if not self.attribute:
            return self.variants[0]
        tag = node.get("type")
        if tag is None:
            return self.variants[0]
        text = text_of(tag, report)
        if text is None:
            return None
        found = self.tags.get(text)
        if found is None:
            report_choice(tag, text, self.tags, report)
        return found


@dataclasses.dataclass(frozen=True)
class Struct(t.Generic[M]):
    """A mapping that is read to its own class of the model."""

    model: type[M]
    fields: Fields
    label: str = "mapping"

    def read(self, node: Node, report: Report) -> M | None:
        """Return the part."""
        mapping = mapping_of(node, report)
        if mapping is None:
            return None
        values: dict[str, t.Any] = {}
        if not read_fields(self.fields, mapping, report, values):
            return None
        return self.model(node=mapping, **values)

    def write(self, value: M) -> dict[str, t.Any]:
        """Not used: :func:`write_fields` writes the fields of a format."""
        raise NotImplementedError("A Struct is written by write_fields.")


def mapping_of(node: Node, report: Report) -> Mapping | None:
    """Return a node that is a mapping; other nodes are reported."""
    if isinstance(node, Mapping):
        return node
    if not isinstance(node, Unread):
        report.error(
            node,
            "wrong-type",
            f"This is {getattr(node, 'what', 'nothing')}, not a mapping.",
            "Write 'name: value' lines here.",
        )
    return None


def read_fields(
    fields: Fields,
    node: Mapping,
    report: Report,
    values: dict[str, t.Any],
    known: cabc.Collection[str] = (),
) -> bool:
    """Read a mapping's fields into values by their names in the model.

    :param known: Further names that are allowed.
    :return: Whether all required fields have valid values.
    """
    complete = True
    names: dict[str, Field] = {}
    for field in fields:
        if field.name not in names or report.version in field.versions:
            names[field.name] = field
    for name in node.values:
        found = names.get(name)
        if found is None:
            if name not in known:
                _report_unknown(name, node, fields, known, report)
        elif report.version not in found.versions:
            _report_other_format(found, node, report)
    for field in fields:
        if report.version not in field.versions:
            continue
        value = node.get(field.name)
        if value is None:
            if field.required and not isinstance(node.values.get(field.name), Unread):
                _report_missing(field, node, report)
            complete = complete and not field.required
        elif isinstance(field.kind, Group):
            _read_group(field.kind, value, report, values)
        else:
            read = field.kind.read(value, report)
            if read is not None:
                values[field.target] = read
            elif field.required:
                complete = False
    return complete


def _read_group(group: Group, node: Node, report: Report, values: dict[str, t.Any]) -> None:
    mapping = mapping_of(node, report)
    variant = group.choose(mapping, report) if mapping is not None else None
    if mapping is None or variant is None:
        return
    if group.attribute:
        values[group.attribute] = variant.value
    values.update(variant.presets)
    for name, fix in variant.strangers.items():
        if name in mapping.values:
            text = f"'{name}' is not known here, so the runtime ignores it."
            report.warning(mapping.keys[name], "unknown-field", text, fix)
    known = (*variant.strangers, *(("type",) if group.attribute else ()))
    read_fields(variant.fields, mapping, report, values, known)


def _report_missing(field: Field, node: Mapping, report: Report) -> None:
    null = node.values.get(field.name)
    report.error(
        node.keys[field.name] if null is not None else node,
        "missing",
        f"'{field.name}' has no value." if null is not None else f"'{field.name}' is missing.",
        f"Write '{field.name}: …', {field.doc[0].lower()}{field.doc[1:]}",
    )


def _report_unknown(
    name: str, node: Mapping, fields: Fields, known: cabc.Collection[str], report: Report
) -> None:
    if report.is_full:
        report.omitted += 1  # Computing a suggestion takes long.
        return
    allowed = [each.name for each in fields if report.version in each.versions] + list(known)
    near = suggestions(name, allowed) or [
        each for each in allowed if each.lower() == name.lower().replace("_", "").replace("-", "")
    ]
    around = next((each for each in fields if _holds(each, name)), None)
    report.warning(
        node.keys[name],
        "unknown-field",
        f"'{name}' is not known here, so the runtime ignores it.{did_you_mean(near[:1])}",
        f"Move it into '{around.name}'." if around else "Correct the name, or remove it.",
    )


def _holds(field: Field, name: str) -> bool:
    """Return whether a field is a group that has a field of a name."""
    if not isinstance(field.kind, Group):
        return False
    inner = [each for variant in field.kind.variants for each in variant.fields]
    return any(each.name == name or _holds(each, name) for each in inner)


def _report_other_format(field: Field, node: Mapping, report: Report) -> None:
    report.error(
        node.keys[field.name],
        "other-format",
        f"'{field.name}' is a field of format {' and '.join(field.versions)}, not of"
        f" {report.version}.",
        f"Write {field.instead}." if field.instead else "Remove it.",
    )


def write_fields(fields: Fields, part: Part, version: Version) -> dict[str, t.Any]:
    """Return the fields of a part for the serializer, without those that have their default."""
    made: dict[str, t.Any] = {}
    for field in fields:
        if version not in field.versions or not field.written:
            continue
        if isinstance(field.kind, Group):
            if group := _write_group(field.kind, part, version):
                made[field.name] = group
            continue
        value = getattr(part, field.target)
        if value is not None and (field.required or value != _default(part, field.target)):
            made[field.name] = _write(field.kind, value, version)
    return made


def _write(kind: Kind, value: t.Any, version: Version) -> t.Any:
    item = getattr(kind, "item", None)
    if isinstance(item, Struct):
        return [write_fields(item.fields, each, version) for each in value]
    return kind.write(value)


def _write_group(group: Group, part: Part, version: Version) -> dict[str, t.Any]:
    if not group.attribute:
        return write_fields(group.variants[0].fields, part, version)
    chosen = getattr(part, group.attribute)
    variant = next(each for each in group.variants if each.value == chosen)
    inner = write_fields(variant.fields, part, version)
    if not inner and variant is group.variants[0]:
        return {}
    return {"type": variant.written_tag, **inner}


def _default(part: Part, attribute: str) -> t.Any:
    default = type(part).__dataclass_fields__[attribute].default
    return None if default is dataclasses.MISSING else default
