"""The type that a class, an annotation or a value stands for.

Primitives, protobuf classes and classes marked with ``@json_type`` have a type of their own. The
values of most other classes travel as JSON, under a typename that is derived from the class alone:
``statefun_flask.json/`` and its name. ``dict``, ``dict[str, int]`` and every TypedDict have the
typename ``statefun_flask.json/dict``, so the typename of a value is known without its annotation,
and parameters in brackets can change without changing the typename.

The values of an enum travel as the str or int that they have.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import typing as t
import uuid

import msgspec

from ..errors import RegistrationError
from ._primitives import wrong_value
from ._pydantic import is_model
from ._pydantic import raised
from ._text import annotation_text
from .json_types import CONTAINERS
from .json_types import make
from .types import is_protobuf
from .types import LONG
from .types import MARK
from .types import PRIMITIVES
from .types import standard_protobuf_type
from .types import STRING
from .types import Type

#: The namespace of the derived typenames.
NAMESPACE = "statefun_flask.json"

#: The classes of Python whose values travel as JSON under the name of the class.
BUILTIN = (
    *CONTAINERS,
    dt.datetime,
    dt.date,
    dt.time,
    dt.timedelta,
    decimal.Decimal,
    uuid.UUID,
)

#: The abstract classes of containers, and the class that msgspec makes for each.
_ABSTRACT: dict[t.Any, type] = {
    cabc.Mapping: dict,
    cabc.MutableMapping: dict,
    cabc.Sequence: list,
    cabc.MutableSequence: list,
    cabc.Set: set,
    cabc.MutableSet: set,
}

#: The ways to give a class a type; part of several error messages.
WAYS = (
    "Use bool, int, float, str, bytes, a dict, list, dataclass, pydantic model or another class"
    " that JSON can express, a protobuf class, or a Type made by json_type, protobuf_type,"
    " custom_type, raw_type or utf8_type."
)


def type_of(python: t.Any) -> Type[t.Any]:
    """Return the Type of a class or an annotation, or a Type itself.

    :raises TypeError: The class has no type. The message says how to give it one.
    :raises RegistrationError: The class cannot have the type that it stands for.
    """
    if isinstance(python, Type):
        return python
    if isinstance(python, type):
        found: Type[t.Any] | None = PRIMITIVES.get(python) or python.__dict__.get(MARK)
        if found is not None and not t.get_args(python):
            if found.python is not python:
                raise RegistrationError(
                    f"{_name(python)} is not the class that @json_type marked, since a decorator"
                    " above it makes a new class. Write @json_type above all other decorators."
                )
            return found
        if is_protobuf(python):
            return standard_protobuf_type(t.cast("cabc.Hashable", python))
    try:
        found = _derived(python)
    except TypeError:  # an annotation with an unhashable part
        found = _derive(python)
    if found is None:
        raise TypeError(_without_type(python))
    return found


def type_of_value(value: t.Any) -> Type[t.Any]:
    """Return the type of a value by its class.

    Subclasses of str, int … and of dict, list … have the type of the base, unless they have one of
    their own.
    """
    cls = value.__class__
    found = PRIMITIVES.get(cls)
    if found is not None:
        return found
    try:
        return type_of(cls)
    except TypeError:
        for base in (*PRIMITIVES, *CONTAINERS):
            if issubclass(cls, base):
                return type_of(base)
        raise


@functools.lru_cache(maxsize=4096)
def _derived(python: cabc.Hashable) -> Type[t.Any] | None:
    return _derive(python)


def _derive(python: t.Any) -> Type[t.Any] | None:
    """Return the type that follows from a class or an annotation; None when none does."""
    if t.get_origin(python) is t.Annotated:
        declared = [each for each in python.__metadata__ if isinstance(each, Type)]
        return declared[-1] if declared else type_of(t.get_args(python)[0])
    if hasattr(python, "__supertype__"):  # NewType
        return type_of(python.__supertype__)
    if type(python).__name__ == "TypeAliasType":  # type X = …, since Python 3.12
        return type_of(python.__value__)
    if isinstance(python, type) and issubclass(python, enum.Enum):
        return _enum_type(python)

    name = _json_name(t.get_origin(python) or python)
    if name is None:
        return None
    return make(f"{NAMESPACE}/{name}", python, label=annotation_text(python))


def _json_name(cls: t.Any) -> str | None:
    """Return the name that a class gives its values; None for a class without a JSON form."""
    cls = _ABSTRACT.get(cls, cls)
    if cls in BUILTIN:
        return t.cast("str", cls.__name__)
    if not isinstance(cls, type) or _marked_base(cls) is not None:
        return None
    if t.is_typeddict(cls):
        return "dict"
    if (
        dataclasses.is_dataclass(cls)
        or issubclass(cls, msgspec.Struct)
        or hasattr(cls, "__attrs_attrs__")
        or is_model(cls)
        or (issubclass(cls, tuple) and hasattr(cls, "_fields"))
    ):
        return cls.__name__
    return None


def _marked_base(cls: type) -> type | None:
    """Return the base of a class that @json_type marked. Its type is not that of the class."""
    return next((base for base in cls.__mro__[1:] if MARK in base.__dict__), None)


def _enum_type(cls: type[enum.Enum]) -> Type[t.Any] | None:
    """Return the type of an enum: the primitive of its values; None if they have no common one."""
    values = [member.value for member in cls]
    if all(isinstance(value, str) for value in values):
        primitive: Type[t.Any] = STRING
    elif all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        primitive = LONG
    else:
        return None

    def write(value: t.Any) -> bytes:
        if value.__class__ is not cls:
            raise wrong_value(cls.__name__, value)
        return primitive.serialize(value.value)

    def reading(read: cabc.Callable[[bytes], t.Any]) -> cabc.Callable[[bytes], t.Any]:
        def read_member(data: bytes) -> t.Any:
            value = read(data)
            try:
                return cls(value)
            except ValueError:
                raise
            except Exception as exc:
                raise raised(exc) from exc

        return read_member

    readers = {name: reading(read) for name, read in primitive._readers.items()}
    return Type(primitive.typename, cls, write, readers)


def _without_type(python: t.Any) -> str:
    """Return the error message for a class or an annotation that has no type."""
    name = _name(python)
    if isinstance(python, type) and (base := _marked_base(python)) is not None:
        return (
            f"{name} has no StateFun type: its base '{base.__qualname__}' is marked with"
            " @json_type, and a subclass is another type."
            f" Write @json_type('namespace/{python.__name__}')"
            " above the class."
        )
    if isinstance(python, type) and issubclass(python, enum.Enum):
        return (
            f"{name} has no StateFun type, since its values are not all str, or all int. Give it"
            " such values, or write custom_type('namespace/name', …) for it."
        )
    if type(None) in t.get_args(python):
        return (
            f"{annotation_text(python)} has no StateFun type, since a value is never None. Remove"
            " None: a state without a value is read as None, or as its default."
        )
    if t.get_origin(python) is not None:
        return (
            f"{annotation_text(python)} has no StateFun type, since no typename follows from it."
            f" Write json_type('namespace/name', {annotation_text(python)})."
        )
    return f"{name} has no StateFun type. {WAYS}"


def _name(python: t.Any) -> str:
    return f"'{python.__qualname__}'" if isinstance(python, type) else repr(python)
