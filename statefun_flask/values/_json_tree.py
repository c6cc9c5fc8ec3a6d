"""The check that JSON can express every part of a type, made where the type is declared."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import msgspec

from ..errors import RegistrationError
from ._pydantic import codec
from ._pydantic import is_model
from ._text import annotation_text

_inspect = msgspec.inspect

#: The keys of an object in JSON are text. msgspec writes these types as text, and reads them.
_KEYS = (
    _inspect.AnyType,
    _inspect.StrType,
    _inspect.IntType,
    _inspect.FloatType,
    _inspect.BytesType,
    _inspect.DateTimeType,
    _inspect.DateType,
    _inspect.TimeType,
    _inspect.TimeDeltaType,
    _inspect.DecimalType,
    _inspect.UUIDType,
    _inspect.EnumType,
    _inspect.LiteralType,
)
_UNHASHABLE = (
    _inspect.ListType,
    _inspect.DictType,
    _inspect.SetType,
    _inspect.TypedDictType,
)


def check_tree(python: t.Any) -> None:
    """Check that every part of a class or an annotation can be written as JSON, and read.

    :raises RegistrationError: A part cannot.
    :raises NameError: An annotation names something that is not defined, or not yet.
    """
    try:
        root = _inspect.type_info(python)
        msgspec.json.Decoder(python)
    except TypeError as exc:
        raise _refused(python, f"{exc}") from None
    _check(python, root, set())


def _check(python: t.Any, node: _inspect.Type, seen: set[int]) -> None:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, _inspect.CustomType):
        if is_model(node.cls):
            codec(node.cls)
        elif node.cls is not object:
            raise _refused(python, f"JSON cannot express a '{annotation_text(node.cls)}'")
    elif isinstance(node, _inspect.ExtType):
        raise _refused(python, "JSON cannot express a msgpack extension")
    elif isinstance(node, _inspect.DictType):
        for key in _members(node.key_type):
            if not isinstance(key, _KEYS):
                raise _refused(python, f"a key of an object in JSON is text, not {_shown(key)}")
    elif isinstance(node, _inspect.SetType | _inspect.FrozenSetType):
        for item in _members(node.item_type):
            if _is_unhashable(item):
                raise _refused(python, f"a set cannot hold {_shown(item)}, which is not hashable")
    for part in _parts(node):
        _check(python, part, seen)


def _parts(node: t.Any) -> cabc.Iterator[_inspect.Type]:
    """Yield the types that a type is made of."""
    for name in ("item_type", "key_type", "value_type", "type"):
        if (part := getattr(node, name, None)) is not None:
            yield part
    for name in ("item_types", "types"):
        yield from getattr(node, name, ())
    for field in getattr(node, "fields", ()):
        yield field.type


def _members(node: _inspect.Type) -> tuple[_inspect.Type, ...]:
    return node.types if isinstance(node, _inspect.UnionType) else (node,)


def _is_unhashable(node: t.Any) -> bool:
    if isinstance(node, _UNHASHABLE):
        return True
    return isinstance(node, _inspect.DataclassType) and node.cls.__hash__ is None


def _shown(node: t.Any) -> str:
    """Return a part for people: ``a 'Point'``, ``a list``."""
    cls = getattr(node, "cls", None)
    return (
        f"a {type(node).__name__.removesuffix('Type').lower()}"
        if cls is None
        else f"a '{cls.__name__}'"
    )


def _refused(python: t.Any, reason: str) -> RegistrationError:
    return RegistrationError(
        f"A value of '{annotation_text(python)}' cannot travel as JSON: {reason.rstrip('.')}."
        " Use types that JSON can express for its parts, or give it a type of its own with"
        " custom_type('namespace/name', …)."
    )
