"""The endpoint as an AWS Lambda function behind a function URL, API Gateway or a load balancer."""

from __future__ import annotations

import base64
import collections.abc as cabc
import io
import typing as t

from ..config import SettingsOptions
from ..core.endpoint import refuse
from ..core.endpoint import Reply
from .direct import Direct
from .direct import Served

Event: t.TypeAlias = cabc.Mapping[str, t.Any]


def lambda_handler(
    served: Served, *, skip_hooks: bool = False, **options: t.Unpack[SettingsOptions]
) -> cabc.Callable[[Event, t.Any], dict[str, t.Any]]:
    """Return a handler of Lambda events, to be named in the function's configuration::

        handler = lambda_handler(app)

    It takes the events of function URLs, of API Gateway in both formats and of load balancers, at
    any path, and passes Flask's dispatch of requests by. API Gateway's REST APIs must list
    ``application/octet-stream`` as a binary media type, or bodies are not passed on as they are.

    :param served: A registry, or an app that has the extension.
    :param skip_hooks: Serve an app although it has hooks that would not be called.
    :param options: Settings by name, for a registry; an app has its own.
    """
    direct = Direct(served, skip_hooks=skip_hooks, **options)

    def handler(event: Event, context: t.Any) -> dict[str, t.Any]:
        return _response(_answer(direct, event))

    return handler


def _answer(direct: Direct, event: Event) -> Reply:
    if _method(event) != "POST":
        return refuse(405, "Only POST is answered here, as the StateFun runtime sends it.")
    headers = event.get("headers") or event.get("multiValueHeaders") or {}
    types = [value for name, value in headers.items() if name.lower() == "content-type"]
    content_type = types[0] if types else None
    if isinstance(content_type, list):
        content_type = content_type[0]

    data = _body(event)
    with direct.context():
        reply = direct.endpoint(content_type, len(data), io.BytesIO(data))
        direct.report(reply)
    return reply


def _method(event: Event) -> str:
    """Return the method, which the two formats of events keep in different places."""
    http = event.get("requestContext", {}).get("http", {})
    return str(event.get("httpMethod") or http.get("method", "POST"))


def _body(event: Event) -> bytes:
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        return base64.b64decode(body)
    # What the gateway takes for text; an all-ASCII request comes unharmed.
    return t.cast("bytes", body.encode())


def _response(reply: Reply) -> dict[str, t.Any]:
    return {
        "statusCode": reply.status,
        "headers": {"Content-Type": reply.content_type},
        "body": base64.b64encode(reply.body).decode(),
        "isBase64Encoded": True,
    }
