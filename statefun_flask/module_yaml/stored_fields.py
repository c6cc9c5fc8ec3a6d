"""The fields of stored JSON and protobuf values, so that a change of them can be detected.

A field is named by its path in a value: ``customer``, ``lines[].sku`` for a field of the items of
an array, ``prices{}`` for the values of a mapping, ``point[0]`` for an item of a NamedTuple. A
field of a protobuf message is named by its number, which is what a stored value has.
"""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import msgspec

from ..values.types import BUILTIN
from ..values.types import Type

#: What a field holds by its path. The text begins with :data:`OPTIONAL` if a value may lack it.
StoredFields: t.TypeAlias = dict[str, str]

OPTIONAL = "optional "

_LABEL_REPEATED = 3


def fields_of(type: Type[t.Any]) -> StoredFields:
    """Return the fields of a type's values; none for a type without fields."""
    python = type.python
    if hasattr(python, "DESCRIPTOR"):
        return dict(_of_message(python.DESCRIPTOR, "", ()))
    if python is None or type.typename.startswith(BUILTIN):
        return {}
    try:
        ((schema,), definitions) = msgspec.json.schema_components(
            [python], schema_hook=_foreign, ref_template="{name}"
        )
    # A class of a custom type, or before msgspec 0.23 two classes of one name in one value.
    except (TypeError, KeyError):
        return {}
    return dict(_of_schema(schema, "", definitions, ()))


def _foreign(python: t.Any) -> dict[str, t.Any]:
    """Return the JSON schema of a class that msgspec does not know: a pydantic model."""
    if not hasattr(python, "model_json_schema"):
        raise NotImplementedError
    schema: dict[str, t.Any] = python.model_json_schema(by_alias=True)
    return schema


def _of_schema(
    schema: dict[str, t.Any],
    path: str,
    definitions: dict[str, t.Any],
    within: tuple[str, ...],
) -> cabc.Iterator[tuple[str, str]]:
    """Yield the fields below a path.

    :param within: The definitions around the path; one that contains itself is not entered again.
    """
    definitions = {**definitions, **schema.get("$defs", {})}
    name = schema.get("$ref", "").rpartition("/")[2]
    if name:
        if name not in within:
            yield from _of_schema(definitions[name], path, definitions, (*within, name))
        return
    for each in (*schema.get("anyOf", ()), *schema.get("allOf", ())):
        yield from _of_schema(each, path, definitions, within)
    required = schema.get("required", ())
    for key, field in schema.get("properties", {}).items():
        below = f"{path}.{key}" if path else key
        text = _kind(field, definitions)
        yield below, text if key in required else OPTIONAL + text
        yield from _of_schema(field, below, definitions, within)
    for index, item in enumerate(schema.get("prefixItems", ())):
        below = f"{path}[{index}]"
        text = _kind(item, definitions)
        yield below, text if index < schema.get("minItems", 0) else OPTIONAL + text
        yield from _of_schema(item, below, definitions, within)
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        inner = schema.get(key)
        if isinstance(inner, dict) and inner:
            yield path + mark, _kind(inner, definitions)
            yield from _of_schema(inner, path + mark, definitions, within)


def _kind(schema: dict[str, t.Any], definitions: dict[str, t.Any]) -> str:
    """Return what a schema allows: ``string``, ``integer | null``, ``a | b`` for an enumeration."""
    definitions = {**definitions, **schema.get("$defs", {})}
    name = schema.get("$ref", "").rpartition("/")[2]
    if name:
        return _kind(definitions[name], definitions)
    parts = [*schema.get("anyOf", ()), *schema.get("allOf", ())]
    if parts:
        kinds = {kind for each in parts for kind in _kind(each, definitions).split(" | ")}
        return " | ".join(sorted(kinds))
    if "enum" in schema:
        return " | ".join(sorted(map(str, schema["enum"])))
    kind = schema.get("type", "any")
    return str(schema.get("format", kind)) if kind == "string" else str(kind)


def _of_message(
    descriptor: t.Any, path: str, within: tuple[str, ...]
) -> cabc.Iterator[tuple[str, str]]:
    if descriptor.full_name in within:
        return
    for field in descriptor.fields:
        below = f"{path}.{field.number}" if path else str(field.number)
        of = field.message_type or field.enum_type
        kind = of.full_name if of is not None else _SCALARS[field.type]
        repeated = "repeated " if _is_repeated(field) else ""
        yield below, f"{OPTIONAL}{repeated}{kind}"
        if field.message_type is not None:
            inside = (*within, descriptor.full_name)
            yield from _of_message(field.message_type, below, inside)


def _is_repeated(field: t.Any) -> bool:
    # protobuf 7 has no labels any more, and 5.29 has nothing else.
    found = getattr(field, "is_repeated", None)
    return bool(field.label == _LABEL_REPEATED if found is None else found)


#: The names of protobuf's scalar types by the numbers that descriptors have.
_SCALARS = {
    1: "double",
    2: "float",
    3: "int64",
    4: "uint64",
    5: "int32",
    6: "fixed64",
    7: "fixed32",
    8: "bool",
    9: "string",
    12: "bytes",
    13: "uint32",
    15: "sfixed32",
    16: "sfixed64",
    17: "sint32",
    18: "sint64",
}
