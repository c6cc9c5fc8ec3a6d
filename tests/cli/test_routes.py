"""``flask statefun routes``: the table, its order, and the JSON form."""

from __future__ import annotations

import datetime as dt
import json
import pathlib
import subprocess
import sys
import typing as t

import pytest
from flask import Flask
from google.protobuf import any_pb2
from google.protobuf import wrappers_pb2

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import INT
from statefun_flask import json_type
from statefun_flask import Message
from statefun_flask import raw_type
from statefun_flask import StateFun
from statefun_flask import StateFunBlueprint
from statefun_flask import StateFunFlask
from statefun_flask import ValueSpec

RAW = raw_type("my/raw")


@json_type("example/Order")
class Order:
    pass


def greet(context: Context, name: str) -> Effects:
    return Effects()


def take_number(context: Context, number: int | t.Annotated[bytes, RAW]) -> Effects:
    return Effects()


def take_rest(context: Context, message: Message) -> Effects:
    return Effects()


def take_protobuf(context: Context, message: wrappers_pb2.StringValue) -> Effects:
    return Effects()


class Shop:
    async def order(self, context: Context, order: Order) -> Effects:
        return Effects()


def run(app: Flask, *options: str) -> str:
    result = app.test_cli_runner().invoke(args=["statefun", "routes", *options])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def app() -> Flask:
    app = StateFunFlask("shop")
    states: list[ValueSpec[t.Any] | str] = [
        ValueSpec("seen", INT, expire_after_write=dt.timedelta(hours=1, minutes=30)),
        ValueSpec("last", str, expire_after_call=dt.timedelta(milliseconds=1500)),
        "note",
    ]
    app.statefun("shop/greeter", states=states)(greet)
    app.statefun("shop/counter")(take_number)
    app.statefun("shop/counter")(take_rest)
    app.statefun("shop/aaa")(take_protobuf)
    return app


def rows(output: str) -> list[list[str]]:
    """Return the cells of a table, split where its line of dashes has gaps."""
    lines = output.splitlines()
    ends = []
    position = 0
    for dashes in lines[1].split("  "):
        ends.append((position, position + len(dashes)))
        position += len(dashes) + 2
    return [[line[start:end].rstrip() for start, end in ends] for line in [lines[0], *lines[2:]]]


def test_the_table_is_golden() -> None:
    app = StateFunFlask("shop")
    app.statefun("shop/greeter", states=[ValueSpec("seen", int), "note"])(greet)
    app.statefun("shop/anything")(take_rest)
    name = __name__
    width = len(f"{name}:take_rest")
    assert run(app) == (
        f"Function       States           Messages  {'Handler'.ljust(width)}".rstrip()
        + f"\n-------------  ---------------  --------  {'-' * width}"
        + f"\nshop/anything                   any       {name}:take_rest"
        + f"\nshop/greeter   seen: int, note  str       {name}:greet\n"
    )


def test_all_that_is_declared_is_shown(app: Flask) -> None:
    seen = "seen: int (expires 1 h 30 min after write)"
    states = f"{seen}, last: str (expires 1 s 500 ms after call), note"
    assert rows(run(app)) == [
        ["Function", "States", "Messages", "Handler"],
        ["shop/aaa", "", "StringValue", f"{__name__}:take_protobuf"],
        ["shop/counter", "", "int, bytes", f"{__name__}:take_number"],
        ["shop/counter", "", "any", f"{__name__}:take_rest"],
        ["shop/greeter", states, "str", f"{__name__}:greet"],
    ]


def test_functions_of_a_blueprint_name_it(app: Flask) -> None:
    blueprint = StateFunBlueprint("orders", __name__)
    blueprint.statefun("shop/orders")(Shop().order)
    app.register_blueprint(blueprint)
    table = rows(run(app))
    assert table[0] == ["Function", "States", "Messages", "Handler", "Blueprint"]
    assert ["shop/orders", "", "Order", f"{__name__}:Shop.order", "orders"] in table
    assert [row[4] for row in table[1:]] == ["", "", "", "", "orders"]


@pytest.mark.parametrize(
    ("column", "order"),
    [
        ("function", ["aaa", "counter", "counter", "greeter", "orders"]),
        ("states", ["aaa", "counter", "counter", "orders", "greeter"]),
        ("messages", ["orders", "aaa", "counter", "counter", "greeter"]),
        ("handler", ["orders", "greeter", "counter", "aaa", "counter"]),
        ("blueprint", ["aaa", "counter", "counter", "greeter", "orders"]),
    ],
)
def test_the_table_is_sorted_by_a_column(app: Flask, column: str, order: list[str]) -> None:
    blueprint = StateFunBlueprint("orders", __name__)
    blueprint.statefun("shop/orders")(Shop().order)
    app.register_blueprint(blueprint)
    for option in ("--sort", "-s"):
        functions = [row[0] for row in rows(run(app, option, column))[1:]]
        assert functions == [f"shop/{name}" for name in order]


def test_an_unknown_column_is_refused(app: Flask) -> None:
    result = app.test_cli_runner().invoke(args=["statefun", "routes", "--sort", "size"])
    assert result.exit_code == 2
    assert "'size' is not one of 'function', 'states', 'messages', 'handler', 'blueprint'" in (
        result.output
    )


def test_the_json_form_has_wire_names(app: Flask) -> None:
    functions = json.loads(run(app, "--format", "json"))["functions"]
    assert functions[0] == {
        "function": "shop/aaa",
        "states": [],
        "messages": ["type.googleapis.com/google.protobuf.StringValue"],
        "takes_any": False,
        "handler": f"{__name__}:take_protobuf",
        "blueprint": None,
    }
    assert functions[1]["messages"] == ["io.statefun.types/long", "my/raw"]
    assert functions[2]["takes_any"] is True
    assert functions[3]["states"] == [
        {
            "name": "seen",
            "type": "io.statefun.types/int",
            "expire_after_write_seconds": 5400.0,
        },
        {"name": "last", "type": "io.statefun.types/string", "expire_after_call_seconds": 1.5},
        {"name": "note", "type": "type.googleapis.com/google.protobuf.Any"},
    ]


def test_the_json_form_has_the_order_that_is_asked_for(app: Flask) -> None:
    output = run(app, "--format", "json", "--sort", "handler")
    functions = json.loads(output)["functions"]
    assert [each["handler"].partition(":")[2] for each in functions] == [
        "greet",
        "take_number",
        "take_protobuf",
        "take_rest",
    ]


def test_without_functions_it_says_so() -> None:
    app = StateFunFlask("empty")
    assert run(app) == "No functions were registered.\n"
    assert json.loads(run(app, "--format", "json")) == {"functions": []}


def test_any_protobuf_takes_any() -> None:
    def fn(context: Context, message: any_pb2.Any) -> Effects:
        return Effects()

    app = StateFunFlask("shop")
    app.statefun("shop/fn")(fn)
    assert rows(run(app))[1][2] == "any"


def test_functions_of_the_extension_are_listed_with_the_apps_own() -> None:
    statefun = StateFun()
    statefun("shop/shared")(greet)
    app, other = Flask("one"), Flask("two")
    statefun.init_app(app)
    statefun.init_app(other)
    app.statefun("shop/own")(greet)  # type: ignore[attr-defined]
    assert [row[0] for row in rows(run(app))[1:]] == ["shop/own", "shop/shared"]
    assert [row[0] for row in rows(run(other))[1:]] == ["shop/shared"]


def test_the_command_line_lists_an_apps_functions(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "hello.py"
    path.write_text(
        "from statefun_flask import StateFunFlask, Effects\n"
        "app = StateFunFlask(__name__)\n"
        "@app.statefun('hello/world')\n"
        "def hello(context, message):\n"
        "    return Effects()\n"
    )
    command = [sys.executable, "-m", "flask", "--app", str(path), "statefun", "routes"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert rows(done.stdout)[1] == ["hello/world", "", "any", "hello:hello"]
    assert done.stderr == ""
