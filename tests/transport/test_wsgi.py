from __future__ import annotations

import http.client
import threading
import typing as t

import flask
import pytest
from werkzeug.test import Client

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import StateFunFlask
from statefun_flask import WaitressTransport
from statefun_flask import wsgi_app

OCTET_STREAM = "application/octet-stream"


def echo(context: Context, message: str) -> Effects:
    if message == "fail":
        raise ValueError("mine")
    return Effects().send(Address("test/sink", "a"), message)


@pytest.fixture
def registry() -> FunctionRegistry:
    registry = FunctionRegistry()
    registry.register("test/echo", echo)
    return registry


@pytest.mark.parametrize("path", ["/statefun", "/statefun/"])
def test_a_registry_is_served_without_an_app(
    registry: FunctionRegistry, encode: t.Any, decode: t.Any, path: str
) -> None:
    client = Client(wsgi_app(registry))

    response = client.post(path, data=encode("test/echo", "hello"), content_type=OCTET_STREAM)

    assert response.status_code == 200
    assert response.headers["Content-Type"] == OCTET_STREAM
    assert decode(response.data) == ["hello"]


def test_a_registry_takes_settings(registry: FunctionRegistry, encode: t.Any) -> None:
    client = Client(wsgi_app(registry, url="/functions", max_request_bytes=100))
    body = encode("test/echo", "x" * 100)

    assert client.post("/functions", data=body, content_type=OCTET_STREAM).status_code == 413
    assert client.post("/statefun", data=body, content_type=OCTET_STREAM).status_code == 404


def test_the_refusal_of_a_method_or_path_names_the_allowed_ones(registry: FunctionRegistry) -> None:
    client = Client(wsgi_app(registry))

    wrong = client.get("/statefun")
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "POST")
    assert wrong.text == "The method is 'GET'. Allowed here: POST.\n"
    nothing = client.post("/elsewhere")
    assert nothing.status_code == 404
    assert nothing.text == "There is nothing at this path. Functions: '/statefun'.\n"


def test_a_failing_function_is_500_and_is_logged(
    registry: FunctionRegistry, encode: t.Any, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(wsgi_app(registry))

    response = client.post("/statefun", data=encode("test/echo", "fail"), content_type=OCTET_STREAM)

    assert response.status_code == 500
    assert response.text == (
        "A stateful function failed. The runtime tries the batch again; the worker's log has the"
        " traceback.\n"
    )
    (record,) = caplog.records
    assert record.getMessage() == "A stateful function failed"
    assert record.exc_info
    assert isinstance(record.exc_info[1], ValueError)


def test_an_apps_context_is_there_and_its_other_routes_are(encode: t.Any, decode: t.Any) -> None:
    app = StateFunFlask("app")
    torn_down = []
    app.teardown_appcontext(torn_down.append)

    @app.statefun("test/name")
    def name(context: Context, message: str) -> Effects:
        return Effects().send(Address("test/sink", "a"), flask.current_app.name)

    @app.get("/other")
    def other() -> str:
        return "other"

    client = Client(wsgi_app(app))
    body = encode("test/name", "x")

    assert decode(client.post("/statefun", data=body, content_type=OCTET_STREAM).data) == ["app"]
    assert torn_down == [None]
    assert client.get("/other").text == "other"


def test_settings_beside_an_app_are_refused() -> None:
    with pytest.raises(TypeError) as info:
        wsgi_app(StateFunFlask("app"), url="/x")

    assert str(info.value) == (
        "The settings 'url' were given for an app, which has its own. Set them in its config, in"
        " upper case with the prefix 'STATEFUN_'."
    )


def test_an_app_without_the_extension_is_refused() -> None:
    with pytest.raises(RuntimeError, match="has no StateFun extension"):
        wsgi_app(flask.Flask("app"))


def test_waitress_serves_a_registry_until_it_is_stopped(
    registry: FunctionRegistry, encode: t.Any, decode: t.Any
) -> None:
    server = WaitressTransport("127.0.0.1:0", threads=2)._bind(registry)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.listen.port, timeout=10)
        for text in ("one", "two"):  # over one connection
            connection.request(
                "POST", "/statefun", encode("test/echo", text), {"Content-Type": OCTET_STREAM}
            )
            response = connection.getresponse()
            assert response.status == 200
            assert response.headers["Content-Type"] == OCTET_STREAM
            assert decode(response.read()) == [text]
        connection.close()
    finally:
        server.stop()
        thread.join(10)
    assert not thread.is_alive()
