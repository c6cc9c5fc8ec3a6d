"""StateFunFlask under a server whose threads handle the first requests at the same time."""

from __future__ import annotations

import collections
import collections.abc as cabc
import concurrent.futures
import inspect
import sys
import threading
import typing as t

import pytest
from flask import Flask
from werkzeug.routing import Map

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import StateFunFlask
from statefun_flask.app import LateUrlMap

THREADS = 6


@pytest.fixture
def impatient() -> cabc.Iterator[None]:
    """Let the interpreter switch between threads as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("impatient")
def test_the_first_requests_may_come_at_the_same_time(request_bytes: t.Any) -> None:
    body = request_bytes("hello")
    statuses: collections.Counter[int] = collections.Counter()

    def echo(context: Context, text: str) -> Effects:
        return Effects()

    def first_request(app: StateFunFlask, barrier: threading.Barrier) -> int:
        client = app.test_client()
        barrier.wait(10)
        return client.post(
            "/statefun", data=body, content_type="application/octet-stream"
        ).status_code

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for _ in range(10):
            app = StateFunFlask("example")
            app.statefun("example/fn")(echo)
            barrier = threading.Barrier(THREADS)
            asked = [pool.submit(first_request, app, barrier) for _ in range(THREADS)]
            statuses.update(each.result() for each in asked)
    assert statuses == {200: 10 * THREADS}


def test_a_wrong_setting_is_an_error_at_every_request_until_it_is_corrected(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = StateFunFlask("example")
    app.config["STATEFUN_URL"] = "functions"

    assert app.test_client().post("/functions").status_code == 500
    assert "The setting STATEFUN_URL is 'functions', which is not allowed." in caplog.text
    app.testing = True
    for _ in range(2):
        with pytest.raises(ValueError, match="The setting STATEFUN_URL is 'functions'"):
            app.test_client().post("/functions")
    app.config["STATEFUN_URL"] = "/functions"
    assert app.test_client().post("/functions").status_code == 415


def test_its_parameters_are_those_of_flask() -> None:
    own = dict(inspect.signature(StateFunFlask).parameters)
    of_flask = dict(inspect.signature(Flask).parameters)

    assert own.pop("statefun_options").kind is inspect.Parameter.KEYWORD_ONLY
    assert [*own.items()] == [*of_flask.items()]


def test_its_parameters_reach_flask() -> None:
    own = {
        "static_url_path": "/files",
        "static_folder": "files",
        "static_host": "static.localhost",
        "host_matching": True,
        "subdomain_matching": True,
        "template_folder": "pages",
        "instance_path": "/instance",
        "instance_relative_config": True,
        "root_path": "/root",
    }
    apps = [kind("example", **own) for kind in (StateFunFlask, Flask)]  # type: ignore[arg-type]

    given, expected = (
        (
            app.static_url_path,
            app.static_folder,
            app.url_map.host_matching,
            app.subdomain_matching,
            app.template_folder,
            app.instance_path,
            app.config.root_path,
            app.root_path,
            [(rule.rule, rule.host) for rule in app.url_map.iter_rules("static")],
        )
        for app in apps
    )
    assert given == expected


def test_another_class_of_url_map_must_add_the_late_rules() -> None:
    class Derived(StateFunFlask):
        url_map_class = type("OwnUrlMap", (LateUrlMap,), {})

    class Foreign(StateFunFlask):
        url_map_class = Map  # type: ignore[assignment]

    assert Derived("example").test_client().post("/statefun").status_code == 415
    with pytest.raises(TypeError) as info:
        Foreign("example")
    assert str(info.value) == (
        "The url_map_class of Foreign is Map, which does not add the endpoint's URL rules."
        " Derive it from statefun_flask.app.LateUrlMap."
    )
