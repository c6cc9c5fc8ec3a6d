from __future__ import annotations

import collections.abc as cabc
import importlib.metadata
import pathlib
import re
import socket
import typing as t

import click
import greeter
import greeter_json
import pytest

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import Message
from statefun_flask import StateFunFlask
from statefun_flask.core.registry import functions_of
from statefun_flask.dev import banner
from statefun_flask.embedded.kafka import broker

VERSION = importlib.metadata.version("statefun-flask")


def shown(client: t.Any, data: str = "in memory (keep it: --data DIR)") -> str:
    lines = "\n".join(click.unstyle(line) for line in banner.lines(client.session, data))
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8090", lines)


def test_the_start_screen(start: cabc.Callable[..., t.Any]) -> None:
    assert shown(start(greeter_json.app)) == (
        f" statefun_flask {VERSION} · embedded engine, for development"
        " (Flink runs it in production)\n"
        " Functions   example/greeter  GreetRequest     states: seen_count: int (long)\n"
        "             example/relay    str\n"
        " Data        in memory (keep it: --data DIR)\n"
        " Listening   http://127.0.0.1:8090\n"
        " Try         curl -X PUT http://127.0.0.1:8090/example/greeter/bob"
        """ -d '{"name": "bob"}'\n"""
    )


def test_module_yaml_and_its_topics_are_named(start: cabc.Callable[..., t.Any]) -> None:
    module = pathlib.Path(greeter.__file__).parent / "module.yaml"
    text = shown(start(greeter.app, module=str(module)), "kept")
    assert " Data        kept\n" in text
    assert f" Module      {module}\n" in text
    assert (
        " Kafka       not connected (names -> example/greeter; --kafka HOST:PORT connects them,"
        " PUT /-/topic/TOPIC/KEY sends by hand)\n"
    ) in text


def test_connected_topics_are_named_with_their_brokers(
    start: cabc.Callable[..., t.Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "TIMEOUT", 0.1)
    module = pathlib.Path(greeter.__file__).parent / "module.yaml"
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        nowhere = f"localhost:{bound.getsockname()[1]}"
        text = shown(start(greeter.app, module=str(module), kafka=nowhere))
    assert (
        f" Kafka       {nowhere} (names -> example/greeter)\n"
        "             example/greets is at-least-once here; 'statefun-seq' shows repeats\n"
    ) in text


def test_an_app_without_functions(start: cabc.Callable[..., t.Any]) -> None:
    text = shown(start(StateFunFlask("empty")))
    assert (
        " Functions   none; register one with @app.statefun('namespace/name')\n"
        " Data        in memory (keep it: --data DIR)\n"
        " Listening   http://127.0.0.1:8090\n"
    ) in text
    assert "Try" not in text


@pytest.mark.parametrize("name", ["words", "later", "flag", "ratio", "greet", "order", "blob"])
def test_the_suggested_command_works(
    start: cabc.Callable[..., t.Any], app: StateFunFlask, name: str
) -> None:
    client = start(app)
    (function,) = functions_of(app.statefun.registry, f"dev/{name}")
    body = banner._sample(function)
    client.put(f"/dev/{name}/bob", body)


def test_a_function_of_any_type(start: cabc.Callable[..., t.Any]) -> None:
    app = StateFunFlask("any")

    @app.statefun("dev/any")
    def anything(context: Context, message: Message) -> Effects:
        return Effects()

    assert "dev/any  any\n" in shown(start(app))
