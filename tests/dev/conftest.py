"""An app with a function for each kind of type, sessions on free ports, and an HTTP client."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import datetime as dt
import http.client
import json
import time
import typing as t

import pytest
from greeter_pb2 import GreetRequest

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import json_type
from statefun_flask import kafka_record
from statefun_flask import Message
from statefun_flask import StateFunFlask
from statefun_flask import ValueSpec
from statefun_flask.dev.file_input import FileInput
from statefun_flask.dev.file_input import LineParser
from statefun_flask.dev.session import Options
from statefun_flask.dev.session import Session

SEEN = ValueSpec("seen", int)


@json_type("example/Order")
@dataclasses.dataclass
class Order:
    """A JSON message."""

    item: str
    amount: int = 1


def make_app() -> StateFunFlask:
    """Return an app. ``words`` counts and sends on; each other function accepts one type."""
    app = StateFunFlask("app")

    @app.statefun("dev/words", states=[SEEN])
    def words(context: Context, message: str) -> Effects:
        if message == "bad":
            raise ValueError("bad word")
        seen = (context.get_state(SEEN) or 0) + 1
        return (
            Effects()
            .update_state(SEEN, seen)
            .send(Address("dev/out", message), f"{message} {seen}")
        )

    @app.statefun("dev/out", egresses=["dev/egress"])
    def out(context: Context, message: str) -> Effects:
        record = kafka_record("lines", key=context.self_address.id, value=message)
        return Effects().egress("dev/egress", record)

    @app.statefun("dev/later")
    def later(context: Context, message: int) -> Effects:
        delay = dt.timedelta(milliseconds=message)
        return Effects().send_after(
            Address("dev/out", "late"), delay, f"after {message}", cancellation_token="t"
        )

    @app.statefun("dev/order")
    def order(context: Context, message: Order) -> Effects:
        return Effects()

    @app.statefun("dev/greet")
    def greet(context: Context, message: GreetRequest) -> Effects:
        return Effects()

    @app.statefun("dev/flag")
    def flag(context: Context, message: bool) -> Effects:
        return Effects()

    @app.statefun("dev/ratio")
    def ratio(context: Context, message: float) -> Effects:
        return Effects()

    @app.statefun("dev/blob")
    def blob(context: Context, message: bytes) -> Effects:
        return Effects()

    @app.statefun("dev/either")
    def either(context: Context, message: str | Order) -> Effects:
        return Effects()

    @app.statefun("dev/any")
    def anything(context: Context, message: Message) -> Effects:
        return Effects()

    return app


@pytest.fixture
def app() -> StateFunFlask:
    return make_app()


@pytest.fixture(scope="session")
def eventually() -> cabc.Callable[..., t.Any]:
    """Return a function that calls another one until its result is true, and returns the result."""

    def wait(what: cabc.Callable[[], t.Any], timeout: float = 10.0) -> t.Any:
        end = time.monotonic() + timeout
        while not (found := what()):
            assert time.monotonic() < end, "it did not happen in time"
            time.sleep(0.005)
        return found

    return wait


class Reply(t.NamedTuple):
    """An HTTP response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> t.Any:
        return json.loads(self.body)


class ApiClient:
    """Sends requests to a session, each on a connection of its own."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str = b"",
        headers: cabc.Mapping[str, str] | None = None,
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.session.server.port, timeout=10)
        try:
            data = body.encode() if isinstance(body, str) else body
            connection.request(method, path, data, dict(headers or {}))
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> t.Any:
        reply = self.request("GET", path)
        assert reply.status == 200, reply
        return reply.json

    def put(self, path: str, body: bytes | str = b"", **headers: str) -> t.Any:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        reply = self.request("PUT", path, body, named)
        assert reply.status == 200, reply
        return reply.json

    def post(self, path: str, body: bytes | str = b"") -> t.Any:
        reply = self.request("POST", path, body)
        assert reply.status == 200, reply
        return reply.json

    def idle(self) -> None:
        self.session.engine.wait_idle(10)


@pytest.fixture
def start(app: StateFunFlask) -> cabc.Iterator[cabc.Callable[..., ApiClient]]:
    """Start sessions on free ports; they are closed after the test."""
    started: list[Session] = []

    def make(on: StateFunFlask | None = None, **options: t.Any) -> ApiClient:
        app_ = on or app
        with app_.app_context():
            session = Session(app_, Options(port=0, **options))
        session.start()
        started.append(session)
        return ApiClient(session)

    yield make
    for session in started:
        session.close()


@pytest.fixture
def client(start: cabc.Callable[..., ApiClient]) -> ApiClient:
    """A session in memory."""
    return start()


@pytest.fixture
def read(
    eventually: cabc.Callable[..., t.Any],
) -> cabc.Callable[..., tuple[FileInput, list[str]]]:
    """Read a file to its end, and return the input and its reports."""

    def run(
        session: Session,
        path: t.Any,
        to: str = "dev/words",
        *,
        id_field: str | None = None,
        id: str | None = None,
        **options: t.Any,
    ) -> tuple[FileInput, list[str]]:
        told: list[str] = []
        lines = LineParser(session.codec, to, id_field, id)
        source = session.add_input(lines, str(path), report=told.append, **options)
        eventually(lambda: source.finished)
        session.engine.wait_idle(10)
        return source, told

    return run
