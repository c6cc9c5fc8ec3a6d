"""The health paths of the view and of the direct endpoint."""

from __future__ import annotations

import collections.abc as cabc
import json
import typing as t

import pytest
from flask import Flask
from werkzeug.test import Client

from statefun_flask import FunctionRegistry
from statefun_flask import StateFun
from statefun_flask import StateFunFlask
from statefun_flask import wsgi_app
from statefun_flask.config import Settings
from statefun_flask.core.endpoint import Endpoint
from statefun_flask.core.handler import RequestHandler
from statefun_flask.transport.wsgi import application

PATHS = ("/statefun/health", "/statefun/health/live", "/statefun/health/ready")
Served: t.TypeAlias = tuple[Client, Endpoint]


def _view() -> Served:
    app = Flask(__name__)
    StateFun(app)
    return Client(app), app.extensions["statefun"].endpoint


def _first_request_of_a_view() -> Served:
    app = StateFunFlask(__name__)
    return Client(app), application(app, direct=False)[1]


def _direct_app() -> Served:
    called, endpoint = application(StateFunFlask(__name__), direct=True)
    return Client(called), endpoint


def _direct_registry() -> Served:
    called, endpoint = application(FunctionRegistry(), direct=True)
    return Client(called), endpoint


@pytest.fixture(params=[_view, _first_request_of_a_view, _direct_app, _direct_registry])
def served(request: pytest.FixtureRequest) -> Served:
    make: cabc.Callable[[], Served] = request.param
    return make()


@pytest.mark.parametrize("path", PATHS)
def test_a_worker_is_live_and_ready(served: Served, path: str) -> None:
    client, _ = served
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert json.loads(answer.text) == {"live": True, "ready": True}


@pytest.mark.parametrize("path", PATHS)
def test_head_is_answered_as_get_without_the_body(served: Served, path: str) -> None:
    client, _ = served
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.text) == (200, "")
    assert list(head.headers) == list(get.headers)


@pytest.mark.parametrize(("path", "status"), [(PATHS[0], 503), (PATHS[1], 200), (PATHS[2], 503)])
def test_a_worker_that_drains_is_live_and_not_ready(served: Served, path: str, status: int) -> None:
    client, endpoint = served
    endpoint.draining = True
    answer = client.get(path)
    assert answer.status_code == status
    assert json.loads(answer.text) == {"live": True, "ready": False}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_another_method_is_405(served: Served, path: str, method: str) -> None:
    client, _ = served
    answer = client.open(path, method=method)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD"


def test_a_path_below_is_404(served: Served) -> None:
    client, _ = served
    assert client.get("/statefun/health/other").status_code == 404


@pytest.mark.parametrize("url", ["/functions", "/functions/"])
def test_the_paths_are_below_the_url(url: str) -> None:
    app = StateFunFlask(__name__)
    app.config["STATEFUN_URL"] = url
    for client in (
        Client(app),
        Client(wsgi_app(app)),
        Client(wsgi_app(app.statefun.registry, url=url)),
    ):
        assert client.get("/functions/health/ready").status_code == 200
        assert client.get("/statefun/health/ready").status_code == 404


def test_at_the_root_they_have_one_slash() -> None:
    registry = FunctionRegistry()
    endpoint = Endpoint(RequestHandler(registry), Settings(url="/"))
    assert endpoint.health_paths == {"/health", "/health/live", "/health/ready"}
    assert Client(wsgi_app(registry, url="/")).get("/health").status_code == 200
