"""JSON types: classes and annotations whose values travel as UTF-8 JSON under a typename.

msgspec reads and writes dataclasses, Structs, attrs classes, TypedDicts and containers. Pydantic
models read and write themselves.
"""

from __future__ import annotations

import collections.abc as cabc
import contextvars
import functools
import inspect
import math
import typing as t

import msgspec

from ..errors import RegistrationError
from ._primitives import wrong_value
from .address import check_typename
from .types import MARK
from .types import Type

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
        return _make(typename, python)

    def mark(cls: C) -> C:
        if not isinstance(cls, type):
            raise TypeError(
                f"@json_type marks a class, not {cls!r}. Write json_type(typename, annotation)."
            )
        setattr(cls, MARK, _make(typename, cls))
        return cls

    return mark


def _make(typename: str, python: t.Any) -> Type[t.Any]:
    encode, decode = (
        _pydantic(python) if hasattr(python, "model_validate_json") else _msgspec(python)
    )
    fits = _class_check(python)

    def write(value: t.Any) -> bytes:
        if not fits(value):
            raise wrong_value(python.__name__, value)
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

    return Type(typename, python, write, {typename: decode})


def _class_check(python: t.Any) -> cabc.Callable[[object], bool]:
    """Return the check of a value before it is encoded.

    msgspec encodes a value of any class, so a value of the wrong class would become wrong JSON. A
    value must be of exactly the class; for an abstract class, such as ``Mapping``, of a subclass.
    """
    if python in (object, t.Any) or not isinstance(python, type) or t.is_typeddict(python):
        return lambda value: True
    if inspect.isabstract(python):
        return lambda value: isinstance(value, python)
    return lambda value: value.__class__ is python


def _msgspec(python: t.Any) -> tuple[cabc.Callable[[t.Any], bytes], cabc.Callable[[bytes], t.Any]]:
    encoder = msgspec.json.Encoder()

    def encode(value: t.Any) -> bytes:
        data = encoder.encode(value)
        # JSON has no NaN and no infinity; msgspec writes null for them.
        if b"null" in data:
            _check_finite(msgspec.to_builtins(value))
        return data

    @functools.cache
    def decoder() -> msgspec.json.Decoder[t.Any]:
        return msgspec.json.Decoder(python)

    def decode(data: bytes) -> t.Any:
        read = decoder().decode  # outside of 'try': msgspec refuses the class, not the data
        try:
            return read(data)
        except (msgspec.MsgspecError, RecursionError) as exc:
            raise ValueError(f"{exc}") from exc
        except Exception as exc:
            raise _raised(exc) from exc

    return encode, decode


def _pydantic(python: t.Any) -> tuple[cabc.Callable[[t.Any], bytes], cabc.Callable[[bytes], t.Any]]:
    config = python.model_config
    strict = None if "strict" in config else True
    by_alias = config.get("validate_by_alias") is not False
    _check_aliases(python, by_alias)

    def encode(value: t.Any) -> bytes:
        _check_finite(value.model_dump())
        data: bytes = value.model_dump_json(by_alias=by_alias).encode()
        return data

    def decode(data: bytes) -> t.Any:
        try:
            value = python.model_validate_json(data, strict=strict)
        except ValueError as exc:
            raise ValueError(_pydantic_error(exc)) from exc
        except Exception as exc:
            raise _raised(exc) from exc
        if (number := _nonfinite(value.model_dump())) is not None:
            raise ValueError(f"JSON cannot express {number}")
        return value

    return encode, decode


def _check_aliases(python: t.Any, by_alias: bool) -> None:
    """Check that every field of a pydantic model is read by the name that it is written under."""
    config = python.model_config
    by_name = config.get("populate_by_name") or config.get("validate_by_name")
    for name, field in python.model_fields.items():
        alias = field.validation_alias
        read = set(getattr(alias, "choices", (alias,))) if by_alias and alias else {name}
        if by_name:
            read.add(name)
        written = (by_alias and field.serialization_alias) or name
        if written not in read:
            raise RegistrationError(
                f"The field '{name}' of '{python.__name__}' is written as '{written}', but is not"
                " read by that name. Give it one alias for both: Field(alias=…)."
            )


def _pydantic_error(exc: t.Any) -> str:
    """Return a ValidationError on one line, in the format of msgspec's errors."""
    return "; ".join(
        error["msg"] + "".join((" - at `$", *(f".{part}" for part in error["loc"]), "`"))
        if error["loc"]
        else error["msg"]
        for error in exc.errors(include_url=False, include_context=False, include_input=False)
    )


def _raised(exc: Exception) -> ValueError:
    """Return the error for a class whose own code, such as a validator, raises while reading."""
    return ValueError(f"its class raised {type(exc).__name__}: {exc}")


def _check_finite(value: t.Any) -> None:
    if (number := _nonfinite(value)) is not None:
        raise ValueError(f"JSON cannot express {number}. Use None, or a text.")


def _nonfinite(value: t.Any) -> float | None:
    """Return the first number in a value that is NaN or infinite, or None."""
    if isinstance(value, float):
        return None if math.isfinite(value) else value
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple | set | frozenset):
        return None
    return next((each for each in map(_nonfinite, value) if each is not None), None)
