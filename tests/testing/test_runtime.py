"""The door for users' tests: ``with app.statefun.runtime() as rt``."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import datetime as dt
import pathlib
import typing as t

import pytest
from flask import current_app
from flask import g
from flask import has_request_context

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import json_type
from statefun_flask import kafka_record
from statefun_flask import StateFun
from statefun_flask import StateFunFlask
from statefun_flask import ValueSpec
from statefun_flask.embedded import events
from statefun_flask.embedded.errors import UnknownTarget

SEEN = ValueSpec("seen_count", int, expire_after_write=dt.timedelta(days=30))
DAY = dt.timedelta(days=1)


@json_type("example/GreetRequest")
@dataclasses.dataclass
class GreetRequest:
    name: str


@pytest.fixture
def app() -> StateFunFlask:
    app = StateFunFlask(__name__)
    app.config["GREETING"] = "Hello"

    @app.statefun("example/greeter", states=[SEEN])
    def greet(context: Context, request: GreetRequest) -> Effects:
        if not request.name:
            raise ValueError("empty name")
        seen = (context.get_state(SEEN) or 0) + 1
        return (
            Effects()
            .update_state(SEEN, seen)
            .send(
                Address("example/relay", request.name), f"{current_app.config['GREETING']} {seen}"
            )
            .send_after(Address("example/relay", request.name), DAY, "still there?")
        )

    @app.statefun("example/relay")
    def relay(context: Context, text: str) -> Effects:
        record = kafka_record("greetings", key=context.self_address.id, value=text)
        return Effects().egress("example/greets", record)

    return app


def test_three_lines(app: StateFunFlask) -> None:
    with app.statefun.runtime() as rt:
        rt.send("example/greeter/bob", GreetRequest("bob"))
        assert [(each.key, each.text) for each in rt.egress("greetings")] == [("bob", "Hello 1")]


def test_states_are_values_of_their_types(app: StateFunFlask) -> None:
    with app.statefun.runtime() as rt:
        for _ in range(3):
            rt.send(Address("example/greeter", "bob"), GreetRequest("bob"))
        assert rt.state("example/greeter", "bob") == {"seen_count": 3}
        assert rt.state("example/greeter", "eve") == {}


def test_thirty_days_pass_at_once(app: StateFunFlask) -> None:
    with app.statefun.runtime() as rt:
        start = rt.now
        rt.send("example/greeter/bob", GreetRequest("bob"))
        rt.advance(DAY)
        assert [each.text for each in rt.egress("example/greets")] == ["Hello 1", "still there?"]
        rt.advance(28 * DAY)
        assert rt.state("example/greeter", "bob") == {"seen_count": 1}
        rt.advance(DAY)
        assert rt.state("example/greeter", "bob") == {}
        assert rt.now - start == 30 * DAY


def test_exception_of_a_function_comes_out_and_its_address_is_parked(app: StateFunFlask) -> None:
    with app.statefun.runtime() as rt:
        rt.send("example/greeter/eve", GreetRequest(""))
        rt.send("example/greeter/bob", GreetRequest("bob"))
        with pytest.raises(ValueError, match="empty name") as info:
            rt.run_until_idle()
        assert "example/greeter" in info.value.__notes__[0]
        assert len(rt.egress("greetings")) == 1
        (waiting,) = rt.control.parked()
        assert waiting.parked.address == Address("example/greeter", "eve")


def test_exceptions_can_be_left_parked(app: StateFunFlask) -> None:
    with app.statefun.runtime(errors="park") as rt:
        rt.send("example/greeter/eve", GreetRequest(""))
        rt.run_until_idle()
        assert len(rt.control.parked()) == 1
    (failed,) = [event for event in rt.events if isinstance(event, events.Failed)]
    assert failed.parked


def test_exception_that_nobody_looked_for_comes_out_at_the_end(app: StateFunFlask) -> None:
    with pytest.raises(ValueError, match="empty name"), app.statefun.runtime() as rt:
        rt.send("example/greeter/eve", GreetRequest(""))


def test_request_has_the_apps_context_and_no_request(app: StateFunFlask) -> None:
    seen: list[t.Any] = []
    app.teardown_appcontext(lambda exc: seen.append("teardown"))

    @app.statefun("example/look")
    def look(context: Context, message: str) -> None:
        seen.append((current_app.name, has_request_context(), "x" in g))
        g.x = 1

    with app.statefun.runtime() as rt:
        rt.send("example/look/1", "a")
        rt.run_until_idle()
        rt.send("example/look/1", "b")
        rt.run_until_idle()
    assert seen == [(app.name, False, False), "teardown"] * 2


def test_real_clock(app: StateFunFlask) -> None:
    with app.statefun.runtime(clock="real") as rt:
        rt.send("example/greeter/bob", GreetRequest("bob"))
        assert [each.text for each in rt.egress("greetings")] == ["Hello 1"]
        with pytest.raises(RuntimeError) as info:
            rt.advance(DAY)
    assert str(info.value) == "A real clock cannot be moved. Make the runtime with clock='virtual'."


def test_data_folder_goes_on(app: StateFunFlask, tmp_path: pathlib.Path) -> None:
    for count in (1, 2):
        with app.statefun.runtime(data=tmp_path / "data") as rt:
            rt.send("example/greeter/bob", GreetRequest("bob"))
            assert rt.state("example/greeter", "bob") == {"seen_count": count}


def test_module_decides_on_the_egresses(app: StateFunFlask, tmp_path: pathlib.Path) -> None:
    module = tmp_path / "module.yaml"
    module.write_text(
        "kind: io.statefun.endpoints.v2/http\n"
        "spec: {functions: example/*, urlPathTemplate: 'http://nowhere/'}\n"
    )
    with app.statefun.runtime(module=module) as rt:
        rt.send("example/greeter/bob", GreetRequest("bob"))
        with pytest.raises(Exception, match="There is no egress 'example/greets'"):
            rt.run_until_idle()


def test_unknown_function_and_bad_address(app: StateFunFlask) -> None:
    with app.statefun.runtime() as rt:
        with pytest.raises(UnknownTarget, match="Did you mean 'example/greeter'"):
            rt.send("example/greter/bob", "x")
        with pytest.raises(ValueError, match="Write it as 'namespace/name/id'"):
            rt.send("example/greeter", "x")


def test_an_extension_without_an_app_has_no_runtime() -> None:
    with pytest.raises(RuntimeError, match="has no app"):
        StateFun().runtime()


def test_two_runs_tell_the_same(app: StateFunFlask) -> None:
    def run() -> cabc.Iterator[str]:
        with app.statefun.runtime() as rt:
            for name in ("bob", "eve", "bob"):
                rt.send(f"example/greeter/{name}", GreetRequest(name))
            rt.advance(2 * DAY)
        yield from map(repr, rt.events)

    assert list(run()) == list(run())
