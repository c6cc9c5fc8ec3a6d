from __future__ import annotations

import base64
import typing as t

import pytest

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import lambda_handler

OCTET_STREAM = "application/octet-stream"


@pytest.fixture
def handler() -> t.Any:
    def echo(context: Context, text: str) -> Effects:
        return Effects().send(context.self_address, text)

    registry = FunctionRegistry()
    registry.register("test/echo", echo)
    return lambda_handler(registry)


def event(request: bytes, **fields: t.Any) -> dict[str, t.Any]:
    return {
        "headers": {"content-type": OCTET_STREAM},
        "body": base64.b64encode(request).decode(),
        "isBase64Encoded": True,
        **fields,
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"version": "2.0", "requestContext": {"http": {"method": "POST"}}, "rawPath": "/"},
        {"httpMethod": "POST", "path": "/prod/statefun", "requestContext": {}},
        {
            "httpMethod": "POST",
            "headers": None,
            "multiValueHeaders": {"Content-Type": [OCTET_STREAM]},
        },
    ],
    ids=["function URL", "REST API", "load balancer"],
)
def test_events_of_each_kind_are_answered(
    handler: t.Any, encode: t.Any, decode: t.Any, fields: dict[str, t.Any]
) -> None:
    response = handler(event(encode("test/echo", "a", "b"), **fields), None)
    assert decode(base64.b64decode(response.pop("body"))) == ["a", "b"]
    assert response == {
        "statusCode": 200,
        "headers": {"Content-Type": OCTET_STREAM},
        "isBase64Encoded": True,
    }


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (405, {"httpMethod": "GET"}),
        (415, {"headers": {}}),
        (400, {"body": "no protobuf", "isBase64Encoded": False}),
        (400, {"body": None, "isBase64Encoded": False}),
    ],
)
def test_what_is_no_request_is_refused(
    handler: t.Any, status: int, fields: dict[str, t.Any]
) -> None:
    assert handler(event(b"", **fields), None)["statusCode"] == status
