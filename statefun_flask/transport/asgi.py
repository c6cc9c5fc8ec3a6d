"""The endpoint as an ASGI application: async functions run in the server's own loop."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import typing as t

from ..config import SettingsOptions
from ..core.endpoint import Endpoint
from ..core.endpoint import refuse
from ..core.endpoint import Reply
from ..core.health import Health
from . import granian
from .direct import Direct
from .direct import Served

Scope: t.TypeAlias = cabc.MutableMapping[str, t.Any]
Receive: t.TypeAlias = cabc.Callable[[], cabc.Awaitable[cabc.MutableMapping[str, t.Any]]]
Send: t.TypeAlias = cabc.Callable[[dict[str, t.Any]], cabc.Awaitable[None]]
ASGIApp: t.TypeAlias = cabc.Callable[[Scope, Receive, Send], cabc.Awaitable[None]]


def asgi_app(
    served: Served,
    *,
    threads: int = 8,
    skip_hooks: bool = False,
    otherwise: ASGIApp | None = None,
    **options: t.Unpack[SettingsOptions],
) -> ASGIApp:
    """Return an application for any ASGI server that answers at the endpoint's URL.

    It passes Flask's dispatch of requests by, see :class:`~statefun_flask.transport.Direct`.

    :param served: A registry, or an app that has the extension.
    :param threads: How many requests run at a time of typenames that have no async function. With 0
        they run in the server's loop, which is faster, and holds up all others when they wait.
    :param skip_hooks: Serve an app although it has hooks that would not be called.
    :param otherwise: Answers requests for other paths; without it they get 404. To have an app's
        other routes there, give it the app in an adapter, such as asgiref's ``WsgiToAsgi(app)``.
    :param options: Settings by name, for a registry; an app has its own.
    """
    return _Application(Direct(served, skip_hooks=skip_hooks, **options), threads, otherwise)


class _Application:
    def __init__(self, direct: Direct, threads: int, otherwise: ASGIApp | None) -> None:
        self._direct = direct
        self._endpoint: Endpoint = direct.endpoint
        self._health = Health(direct.endpoint)
        self._otherwise = otherwise
        self._executor = (
            concurrent.futures.ThreadPoolExecutor(threads, "statefun") if threads else None
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            try:
                await (self._otherwise or _live)(scope, receive, send)
            finally:
                if self._executor is not None:
                    self._executor.shutdown()
        elif scope["type"] == "http" and scope["path"].rstrip("/") == self._direct.url:
            await _respond(send, await self._answer(scope, receive))
        elif _is_get(scope) and scope["path"] in self._health.paths:
            await _respond(send, self._health(scope["path"]))
        elif self._otherwise is not None:
            await self._otherwise(scope, receive, send)
        elif scope["type"] == "http":
            where = self._direct.url or "/"
            await _respond(
                send, refuse(404, f"There is nothing here. The functions are at '{where}'.")
            )
        else:
            raise RuntimeError(
                f"There is nothing here for '{scope['type']}'. Functions are called by HTTP POST."
            )

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        if scope["method"] != "POST":
            return refuse(405, "Only POST is answered here, as the StateFun runtime sends it.")
        content_type, length = _read_headers(scope)
        refused = self._endpoint.check(content_type, length)
        if refused is not None:
            return refused
        data = await _read_body(receive, self._endpoint.settings.max_request_bytes)
        refused = self._endpoint.check_body(data, length)
        if refused is not None:
            return refused

        with self._direct.context():
            reply = await self._endpoint.answer_async(data, executor=self._executor)
            self._direct.report(reply)
        return reply


class AsgiTransport(granian.GranianTransport):
    """Serves functions with worker processes of granian that speak ASGI.

    For functions that are ``async``: each worker has one loop, where any number of them wait at the
    same time. For other servers, give them :func:`asgi_app`.

    :param threads: How many requests each worker answers at a time of typenames that have no async
        function; with 0 they run in its loop.
    """

    _interface = "asginl"
    _blocking_threads = 1

    def _load(self, target: granian.Target) -> tuple[t.Any, Endpoint]:
        direct = Direct(granian.resolve(target), skip_hooks=self.skip_hooks, **self.options)
        return _Application(direct, self.threads, None), direct.endpoint


def _is_get(scope: Scope) -> bool:
    return bool(scope["type"] == "http" and scope["method"] == "GET")


def _read_headers(scope: Scope) -> tuple[str | None, int | None]:
    """Return Content-Type and Content-Length."""
    content_type: str | None = None
    length: int | None = None
    for name, value in scope["headers"]:
        if name == b"content-type":
            content_type = value.decode("latin-1")
        elif name == b"content-length":
            length = int(value)
    return content_type, length


async def _read_body(receive: Receive, limit: int) -> bytes:
    """Return a request's body, or more bytes than the limit as soon as they came."""
    event = await receive()
    data: bytes = event.get("body", b"")
    if not event.get("more_body"):
        return data

    pieces = [data]
    size = len(data)
    while event.get("more_body") and size <= limit:
        event = await receive()
        pieces.append(event.get("body", b""))
        size += len(pieces[-1])
    return b"".join(pieces)


async def _respond(send: Send, reply: Reply) -> None:
    headers = [
        (b"content-type", reply.content_type.encode()),
        (b"content-length", b"%d" % len(reply.body)),
    ]
    if reply.status == 405:
        headers.append((b"allow", b"POST"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def _live(scope: Scope, receive: Receive, send: Send) -> None:
    """Say yes to what the server tells of its life."""
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})
