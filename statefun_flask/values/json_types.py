"""JSON types: classes and annotations whose values travel as UTF-8 JSON under a typename.

msgspec reads and writes dataclasses, Structs, attrs classes, TypedDicts and containers. Pydantic
models read and write themselves.
"""

from __future__ import annotations

import collections.abc as cabc
import contextvars
import functools
import inspect
import types
import typing as t

import msgspec

from ._finite import check_finite
from ._json_tree import check_tree
from ._primitives import wrong_value
from ._pydantic import codec
from ._pydantic import is_model
from ._pydantic import raised
from ._pydantic import read_part
from ._pydantic import write_part
from ._text import annotation_text
from .address import check_typename
from .types import MARK
from .types import Type

#: The classes whose subclasses have the same JSON.
CONTAINERS = (dict, list, tuple, set, frozenset)

T = t.TypeVar("T")
C = t.TypeVar("C", bound=type)

#: True while an app in debug or testing mode handles a request. A value is then decoded right after
#: it was encoded, since msgspec does not validate what it encodes.
verify: contextvars.ContextVar[bool] = contextvars.ContextVar("statefun_verify", default=False)


@t.overload
def json_type(typename: str, /) -> cabc.Callable[[C], C]: ...
@t.overload
def json_type(typename: str, python: type[T], /) -> Type[T]: ...
@t.overload
def json_type(typename: str, python: t.Any, /) -> Type[t.Any]: ...
def json_type(typename: str, python: t.Any = None, /) -> t.Any:
    """Give a class a typename. Its values travel as UTF-8 JSON.

    As a decorator it marks a dataclass, msgspec Struct, attrs class or pydantic model, and returns
    it unchanged. With a second argument it returns a :class:`Type` for an annotation that cannot
    be decorated: a TypedDict, ``list[Item]``, a class of another package. Use that Type in
    ``Annotated[X, T]`` and ``type=``.

    Reading is strict: the text ``"12"`` is not an int. A pydantic model is read in pydantic's
    strict mode too, unless its own ``model_config`` sets ``strict``: with
    ``ConfigDict(strict=False)`` pydantic converts values. The fields of a pydantic model are
    written and read by their aliases.

    :raises RegistrationError: A field of a pydantic model has different aliases for writing and
        reading.
    """
    check_typename(typename)
    if python is not None:
        return make(typename, python)

    def mark(cls: C) -> C:
        if not isinstance(cls, type):
            raise TypeError(
                f"@json_type marks a class, not {cls!r}. Write json_type(typename, annotation)."
            )
        setattr(cls, MARK, make(typename, cls))
        return cls

    return mark


def make(typename: str, python: t.Any, *, label: str | None = None) -> Type[t.Any]:
    """Return the JSON type of a class or an annotation.

    :param label: Its name in listings.
    :raises RegistrationError: A field of a pydantic model is written under a name that it is not
        read by.
    """
    encode, decode = codec(python)[:2] if is_model(python) else _msgspec(python)
    fits = _class_check(python)

    def write(value: t.Any) -> bytes:
        if not fits(value):
            raise wrong_value(annotation_text(python), value)
        try:
            data: bytes = encode(value)
        except UnicodeEncodeError:
            raise ValueError(
                "Text with lone surrogates cannot be written as JSON. Remove the lone surrogates."
            ) from None
        if verify.get():
            try:
                decode(data)
            except ValueError as exc:
                raise ValueError(
                    f"The value cannot be read back: {exc}. Correct its fields."
                ) from exc
        return data

    return Type(
        typename,
        python,
        write,
        {typename: decode},
        label=label,
        check=functools.partial(check_tree, python),
    )


def _class_check(python: t.Any) -> cabc.Callable[[object], bool]:
    """Return the check of a value before it is encoded.

    msgspec encodes a value of any class, so a value of the wrong class would become wrong JSON. A
    value must be of exactly the class. For a container, and for an abstract class such as
    ``Mapping``, it may be of a subclass.
    """
    if t.get_origin(python) is t.Annotated:
        python = t.get_args(python)[0]
    cls = t.get_origin(python) or python
    if cls in (object, t.Any, t.Union, types.UnionType) or not isinstance(cls, type):
        return lambda value: True
    if t.is_typeddict(cls):
        cls = dict
    if cls in CONTAINERS or inspect.isabstract(cls):
        return lambda value: isinstance(value, cls)
    return lambda value: value.__class__ is cls


def _msgspec(python: t.Any) -> tuple[cabc.Callable[[t.Any], bytes], cabc.Callable[[bytes], t.Any]]:
    encoder = msgspec.json.Encoder(enc_hook=write_part)

    def encode(value: t.Any) -> bytes:
        data = encoder.encode(value)
        # JSON has no NaN and no infinity; msgspec writes null for them.
        if b"null" in data:
            check_finite(msgspec.to_builtins(value, enc_hook=_checked_part))
        return data

    @functools.cache
    def decoder() -> msgspec.json.Decoder[t.Any]:
        return msgspec.json.Decoder(python, dec_hook=read_part)

    def decode(data: bytes) -> t.Any:
        read = decoder().decode  # outside of 'try': msgspec refuses the class, not the data
        try:
            return read(data)
        except (msgspec.MsgspecError, RecursionError) as exc:
            raise ValueError(f"{exc}") from exc
        except Exception as exc:
            raise raised(exc) from exc

    return encode, decode


def _checked_part(model: object) -> None:
    """Return None in place of a model, whose numbers were checked when it was written."""
