"""Types: how a Python value becomes bytes under a typename, and back.

A :class:`Type` writes one typename and may read several, so decoding does not depend on the
protocol version: an ``int`` arrives as ``io.statefun.types/long``, as ``io.statefun.types/int``,
or, with StateFun 2.x, as one of protobuf's integer wrappers.
"""

from __future__ import annotations

import collections.abc as cabc
import functools
import typing as t

from . import _primitives
from .address import check_typename

T = t.TypeVar("T")
V = t.TypeVar("V")

BUILTIN = "io.statefun.types/"
PROTOBUF = "type.googleapis.com/"

#: The attribute that @json_type sets on a class. It is looked up in the class's own dict, since a
#: subclass does not have the type of its base.
MARK = "__statefun_type__"


class Type(t.Generic[T]):
    """A typename with its serialisation.

    Two types are equal when they have the same typename and the same Python class. Custom types
    have no class; they are equal when they have the same typename and the same two functions.

    :param typename: The typename of the values that it writes, ``namespace/name``.
    :param python: The class or annotation of the values; None when it is not known.
    :param serialize: Value to bytes. It raises TypeError or ValueError for a value that does not
        fit.
    :param readers: Bytes to value, for each typename that can be read. A reader raises ValueError.
        A key without a slash is the full name of a protobuf message, under any prefix.
    :param identity: What equality compares besides the typename; by default ``python``.
    :param label: The name in listings; by default that of the class, or the typename.
    :param check: Checks that values of the type can be written and read; it is called once,
        where the type is declared.
    :raises ValueError: The typename is not of that form.
    """

    __slots__ = (
        "__weakref__",
        "_identity",
        "_label",
        "_readers",
        "_unchecked",
        "python",
        "serialize",
        "typename",
    )

    typename: str
    python: t.Any
    #: Value to the payload of its messages and records, as a program that produces them writes it.
    serialize: cabc.Callable[[T], bytes]

    def __init__(
        self,
        typename: str,
        python: t.Any,
        serialize: cabc.Callable[[T], bytes],
        readers: cabc.Mapping[str, cabc.Callable[[bytes], T]],
        *,
        identity: t.Any = None,
        label: str | None = None,
        check: cabc.Callable[[], None] | None = None,
    ) -> None:
        check_typename(typename)  # the runtime ends the job for a state with a malformed typename
        self.typename = typename
        self.python = python
        self.serialize = serialize
        self._identity = python if identity is None else identity
        self._label = label
        self._unchecked = check
        # The usual prefix has a key of its own, so that one look-up finds the messages of 2.x.
        self._readers = {PROTOBUF + name: read for name, read in readers.items() if "/" not in name}
        self._readers.update(readers)

    def _reader(self, typename: str) -> cabc.Callable[[bytes], T] | None:
        """Return the reader for payloads of a typename, or None when this type has none."""
        return match(self._readers, typename)

    def _check(self) -> None:
        """Check that values of the type can be written and read.

        It is called where a type is declared: by :class:`~statefun_flask.ValueSpec`, and when a
        function is registered.

        :raises RegistrationError: A part of the type has no JSON form.
        :raises NameError: An annotation names something that is not defined, or not yet.
        """
        if self._unchecked is not None:
            self._unchecked()
            self._unchecked = None

    @property
    def label(self) -> str:
        """The name in listings: ``int (long)``, ``dict[str, int]``, ``GreetRequest``."""
        return self._label or self._python_name

    @property
    def _python_name(self) -> str:
        """The name of the class of the values: ``int``, ``GreetRequest``; or the label."""
        python = self.python
        if isinstance(python, type) and not t.get_args(python):
            return python.__name__
        return self._label or self.typename

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Type):
            return NotImplemented
        return self.typename == other.typename and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self.typename)

    def __repr__(self) -> str:
        return f"<Type {self.typename} of {self.label}>"


#: A class that has a type, or a :class:`Type`.
TypeLike: t.TypeAlias = type[T] | Type[T]


def match(table: cabc.Mapping[str, V], typename: str) -> V | None:
    """Look up a typename, then the protobuf name after its last slash.

    A protobuf message is the same under any prefix. A name without a dot has no package, so it does
    not count as the name of a protobuf message.
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
    _primitives.write_bool,
    {BUILTIN + "bool": _primitives.read_bool, "google.protobuf.BoolValue": _primitives.read_bool},
)
#: 32 bits. An ``int`` without a type is a :data:`LONG`.
INT = Type[int](
    BUILTIN + "int",
    int,
    _primitives.write_int,
    {BUILTIN + "int": _primitives.read_int, "google.protobuf.Int32Value": _primitives.read_int32},
    label="int (int32)",
)
LONG = Type[int](
    BUILTIN + "long",
    int,
    _primitives.write_long,
    {
        BUILTIN + "long": _primitives.read_long,
        BUILTIN + "int": _primitives.read_int,
        "google.protobuf.Int64Value": _primitives.read_int64,
        "google.protobuf.Int32Value": _primitives.read_int32,
        "google.protobuf.UInt32Value": _primitives.read_uint32,
    },
    label="int (long)",
)
#: 32 bits. A ``float`` without a type is a :data:`DOUBLE`.
FLOAT = Type[float](
    BUILTIN + "float",
    float,
    _primitives.write_float,
    {
        BUILTIN + "float": _primitives.read_float,
        "google.protobuf.FloatValue": _primitives.read_float,
    },
    label="float (float32)",
)
DOUBLE = Type[float](
    BUILTIN + "double",
    float,
    _primitives.write_double,
    {
        BUILTIN + "double": _primitives.read_double,
        BUILTIN + "float": _primitives.read_float,
        "google.protobuf.DoubleValue": _primitives.read_double,
        "google.protobuf.FloatValue": _primitives.read_float,
    },
    label="float (double)",
)
STRING = Type[str](
    BUILTIN + "string",
    str,
    _primitives.write_string,
    {
        BUILTIN + "string": _primitives.read_string,
        "google.protobuf.StringValue": _primitives.read_string,
    },
)
BYTES = Type[bytes](
    PROTOBUF + "google.protobuf.BytesValue",
    bytes,
    _primitives.write_bytes,
    {"google.protobuf.BytesValue": _primitives.read_bytes},
)

#: The types of plain Python classes. ``bool`` comes first, since it is a subclass of ``int``.
PRIMITIVES: dict[type, Type[t.Any]] = {
    bool: BOOL,
    int: LONG,
    float: DOUBLE,
    str: STRING,
    bytes: BYTES,
}


# -- types made by users -----------------------------------------------------------------------


def custom_type(
    typename: str,
    serialize: cabc.Callable[[T], bytes],
    deserialize: cabc.Callable[[bytes], T],
) -> Type[T]:
    """Return a type that consists of two functions.

    :param typename: ``namespace/name``, the same in every SDK that shares the values.
    :param serialize: Value to bytes.
    :param deserialize: Bytes to value. Whatever it raises is reported as a malformed payload.
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

    return Type(typename, None, write, {typename: read}, identity=(serialize, deserialize))


def raw_type(typename: str) -> Type[bytes]:
    """Return a type whose payload is the value itself: plain bytes."""
    return Type(typename, bytes, _raw, {typename: bytes}, label=f"bytes ({typename})")


def utf8_type(typename: str) -> Type[str]:
    """Return a type whose payload is plain UTF-8 text, without protobuf's string wrapper.

    Use it for topics of plain text: the runtime delivers the bytes of a Kafka record unchanged,
    under the ``valueType`` in module.yaml.
    """

    def write(value: str) -> bytes:
        if not isinstance(value, str):
            raise _primitives.wrong_value("str", value)
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise _primitives.not_utf8(value) from None

    def read(data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError as exc:
            raise ValueError(f"its text is not UTF-8 ({exc.reason} at byte {exc.start})") from None

    return Type(typename, str, write, {typename: read}, label=f"str ({typename})")


def _raw(value: bytes) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise _primitives.wrong_value("bytes", value)
    return bytes(value)


def protobuf_type(cls: type[T], *, typename: str | None = None) -> Type[T]:
    """Return the type of a generated protobuf class.

    :param cls: The class. Only its methods are used, so any version of protobuf will do.
    :param typename: The typename to write instead of ``type.googleapis.com/<full name>``. When the
        part after its slash has a dot, it is read under any prefix; otherwise the name must match
        exactly.
    """
    if not is_protobuf(cls):
        raise TypeError(f"{cls!r} is not a generated protobuf class. Pass the class itself.")
    if typename is None:
        return standard_protobuf_type(t.cast("cabc.Hashable", cls))
    return _make_protobuf_type(cls, typename)


def is_protobuf(cls: object) -> bool:
    """Return whether a class is a generated protobuf message, judged by its methods."""
    return (
        isinstance(cls, type)
        and hasattr(cls, "DESCRIPTOR")
        and hasattr(cls, "SerializeToString")
        and hasattr(cls, "FromString")
    )


@functools.cache
def standard_protobuf_type(cls: cabc.Hashable) -> Type[t.Any]:
    """Return the type of a protobuf class under protobuf's own name for it."""
    return _make_protobuf_type(cls, PROTOBUF + t.cast("t.Any", cls).DESCRIPTOR.full_name)


def _make_protobuf_type(cls: t.Any, typename: str) -> Type[t.Any]:
    parse = cls.FromString
    name = typename[typename.rfind("/") + 1 :]

    def write(value: t.Any) -> bytes:
        if not isinstance(value, cls):
            raise _primitives.wrong_value(cls.__name__, value)
        data: bytes = value.SerializeToString()
        return data

    def read(data: bytes) -> t.Any:
        try:
            return parse(data)
        except Exception as exc:  # protobuf's DecodeError, which this module does not import
            raise ValueError(f"{exc}".rstrip(".")) from exc

    return Type(typename, cls, write, {name if "." in name else typename: read})
