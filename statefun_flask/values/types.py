"""Types: how a Python value becomes bytes under a typename, and back.

A :class:`Type` reads more typenames than the one it writes, so that decoding needs to know nothing
of the protocol version: an ``int`` comes as ``io.statefun.types/long`` or ``/int``, or as one of
protobuf's integer wrappers, which 2.x uses.
"""

from __future__ import annotations

import collections.abc as cabc
import functools
import typing as t

from ..errors import RegistrationError
from . import _primitives as p
from .address import check_typename

T = t.TypeVar("T")
V = t.TypeVar("V")

Reader: t.TypeAlias = cabc.Callable[[bytes], t.Any]

BUILTIN = "io.statefun.types/"
PROTOBUF = "type.googleapis.com/"

#: The attribute of a class that @json_type has marked; looked up in the class's own dict, since a
#: subclass is another type.
MARK = "__statefun_type__"


class Type(t.Generic[T]):
    """A typename with its serialisation.

    Two types are equal when they write the same typename for the same Python class.

    :param typename: What is written, ``namespace/name``.
    :param python: The class of the values, for messages, checks and listings.
    :param serialize: Value to bytes. It raises TypeError or ValueError for what it cannot take.
    :param readers: For each typename that can be read, bytes to value; a reader raises ValueError.
        A key without a slash is the full name of a protobuf message and stands for it under any
        prefix.
    :raises ValueError: The typename is not of that form.
    """

    __slots__ = ("__weakref__", "python", "readers", "serialize", "typename")

    def __init__(
        self,
        typename: str,
        python: t.Any,
        serialize: cabc.Callable[[T], bytes],
        readers: cabc.Mapping[str, cabc.Callable[[bytes], T]],
    ) -> None:
        check_typename(typename)  # the runtime ends the job for a state of any other form
        self.typename = typename
        self.python = python
        self.serialize = serialize
        # The usual prefix is spelled out, so that messages of 2.x are found at once.
        self.readers = {PROTOBUF + name: read for name, read in readers.items() if "/" not in name}
        self.readers.update(readers)

    def reader(self, typename: str) -> cabc.Callable[[bytes], T] | None:
        """Return what reads payloads of a typename, or None when this type does not."""
        return match(self.readers, typename)

    @property
    def label(self) -> str:
        """A short name for listings: ``int``, ``GreetRequest``, or the typename."""
        python = self.python
        return python.__name__ if isinstance(python, type) else self.typename

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Type):
            return NotImplemented
        return self.typename == other.typename and self.python == other.python

    def __hash__(self) -> int:
        return hash(self.typename)

    def __repr__(self) -> str:
        return f"<Type {self.typename} of {self.label}>"


def match(table: cabc.Mapping[str, V], typename: str) -> V | None:
    """Look a typename up, then the protobuf name behind its last slash.

    A protobuf message is the same under any prefix; a name without a dot has no package and is
    not taken for one.
    """
    found = table.get(typename)
    if found is None:
        name = typename[typename.rfind("/") + 1 :]
        if "." in name:
            return table.get(name)
    return found


# -- the primitives ---------------------------------------------------------------------------

BOOL = Type[bool](
    BUILTIN + "bool",
    bool,
    p.write_bool,
    {BUILTIN + "bool": p.read_bool, "google.protobuf.BoolValue": p.read_bool},
)
#: 32 bits. An ``int`` without a type is a :data:`LONG`.
INT = Type[int](
    BUILTIN + "int",
    int,
    p.write_int,
    {BUILTIN + "int": p.read_int, "google.protobuf.Int32Value": p.read_int32},
)
LONG = Type[int](
    BUILTIN + "long",
    int,
    p.write_long,
    {
        BUILTIN + "long": p.read_long,
        BUILTIN + "int": p.read_int,
        "google.protobuf.Int64Value": p.read_int64,
        "google.protobuf.Int32Value": p.read_int32,
        "google.protobuf.UInt32Value": p.read_uint32,
    },
)
#: 32 bits. A ``float`` without a type is a :data:`DOUBLE`.
FLOAT = Type[float](
    BUILTIN + "float",
    float,
    p.write_float,
    {BUILTIN + "float": p.read_float, "google.protobuf.FloatValue": p.read_float},
)
DOUBLE = Type[float](
    BUILTIN + "double",
    float,
    p.write_double,
    {
        BUILTIN + "double": p.read_double,
        BUILTIN + "float": p.read_float,
        "google.protobuf.DoubleValue": p.read_double,
        "google.protobuf.FloatValue": p.read_float,
    },
)
STRING = Type[str](
    BUILTIN + "string",
    str,
    p.write_string,
    {BUILTIN + "string": p.read_string, "google.protobuf.StringValue": p.read_string},
)
BYTES = Type[bytes](
    PROTOBUF + "google.protobuf.BytesValue",
    bytes,
    p.write_bytes,
    {"google.protobuf.BytesValue": p.read_bytes},
)

#: The types that a bare Python class stands for. ``bool`` comes first: it is an ``int`` too.
PRIMITIVES: dict[type, Type[t.Any]] = {
    bool: BOOL,
    int: LONG,
    float: DOUBLE,
    str: STRING,
    bytes: BYTES,
}


# -- types that users make --------------------------------------------------------------------


def custom_type(
    typename: str,
    serialize: cabc.Callable[[T], bytes],
    deserialize: cabc.Callable[[bytes], T],
) -> Type[T]:
    """Return a type made of two functions.

    :param typename: ``namespace/name``, the same in every SDK that shares the values.
    :param serialize: Value to bytes.
    :param deserialize: Bytes to value; what it raises is reported as a value that does not fit.
    """

    def write(value: T) -> bytes:
        data = serialize(value)
        if data.__class__ is not bytes:
            raise TypeError(
                f"The serializer of '{typename}' returned {type(data).__name__}. Return bytes."
            )
        return data

    def read(data: bytes) -> T:
        try:
            return deserialize(data)
        except Exception as exc:
            raise ValueError(f"its deserializer raised {type(exc).__name__}: {exc}") from exc

    return Type(typename, deserialize, write, {typename: read})


def raw_type(typename: str) -> Type[bytes]:
    """Return a type whose payload is the bytes themselves."""
    return Type(typename, bytes, _raw, {typename: bytes})


def UTF8(typename: str) -> Type[str]:
    """Return a type whose payload is plain UTF-8 text, not protobuf's string wrapper.

    For topics of plain text: the runtime hands a Kafka record's bytes over unchanged under the
    ``valueType`` that module.yaml names.
    """

    def write(value: str) -> bytes:
        if not isinstance(value, str):
            raise p.unfit("str", value)
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise p.unencodable(value) from None

    def read(data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError as exc:
            raise ValueError(f"its text is not UTF-8 ({exc.reason} at byte {exc.start})") from None

    return Type(typename, str, write, {typename: read})


def _raw(value: bytes) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise p.unfit("bytes", value)
    return bytes(value)


def protobuf_type(cls: type[T], *, typename: str | None = None) -> Type[T]:
    """Return the type of a generated protobuf class.

    :param cls: The class; it is used by its methods alone, so any protobuf version will do.
    :param typename: What to write in place of ``type.googleapis.com/<full name>``. Names whose part
        behind the last slash contains a dot are read under any prefix; others need the exact name.
    """
    if not is_protobuf(cls):
        raise TypeError(f"{cls!r} is not a generated protobuf class. Pass the class itself.")
    if typename is None:
        return _protobuf_type(t.cast("cabc.Hashable", cls))
    return _make_protobuf_type(cls, typename)


def is_protobuf(cls: object) -> bool:
    """Tell whether a class is a generated protobuf message, by its methods."""
    return (
        isinstance(cls, type)
        and hasattr(cls, "DESCRIPTOR")
        and hasattr(cls, "SerializeToString")
        and hasattr(cls, "FromString")
    )


@functools.cache
def _protobuf_type(cls: cabc.Hashable) -> Type[t.Any]:
    return _make_protobuf_type(cls, PROTOBUF + t.cast("t.Any", cls).DESCRIPTOR.full_name)


def _make_protobuf_type(cls: t.Any, typename: str) -> Type[t.Any]:
    parse = cls.FromString
    name = typename[typename.rfind("/") + 1 :]

    def write(value: t.Any) -> bytes:
        if not isinstance(value, cls):
            raise p.unfit(cls.__name__, value)
        data: bytes = value.SerializeToString()
        return data

    def read(data: bytes) -> t.Any:
        try:
            return parse(data)
        except Exception as exc:  # protobuf's DecodeError, which this module does not import
            raise ValueError(f"{exc}".rstrip(".")) from exc

    return Type(typename, cls, write, {name if "." in name else typename: read})


# -- from a Python class or value to its type -------------------------------------------------


def type_of(python: t.Any) -> Type[t.Any]:
    """Return the type that a class stands for; a Type stands for itself.

    :raises TypeError: It stands for none; the message says how to give it one.
    """
    if isinstance(python, Type):
        return python
    if isinstance(python, type):
        found: Type[t.Any] | None = PRIMITIVES.get(python) or python.__dict__.get(MARK)
        if found is not None:
            if found.python is not python:
                raise RegistrationError(
                    f"{_name(python)} is not the class that @json_type marked, since a decorator"
                    " above it makes a new one. Write @json_type above all others."
                )
            return found
        if is_protobuf(python):
            return _protobuf_type(python)
    raise TypeError(f"{_name(python)} has no StateFun type. {WAYS}")


#: How a class gets a type; part of several error messages.
WAYS = (
    "Use bool, int, float, str, bytes, a protobuf class, a class marked with"
    " @json_type('namespace/name'), or a Type made by json_type, protobuf_type, custom_type,"
    " raw_type or UTF8."
)


def type_of_value(value: t.Any) -> Type[t.Any]:
    """Return the type that a value has by its class; subclasses of str, int … go as their base."""
    cls = value.__class__
    found = PRIMITIVES.get(cls)
    if found is not None:
        return found
    try:
        return type_of(cls)
    except TypeError:
        for base, found in PRIMITIVES.items():
            if issubclass(cls, base):
                return found
        raise


def _name(python: t.Any) -> str:
    return f"'{python.__qualname__}'" if isinstance(python, type) else repr(python)
