from __future__ import annotations

import asyncio
import collections.abc as cabc
import threading
import typing as t

import pytest

from statefun_flask import asgi_app
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry

OCTET_STREAM = b"application/octet-stream"
Event: t.TypeAlias = dict[str, t.Any]


class Client:
    """Calls an ASGI application as a server does."""

    def __init__(self, app: t.Any) -> None:
        self.app = app

    async def post(
        self,
        *pieces: bytes,
        path: str = "/statefun",
        method: str = "POST",
        headers: cabc.Iterable[tuple[bytes, bytes]] | None = None,
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        length = b"%d" % sum(map(len, pieces))
        given = [(b"content-type", OCTET_STREAM), (b"content-length", length)]
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": given if headers is None else list(headers),
        }
        events = [
            {"type": "http.request", "body": piece, "more_body": left > 0}
            for left, piece in zip(range(len(pieces) - 1, -1, -1), pieces, strict=True)
        ]
        sent: list[Event] = []

        async def receive() -> Event:
            return t.cast("Event", events.pop(0))

        async def send(event: Event) -> None:
            sent.append(event)

        await self.app(scope, receive, send)
        start, body = sent
        return start["status"], dict(start["headers"]), body["body"]

    async def live(self, *events: str) -> list[str]:
        """Send lifespan events, and return what the application said."""
        left = list(events or ("lifespan.startup", "lifespan.shutdown"))
        said: list[str] = []

        async def receive() -> Event:
            return {"type": left.pop(0)}

        async def send(event: Event) -> None:
            said.append(event["type"])

        await self.app({"type": "lifespan"}, receive, send)
        assert not left
        return said


async def sleeper(context: Context, text: str) -> Effects:
    await asyncio.sleep(float(text))
    return Effects().send(context.self_address, threading.current_thread().name)


def blocker(context: Context, text: str) -> Effects:
    return Effects().send(context.self_address, threading.current_thread().name)


def failing(context: Context, text: str) -> Effects:
    raise LookupError("nothing there")


@pytest.fixture
def registry() -> FunctionRegistry:
    registry = FunctionRegistry()
    registry.register("test/sleeper", sleeper)
    registry.register("test/blocker", blocker)
    registry.register("test/failing", failing)
    return registry


def test_an_answer_has_exactly_the_content_type_that_the_runtime_wants(
    registry: FunctionRegistry, encode: t.Any
) -> None:
    client = Client(asgi_app(registry))
    status, headers, body = asyncio.run(client.post(encode("test/sleeper", "0")))
    assert (status, headers) == (
        200,
        {b"content-type": OCTET_STREAM, b"content-length": b"%d" % len(body)},
    )


def test_a_body_in_pieces_is_joined(
    registry: FunctionRegistry, encode: t.Any, decode: t.Any
) -> None:
    body = encode("test/sleeper", "0")
    _, _, answer = asyncio.run(Client(asgi_app(registry)).post(body[:7], body[7:9], body[9:]))
    assert decode(answer) == ["MainThread"]


def test_256_requests_wait_at_the_same_time(registry: FunctionRegistry, encode: t.Any) -> None:
    async def all_at_once() -> float:
        client = Client(asgi_app(registry))
        start = asyncio.get_running_loop().time()
        body = encode("test/sleeper", "0.2")
        await asyncio.gather(*(client.post(body) for _ in range(256)))
        return asyncio.get_running_loop().time() - start

    before = threading.active_count()
    assert asyncio.run(all_at_once()) < 256 * 0.2 / 10
    assert threading.active_count() == before


@pytest.mark.parametrize(("threads", "name"), [(2, "statefun_0"), (0, "MainThread")])
def test_functions_without_async_run_in_threads_or_in_the_loop(
    registry: FunctionRegistry, encode: t.Any, decode: t.Any, threads: int, name: str
) -> None:
    async def run() -> tuple[list[str], list[str]]:
        client = Client(asgi_app(registry, threads=threads))
        _, _, answer = await client.post(encode("test/blocker", ""))
        return decode(answer), await client.live()

    names, said = asyncio.run(run())
    assert names == [name]
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert not any(each.name.startswith("statefun_") for each in threading.enumerate())


def test_a_function_that_fails_is_500_and_is_logged(
    registry: FunctionRegistry, encode: t.Any, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(asgi_app(registry, threads=0))
    status, _, body = asyncio.run(client.post(encode("test/failing", "x")))
    assert status == 500
    assert body.decode() == (
        "A stateful function failed. The runtime tries the batch again; the worker's log has the"
        " traceback.\n"
    )
    (record,) = caplog.records
    assert record.exc_info
    assert isinstance(record.exc_info[1], LookupError)


def test_a_body_ends_where_the_client_disconnects(registry: FunctionRegistry) -> None:
    async def main() -> int:
        events = [
            {"type": "http.request", "body": b"12", "more_body": True},
            {"type": "http.disconnect"},
        ]
        sent: list[Event] = []

        async def receive() -> Event:
            return events.pop(0)

        async def send(event: Event) -> None:
            sent.append(event)

        headers = [(b"content-type", OCTET_STREAM), (b"content-length", b"5")]
        scope = {"type": "http", "method": "POST", "path": "/statefun", "headers": headers}
        await asgi_app(registry)(scope, receive, send)
        status: int = sent[0]["status"]
        return status

    assert asyncio.run(main()) == 400


def test_websockets_are_refused(registry: FunctionRegistry) -> None:
    with pytest.raises(RuntimeError, match="Connections of type 'websocket'"):
        asyncio.run(asgi_app(registry)({"type": "websocket"}, None, None))  # type: ignore[arg-type]


def test_settings_beside_an_app_are_refused() -> None:
    from flask import Flask

    with pytest.raises(TypeError) as info:
        asgi_app(Flask("shop"), url="/x", protocol="v2")
    assert str(info.value) == (
        "The settings 'url', 'protocol' were given for an app, which has its own."
        " Set them in its config, in upper case with the prefix 'STATEFUN_'."
    )


def test_an_app_without_the_extension_is_refused() -> None:
    from flask import Flask

    with pytest.raises(RuntimeError) as info:
        asgi_app(Flask("shop"))
    assert str(info.value) == (
        "The app 'shop' has no StateFun extension."
        " Call 'StateFun().init_app(app)' before it is served."
    )


# -- lifespan, before and after requests, with a fallback ------------------------------------------

BOTH = ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def _raises(scope: t.Any, receive: t.Any, send: t.Any) -> None:
    """As asgiref's WsgiToAsgi does with everything but HTTP."""
    raise ValueError("only HTTP")


async def _returns(scope: t.Any, receive: t.Any, send: t.Any) -> None:
    pass


async def _fails_after_startup(scope: t.Any, receive: t.Any, send: t.Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    raise ValueError("a background task failed")


async def _fails_at_startup(scope: t.Any, receive: t.Any, send: t.Any) -> None:
    await receive()
    raise ValueError("not supported")


async def _fails_at_shutdown(scope: t.Any, receive: t.Any, send: t.Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    raise ValueError("cannot close")


async def _completes(scope: t.Any, receive: t.Any, send: t.Any) -> None:
    for name in ("startup", "shutdown"):
        assert (await receive())["type"] == f"lifespan.{name}"
        await send({"type": f"lifespan.{name}.complete"})


FALLBACKS = [
    None,
    _raises,
    _returns,
    _fails_at_startup,
    _fails_after_startup,
    _fails_at_shutdown,
    _completes,
]


@pytest.mark.parametrize("fallback", FALLBACKS)
def test_requests_are_answered_after_the_startup_and_after_a_restart(
    registry: FunctionRegistry, encode: t.Any, decode: t.Any, fallback: t.Any
) -> None:
    client = Client(asgi_app(registry, threads=1, fallback=fallback))

    async def live() -> None:
        begun, stop = asyncio.Event(), asyncio.Event()
        said: list[str] = []

        async def receive() -> Event:
            if not begun.is_set():
                begun.set()
                return {"type": "lifespan.startup"}
            await stop.wait()
            return {"type": "lifespan.shutdown"}

        async def send(event: Event) -> None:
            said.append(event["type"])

        living = asyncio.create_task(client.app({"type": "lifespan"}, receive, send))
        while not said:
            assert not living.done(), living
            await asyncio.sleep(0)
        _, _, answer = await client.post(encode("test/blocker", ""))
        assert decode(answer) == ["statefun_0"]
        stop.set()
        async with asyncio.timeout(10):
            await living
        assert said == BOTH

    for _ in range(2):
        asyncio.run(live())
    assert not any(each.name.startswith("statefun_") for each in threading.enumerate())


def test_a_fallback_may_refuse_the_startup(registry: FunctionRegistry) -> None:
    async def fails(scope: t.Any, receive: t.Any, send: t.Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed"})

    client = Client(asgi_app(registry, fallback=fails))
    assert asyncio.run(client.live("lifespan.startup")) == ["lifespan.startup.failed"]
