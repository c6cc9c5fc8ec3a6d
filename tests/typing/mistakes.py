# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
# pyright: reportUnusedFunction=false, reportMissingTypeStubs=false
"""Mistakes that type checkers must report. Both checkers read this file; nothing runs it.

A comment ``# type: ignore[code]`` stands at each mistake. mypy (``warn_unused_ignores``) and
basedpyright (``reportUnnecessaryTypeIgnoreComment``) fail where a checker has nothing to report.
"""

from __future__ import annotations

import datetime as dt

from statefun_flask import Address
from statefun_flask import asgi_app
from statefun_flask import AsgiTransport
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import GranianTransport
from statefun_flask import lambda_handler
from statefun_flask import Message
from statefun_flask import StateFun
from statefun_flask import StateFunBlueprint
from statefun_flask import StateFunFlask
from statefun_flask import ValueSpec
from statefun_flask import WaitressTransport
from statefun_flask import wsgi_app

app = StateFunFlask(__name__)
statefun = StateFun()
blueprint = StateFunBlueprint("greetings", __name__)
registry = FunctionRegistry()

SEEN = ValueSpec("seen_count", int)
NAME = ValueSpec("name", str)
TO = Address("example/relay", "bob")


def greet(context: Context, request: str) -> Effects:
    return Effects()


def number(context: Context, request: str) -> int:
    return 1


def short(context: Context) -> Effects:
    return Effects()


# -- apps and settings ----------------------------------------------------------------------------

StateFunFlask()  # type: ignore[call-arg]
StateFunFlask(__name__, templat_folder="pages")  # type: ignore[call-arg]
StateFunFlask(__name__, statefun_options={"url": 3})  # type: ignore[arg-type]
StateFunFlask(__name__, statefun_options={"nonsense": 1})  # type: ignore[arg-type]
StateFunBlueprint("greetings", __name__, templat_folder="pages")  # type: ignore[call-arg]
StateFunBlueprint("greetings", __name__, namespace=3)  # type: ignore[arg-type]
StateFun(url=3)  # type: ignore[arg-type]
StateFun(nonsense=1)  # type: ignore[call-arg]
StateFun(app, protocol="v4")  # type: ignore[arg-type]
StateFun(app, unknown_function_status=200)  # type: ignore[arg-type]
StateFun("app")  # type: ignore[arg-type]
print(app.statefun.setings)  # type: ignore[attr-defined]
print(app.statefun.settings.uri)  # type: ignore[attr-defined]
app.statefun.runtime(clock="wrong")  # type: ignore[arg-type]

WaitressTransport(nonsense=3)  # type: ignore[call-arg]
WaitressTransport(url=3)  # type: ignore[arg-type]
GranianTransport(nonsense=3)  # type: ignore[call-arg]
AsgiTransport(nonsense=3)  # type: ignore[call-arg]
wsgi_app(registry, nonsense=3)  # type: ignore[call-arg]
asgi_app(registry, nonsense=3)  # type: ignore[call-arg]
lambda_handler(registry, nonsense=3)  # type: ignore[call-arg]

# -- registering ----------------------------------------------------------------------------------

app.statefun(3)  # type: ignore[arg-type]
app.statefun(greet)  # type: ignore[arg-type]
app.statefun("example/fn", states=[3])  # type: ignore[list-item]
app.statefun("example/fn", states={"a": int})  # type: ignore[arg-type]
app.statefun("example/fn", states="a")  # type: ignore[arg-type]
app.statefun("example/fn", egresses="example/out")  # type: ignore[arg-type]
app.statefun("example/fn")(number)  # type: ignore[type-var]
app.statefun("example/fn")(short)  # type: ignore[type-var]
statefun("example/fn", states={"a": int})  # type: ignore[arg-type]
statefun("example/fn")(number)  # type: ignore[type-var]
blueprint.statefun("example/fn", states={"a": int})  # type: ignore[arg-type]
blueprint.statefun("example/fn")(number)  # type: ignore[type-var]

app.statefun.add_function("example/fn", lambda: 3)  # type: ignore[arg-type]
app.statefun.add_function("example/fn", number)  # type: ignore[arg-type]
statefun.add_function("example/fn", short)  # type: ignore[arg-type]
statefun.add_function("example/fn", greet, states={"a": int})  # type: ignore[arg-type]
blueprint.add_function("example/fn", number)  # type: ignore[arg-type]
blueprint.add_function("example/fn", greet, egresses="example/out")  # type: ignore[arg-type]
registry.register("example/fn", lambda: 3)  # type: ignore[arg-type]
registry.register("example/fn", number)  # type: ignore[arg-type]
registry.register("example/fn", greet, states={"a": int})  # type: ignore[arg-type]


@app.statefun("example/wrong")  # type: ignore[type-var]
def decorated(context: Context, request: str) -> int:
    return 1


# -- states ---------------------------------------------------------------------------------------

Context(TO, states={SEEN: "x"})  # type: ignore[dict-item]
Context(TO, states={"seen_count": 3, NAME: 3})  # type: ignore[dict-item]
Effects().update_state(SEEN, "x")  # type: ignore[arg-type]
Effects().update_state(SEEN, None)  # type: ignore[arg-type]
Effects().update_state(3, "x")  # type: ignore[call-overload]
Effects().delete_state(3)  # type: ignore[arg-type]
ValueSpec("a", int, expire_after_write=3)  # type: ignore[call-overload]
ValueSpec("a", 3)  # type: ignore[call-overload]
ValueSpec("a", default=3)  # type: ignore[call-overload]
ValueSpec("a", int, default=3, default_factory=int)  # type: ignore[call-overload]
ValueSpec("a", int, default_factory=3)  # type: ignore[call-overload]


def read(context: Context, message: Message) -> None:
    name: str | None = context.get_state(SEEN)  # type: ignore[assignment]
    words: list[int] | None = context.get_state("words", list[str])  # type: ignore[assignment]
    print(name, words)

    numbers: list[int] = message.as_type(list[str])  # type: ignore[arg-type]
    table: dict[str, int] = message.as_type(dict[str, str])  # type: ignore[arg-type]
    text: str = message.as_type(int)  # type: ignore[assignment]
    print(numbers, table, text)


# -- effects --------------------------------------------------------------------------------------

greet(Context(TO), 3)  # type: ignore[arg-type]
Effects().send_after(TO, 10, "bob")  # type: ignore[arg-type]
Effects().send_after(TO, dt.timedelta(), "bob", cancellation_token=3)  # type: ignore[arg-type]
