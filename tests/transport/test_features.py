"""The features of Flask on each path: the table of docs/transports.md, cell by cell."""

from __future__ import annotations

import asyncio
import base64
import collections.abc as cabc
import pathlib
import typing as t

import pytest
from flask import abort
from flask import current_app
from flask import Flask
from flask import g
from flask import got_request_exception
from flask import request
from flask import Response
from flask import session
from werkzeug.test import Client

from statefun_flask import asgi_app
from statefun_flask import Effects
from statefun_flask import lambda_handler
from statefun_flask import StateFun
from statefun_flask import wsgi_app

DOCS = pathlib.Path(__file__).parents[2] / "docs" / "transports.md"
TYPE = "application/octet-stream"
Post: t.TypeAlias = cabc.Callable[..., tuple[int, bytes]]


def post_to_view(app: Flask, body: bytes, *, skip_hooks: bool) -> tuple[int, bytes]:
    response = Client(app).post("/statefun", data=body, content_type=TYPE)
    return response.status_code, response.data


def post_to_wsgi(app: Flask, body: bytes, *, skip_hooks: bool) -> tuple[int, bytes]:
    called = wsgi_app(app, skip_hooks=skip_hooks)
    response = Client(called).post("/statefun", data=body, content_type=TYPE)
    return response.status_code, response.data


def post_to_asgi(app: Flask, body: bytes, *, skip_hooks: bool) -> tuple[int, bytes]:
    return call_asgi(asgi_app(app, skip_hooks=skip_hooks), "POST", "/statefun", body)


def call_asgi(called: t.Any, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    sent: list[dict[str, t.Any]] = []
    headers = [(b"content-type", TYPE.encode()), (b"content-length", b"%d" % len(body))]
    scope = {"type": "http", "method": method, "path": path, "headers": headers}

    async def receive() -> dict[str, t.Any]:
        return {"type": "http.request", "body": body}

    async def send(event: dict[str, t.Any]) -> None:
        sent.append(event)

    async def live() -> None:
        """Call the application between its startup and its shutdown, as a server does."""
        started, stopped = asyncio.Event(), asyncio.Event()

        async def lifespan() -> dict[str, t.Any]:
            if not started.is_set():
                return {"type": "lifespan.startup"}
            await stopped.wait()
            return {"type": "lifespan.shutdown"}

        async def acknowledge(event: dict[str, t.Any]) -> None:
            started.set()

        living = asyncio.create_task(called({"type": "lifespan"}, lifespan, acknowledge))
        async with asyncio.timeout(10):
            await started.wait()
        await called(scope, receive, send)
        stopped.set()
        await living

    asyncio.run(live())
    return sent[0]["status"], sent[1]["body"]


def post_to_lambda(app: Flask, body: bytes, *, skip_hooks: bool) -> tuple[int, bytes]:
    event = {
        "requestContext": {"http": {"method": "POST"}},
        "headers": {"content-type": TYPE},
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }
    response = lambda_handler(app, skip_hooks=skip_hooks)(event, None)
    return response["statusCode"], base64.b64decode(response["body"])


PATHS: dict[str, Post] = {
    "view": post_to_view,
    "WSGI, direct": post_to_wsgi,
    "ASGI": post_to_asgi,
    "Lambda": post_to_lambda,
}


class Called:
    """An app with one function, which a test provides, called on one path."""

    def __init__(self, post: Post, encode: t.Any) -> None:
        self.post = post
        self.body = encode("test/act", "a text that is not short")
        self.app = Flask(__name__)
        self.app.secret_key = "of a test"
        self.statefun = StateFun()
        self.trace: list[object] = []
        self.act: cabc.Callable[[], object] = bool

        @self.statefun("test/act")
        def function(context: t.Any, text: str) -> Effects:
            self.trace.append(self.act())
            return Effects()

    def __call__(self, act: cabc.Callable[[], object] = bool, *, skip_hooks: bool = True) -> int:
        self.act = act
        if "statefun" not in self.app.extensions:
            self.statefun.init_app(self.app)
        return self.post(self.app, self.body, skip_hooks=skip_hooks)[0]

    def refuses(self) -> bool:
        """Whether the app is refused on the path."""
        try:
            self(skip_hooks=False)
        except RuntimeError as exc:
            return "has hooks before its endpoint" in str(exc)
        return False


def current_app_and_g(called: Called) -> str:
    seen: list[str] = []

    def act() -> str:
        seen.append(g.setdefault("counted", str(len(seen))))
        return current_app.name

    assert called(act) == 200
    assert called(act) == 200
    # Each request has its own g.
    return "yes" if (called.trace, seen) == ([__name__] * 2, ["0", "1"]) else "no"


def teardown_appcontext(called: Called) -> str:
    called.app.teardown_appcontext(lambda exc: called.trace.append("torn down"))
    assert called(lambda: "called") == 200
    return "yes" if called.trace == ["called", "torn down"] else "no"


def error_trackers(called: Called) -> str:
    errors: list[BaseException] = []

    def track(sender: object, exception: BaseException) -> None:
        errors.append(exception)

    with got_request_exception.connected_to(track, called.app):
        assert called(lambda: 1 // 0) == 500
    return "yes" if isinstance(errors[0], ZeroDivisionError) else "no"


def settings(called: Called) -> str:
    called.app.config["STATEFUN_MAX_REQUEST_BYTES"] = 10
    return "yes" if called() == 413 else "no"


def of_a_request(called: Called) -> str:
    def act() -> str:
        session["seen"] = True
        return request.path

    try:
        status = called(act)
    except RuntimeError as exc:
        return "no" if "outside of request context" in str(exc) else "broken"
    return "yes" if (status, called.trace) == (200, ["/statefun"]) else "no"


def before_request(called: Called) -> str:
    called.app.before_request(lambda: abort(401))
    if called.refuses():
        return "refused"
    return "yes" if called() == 401 else "no"


def middleware(called: Called) -> str:
    inner = called.app.wsgi_app

    def outer(environ: t.Any, start_response: t.Any) -> t.Any:
        called.trace.append("middleware")
        return inner(environ, start_response)

    called.app.wsgi_app = outer  # type: ignore[method-assign]
    if called.refuses():
        return "refused"
    return "yes" if "middleware" in called.trace else "no"


def after_request(called: Called) -> str:
    def after(response: Response) -> Response:
        called.trace.append("after")
        return response

    called.app.after_request(after)
    called.app.teardown_request(lambda exc: called.trace.append("teardown"))
    assert called(lambda: "called", skip_hooks=False) == 200
    return {1: "no", 3: "yes"}[len(called.trace)]


def other_routes(called: Called) -> str:
    called.app.add_url_rule("/other", view_func=lambda: "other")
    called.statefun.init_app(called.app)
    if called.post is post_to_lambda:
        # Lambda calls functions at every path.
        return "no"
    if called.post is post_to_asgi:
        assert call_asgi(asgi_app(called.app), "GET", "/other", b"")[0] == 404

        async def other(scope: t.Any, receive: t.Any, send: t.Any) -> None:
            assert scope["type"] == "http", "as WsgiToAsgi, which knows no lifespan"
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"other"})

        both = asgi_app(called.app, fallback=other)
        assert call_asgi(both, "GET", "/other", b"") == (200, b"other")
        return "with `fallback`"
    served = wsgi_app(called.app) if called.post is post_to_wsgi else called.app
    return "yes" if Client(served).get("/other").data == b"other" else "no"


FEATURES: dict[str, cabc.Callable[[Called], str]] = {
    "`current_app`, `g`": current_app_and_g,
    "`teardown_appcontext`": teardown_appcontext,
    "`got_request_exception` (error trackers), `app.logger`": error_trackers,
    "`STATEFUN_…` settings": settings,
    "`request`, `session`": of_a_request,
    "`before_request`": before_request,
    "middleware around `app.wsgi_app`": middleware,
    "`after_request`, `teardown_request`": after_request,
    "the app's other routes": other_routes,
}


def read_table() -> dict[tuple[str, str], str]:
    """Return the cells of the table in the docs."""
    lines = iter(DOCS.read_text().splitlines())
    head = next(line for line in lines if line.startswith("| feature |"))
    paths = [cell.strip() for cell in head.strip("|").split("|")][1:]
    next(lines)
    cells: dict[tuple[str, str], str] = {}
    for line in lines:
        if not line.startswith("|"):
            break
        feature, *row = [cell.strip() for cell in line.strip("|").split("|")]
        cells |= {(feature, path): cell for path, cell in zip(paths, row, strict=True)}
    return cells


CELLS = read_table()


def test_the_table_has_every_feature_on_every_path() -> None:
    assert set(CELLS) == {(feature, path) for feature in FEATURES for path in PATHS}


@pytest.mark.parametrize(("feature", "path"), CELLS)
def test_a_cell_of_the_table(feature: str, path: str, encode: t.Any) -> None:
    assert FEATURES[feature](Called(PATHS[path], encode)) == CELLS[feature, path]
