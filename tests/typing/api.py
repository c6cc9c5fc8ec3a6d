# pyright: strict, reportUnnecessaryTypeIgnoreComment=true, reportMissingTypeStubs=false
"""Right code, with the types that type checkers must infer.

mypy and basedpyright read this file; nothing runs it. The mistakes that they must report are in
mistakes.py.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import datetime as dt
import decimal
import logging
import typing as t

import msgspec
from flask import Flask
from google.protobuf import wrappers_pb2

from statefun_flask import Address
from statefun_flask import BOOL
from statefun_flask import BYTES
from statefun_flask import Context
from statefun_flask import custom_type
from statefun_flask import DOUBLE
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import INT
from statefun_flask import json_type
from statefun_flask import kafka_record
from statefun_flask import Message
from statefun_flask import protobuf_type
from statefun_flask import raw_type
from statefun_flask import RequestHandler
from statefun_flask import StateFun
from statefun_flask import StateFunBlueprint
from statefun_flask import StateFunFlask
from statefun_flask import StateFunLogFilter
from statefun_flask import STRING
from statefun_flask import Transport
from statefun_flask import Type
from statefun_flask import utf8_type
from statefun_flask import ValueSpec
from statefun_flask import WaitressTransport
from statefun_flask.config import Settings
from statefun_flask.extension import AppStateFun
from statefun_flask.testing import TestEngine
from statefun_flask.values.state import ValueSpecWithDefault

app = StateFunFlask(__name__)
statefun = StateFun(protocol="v3", unknown_function_status=404)
blueprint = StateFunBlueprint("greetings", __name__, namespace="example")
tuned = StateFunFlask(__name__, template_folder=None, statefun_options={"url": "/functions"})

SEEN = ValueSpec("seen_count", int)
FLAG = ValueSpec("flag", BOOL)
COUNT = ValueSpec("count", wrappers_pb2.Int64Value)
UNTYPED = ValueSpec("untyped")
VISITS = ValueSpec("visits", int, default=0)
NAMES = ValueSpec("names", list[str], default_factory=list, expire_after_write=dt.timedelta(days=1))
PRICES = ValueSpec("prices", dict[str, decimal.Decimal], default_factory=dict)
TO = Address("example/relay", "bob")


@json_type("example/GreetRequest")
@dataclasses.dataclass
class GreetRequest:
    name: str


BASKET = ValueSpec("basket", GreetRequest, default_factory=lambda: GreetRequest("bob"))


def with_any_state(spec: ValueSpec[int]) -> None: ...


@json_type("example/Point")
class Point(msgspec.Struct):
    x: int


# -- a decorated function and class keep their types ----------------------------------------------


@app.statefun("example/greeter", states=[SEEN, "untyped"])
def greet(context: Context, request: GreetRequest) -> Effects:
    return Effects()


@statefun("example/several", egresses=["example/greets"])
def several(context: Context, request: str) -> list[Effects]:
    return []


@blueprint.statefun("example/generated", states=["bare"])
def generated(context: Context, request: str | int) -> cabc.Iterator[Effects]:
    yield Effects()


@app.statefun("example/asynchronous")
async def asynchronous(context: Context, request: Message) -> Effects | None:
    return None


@app.statefun("example/streamed")
async def streamed(context: Context, request: str) -> cabc.AsyncIterator[Effects]:
    yield Effects()


class Greeter:
    def greet(self, context: Context, request: str) -> Effects:
        return Effects()

    def __call__(self, context: Context, request: str) -> Effects:
        return Effects()


app.statefun("example/method")(Greeter().greet)
app.statefun.add_function("example/added", greet, states=[SEEN, "untyped"])
app.statefun.add_function("example/lambda", lambda context, message: Effects())
statefun.add_function("example/streamed", streamed, egresses=["example/greets"])
blueprint.add_function("example/asynchronous", asynchronous, states=(SEEN,))
t.assert_type(app.statefun("example/object")(Greeter()), Greeter)

t.assert_type(greet(Context(TO, states={SEEN: 3}), GreetRequest("bob")), Effects)
Context(TO, states={"seen_count": 3, "flag": True})
Context(TO, states={SEEN: None})
Context(TO, TO, {})
t.assert_type(several(Context(TO), "a"), list[Effects])
t.assert_type(generated(Context(TO), 1), cabc.Iterator[Effects])
t.assert_type(streamed(Context(TO), "a"), cabc.AsyncIterator[Effects])
t.assert_type(GreetRequest("bob").name, str)
t.assert_type(Point(x=1).x, int)


async def awaited() -> None:
    t.assert_type(await asynchronous(Context(TO), Message("a/b")), Effects | None)


# -- states ---------------------------------------------------------------------------------------


def states(context: Context) -> None:
    t.assert_type(SEEN, ValueSpec[int])
    t.assert_type(context.get_state(SEEN), int | None)
    t.assert_type(context.get_state(ValueSpec("point", Point)), Point | None)
    t.assert_type(context.get_state(FLAG), bool | None)
    t.assert_type(context.get_state(COUNT), wrappers_pb2.Int64Value | None)
    t.assert_type(context.get_state("untyped", int), int | None)
    t.assert_type(context.get_state("untyped", STRING), str | None)
    t.assert_type(context.get_state("untyped"), t.Any)
    print(f"{context.get_state(SEEN)}", context.get_state(SEEN))

    t.assert_type(VISITS, ValueSpecWithDefault[int])
    t.assert_type(context.get_state(VISITS), int)
    t.assert_type(context.get_state(NAMES), list[str])
    t.assert_type(context.get_state(PRICES), dict[str, decimal.Decimal])
    t.assert_type(context.get_state(BASKET), GreetRequest)
    t.assert_type(context.get_state(ValueSpec("prices", dict[str, int])), dict[str, int] | None)
    t.assert_type(context.get_state(UNTYPED, GreetRequest), GreetRequest | None)
    t.assert_type(context.get_state(UNTYPED, list[str]), list[str] | None)
    t.assert_type(context.get_state(UNTYPED), t.Any | None)
    t.assert_type(context.get_state("untyped", dict[str, int]), dict[str, int] | None)
    with_any_state(VISITS)
    with_any_state(SEEN)
    Context(TO, states={VISITS: 3}, now=dt.datetime.now(dt.UTC))
    Effects().update_state(VISITS, context.get_state(VISITS) + 1).delete_state(VISITS)
    app.statefun.add_function("example/added", greet, states=[VISITS, SEEN, UNTYPED, "bare"])
    t.assert_type(context.now, dt.datetime)
    context.logger.info("%s", context.now, extra={"a": 1})
    logging.getLogger().addFilter(StateFunLogFilter())

    Effects().update_state(SEEN, 3).update_state("untyped", 3, type=INT).delete_state(SEEN)
    ValueSpec("a", int, expire_after_write=dt.timedelta(hours=1))


# -- effects --------------------------------------------------------------------------------------


def effects(context: Context) -> Effects:
    t.assert_type(context.self_address, Address)
    t.assert_type(context.caller_address, Address | None)
    t.assert_type(context.self_address.type.namespace, str)
    Effects().send("example/relay/bob", "bob")
    Effects().send(("example/relay", "bob"), "bob")  # type: ignore[arg-type]
    Effects().send_after(TO, 10, "bob")  # type: ignore[arg-type]
    return (
        Effects()
        .send(TO, 1, type=INT)
        .send_after(TO, dt.timedelta(seconds=1), "bob", cancellation_token="a")
        .cancel("a")
        .egress("example/greets", kafka_record("greetings", key="bob", value="hello"))
        .extend(Effects() + Effects())
    )


# -- types ----------------------------------------------------------------------------------------

t.assert_type(STRING, Type[str])
t.assert_type(BYTES, Type[bytes])
t.assert_type(DOUBLE, Type[float])
t.assert_type(utf8_type("example/text"), Type[str])
t.assert_type(raw_type("example/raw"), Type[bytes])
t.assert_type(json_type("example/names", list[str]), Type[list[str]])
t.assert_type(custom_type("example/id", lambda n: b"%d" % n, int), Type[int])
t.assert_type(
    protobuf_type(wrappers_pb2.Int64Value, typename="example/count"), Type[wrappers_pb2.Int64Value]
)


def messages(message: Message) -> None:
    t.assert_type(message.as_type(STRING), str)
    t.assert_type(message.as_type(Point), Point)
    t.assert_type(message.as_type(dict[str, list[Point]]), dict[str, list[Point]])
    t.assert_type(message.is_type(int), bool)


def engine(runtime: TestEngine) -> None:
    t.assert_type(runtime.state("example/greeter/bob"), dict[str, t.Any])
    t.assert_type(runtime.state(TO, SEEN), int | None)
    t.assert_type(runtime.state(TO, VISITS), int)
    t.assert_type(runtime.state(TO, UNTYPED), t.Any | None)
    t.assert_type(runtime.state(TO, UNTYPED, Point), Point | None)
    t.assert_type(runtime.records("greets")[0].as_type(Point), Point)
    t.assert_type(runtime.records("greets")[0].as_type(list[Point]), list[Point])
    t.assert_type(runtime.records("greets")[0].as_type(STRING), str)
    with app.statefun.runtime() as made:
        t.assert_type(made.state(TO, SEEN), int | None)


# -- without an app -------------------------------------------------------------------------------

registry = FunctionRegistry()
registry.register("example/greeter", greet, states=[SEEN])
registry.register("example/method", Greeter().greet, states=(SEEN, "untyped"))
t.assert_type(RequestHandler(registry)(b""), bytes)
transport: Transport = WaitressTransport("127.0.0.1:0")

plain = Flask(__name__)
statefun.init_app(plain)
t.assert_type(app.statefun, AppStateFun)
t.assert_type(app.statefun.settings, Settings)
t.assert_type(statefun.settings, Settings)
