"""JSON types: classes and annotations whose values travel as UTF-8 JSON under a typename.

msgspec does the work (dataclasses, Structs, attrs classes, TypedDicts, containers); pydantic models
bring their own.
"""

from __future__ import annotations

import collections.abc as cabc
import contextvars
import functools
import math
import typing as t

import msgspec

from ._primitives import unfit
from .address import check_typename
from .types import MARK
from .types import Type

T = t.TypeVar("T")
C = t.TypeVar("C", bound=type)

#: Set while an app that is under debug or testing handles a request: a value is then decoded right
#: after it was encoded, since msgspec does not validate what it encodes.
verify: contextvars.ContextVar[bool] = contextvars.ContextVar("statefun_verify", default=False)


@t.overload
def json_type(typename: str, /) -> cabc.Callable[[C], C]: ...
@t.overload
def json_type(typename: str, python: type[T], /) -> Type[T]: ...
@t.overload
def json_type(typename: str, python: t.Any, /) -> Type[t.Any]: ...
def json_type(typename: str, python: t.Any = None, /) -> t.Any:
    """Give a class a typename; its values travel as UTF-8 JSON.

    As a decorator it marks a dataclass, msgspec Struct, attrs class or pydantic model, and returns
    it unchanged. With a second argument it returns a :class:`Type` for what cannot be decorated: a
    TypedDict, ``list[Item]``, somebody else's class; use that in ``Annotated[X, T]`` and ``type=``.
    """
    check_typename(typename)
    if python is not None:
        return _make(typename, python)

    def mark(cls: C) -> C:
        if not isinstance(cls, type):
            raise TypeError(f"@json_type marks a class, not {cls!r}. Use json_type(typename, it).")
        setattr(cls, MARK, _make(typename, cls))
        return cls

    return mark


def _make(typename: str, python: t.Any) -> Type[t.Any]:
    encode, decode = (
        _pydantic(python) if hasattr(python, "model_validate_json") else _msgspec(python)
    )
    checked = python if _has_instances(python) else None

    def write(value: t.Any) -> bytes:
        # msgspec encodes anything: a value of another class would become somebody else's JSON.
        if checked is not None and value.__class__ is not checked:
            raise unfit(checked.__name__, value)
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
                raise ValueError(f"Its own fields do not fit: {exc}. Correct the value.") from exc
        return data

    return Type(typename, python, write, {typename: decode})


def _has_instances(python: t.Any) -> bool:
    """Tell whether an annotation's values are instances of it, which it then insists on."""
    if python is object or python is t.Any or t.is_typeddict(python):
        return False
    return isinstance(python, type)


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
        read = decoder().decode  # outside: a class that msgspec cannot read is its author's error
        try:
            return read(data)
        except (msgspec.MsgspecError, RecursionError) as exc:
            raise ValueError(f"{exc}") from exc
        except Exception as exc:
            raise _raised(exc) from exc

    return encode, decode


def _pydantic(python: t.Any) -> tuple[cabc.Callable[[t.Any], bytes], cabc.Callable[[bytes], t.Any]]:
    def encode(value: t.Any) -> bytes:
        _check_finite(value.model_dump())
        data: bytes = value.model_dump_json().encode()
        return data

    def decode(data: bytes) -> t.Any:
        try:
            value = python.model_validate_json(data)
        except ValueError as exc:
            raise ValueError(_pydantic_error(exc)) from exc
        except Exception as exc:
            raise _raised(exc) from exc
        if (number := _nonfinite(value.model_dump())) is not None:
            raise ValueError(f"JSON cannot express {number}")
        return value

    return encode, decode


def _pydantic_error(exc: t.Any) -> str:
    """Return a ValidationError on one line, in the words that msgspec has for the same."""
    return "; ".join(
        error["msg"] + "".join((" - at `$", *(f".{part}" for part in error["loc"]), "`"))
        if error["loc"]
        else error["msg"]
        for error in exc.errors(include_url=False, include_context=False, include_input=False)
    )


def _raised(exc: Exception) -> ValueError:
    """Return the error of a class that raises, in a validator or so, while a value is read."""
    return ValueError(f"its class raised {type(exc).__name__}: {exc}")


def _check_finite(value: t.Any) -> None:
    if (number := _nonfinite(value)) is not None:
        raise ValueError(f"JSON cannot express {number}. Use None, or a text.")


def _nonfinite(value: t.Any) -> float | None:
    """Return the first number in a value that is NaN or infinite."""
    if isinstance(value, float):
        return None if math.isfinite(value) else value
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple | set | frozenset):
        return None
    return next((each for each in map(_nonfinite, value) if each is not None), None)
