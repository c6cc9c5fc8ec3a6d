from __future__ import annotations

import dataclasses
import datetime as dt
import json
import typing as t

import pytest
from flask import Flask

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import INT
from statefun_flask import json_type
from statefun_flask import Message
from statefun_flask import StateFun
from statefun_flask import StateFunBlueprint
from statefun_flask import StateFunFlask
from statefun_flask import ValueSpec


@json_type("example/GreetRequest")
@dataclasses.dataclass
class GreetRequest:
    name: str


SEEN = ValueSpec("seen", int, expire_after_call=dt.timedelta(days=1))


def greet(context: Context, request: GreetRequest) -> Effects:
    return Effects()


def relay(context: Context, message: Message) -> Effects:
    return Effects()


def archive(context: Context, message: str | int) -> Effects:
    return Effects()


@pytest.fixture
def app() -> StateFunFlask:
    for function in (greet, relay, archive):
        function.__module__ = "greeter"
    app = StateFunFlask("app")
    app.statefun("example/relay")(relay)
    app.statefun("example/greeter", states=[SEEN, "me"])(greet)
    return app


def routes(app: Flask, *options: str) -> str:
    result = app.test_cli_runner().invoke(args=["statefun", "routes", *options])
    assert result.exit_code == 0, result.output
    return t.cast("str", result.output)


def test_the_table(app: StateFunFlask) -> None:
    assert (
        routes(app)
        == """\
Function         States                                         Messages      Handler
---------------  ---------------------------------------------  ------------  -------------
example/greeter  seen: int (long) (expires 1 d after call), me  GreetRequest  greeter:greet
example/relay                                                   any           greeter:relay

Type          Typename
------------  --------------------
GreetRequest  example/GreetRequest
"""
    )


def test_derived_types_are_listed_with_their_typenames() -> None:
    app = StateFunFlask("app")

    @app.statefun(
        "example/fn",
        states=[
            ValueSpec("items", dict[str, GreetRequest | None], default_factory=dict),
            ValueSpec("count", INT, default=3),
        ],
    )
    def function(context: Context, message: dt.datetime | list[int] | float) -> Effects:
        return Effects()

    lines = routes(app).splitlines()

    assert (
        "items: dict[str, GreetRequest | None] = dict(), count: int (int32) = 3"
        "  datetime, list[int], float (double)  "
    ) in lines[2]
    assert lines[4:] == [
        "Type                            Typename",
        "------------------------------  ----------------------------",
        "datetime                        statefun_flask.json/datetime",
        "dict[str, GreetRequest | None]  statefun_flask.json/dict",
        "list[int]                       statefun_flask.json/list",
    ]


def test_the_blueprint_is_a_column_when_there_is_one(app: StateFunFlask) -> None:
    blueprint = StateFunBlueprint("archives", __name__)
    blueprint.statefun("example/archive")(archive)
    app.register_blueprint(blueprint)

    lines = routes(app).splitlines()

    assert lines[0].split() == ["Function", "States", "Messages", "Handler", "Blueprint"]
    assert lines[2].split() == [
        *("example/archive", "str,", "int", "(long)"),
        *("greeter:archive", "archives"),
    ]
    assert lines[0].index("Blueprint") == lines[2].index("archives")
    assert lines[4].endswith("greeter:relay")


@pytest.mark.parametrize(
    ("column", "first"), [("function", "example/greeter"), ("states", "example/relay")]
)
def test_it_sorts_by_a_column(app: StateFunFlask, column: str, first: str) -> None:
    assert routes(app, "--sort", column).splitlines()[2].startswith(first)


def test_json_is_for_programs(app: StateFunFlask) -> None:
    assert json.loads(routes(app, "--format", "json")) == {
        "functions": [
            {
                "function": "example/greeter",
                "states": [
                    {
                        "name": "seen",
                        "type": "io.statefun.types/long",
                        "expire_after_call_seconds": 86400.0,
                    },
                    {"name": "me", "type": "type.googleapis.com/google.protobuf.Any"},
                ],
                "messages": ["example/GreetRequest"],
                "takes_any": False,
                "handler": "greeter:greet",
                "blueprint": None,
            },
            {
                "function": "example/relay",
                "states": [],
                "messages": [],
                "takes_any": True,
                "handler": "greeter:relay",
                "blueprint": None,
            },
        ]
    }


def test_json_follows_the_sort(app: StateFunFlask) -> None:
    functions = json.loads(routes(app, "--format", "json", "--sort", "states"))["functions"]

    assert [each["function"] for each in functions] == ["example/relay", "example/greeter"]


def test_an_app_without_functions_says_so() -> None:
    app = Flask("app")
    StateFun(app)

    assert routes(app) == "No functions were registered.\n"
    assert json.loads(routes(app, "--format", "json")) == {"functions": []}
