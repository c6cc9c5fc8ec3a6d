"""The endpoint as an AWS Lambda function behind a function URL, API Gateway or a load balancer."""

from __future__ import annotations

import base64
import collections.abc as cabc
import io
import typing as t

from ..config import SettingsOptions
from ..core.endpoint import Endpoint
from ..core.endpoint import error_reply
from ..core.endpoint import Reply
from .direct import DirectEndpoint
from .direct import Servable

LambdaEvent: t.TypeAlias = cabc.Mapping[str, t.Any]

_NOTHING: LambdaEvent = {}
#: The headers that have a meaning in a request.
_READ = frozenset({"content-type", "content-length", "transfer-encoding"})


def lambda_handler(
    servable: Servable, *, skip_hooks: bool = False, **options: t.Unpack[SettingsOptions]
) -> cabc.Callable[[LambdaEvent, t.Any], dict[str, t.Any]]:
    """Return a handler of Lambda events, which the function's configuration names::

        handler = lambda_handler(app)

    It answers the events of function URLs, of API Gateway in both formats and of load balancers.
    POST calls functions at any path; a path that ends with a health path is answered as such.
    Requests do not pass through Flask's dispatch. REST APIs of API Gateway must list
    ``application/octet-stream`` as a binary media type, since they damage other bodies.

    :param servable: A registry, or an app that has the extension.
    :param skip_hooks: Serve an app although it has hooks that are not called.
    :param options: The settings of a registry. An app has its own.
    """
    direct = DirectEndpoint(servable, skip_hooks=skip_hooks, **options)

    def handler(event: LambdaEvent, context: t.Any) -> dict[str, t.Any]:
        event = _mapping(event)
        with direct.context():
            reply = _respond(direct.endpoint, event)
            if reply.error is not None:
                reply = direct.report(reply)
        return _response(reply, event)

    return handler


def _respond(endpoint: Endpoint, event: LambdaEvent) -> Reply:
    body = _body(event)
    if body is None:
        return error_reply(
            400, "The body of the event is not text or not base64. Send it as the gateway does."
        )
    headers = _headers(event)
    headers.setdefault("content-length", str(len(body)))
    return endpoint.respond(_method(event), _path(endpoint, event), headers, io.BytesIO(body).read)


def _method(event: LambdaEvent) -> str:
    """Return the method, which the two formats of events have in different places."""
    http = _mapping(_mapping(event.get("requestContext")).get("http"))
    return str(event.get("httpMethod") or http.get("method") or "POST")


def _path(endpoint: Endpoint, event: LambdaEvent) -> str:
    """Return the endpoint's path for an event: a stage or a prefix may come before it."""
    path = str(event.get("rawPath") or event.get("path") or "")
    if "/health" in path:
        return next((each for each in endpoint.health_paths if path.endswith(each)), endpoint.path)
    return endpoint.path


def _headers(event: LambdaEvent) -> dict[str, str]:
    headers: dict[str, str] = {}
    given = _mapping(event.get("multiValueHeaders")) or _mapping(event.get("headers"))
    for name, value in given.items():
        name = str(name).lower()
        if name in _READ:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


def _body(event: LambdaEvent) -> bytes | None:
    """Return the body, or None for one that cannot be decoded."""
    body = event.get("body") or ""
    try:
        if event.get("isBase64Encoded") is True:
            return base64.b64decode(body, validate=True)
        # The gateway treated the body as text, which damages all characters other than ASCII.
        return str.encode(body)
    except (TypeError, ValueError):
        return None


def _response(reply: Reply, event: LambdaEvent) -> dict[str, t.Any]:
    response: dict[str, t.Any] = {
        "statusCode": reply.status,
        "body": base64.b64encode(reply.body).decode(),
        "isBase64Encoded": True,
    }
    # The gateway computes the length of the body.
    headers = {name: value for name, value in reply.headers if name != "Content-Length"}
    # A load balancer that sends lists of values accepts nothing else.
    if event.get("multiValueHeaders") is not None:
        response["multiValueHeaders"] = {name: [value] for name, value in headers.items()}
    else:
        response["headers"] = headers
    return response


def _mapping(value: object) -> LambdaEvent:
    return value if isinstance(value, dict) else _NOTHING
