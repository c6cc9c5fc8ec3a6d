from __future__ import annotations

import typing as t

import pytest

from statefun_flask.config import changed
from statefun_flask.config import read
from statefun_flask.config import Settings

MIB = 1024 * 1024


def test_the_defaults() -> None:
    settings = read({}, {})

    assert settings == Settings()
    assert settings.url == "/statefun"
    assert settings.protocol == "auto"
    assert settings.max_request_bytes == 64 * MIB
    assert settings.max_response_bytes == 32 * MIB
    assert settings.unknown_function_status == 503


def test_the_config_comes_before_the_options() -> None:
    config = {"STATEFUN_URL": "/config", "URL": "/not/this", "OTHER": 1}

    settings = read(config, {"url": "/option", "protocol": "v2"})

    assert (settings.url, settings.protocol) == ("/config", "v2")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (
            "URL",
            "statefun",
            "Expected `str` matching regex '^/[^?#<>]*$'; its default is '/statefun'.",
        ),
        (
            "URL",
            "/<name>",
            "Expected `str` matching regex '^/[^?#<>]*$'; its default is '/statefun'.",
        ),
        ("URL", 3, "Expected `str`, got `int`; its default is '/statefun'."),
        ("PROTOCOL", "v4", "Expected 'auto' or 'v2' or 'v3'; its default is 'auto'."),
        ("PROTOCOL", 3, "Expected 'auto' or 'v2' or 'v3'; its default is 'auto'."),
        ("MAX_REQUEST_BYTES", 0, "Expected `int` >= 1; its default is 67108864."),
        ("MAX_REQUEST_BYTES", "64", "Expected `int`, got `str`; its default is 67108864."),
        ("MAX_RESPONSE_BYTES", -1, "Expected `int` >= 1; its default is 33554432."),
        ("UNKNOWN_FUNCTION_STATUS", 500, "Expected 404 or 503; its default is 503."),
    ],
)
def test_a_wrong_value_names_the_key_the_value_and_what_is_allowed(
    key: str, value: t.Any, reason: str
) -> None:
    with pytest.raises(ValueError, match="is not allowed") as info:
        read({f"STATEFUN_{key}": value}, {})

    assert str(info.value) == (
        f"The setting STATEFUN_{key} is {value!r}, which is not allowed. {reason}"
    )


def test_a_wrong_option_is_named_by_its_key() -> None:
    with pytest.raises(ValueError, match="The setting STATEFUN_URL is 'x'"):
        read({}, {"url": "x"})


def test_an_unknown_option_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match="is no option") as info:
        read({}, {"uri": "/x"})

    assert str(info.value).startswith("'uri' is no option of StateFun. There are 'url', 'protocol'")


def test_a_changed_key_is_found() -> None:
    config: dict[str, t.Any] = {"STATEFUN_URL": "/a"}
    settings = read(config, {})

    assert changed(config, settings) is None
    config["STATEFUN_PROTOCOL"] = "auto"
    assert changed(config, settings) is None
    config["STATEFUN_PROTOCOL"] = "v2"
    assert changed(config, settings) == "STATEFUN_PROTOCOL"
