"""The names of functions, function instances and egresses."""

from __future__ import annotations

import functools
import typing as t

import msgspec
from msgspec.structs import force_setattr

T = t.TypeVar("T", bound="NamespacedName")


class NamespacedName(str):
    """A ``namespace/name`` string and its two parts.

    It has exactly one slash, and neither part is empty. The runtime accepts no other form where a
    name is bound to a function or a state.

    :raises ValueError: The text is not of that form.
    """

    __slots__ = ("name", "namespace")

    namespace: str
    name: str

    @t.overload
    def __new__(cls: type[T], typename: str, /) -> T: ...
    @t.overload
    def __new__(cls: type[T], namespace: str, name: str, /) -> T: ...
    def __new__(cls: type[T], namespace: str, name: str | None = None, /) -> T:
        """Accept ``"example/greeter"`` and ``("example", "greeter")``."""
        text = namespace if name is None else f"{namespace}/{name}"
        check_typename(text)
        return cls._of(*text.split("/"))

    @classmethod
    def _of(cls: type[T], namespace: str, name: str) -> T:
        """Build from parts that need no check, such as those of a request."""
        self = str.__new__(cls, f"{namespace}/{name}")
        self.namespace = namespace
        self.name = name
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> t.Any:
        return type(self)._of, (self.namespace, self.name)

    # str(name) and f"{name}" give a plain string.
    def __str__(self) -> str:
        return str.__str__(self)


class FunctionType(NamespacedName):
    """The typename of a function: ``FunctionType("example/greeter")``."""

    __slots__ = ()


class EgressIdentifier(NamespacedName):
    """The id of an egress in module.yaml: ``EgressIdentifier("example/greets")``."""

    __slots__ = ()


class Address(msgspec.Struct, frozen=True, order=True, gc=False):
    """A function instance: a function type and an id.

    :param type: ``"namespace/name"`` or a :class:`FunctionType`.
    :param id: Any text that can be encoded as UTF-8. The runtime allows the empty text too.
    """

    type: FunctionType
    id: str

    if t.TYPE_CHECKING:

        def __init__(self, type: str, id: str) -> None: ...

    def __post_init__(self) -> None:
        typename = self.type
        if typename.__class__ is not FunctionType:
            if typename.__class__ is not str:
                check_typename(typename)
            force_setattr(self, "type", function_type(typename))

        identifier = self.id
        if identifier.__class__ is not str or not identifier.isascii():
            force_setattr(self, "id", check_id(identifier))

    def __str__(self) -> str:
        return f"{self.type}/{self.id}"


@functools.lru_cache(maxsize=4096)
def function_type(typename: str) -> FunctionType:
    """Return the FunctionType of a ``namespace/name`` string."""
    return FunctionType(typename)


@functools.lru_cache(maxsize=4096)
def egress_identifier(identifier: str) -> EgressIdentifier:
    """Return an EgressIdentifier for a ``namespace/name`` string, or the identifier itself."""
    return EgressIdentifier(identifier)


@functools.lru_cache(maxsize=4096)
def wire_type(namespace: str, name: str) -> FunctionType:
    """Return the FunctionType of the two fields of a request, which the runtime has checked."""
    return FunctionType._of(namespace, name)


def check_typename(typename: object) -> None:
    """Check that a typename has the form ``namespace/name``.

    :raises TypeError: It is not a string.
    :raises ValueError: It does not have exactly one slash between two non-empty parts.
    """
    if not isinstance(typename, str):
        raise TypeError(
            f"A typename must be a string, not {typename!r}. Write it as 'namespace/name'."
        )

    namespace, slash, name = typename.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise ValueError(
            f"'{typename}' is not a typename. Write it as 'namespace/name', with one slash."
        )
    check_text(typename, "typename")


def as_address(address: Address | str) -> Address:
    """Return an Address for the text ``namespace/name/id``, or the address itself.

    Everything after the second slash is the id, further slashes included.

    :raises TypeError: It is neither an address nor text.
    :raises ValueError: The text does not have two slashes, or its typename is malformed.
    """
    if isinstance(address, Address):
        return address
    if not isinstance(address, str):
        raise TypeError(
            f"{address!r} is not an address. Write Address('namespace/name', 'id'), or"
            " 'namespace/name/id'."
        )
    parts = address.split("/", 2)
    if len(parts) != 3:
        raise ValueError(f"'{address}' is not an address. Write it as 'namespace/name/id'.")
    return Address(f"{parts[0]}/{parts[1]}", parts[2])


def check_id(identifier: object) -> str:
    """Return an id as a plain string.

    :raises TypeError: It is not a string.
    :raises ValueError: It cannot be encoded as UTF-8.
    """
    if not isinstance(identifier, str):
        raise TypeError(
            f"The id of an address must be a string, not {identifier!r}."
            f" Write it as text, for example {str(identifier)!r}."
        )
    check_text(identifier, "id of an address")
    return str.__str__(identifier)


def check_text(value: str, what: str) -> bytes:
    """Return text encoded as UTF-8.

    :raises ValueError: It has lone surrogates, which UTF-8 cannot express.
    """
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{value!r} cannot be written as UTF-8, so it cannot be the {what}."
            " Remove the lone surrogates."
        ) from None
