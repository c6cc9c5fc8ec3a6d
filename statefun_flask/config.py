"""The settings of an app: every ``STATEFUN_…`` key, its default and what it may be."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import msgspec

PREFIX = "STATEFUN_"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings by name; the key of each in the app's config is ``STATEFUN_`` and its name."""

    #: Where the runtime's requests are answered. It is answered with a slash behind it as well.
    url: t.Annotated[str, msgspec.Meta(pattern=r"^/[^?#<>]*$")] = "/statefun"

    #: ``"v2"`` or ``"v3"`` to answer one major version of StateFun only; ``"auto"`` tells them
    #: apart request by request. Pin it on 2.x: a request there may hold nothing but defaults, and
    #: is then refused until others have told what the function is sent.
    protocol: t.Literal["auto", "v2", "v3"] = "auto"

    #: The largest request that is read, in bytes; larger ones are answered with 413. The app's
    #: ``MAX_CONTENT_LENGTH`` does not apply.
    max_request_bytes: t.Annotated[int, msgspec.Meta(ge=1)] = 64 * 1024 * 1024

    #: The largest answer that the runtime is set up to take, in bytes. A larger one is sent, and
    #: logged as an error that names ``payload_max_bytes`` of module.yaml.
    max_response_bytes: t.Annotated[int, msgspec.Meta(ge=1)] = 32 * 1024 * 1024

    #: The status for an unknown function. 503 is tried again by the runtime, since a deployment in
    #: progress cures it; 404 ends the job at once under the OkHttp transport.
    unknown_function_status: t.Literal[404, 503] = 503


def read(config: cabc.Mapping[str, t.Any], defaults: cabc.Mapping[str, t.Any]) -> Settings:
    """Return the settings of a config.

    :param defaults: Values by name, for keys that the config lacks.
    :raises ValueError: A key or a value is not one of these; the message says what is allowed.
    """
    fields = {field.name: field for field in msgspec.structs.fields(Settings)}
    for name in defaults:
        if name not in fields:
            raise ValueError(f"'{name}' is no option of StateFun. There are {_listed(fields)}.")

    given = {key: config[key] for key in config if key.startswith(PREFIX)}
    values = {PREFIX + name.upper(): value for name, value in defaults.items()} | given
    return Settings(
        **{name: _value(name, fields, values) for name in fields if _key(name) in values}
    )


def changed(config: cabc.Mapping[str, t.Any], settings: Settings) -> str | None:
    """Return the first key whose value in the config is no longer the one that was read."""
    for name in Settings.__struct_fields__:
        if _key(name) in config and config[_key(name)] != getattr(settings, name):
            return _key(name)
    return None


def _key(name: str) -> str:
    return PREFIX + name.upper()


def _value(name: str, fields: cabc.Mapping[str, t.Any], values: cabc.Mapping[str, t.Any]) -> t.Any:
    value = values[_key(name)]
    try:
        return msgspec.convert(value, fields[name].type)
    except msgspec.ValidationError as exc:
        allowed = t.get_args(fields[name].type) if _is_literal(fields[name].type) else ()
        reason = f"Expected {' or '.join(map(repr, allowed))}" if allowed else str(exc)
        raise ValueError(
            f"The setting {_key(name)} is {value!r}, which is not allowed. {reason};"
            f" its default is {fields[name].default!r}."
        ) from None


def _is_literal(type: t.Any) -> bool:
    return t.get_origin(type) is t.Literal


def _listed(fields: cabc.Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in fields)
