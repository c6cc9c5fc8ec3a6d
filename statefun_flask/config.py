"""The settings of an app: for each one the key, the default and the values that are allowed."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import msgspec

from .errors import did_you_mean
from .errors import suggestions

PREFIX = "STATEFUN_"

_NONE: cabc.Mapping[str, t.Any] = {}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings by name.

    Each one is a keyword option of the extension and of the transports (``url="/functions"``), and
    a key of the app's config: ``STATEFUN_`` and the name in upper case (``STATEFUN_URL``). The
    constructor checks nothing; :meth:`read` does.
    """

    #: The path of the endpoint, to which the runtime posts its requests. The path with a slash at
    #: its end is answered too, and the health paths are below it. Default: ``"/statefun"``.
    url: t.Annotated[
        str,
        msgspec.Meta(
            pattern=r"^/[^?#<>]*$",
            description="a path that begins with '/' and has no '?', '#', '<' or '>'",
        ),
    ] = "/statefun"

    #: ``"v2"`` or ``"v3"`` to answer one major version of StateFun only; ``"auto"`` to detect the
    #: version of each request. Pin the version on 2.x: a request there may consist of defaults
    #: only, which ``"auto"`` refuses until other requests have shown what the function is sent.
    #: Default: ``"auto"``.
    protocol: t.Annotated[
        t.Literal["auto", "v2", "v3"], msgspec.Meta(description="'auto', 'v2' or 'v3'")
    ] = "auto"

    #: The largest request body that is read, in bytes. Larger ones are answered with 413. The app's
    #: ``MAX_CONTENT_LENGTH`` does not apply to the endpoint. Default: 64 MiB.
    max_request_bytes: t.Annotated[
        int, msgspec.Meta(ge=1, description="a number of bytes, at least 1")
    ] = 64 * 1024 * 1024

    #: The largest response that the runtime is configured to accept, in bytes. A larger one is
    #: sent nevertheless, and logged as an error that names ``payload_max_bytes`` of module.yaml.
    #: Default: 32 MiB.
    max_response_bytes: t.Annotated[
        int, msgspec.Meta(ge=1, description="a number of bytes, at least 1")
    ] = 32 * 1024 * 1024

    #: The HTTP status of the response for an unknown function. The runtime retries after 503, since
    #: a deployment in progress may provide the function; 404 fails the job at once under the OkHttp
    #: transport. Default: 503.
    unknown_function_status: t.Annotated[
        t.Literal[404, 503], msgspec.Meta(description="404 or 503")
    ] = 503

    @classmethod
    def read(
        cls,
        options: cabc.Mapping[str, t.Any] = _NONE,
        *,
        config: cabc.Mapping[str, t.Any] = _NONE,
        commands: cabc.Iterable[str] = (),
    ) -> t.Self:
        """Return checked settings.

        :param options: Values by the setting's name.
        :param config: An app's config, whose ``STATEFUN_…`` keys override the options.
        :param commands: The names of ``flask statefun`` commands. The environment variables of
            their options, such as ``FLASK_STATEFUN_SERVE_PORT``, may be in the config as well
            (``from_prefixed_env``), and are skipped.
        :raises TypeError: An option is unknown.
        :raises ValueError: A key of the config is unknown, or a value is not allowed.
        """
        fields = {field.name: field for field in msgspec.structs.fields(cls)}
        values: dict[str, t.Any] = {}
        for name, value in options.items():
            if name not in fields:
                raise TypeError(f"'{name}' is not a StateFun option.{_hint(name, fields)}")
            values[name] = _checked(fields[name], f"option '{name}'", value)

        names = {PREFIX + name.upper(): name for name in fields}
        skipped = tuple(f"{PREFIX}{command.upper()}_" for command in commands)
        for key, value in config.items():
            if key in names:
                values[names[key]] = _checked(fields[names[key]], f"setting {key}", value)
            elif key.startswith(PREFIX) and not key.startswith(skipped):
                raise ValueError(f"'{key}' is not a StateFun setting.{_hint(key, names)}")
        return cls(**values)


class SettingsOptions(t.TypedDict, total=False):
    """The settings as keyword options: ``**options: t.Unpack[SettingsOptions]``."""

    url: str
    protocol: t.Literal["auto", "v2", "v3"]
    max_request_bytes: int
    max_response_bytes: int
    unknown_function_status: t.Literal[404, 503]


def changed(config: cabc.Mapping[str, t.Any], settings: Settings) -> str | None:
    """Return the first key whose value in the config is no longer the one that was read."""
    for name in Settings.__struct_fields__:
        key = PREFIX + name.upper()
        if key in config and config[key] != getattr(settings, name):
            return key
    return None


def _checked(field: msgspec.structs.FieldInfo, what: str, value: t.Any) -> t.Any:
    try:
        return msgspec.convert(value, field.type)
    except msgspec.ValidationError:
        _, meta = t.get_args(field.type)
        raise ValueError(
            f"The {what} is {value!r}, which is not allowed. Set it to {meta.description}; the"
            f" default is {field.default!r}."
        ) from None


def _hint(name: str, known: cabc.Iterable[str]) -> str:
    known = list(known)
    if near := suggestions(name, known)[:1]:
        return did_you_mean(near)
    return " Use one of " + ", ".join(f"'{each}'" for each in known) + "."
