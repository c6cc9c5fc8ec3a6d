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

    async def live(self) -> list[str]:
        """Start and stop the application, and return what it said."""
        events = ["lifespan.startup", "lifespan.shutdown"]
        said: list[str] = []

        async def receive() -> Event:
            return {"type": events.pop(0)}

        async def send(event: Event) -> None:
            said.append(event["type"])

        await self.app({"type": "lifespan"}, receive, send)
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


def test_256_requests_that_wait_do_so_at_the_same_time(
    registry: FunctionRegistry, encode: t.Any
) -> None:
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


def test_a_function_that_fails_is_told_with_where(
    registry: FunctionRegistry, encode: t.Any
) -> None:
    client = Client(asgi_app(registry, threads=0))
    status, _, body = asyncio.run(client.post(encode("test/failing", "x")))
    assert status == 500
    assert body.decode() == (
        "LookupError: nothing there\n"
        "while invoking test/failing/me (message 1 of 1, type 'io.statefun.types/string')\n"
        "The runtime tries the batch again; the worker's log has the traceback.\n"
    )


@pytest.mark.parametrize(
    ("status", "asked"),
    [
        (400, {"pieces": [b"no protobuf"]}),
        (404, {"path": "/elsewhere"}),
        (405, {"method": "GET"}),
        (413, {"pieces": [b"x" * 60, b"x" * 60], "headers": [(b"content-type", OCTET_STREAM)]}),
        (413, {"pieces": [b"x" * 101]}),
        (415, {"headers": [(b"content-type", b"text/plain")]}),
        (503, {"pieces": [bytes.fromhex("a2060e0a0c0a026e731202666e1a026964")]}),
    ],
)
def test_a_request_that_is_none_is_refused(
    registry: FunctionRegistry, status: int, asked: dict[str, t.Any]
) -> None:
    client = Client(asgi_app(registry, max_request_bytes=100))
    pieces = asked.pop("pieces", [b"x"])
    answered, headers, _ = asyncio.run(client.post(*pieces, **asked))
    assert answered == status
    assert headers[b"content-type"] == b"text/plain; charset=utf-8"
    assert headers.get(b"allow") == (b"POST" if status == 405 else None)


def test_websockets_are_refused(registry: FunctionRegistry) -> None:
    with pytest.raises(RuntimeError, match="nothing here for 'websocket'"):
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
