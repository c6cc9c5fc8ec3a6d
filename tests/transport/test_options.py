"""The settings of a registry, given to a transport as keyword options."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import pytest

from statefun_flask import asgi_app
from statefun_flask import AsgiTransport
from statefun_flask import FunctionRegistry
from statefun_flask import GranianTransport
from statefun_flask import lambda_handler
from statefun_flask import WaitressTransport
from statefun_flask import wsgi_app

Make: t.TypeAlias = cabc.Callable[..., object]

TRANSPORTS: dict[str, Make] = {
    "WaitressTransport": lambda **options: WaitressTransport("127.0.0.1:0", **options),
    "GranianTransport": lambda **options: GranianTransport("127.0.0.1:0", **options),
    "AsgiTransport": lambda **options: AsgiTransport("127.0.0.1:0", **options),
    "wsgi_app": lambda **options: wsgi_app(FunctionRegistry(), **options),
    "asgi_app": lambda **options: asgi_app(FunctionRegistry(), **options),
    "lambda_handler": lambda **options: lambda_handler(FunctionRegistry(), **options),
}


@pytest.fixture(params=TRANSPORTS.values(), ids=TRANSPORTS)
def make(request: pytest.FixtureRequest) -> Make:
    return t.cast("Make", request.param)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("url", "functions"),
        ("protocol", "v9"),
        ("max_request_bytes", "64"),
        ("unknown_function_status", 200),
    ],
)
def test_a_wrong_value_is_refused_at_once(make: Make, name: str, value: t.Any) -> None:
    with pytest.raises(ValueError, match=f"The option '{name}' is {value!r}"):
        make(**{name: value})


def test_an_unknown_option_is_refused_at_once(make: Make) -> None:
    with pytest.raises(TypeError, match=r"'max_request_byte' .* Did you mean 'max_request_bytes'"):
        make(max_request_byte=64)
