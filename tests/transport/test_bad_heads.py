"""Invalid heads of requests on every adapter, with the status of each response."""

from __future__ import annotations

import asyncio
import base64
import collections.abc as cabc
import contextlib
import io
import socket
import typing as t
import urllib.parse

import pytest
from server_paths import SERVERS

from statefun_flask import Address
from statefun_flask import asgi_app
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import lambda_handler
from statefun_flask import StateFunFlask
from statefun_flask import wsgi_app
from statefun_flask.protocol.schema.request_reply_v3 import ToFunction

TYPE = "application/octet-stream"
URL = "/statefun"
HEALTH = "/statefun/health"
LIMIT = 1000


class Request(t.NamedTuple):
    """The bytes of a request: a header may be repeated, and no header is computed."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    #: The client closes its side of the connection after the body.
    ends: bool = False

    def header(self, name: str) -> str | None:
        """Return the values of a header, joined as by a server."""
        values = [value for each, value in self.headers if each.lower() == name]
        return ", ".join(values) if values else None

    @property
    def content(self) -> bytes:
        """The body from a server that ends it: empty without a length."""
        is_framed = self.header("content-length") or self.header("transfer-encoding")
        return self.body if is_framed else b""

    def wire(self) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: localhost", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        body = self.body
        if self.header("transfer-encoding"):
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Answer(t.NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


# -- adapters: what calls the endpoint with a request ----------------------------------------------


class Socket(io.BytesIO):
    """The stream of a server that does not end a body: reading behind it would wait forever."""

    def __init__(self, request: Request) -> None:
        super().__init__(request.body)
        self.ends = request.ends

    def read(self, size: int | None = -1, /) -> bytes:
        left = len(self.getbuffer()) - self.tell()
        assert self.ends or (size is not None and 0 <= size <= left), "this blocks"
        return super().read(size)


def call_wsgi(called: t.Any, request: Request, *, delimited: bool) -> Answer:
    environ: dict[str, t.Any] = {
        "REQUEST_METHOD": request.method,
        "PATH_INFO": request.path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(),
        "wsgi.input": io.BytesIO(request.content) if delimited else Socket(request),
    }
    keys = {
        "content-type": "CONTENT_TYPE",
        "content-length": "CONTENT_LENGTH",
        "transfer-encoding": "HTTP_TRANSFER_ENCODING",
    }
    for name, key in keys.items():
        if (value := request.header(name)) is not None:
            environ[key] = value
    if delimited:
        environ["wsgi.input_terminated"] = True
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], *args: t.Any) -> None:
        started.append((status, headers))

    body = b"".join(called(environ, start_response))
    ((status, headers),) = started
    return Answer(int(status[:3]), {name.lower(): value for name, value in headers}, body)


def view(request: Request) -> Answer:
    return call_wsgi(make_app(), request, delimited=False)


def terminated_view(request: Request) -> Answer:
    return call_wsgi(make_app(), request, delimited=True)


def wsgi(request: Request) -> Answer:
    return call_wsgi(make_wsgi(), request, delimited=False)


def terminated_wsgi(request: Request) -> Answer:
    return call_wsgi(make_wsgi(), request, delimited=True)


def asgi(request: Request) -> Answer:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in request.headers]
    scope = {"type": "http", "method": request.method, "path": request.path, "headers": headers}
    sent: list[dict[str, t.Any]] = []

    async def receive() -> dict[str, t.Any]:
        return {"type": "http.request", "body": request.content}

    async def send(event: dict[str, t.Any]) -> None:
        sent.append(event)

    asyncio.run(asgi_app(make_registry(), threads=0, max_request_bytes=LIMIT)(scope, receive, send))
    start, body = sent
    names = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], names, body["body"])


def lambdas(request: Request) -> Answer:
    several: dict[str, list[str]] = {}
    for name, value in request.headers:
        several.setdefault(name, []).append(value)
    event = {
        "httpMethod": request.method,
        "path": request.path,
        "headers": None,
        "multiValueHeaders": several,
        "body": base64.b64encode(request.content).decode() if request.content else None,
        "isBase64Encoded": bool(request.content),
    }
    handler = lambda_handler(make_registry(), max_request_bytes=LIMIT)
    response = handler(event, None)
    headers = {name.lower(): value for name, (value,) in response["multiValueHeaders"].items()}
    return Answer(response["statusCode"], headers, base64.b64decode(response["body"]))


def echo(context: Context, text: str) -> Effects:
    return Effects().send(Address("test/sink", "of it"), text)


def make_registry() -> FunctionRegistry:
    registry = FunctionRegistry()
    registry.register("test/echo", echo)
    return registry


def make_wsgi() -> t.Any:
    return wsgi_app(make_registry(), max_request_bytes=LIMIT)


def make_app() -> StateFunFlask:
    """Return an app whose error handlers answer all exceptions with 200."""
    app = StateFunFlask("app")
    app.config["STATEFUN_MAX_REQUEST_BYTES"] = LIMIT
    app.statefun("test/echo")(echo)
    app.register_error_handler(Exception, lambda error: "all is well")
    app.register_error_handler(405, lambda error: "all is well")
    return app


Adapter: t.TypeAlias = cabc.Callable[[Request], Answer]
IN_PROCESS: dict[str, Adapter] = {
    "view": view,
    "view, input terminated": terminated_view,
    "wsgi_app": wsgi,
    "wsgi_app, input terminated": terminated_wsgi,
    "asgi_app": asgi,
    "lambda": lambdas,
}


def ask_server(url: str, request: Request) -> Answer:
    parts = urllib.parse.urlsplit(url)
    assert parts.hostname is not None
    with socket.create_connection((parts.hostname, parts.port or 0), timeout=10) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(request.wire())
            if request.ends:
                client.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(ConnectionError):
            while piece := client.recv(65536):
                received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.split(": ", 1) for line in lines]
    headers = {name.lower(): value for name, value in pairs}
    return Answer(int((status.split() or ["", "0"])[1]), headers, body)


# -- the table -------------------------------------------------------------------------------------


def _valid() -> bytes:
    """Return a request for test/echo without a message."""
    request = ToFunction()
    target = request.invocation.target
    target.namespace, target.type, target.id = "test", "echo", "me"
    return t.cast("bytes", request.SerializeToString())


VALID = _valid()
SIZE = str(len(VALID))
LENGTH = ("Content-Length", SIZE)
KIND = ("Content-Type", TYPE)
CHUNKED = ("Transfer-Encoding", "chunked")
TEXT = "text/plain; charset=utf-8"
METHODS = ("GET", "HEAD", "OPTIONS", "DELETE", "BREW")
WAITRESS = ("view on waitress", "direct on waitress")
GRANIAN: dict[str, int | None] = {"view on granian": 200, "direct on granian": 200}
#: The responses of the app's own routes and error handlers.
VIEWS: dict[str, int | None] = {"view": 308, "view, input terminated": 308}
PAGES: dict[str, int | None] = dict.fromkeys(VIEWS, 200)
UNDELIMITED: dict[str, int | None] = {"view": 411, "wsgi_app": 411}


def post(*headers: tuple[str, str], path: str = URL, body: bytes = VALID) -> Request:
    return Request("POST", path, headers, body)


def length(value: str) -> Request:
    return post(KIND, ("Content-Length", value))


def kind(*values: str) -> Request:
    return post(*(("Content-Type", value) for value in values), LENGTH)


#: The status of each request, and what differs for adapters whose name begins so. 0 is a connection
#: that the server closes, and None a request whose body waitress waits for.
TABLE: dict[str, tuple[Request, int, dict[str, int | None]]] = {
    "valid": (post(KIND, LENGTH), 200, {}),
    "a slash at the end": (post(KIND, LENGTH, path="/statefun/"), 200, {}),
    # Flask's router redirects to the path with one slash; waitress and werkzeug remove those at the
    # start; Lambda calls functions at every path.
    "two slashes at the end": (
        post(KIND, LENGTH, path="/statefun//"),
        404,
        VIEWS | {"lambda": 200} | dict.fromkeys(WAITRESS, 308) | dict.fromkeys(GRANIAN, 308),
    ),
    "two slashes at the start": (
        post(KIND, LENGTH, path="//statefun"),
        404,
        {"lambda": 200, "view on waitress": 200, "direct on waitress": 200},
    ),
    "another path": (post(KIND, LENGTH, path="/nothing"), 404, PAGES | {"lambda": 200}),
    "no length": (post(KIND), 411, {"lambda": 400}),
    "an empty length": (length(""), 411, dict.fromkeys(SERVERS, 400)),
    "length 0": (post(KIND, ("Content-Length", "0"), body=b""), 400, {}),
    "a negative length": (length("-1"), 400, {}),
    "a length with a sign": (length(f"+{SIZE}"), 400, {}),
    "a length with an underscore": (length("1_0"), 400, {}),
    "a length that is not a number": (length("abc"), 400, {}),
    "a decimal length": (length(f"{SIZE}.0"), 400, {}),
    "a hexadecimal length": (length("0x10"), 400, {}),
    "a length in other digits": (length("\xb2"), 400, {}),
    # granian removes the second one.
    "the same length twice": (post(KIND, LENGTH, LENGTH), 400, GRANIAN | {"asgi": 200}),
    "two lengths": (post(KIND, LENGTH, ("Content-Length", "5")), 400, {}),
    "a list of lengths": (length(f"{SIZE}, {SIZE}"), 400, {}),
    "a length over the limit": (length(str(10**9)), 413, dict.fromkeys(WAITRESS)),
    "a huge length": (length("9" * 23), 413, dict.fromkeys([*GRANIAN, "asgi"], 400)),
    "a length of 5000 digits": (
        length("9" * 5000),
        413,
        dict.fromkeys([*GRANIAN, "asgi"], 400) | dict.fromkeys(WAITRESS, 0),
    ),
    # Without wsgi.input_terminated the end of the body is unknown.
    "chunked": (post(KIND, CHUNKED), 200, UNDELIMITED),
    "chunked with a length": (post(KIND, LENGTH, CHUNKED), 200, UNDELIMITED),
    "chunked over the limit": (
        post(KIND, CHUNKED, body=bytes(LIMIT + 1)),
        413,
        # Their limit is larger, and the body is not a request.
        UNDELIMITED | dict.fromkeys(SERVERS, 400),
    ),
    "a body that ends early": (
        length("500")._replace(ends=True),
        400,
        dict.fromkeys(WAITRESS, 0),
    ),
    "no content type": (post(LENGTH), 415, {}),
    "an empty content type": (kind(""), 415, {}),
    "another content type": (kind("application/json"), 415, {}),
    "a content type that begins alike": (kind(f"{TYPE}s"), 415, {}),
    "a content type with a parameter": (kind("Application/Octet-Stream; charset=x"), 200, {}),
    # granian's WSGI has the first one only.
    "two content types": (kind(TYPE, "text/html"), 415, GRANIAN),
    "a content type with control characters": (
        kind("<script>\xe9\x1b[31m"),
        415,
        dict.fromkeys(SERVERS, 400),
    ),
    **{f"{each} functions": (Request(each, URL, ()), 405, {}) for each in METHODS},
    "PUT functions": (Request("PUT", URL, (KIND, LENGTH), VALID), 405, {}),
    "GET health": (Request("GET", HEALTH, ()), 200, {}),
    "HEAD health": (Request("HEAD", HEALTH, ()), 200, {}),
    "GET live": (Request("GET", f"{HEALTH}/live", ()), 200, {}),
    "GET ready": (Request("GET", f"{HEALTH}/ready", ()), 200, {}),
    "HEAD ready": (Request("HEAD", f"{HEALTH}/ready", ()), 200, {}),
    "POST health": (post(KIND, LENGTH, path=HEALTH), 405, {}),
    "DELETE live": (Request("DELETE", f"{HEALTH}/live", ()), 405, {}),
    # The error handler of the view's app answers 200; for Lambda it is a GET of functions.
    "GET below health": (
        Request("GET", f"{HEALTH}/other", ()),
        404,
        PAGES | {"lambda": 405},
    ),
}


def expected(case: str, adapter: str) -> int | None:
    _, status, others = TABLE[case]
    return others.get(adapter, status)


def check(case: str, adapter: str, answer: Answer) -> None:
    """Compare a response with the table, and check the headers of each status."""
    request = TABLE[case][0]
    assert answer.status == expected(case, adapter), answer
    if answer.status == 405:
        is_health = request.path in (HEALTH, f"{HEALTH}/live")
        assert answer.headers["allow"] == ("GET, HEAD" if is_health else "POST")
    if request.method == "HEAD":
        assert answer.body == b""
        assert answer.headers["content-type"] in (TEXT, "application/json")
    elif adapter in IN_PROCESS and answer.status in (400, 405, 411, 413, 415):
        assert answer.headers["content-type"] == TEXT
        assert answer.body.count(b". ") >= 1, "what is wrong, and what to do"
        assert answer.body.decode().rstrip("\n").isprintable()
    elif answer.status == 200 and request.method == "POST" and answer.body[:3] != b"all":
        assert answer.headers["content-type"] == TYPE


@pytest.mark.parametrize("case", TABLE)
@pytest.mark.parametrize("adapter", IN_PROCESS)
def test_a_head_on_an_adapter(adapter: str, case: str) -> None:
    check(case, adapter, IN_PROCESS[adapter](TABLE[case][0]))


@pytest.mark.parametrize("adapter", SERVERS)
def test_heads_on_a_server(adapter: str, running: t.Any) -> None:
    """The heads on one server, which answers a valid request after each of them."""
    server = running(*SERVERS[adapter])
    for case, (request, _, _) in TABLE.items():
        if expected(case, adapter) is None:
            continue
        try:
            check(case, adapter, ask_server(server.url, request))
        except (AssertionError, OSError) as exc:
            raise AssertionError(f"{case} on {adapter}") from exc
    check("valid", adapter, ask_server(server.url, TABLE["valid"][0]))
