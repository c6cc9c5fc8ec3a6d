"""Pydantic models, which write and read themselves, alone and as a part of another value.

The package does not import pydantic: a model is recognised by its methods.
"""

from __future__ import annotations

import collections.abc as cabc
import functools
import typing as t

import msgspec

from ..errors import RegistrationError
from ._finite import check_finite
from ._finite import nonfinite


class ModelCodec(t.NamedTuple):
    """How the values of one model are written as JSON and read from JSON.

    :param decode: It raises ValueError; each error ends with its place, as those of msgspec do.
    :param decode_part: The same for a model inside of another value. Each error begins with its
        place, since msgspec appends the place of the model.
    """

    encode: cabc.Callable[[t.Any], bytes]
    decode: cabc.Callable[[bytes], t.Any]
    decode_part: cabc.Callable[[bytes], t.Any]


def is_model(python: object) -> bool:
    """Return whether a class is a pydantic model, judged by its methods."""
    return isinstance(python, type) and hasattr(python, "model_validate_json")


@functools.cache
def codec(python: t.Any) -> ModelCodec:
    """Return the codec of a model.

    :raises RegistrationError: A field is written under a name that it is not read by.
    """
    config = python.model_config
    strict = None if "strict" in config else True
    by_alias = config.get("validate_by_alias") is not False
    _check_aliases(python, by_alias)

    def encode(value: t.Any) -> bytes:
        check_finite(value.model_dump())
        data: bytes = value.model_dump_json(by_alias=by_alias).encode()
        return data

    def decode(data: bytes, describe: cabc.Callable[[t.Any], str] = _error) -> t.Any:
        try:
            value = python.model_validate_json(data, strict=strict)
        except ValueError as exc:
            raise ValueError(describe(exc)) from exc
        except Exception as exc:
            raise raised(exc) from exc
        if (number := nonfinite(value.model_dump())) is not None:
            raise ValueError(f"JSON cannot express {number}")
        return value

    return ModelCodec(encode, decode, functools.partial(decode, describe=_error_of_part))


def write_part(value: t.Any) -> msgspec.Raw:
    """Return the JSON of a model inside of a value that msgspec encodes.

    :raises TypeError: The value is not a model.
    """
    if not is_model(value.__class__):
        raise TypeError(
            f"A value of the class '{value.__class__.__qualname__}' has no JSON form. Use a"
            " dataclass, a pydantic model, or a class that msgspec encodes."
        )
    return msgspec.Raw(codec(value.__class__).encode(value))


def read_part(python: t.Any, value: t.Any) -> t.Any:
    """Return the model that a part of a value is, which msgspec has decoded.

    :raises ValueError: It is not a value of the model.
    """
    if is_model(python):
        # Pydantic reads JSON: its strict mode accepts the text of a datetime in JSON only.
        return codec(python).decode_part(msgspec.json.encode(value))
    if isinstance(value, python):
        return value
    raise ValueError(f"Expected `{python.__name__}`, got `{type(value).__name__}`")


def raised(exc: Exception) -> ValueError:
    """Return the error for a class whose own code, such as a validator, raises while reading."""
    return ValueError(f"its class raised {type(exc).__name__}: {exc}")


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


def _error(exc: t.Any) -> str:
    """Return a ValidationError on one line, in the format of msgspec's errors."""
    return "; ".join(
        error["msg"] + "".join((" - at `$", *(f".{part}" for part in error["loc"]), "`"))
        if error["loc"]
        else error["msg"]
        for error in _errors(exc)
    )


def _error_of_part(exc: t.Any) -> str:
    return "; ".join(
        ".".join(map(str, error["loc"])) + f": {error['msg']}" if error["loc"] else error["msg"]
        for error in _errors(exc)
    )


def _errors(exc: t.Any) -> list[dict[str, t.Any]]:
    found: list[dict[str, t.Any]] = exc.errors(
        include_url=False, include_context=False, include_input=False
    )
    return found
