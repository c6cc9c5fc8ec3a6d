from __future__ import annotations

import typing as t

import msgspec
import pytest
from flask import Config

from statefun_flask.cli import COMMANDS
from statefun_flask.config import changed
from statefun_flask.config import Settings
from statefun_flask.config import SettingsOptions

MIB = 1024 * 1024


def test_the_defaults() -> None:
    settings = Settings.read()

    assert settings == Settings()
    assert settings.url == "/statefun"
    assert settings.protocol == "auto"
    assert settings.max_request_bytes == 64 * MIB
    assert settings.max_response_bytes == 32 * MIB
    assert settings.unknown_function_status == 503


def test_the_config_overrides_the_options() -> None:
    config = {"STATEFUN_URL": "/config", "URL": "/not/this", "OTHER": 1}

    settings = Settings.read({"url": "/option", "protocol": "v2"}, config=config)

    assert (settings.url, settings.protocol) == ("/config", "v2")


def test_the_keyword_options_are_the_settings() -> None:
    types = t.get_type_hints(SettingsOptions)

    assert types == {
        field.name: t.get_args(field.type)[0] for field in msgspec.structs.fields(Settings)
    }
    assert SettingsOptions.__required_keys__ == frozenset()


PATH = "Set it to a path that begins with '/' and has no '?', '#', '<' or '>'; the default is"
WRONG: list[tuple[str, t.Any, str]] = [
    ("url", "statefun", f"{PATH} '/statefun'."),
    ("url", "/<name>", f"{PATH} '/statefun'."),
    ("url", 3, f"{PATH} '/statefun'."),
    ("protocol", "v4", "Set it to 'auto', 'v2' or 'v3'; the default is 'auto'."),
    ("protocol", 3, "Set it to 'auto', 'v2' or 'v3'; the default is 'auto'."),
    (
        "max_request_bytes",
        0,
        "Set it to a number of bytes, at least 1; the default is 67108864.",
    ),
    (
        "max_request_bytes",
        "64",
        "Set it to a number of bytes, at least 1; the default is 67108864.",
    ),
    (
        "max_request_bytes",
        True,
        "Set it to a number of bytes, at least 1; the default is 67108864.",
    ),
    (
        "max_response_bytes",
        -1,
        "Set it to a number of bytes, at least 1; the default is 33554432.",
    ),
    ("unknown_function_status", 200, "Set it to 404 or 503; the default is 503."),
]


@pytest.mark.parametrize(("name", "value", "cure"), WRONG)
def test_a_wrong_value_in_the_config_names_its_key(name: str, value: t.Any, cure: str) -> None:
    key = f"STATEFUN_{name.upper()}"
    with pytest.raises(ValueError, match="is not allowed") as info:
        Settings.read(config={key: value})

    assert str(info.value) == f"The setting {key} is {value!r}, which is not allowed. {cure}"


@pytest.mark.parametrize(("name", "value", "cure"), WRONG)
def test_a_wrong_value_of_an_option_names_the_option(name: str, value: t.Any, cure: str) -> None:
    with pytest.raises(ValueError, match="is not allowed") as info:
        Settings.read({name: value})

    assert str(info.value) == f"The option '{name}' is {value!r}, which is not allowed. {cure}"


def test_a_wrong_option_is_refused_even_if_the_config_overrides_it() -> None:
    with pytest.raises(ValueError, match="The option 'url' is 3"):
        Settings.read({"url": 3}, config={"STATEFUN_URL": "/functions"})


def test_an_unknown_option_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(TypeError) as info:
        Settings.read({"max_request_byte": 1})

    assert str(info.value) == (
        "'max_request_byte' is not a StateFun option. Did you mean 'max_request_bytes'?"
    )


def test_an_unknown_option_unlike_any_other_lists_them_all() -> None:
    with pytest.raises(TypeError) as info:
        Settings.read({"nonsense": 1})

    assert str(info.value) == (
        "'nonsense' is not a StateFun option. Use one of 'url', 'protocol', 'max_request_bytes',"
        " 'max_response_bytes', 'unknown_function_status'."
    )


def test_an_unknown_key_is_refused_with_the_nearest_key() -> None:
    with pytest.raises(ValueError, match="is not a StateFun setting") as info:
        Settings.read(config={"STATEFUN_MAX_REQUEST_BYTE": 1})

    assert str(info.value) == (
        "'STATEFUN_MAX_REQUEST_BYTE' is not a StateFun setting."
        " Did you mean 'STATEFUN_MAX_REQUEST_BYTES'?"
    )


def test_options_of_commands_in_the_environment_are_not_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLASK_STATEFUN_SERVE_PORT", "9000")
    monkeypatch.setenv("FLASK_STATEFUN_DEV_DATA", "data")
    monkeypatch.setenv("FLASK_STATEFUN_PROTOCOL", "v3")
    config = Config(".")
    config.from_prefixed_env()

    assert Settings.read(config=config, commands=COMMANDS) == Settings(protocol="v3")
    with pytest.raises(ValueError, match="'STATEFUN_DEV_DATA' is not a StateFun setting"):
        Settings.read(config=config, commands=["serve"])


def test_a_setting_is_not_skipped_for_the_name_of_a_command() -> None:
    for name in Settings.__struct_fields__:
        assert not name.startswith(tuple(f"{command}_" for command in COMMANDS))


def test_a_changed_key_is_found() -> None:
    config: dict[str, t.Any] = {"STATEFUN_URL": "/a"}
    settings = Settings.read(config=config)

    assert changed(config, settings) is None
    config["STATEFUN_PROTOCOL"] = "auto"
    assert changed(config, settings) is None
    config["STATEFUN_PROTOCOL"] = "v2"
    assert changed(config, settings) == "STATEFUN_PROTOCOL"
