"""Messages as JSON and text, for every type that the app declares."""

from __future__ import annotations

import base64
import collections.abc as cabc
import enum
import json
import math
import typing as t

import msgspec

from ..core.registry import FunctionRegistry
from ..core.registry import functions_of
from ..protocol import protobuf_json
from ..values._any import UNTYPED
from ..values._text import did_you_mean
from ..values._text import shorten
from ..values._text import suggestions
from ..values.derived import BUILTIN
from ..values.derived import type_of
from ..values.message import Message
from ..values.types import is_protobuf
from ..values.types import LONG
from ..values.types import match
from ..values.types import PRIMITIVES
from ..values.types import STRING
from ..values.types import Type

_VENDOR = "application/vnd."

#: The types of the values of enums, by their typenames.
_OF_ENUMS: dict[str, Type[t.Any]] = {each.typename: each for each in (STRING, LONG)}

_BUILTIN = (bool, int, float, str)


class RequestError(ValueError):
    """A request cannot be answered, most often because its body is not a message.

    :param status: The HTTP status that says so.
    :param headers: Headers of the response.
    """

    def __init__(
        self, status: int, text: str, *, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers


class MessageCodec:
    """Parses and formats messages by the types of a registry's functions and states."""

    def __init__(self, registry: FunctionRegistry) -> None:
        self._registry = registry
        self._types: dict[str, Type[t.Any]] = {}
        declared = [
            type
            for typename in registry
            for function in functions_of(registry, typename)
            for type in (*function.signature.types, *(spec.type for spec in function.states))
        ]
        # A class without brackets comes first: every value of its typename can be read as one.
        bare = [type_of(each) for each in BUILTIN]
        for type in [*PRIMITIVES.values(), UNTYPED, *bare, *declared]:
            for name in type._readers:
                self._types.setdefault(name, type)

    # -- parsing --------------------------------------------------------------------------

    def message(self, function: str, body: bytes, content_type: str | None = None) -> Message:
        """Return the message that a body means to a function.

        :param content_type: ``application/vnd.<typename>`` names its type. Without one it is the
            one type that the function takes.
        :raises RequestError: The function does not exist, the type is ambiguous, or the body is
            not a value of the type.
        """
        types = self._accepted(function)
        if content_type is not None and content_type.lower().startswith(_VENDOR):
            typename = content_type[len(_VENDOR) :].partition(";")[0].strip()
            chosen = next((each for each in types if each._reader(typename)), None)
            if chosen is None:
                self._check_takes_any(function, typename, types)
                return Message(typename, body)
            if chosen.python in _BUILTIN or chosen.typename in _OF_ENUMS:
                # A value of a builtin type is written under the type's own name.
                typename = chosen.typename
            return Message(typename, _payload(chosen, typename, body, function))

        if len(types) != 1:
            raise RequestError(415, _ambiguous(function, types))
        return Message(types[0].typename, _payload(types[0], types[0].typename, body, function))

    def _check_takes_any(
        self, function: str, typename: str, types: cabc.Sequence[Type[t.Any]]
    ) -> None:
        """Refuse a type that no handler of a function takes: it would park the address."""
        handlers = functions_of(self._registry, function)
        if any(each.signature.catch_all is not None for each in handlers):
            return
        known = [each.typename for each in types]
        short = [each.typename for each in types if each.label == typename]
        hint = did_you_mean(short or suggestions(typename, known))
        raise RequestError(
            415,
            f"'{function}' takes no message of the type '{typename}'.{hint} It takes"
            f" {', '.join(known)}.",
        )

    def _accepted(self, function: str) -> list[Type[t.Any]]:
        functions = functions_of(self._registry, function)
        if not functions:
            hint = did_you_mean(suggestions(function, self._registry))
            raise RequestError(
                404,
                f"The function '{function}' does not exist.{hint}"
                " Run 'flask statefun routes' to list the functions.",
            )
        return [type for each in functions for type in each.signature.types]

    # -- formatting --------------------------------------------------------------------------

    def plain(self, message: Message) -> t.Any:
        """Return a value that JSON can express. A value that cannot be read is its bytes."""
        try:
            return self._read(message)
        except Exception:
            return plain_bytes(message.value)

    def _read(self, message: Message) -> t.Any:
        type = match(self._types, message.typename)
        if type is None:
            return plain_bytes(message.value)
        return self._plain(message.as_type(type), message)

    def _plain(self, value: t.Any, message: Message) -> t.Any:
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)  # JSON has no such number
        if isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, bytes):
            return plain_bytes(value)
        if isinstance(value, Message):  # of an untyped state
            return self.plain(value)
        if is_protobuf(value.__class__):
            return protobuf_json.plain(value)
        try:
            return json.loads(message.value)
        except ValueError:
            return repr(value)

    def record(self, data: bytes) -> str:
        """Return the value of a record as text for people.

        The bytes of a record have no type. Bytes that are not text are shown as a message of the
        first protobuf class of the app that they could belong to.
        """
        value = plain_bytes(data)
        if isinstance(value, str):
            return value
        for type in self._types.values():
            if data and is_protobuf(type.python) and protobuf_json.fits(type.python, data):
                return self.show(Message(type.typename, data))
        return f"<{len(data)} bytes>"

    def show(self, message: Message) -> str:
        """Return a value as a short text: ``"hello"``, ``name=bob age=7``."""
        value = self.plain(message)
        if isinstance(value, dict):
            return shorten_text(" ".join(f"{key}={_bare(each)}" for key, each in value.items()))
        return shorten_text(json.dumps(value, ensure_ascii=False))

    def label(self, message: Message) -> str:
        """Return the short name of a message's type."""
        type = match(self._types, message.typename)
        return message.typename if type is None else type._python_name


def message_of_bytes(function: str, body: bytes, content_type: str | None) -> Message:
    """Return a body as a message of the type that its content type names.

    :raises RequestError: The content type names no type.
    """
    if content_type is None or not content_type.lower().startswith(_VENDOR):
        raise RequestError(415, _ambiguous(function, []))
    return Message(content_type[len(_VENDOR) :].partition(";")[0].strip(), body)


def plain_bytes(data: bytes) -> t.Any:
    """Return bytes as text, or as ``{"base64": …}`` if they are not text."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if text.translate(_LAYOUT).isprintable():
        return text
    return {"base64": base64.b64encode(data).decode()}


_LAYOUT = str.maketrans("", "", "\n\r\t")


def shorten_text(text: str) -> str:
    """Return a text of at most 80 characters."""
    return text if len(text) <= 80 else text[:79] + "…"


def _bare(value: t.Any) -> str:
    """Return a field's value. Printable text has no quotes."""
    if isinstance(value, str) and value.isprintable():
        return value
    return json.dumps(value, ensure_ascii=False)


def _payload(type: Type[t.Any], typename: str, body: bytes, function: str) -> bytes:
    """Return the payload of a body under one of a type's typenames."""
    python = type.python
    try:
        if is_protobuf(python):
            return type.serialize(protobuf_json.parse(python, body))
        if python is str:
            return type.serialize(body.decode())
        if python in (bool, int, float):
            return type.serialize(msgspec.json.decode(body, type=python))
        if python is bytes:
            return type.serialize(body)
        if isinstance(python, enum.EnumMeta) and type.typename in _OF_ENUMS:
            data = _payload(_OF_ENUMS[type.typename], typename, body, function)
            type._readers[typename](data)
            return data
        reader = type._reader(typename)
        if reader is not None:
            reader(body)
        return body
    except (ValueError, TypeError, RecursionError, msgspec.MsgspecError) as exc:
        raise RequestError(
            400,
            f"{shorten(repr(body))} is not a '{typename}' for '{function}': {exc}."
            f" {_expectation(type)}",
        ) from None


def _expectation(type: Type[t.Any]) -> str:
    if type.python is str:
        return "Send UTF-8 text."
    return "Send the value as JSON."


def _ambiguous(function: str, types: list[Type[t.Any]]) -> str:
    if not types:
        return (
            f"'{function}' takes messages of any type, so the type must be named."
            f" Add for example -H 'Content-Type: {_VENDOR}namespace/name'."
        )
    headers = " or ".join(f"-H 'Content-Type: {_VENDOR}{type.typename}'" for type in types)
    return f"'{function}' takes several types, so the type must be named. Add {headers}."
