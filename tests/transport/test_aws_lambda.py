from __future__ import annotations

import base64
import typing as t

import pytest
from flask import current_app

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import lambda_handler
from statefun_flask import StateFunFlask

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
    ("fields", "key", "value"),
    [
        (
            {"version": "2.0", "requestContext": {"http": {"method": "POST"}}, "rawPath": "/"},
            "headers",
            OCTET_STREAM,
        ),
        (
            {"httpMethod": "POST", "path": "/prod/statefun", "requestContext": {}},
            "headers",
            OCTET_STREAM,
        ),
        (
            {
                "httpMethod": "POST",
                "path": "/statefun",
                "headers": None,
                "multiValueHeaders": {"Content-Type": [OCTET_STREAM]},
            },
            "multiValueHeaders",
            [OCTET_STREAM],
        ),
    ],
    ids=["function URL", "REST API", "load balancer with lists of values"],
)
def test_an_event_is_answered_in_its_own_form(
    handler: t.Any,
    encode: t.Any,
    decode: t.Any,
    fields: dict[str, t.Any],
    key: str,
    value: object,
) -> None:
    response = handler(event(encode("test/echo", "a", "b"), **fields), None)
    assert decode(base64.b64decode(response.pop("body"))) == ["a", "b"]
    assert response == {
        "statusCode": 200,
        key: {"Content-Type": value},
        "isBase64Encoded": True,
    }


@pytest.mark.parametrize("prefix", ["", "/prod"])
@pytest.mark.parametrize("path", ["", "/live", "/ready"])
def test_health_paths_are_answered_on_each_stage(handler: t.Any, prefix: str, path: str) -> None:
    path = f"{prefix}/statefun/health{path}"
    for event in (
        {"httpMethod": "GET", "path": path},
        {"rawPath": path, "requestContext": {"http": {"method": "GET"}}},
    ):
        response = handler(event, None)
        assert response["statusCode"] == 200
        assert base64.b64decode(response["body"]) == b'{"live": true, "ready": true}\n'


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (405, {"httpMethod": "GET"}),
        (405, {"httpMethod": 5}),
        (405, {"httpMethod": "GET", "path": "/other"}),
        (415, {"headers": {}}),
        (415, {"headers": None}),
        (415, {"headers": [["content-type", OCTET_STREAM]]}),
        (415, {"headers": {"content-type": None}}),
        (415, {"headers": {"content-type": 5}}),
        (415, {"headers": None, "multiValueHeaders": {"Content-Type": []}}),
        (415, {"headers": {"content-type": OCTET_STREAM, "Content-Type": "text/html"}}),
        (400, {"body": "no protobuf", "isBase64Encoded": False}),
        (400, {"body": None, "isBase64Encoded": False}),
        (400, {"body": {"a": 1}}),
        (400, {"body": {"a": 1}, "isBase64Encoded": False}),
        (400, {"body": 5}),
        (400, {"body": 5, "isBase64Encoded": False}),
        (400, {"body": "A"}),
        (400, {"body": "!!!!AAAA"}),
        (400, {"body": "\xe9"}),
        (400, {"body": "\ud800", "isBase64Encoded": False}),
        (400, {"requestContext": None, "body": ""}),
        (400, {"requestContext": {"http": None}, "body": ""}),
        (400, {"rawPath": 5, "body": ""}),
    ],
)
def test_an_event_of_another_shape_is_refused(
    handler: t.Any, status: int, fields: dict[str, t.Any]
) -> None:
    assert handler(event(b"", **fields), None)["statusCode"] == status


@pytest.mark.parametrize(
    ("first", "second"),
    [("content-length", "Content-Length"), ("Content-Length", "content-length")],
)
def test_a_header_that_is_spelt_in_two_ways_has_both_values(
    handler: t.Any, encode: t.Any, first: str, second: str
) -> None:
    body = encode("test/echo", "a")
    headers = {"content-type": OCTET_STREAM, first: "1", second: str(len(body))}

    response = handler(event(body, headers=headers), None)

    assert response["statusCode"] == 400
    assert f"'1, {len(body)}'".encode() in base64.b64decode(response["body"])


@pytest.mark.parametrize("other", [None, [], "text", {}])
def test_an_event_that_is_not_one_is_refused(handler: t.Any, other: object) -> None:
    assert handler(other, None)["statusCode"] == 415


def test_an_app_has_its_context_and_its_log(
    encode: t.Any, caplog: pytest.LogCaptureFixture
) -> None:
    app = StateFunFlask("shop")

    @app.statefun("test/fails")
    def fails(context: Context, text: str) -> Effects:
        raise LookupError(current_app.name)

    response = lambda_handler(app)(event(encode("test/fails", "x")), None)

    assert response["statusCode"] == 500
    assert b"shop" not in base64.b64decode(response["body"])
    (record,) = caplog.records
    assert record.exc_info
    assert str(record.exc_info[1]) == "shop"
