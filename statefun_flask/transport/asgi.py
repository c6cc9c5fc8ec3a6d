"""The endpoint as an ASGI application: async functions run in the server's own loop."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import logging
import typing as t

from ..config import SettingsOptions
from ..core.endpoint import Endpoint
from . import granian
from .direct import DirectEndpoint
from .direct import Servable

logger = logging.getLogger("statefun_flask")

Scope: t.TypeAlias = cabc.MutableMapping[str, t.Any]
ReceiveEvent: t.TypeAlias = cabc.Callable[[], cabc.Awaitable[cabc.MutableMapping[str, t.Any]]]
SendEvent: t.TypeAlias = cabc.Callable[[dict[str, t.Any]], cabc.Awaitable[None]]
ASGIApp: t.TypeAlias = cabc.Callable[[Scope, ReceiveEvent, SendEvent], cabc.Awaitable[None]]


def asgi_app(
    servable: Servable,
    *,
    threads: int = 8,
    skip_hooks: bool = False,
    fallback: ASGIApp | None = None,
    **options: t.Unpack[SettingsOptions],
) -> ASGIApp:
    """Return an application for any ASGI server that answers at the endpoint's URL.

    Requests do not pass through Flask's dispatch, see docs/transports.md.

    :param servable: A registry, or an app that has the extension.
    :param threads: The number of requests that run at a time for typenames without an async
        function. With 0 they run in the loop of the server, which is faster, but a request that
        waits blocks all others.
    :param skip_hooks: Serve an app although it has hooks that are not called.
    :param fallback: An application for all other paths, which otherwise get 404. For the other
        routes of the app, use an adapter such as asgiref's ``WsgiToAsgi(app)``.
    :param options: The settings of a registry. An app has its own.
    """
    return _Application(
        DirectEndpoint(servable, skip_hooks=skip_hooks, **options), threads, fallback
    )


class _Application:
    def __init__(self, direct: DirectEndpoint, threads: int, fallback: ASGIApp | None) -> None:
        self._direct = direct
        self._endpoint = direct.endpoint
        self._fallback = fallback
        self._threads = threads
        self._executor: concurrent.futures.Executor | None = None

    async def __call__(self, scope: Scope, receive: ReceiveEvent, send: SendEvent) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif self._fallback is not None and scope.get("path") not in self._endpoint.paths:
            await self._fallback(scope, receive, send)
        elif scope["type"] != "http":
            raise RuntimeError(
                f"Connections of type '{scope['type']}' are not answered. Functions are called by"
                " HTTP POST."
            )
        else:
            if self._executor is None and self._threads:
                self._executor = concurrent.futures.ThreadPoolExecutor(self._threads, "statefun")
            with self._direct.context():
                reply = await self._endpoint.respond_async(
                    scope["method"],
                    scope["path"],
                    _read_headers(scope),
                    _Body(receive).read,
                    executor=self._executor,
                )
                if reply.error is not None:
                    reply = self._direct.report(reply)
            headers = [(_NAMES[name], value.encode()) for name, value in reply.headers]
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            await send({"type": "http.response.body", "body": reply.body})

    async def _live(self, scope: Scope, receive: ReceiveEvent, send: SendEvent) -> None:
        """Acknowledge the server's lifespan events."""
        lifespan = _Lifespan(receive, send)
        if self._fallback is not None:
            await lifespan.offer(self._fallback, scope)
        await lifespan.acknowledge()
        if self._executor is not None:
            # Another lifespan may follow, with other threads.
            executor, self._executor = self._executor, None
            executor.shutdown()


class AsgiTransport(granian.GranianServer):
    """Serves functions with worker processes of granian that speak ASGI.

    For ``async`` functions: each worker has one loop, where any number of them wait at the same
    time. With another server, use :func:`asgi_app`. Requests never pass through Flask's dispatch.

    :param threads: The number of requests that each worker answers at a time for typenames without
        an async function; with 0 they run in the worker's loop.
    """

    _interface = "asginl"
    _blocking_threads = 1

    def _load(self, target: granian.Target) -> tuple[t.Any, Endpoint]:
        servable = granian.resolve(target)
        direct = DirectEndpoint(servable, skip_hooks=self.skip_hooks, **self.options)
        return _Application(direct, self.threads, None), direct.endpoint


class _Body:
    """Reads the body of a request."""

    def __init__(self, receive: ReceiveEvent) -> None:
        self._receive = receive
        self._ended = False

    async def read(self, size: int) -> bytes:
        """Return the next piece that the server has received, or b"" at the end."""
        while not self._ended:
            event = await self._receive()
            # A client that disconnects ends the body as well.
            self._ended = not event.get("more_body", False)
            piece: bytes = event.get("body", b"")
            if piece:
                return piece
        return b""


class _Lifespan:
    """The lifespan events of a server, which an application may not support."""

    def __init__(self, receive: ReceiveEvent, send: SendEvent) -> None:
        self._server_receive = receive
        self._server_send = send
        #: The event that is not acknowledged yet.
        self._open = ""
        self._ended = False

    async def offer(self, application: ASGIApp, scope: Scope) -> None:
        """Let an application acknowledge the events as far as it can."""
        try:
            await application(scope, self._receive, self._send)
        except Exception:
            # The specification: an exception says that an application has no lifespan.
            logger.debug("The fallback does not answer lifespan events", exc_info=True)

    async def acknowledge(self) -> None:
        """Acknowledge the current event, and every event until the shutdown."""
        while not self._ended:
            if not self._open:
                await self._receive()
            await self._send({"type": f"{self._open}.complete"})

    async def _receive(self) -> cabc.MutableMapping[str, t.Any]:
        event = await self._server_receive()
        self._open = event["type"]
        return event

    async def _send(self, event: dict[str, t.Any]) -> None:
        await self._server_send(event)
        self._open = ""
        self._ended = event["type"] not in ("lifespan.startup.complete",)


def _read_headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        if (name := _READ.get(raw_name)) is not None:
            value = raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


#: The headers that have a meaning in a request.
_READ = {name.encode(): name for name in ("content-type", "content-length", "transfer-encoding")}
#: The headers of replies, as ASGI writes them.
_NAMES = {
    "Allow": b"allow",
    "Content-Length": b"content-length",
    "Content-Type": b"content-type",
}
