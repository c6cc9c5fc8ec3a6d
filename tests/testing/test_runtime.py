"""The test engine that ``app.statefun.runtime()`` returns."""

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
from statefun_flask import Message
from statefun_flask import StateFun
from statefun_flask import StateFunFlask
from statefun_flask import StateTypeError
from statefun_flask import UnknownStateError
from statefun_flask import ValueSpec
from statefun_flask.embedded import events
from statefun_flask.embedded.errors import UnknownTargetError
from statefun_flask.testing import EnginePool
from statefun_flask.testing import TestEngine
from statefun_flask.values.message import encode

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

    @app.statefun("example/relay", egresses=["example/greets"])
    def relay(context: Context, text: str) -> Effects:
        record = kafka_record("greetings", key=context.self_address.id, value=text)
        return Effects().egress("example/greets", record)

    return app


def test_a_message_leads_to_a_record(app: StateFunFlask) -> None:
    with app.statefun.runtime() as engine:
        engine.send("example/greeter/bob", GreetRequest("bob"))
        (record,) = engine.records("greetings")
    assert (record.key, record.text) == ("bob", "Hello 1")


def test_states_have_their_declared_types(app: StateFunFlask) -> None:
    with app.statefun.runtime() as engine:
        for _ in range(3):
            engine.send(Address("example/greeter", "bob"), GreetRequest("bob"))
        assert engine.state("example/greeter/bob") == {"seen_count": 3}
        assert engine.state("example/greeter/eve") == {}


def test_thirty_days_pass_at_once(app: StateFunFlask) -> None:
    with app.statefun.runtime() as engine:
        start = engine.now
        engine.send("example/greeter/bob", GreetRequest("bob"))
        engine.advance(DAY)
        assert [each.text for each in engine.records("greetings")] == ["Hello 1", "still there?"]
        engine.advance(28 * DAY)
        assert engine.state("example/greeter/bob") == {"seen_count": 1}
        engine.advance(DAY)
        assert engine.state("example/greeter/bob") == {}
        assert engine.now - start == 30 * DAY


def test_an_exception_of_a_function_is_raised_and_its_address_parked(
    app: StateFunFlask,
) -> None:
    with app.statefun.runtime() as engine:
        engine.send("example/greeter/eve", GreetRequest(""))
        engine.send("example/greeter/bob", GreetRequest("bob"))
        with pytest.raises(ValueError, match="empty name") as info:
            engine.run_until_idle()
        assert "example/greeter" in info.value.__notes__[0]
        assert len(engine.records("greetings")) == 1
        (waiting,) = engine.control.parked()
        assert waiting.parked.address == Address("example/greeter", "eve")


def test_exceptions_of_functions_can_be_left_unraised(app: StateFunFlask) -> None:
    with app.statefun.runtime(errors="park") as engine:
        engine.send("example/greeter/eve", GreetRequest(""))
        engine.run_until_idle()
        assert len(engine.control.parked()) == 1
    (failed,) = [event for event in engine.events if isinstance(event, events.Failed)]
    assert failed.parked


def test_an_unraised_exception_is_raised_at_the_end_of_the_block(app: StateFunFlask) -> None:
    with pytest.raises(ValueError, match="empty name"), app.statefun.runtime() as engine:
        engine.send("example/greeter/eve", GreetRequest(""))


def test_a_function_has_the_app_context_and_no_request_context(app: StateFunFlask) -> None:
    seen: list[t.Any] = []
    app.teardown_appcontext(lambda exc: seen.append("teardown"))

    @app.statefun("example/look")
    def look(context: Context, message: str) -> None:
        seen.append((current_app.name, has_request_context(), "x" in g))
        g.x = 1

    with app.statefun.runtime() as engine:
        engine.send("example/look/1", "a")
        engine.run_until_idle()
        engine.send("example/look/1", "b")
        engine.run_until_idle()
    assert seen == [(app.name, False, False), "teardown"] * 2


def test_a_real_clock_only_waits(app: StateFunFlask) -> None:
    with app.statefun.runtime(clock="real") as engine:
        engine.send("example/greeter/bob", GreetRequest("bob"))
        assert [each.text for each in engine.records("greetings")] == ["Hello 1"]
        start = engine.now
        engine.advance(dt.timedelta(milliseconds=20))
        assert engine.now - start >= dt.timedelta(milliseconds=20)
        with pytest.raises(RuntimeError) as info:
            engine.advance(DAY)
    assert str(info.value) == (
        "A real clock cannot be moved by 1 day, 0:00:00. Run the test on the embedded engine with"
        " the virtual clock."
    )


@pytest.mark.parametrize("clock", ["virtual", "real"])
def test_the_clock_does_not_move_backwards(
    app: StateFunFlask, clock: t.Literal["virtual", "real"]
) -> None:
    with app.statefun.runtime(clock=clock) as engine, pytest.raises(ValueError, match="0 or more"):
        engine.advance(-DAY)


def test_an_engine_continues_with_a_data_folder(app: StateFunFlask, tmp_path: pathlib.Path) -> None:
    for count in (1, 2):
        with app.statefun.runtime(data=tmp_path / "data") as engine:
            engine.send("example/greeter/bob", GreetRequest("bob"))
            assert engine.state("example/greeter/bob") == {"seen_count": count}


def test_the_egresses_are_those_of_the_module(app: StateFunFlask, tmp_path: pathlib.Path) -> None:
    module = tmp_path / "module.yaml"
    module.write_text(
        "kind: io.statefun.endpoints.v2/http\n"
        "spec: {functions: example/*, urlPathTemplate: 'http://nowhere/'}\n"
    )
    with app.statefun.runtime(module=module) as engine:
        engine.send("example/greeter/bob", GreetRequest("bob"))
        with pytest.raises(Exception, match="There is no egress 'example/greets'"):
            engine.run_until_idle()


def test_an_unknown_function_and_a_malformed_address_are_refused(app: StateFunFlask) -> None:
    with app.statefun.runtime() as engine:
        with pytest.raises(UnknownTargetError, match="Did you mean 'example/greeter'"):
            engine.send("example/greter/bob", "x")
        with pytest.raises(ValueError, match="Write it as 'namespace/name/id'"):
            engine.send("example/greeter", "x")


def test_an_extension_without_an_app_has_no_runtime() -> None:
    with pytest.raises(RuntimeError, match="has no app"):
        StateFun().runtime()


def test_two_runs_have_the_same_events(app: StateFunFlask) -> None:
    def run() -> cabc.Iterator[str]:
        with app.statefun.runtime() as engine:
            for name in ("bob", "eve", "bob"):
                engine.send(f"example/greeter/{name}", GreetRequest(name))
            engine.advance(2 * DAY)
        yield from map(repr, engine.events)

    assert list(run()) == list(run())


def test_a_failure_discards_uncommitted_effects(app: StateFunFlask, tmp_path: pathlib.Path) -> None:
    calls: list[str] = []

    @app.statefun("example/count", states=[SEEN])
    def count(context: Context, text: str) -> Effects:
        calls.append(text)
        return Effects().update_state(SEEN, (context.get_state(SEEN) or 0) + 1)

    for data in (None, tmp_path / "data"):
        calls.clear()
        with app.statefun.runtime(data=data) as engine:
            engine.send("example/count/bob", "before")
            engine.run_until_idle()
            engine.send("example/count/bob", "during")
            engine.fail()
            assert engine.state("example/count/bob") == {"seen_count": 2}
            engine.fail()
            assert engine.state(Address("example/count", "bob")) == {"seen_count": 2}
        assert calls == ["before", "during", "during"]


def test_delays_and_parked_addresses_outlive_a_failure(app: StateFunFlask) -> None:
    with app.statefun.runtime(errors="park") as engine:
        engine.send("example/greeter/bob", GreetRequest("bob"))
        engine.send("example/greeter/eve", GreetRequest(""))
        engine.run_until_idle()
        engine.fail()
        assert [each.parked.address.id for each in engine.control.parked()] == ["eve"]
        engine.advance(DAY)
        assert [each.text for each in engine.records("greetings")] == ["Hello 1", "still there?"]


ITEMS = ValueSpec("items", dict[str, GreetRequest], default_factory=dict)
VISITS = ValueSpec("visits", int, default=0)
ANYTHING = ValueSpec("anything")


def test_a_state_is_read_as_its_function_reads_it() -> None:
    app = StateFunFlask(__name__)

    @app.statefun("example/shop", states=[ITEMS, VISITS, ANYTHING])
    def shop(context: Context, name: str) -> Effects:
        items = {**context.get_state(ITEMS), name: GreetRequest(name)}
        return Effects().update_state(ITEMS, items).update_state(ANYTHING, [name], type=list[str])

    with app.statefun.runtime() as engine:
        assert engine.state("example/shop/bob") == {"items": {}, "visits": 0}
        assert engine.state("example/shop/bob", ANYTHING) is None

        engine.send("example/shop/bob", "apple")

        assert engine.state("example/shop/bob", ITEMS) == {"apple": GreetRequest("apple")}
        assert engine.state("example/shop/bob", VISITS) == 0
        assert engine.state("example/shop/bob", ANYTHING, list[str]) == ["apple"]
        stored = engine.control.state(Address("example/shop", "bob"))
        assert sorted(stored) == ["anything", "items"]  # a default is not stored
        assert stored["items"].typename == "statefun_flask.json/dict"

        with pytest.raises(UnknownStateError, match="does not declare the state 'nothing'"):
            engine.state("example/shop/bob", ValueSpec("nothing", int))
        with pytest.raises(StateTypeError, match="is declared as"):
            engine.state("example/shop/bob", ValueSpec("visits", str))


def test_a_state_of_an_unknown_function_is_refused(app: StateFunFlask) -> None:
    with app.statefun.runtime() as engine:
        with pytest.raises(UnknownTargetError, match="Did you mean 'example/greeter'"):
            engine.state("example/greter/bob")
        with pytest.raises(ValueError, match="Write it as 'namespace/name/id'"):
            engine.state("example/greeter")


def test_an_egress_without_topics_keeps_the_type_of_a_value(app: StateFunFlask) -> None:
    @app.statefun("example/plain", egresses=["example/any"])
    def plain(context: Context, text: str) -> Effects:
        return Effects().egress("example/any", text)

    with app.statefun.runtime() as engine:
        engine.send("example/plain/bob", "☃")
        (record,) = engine.records("example/any")
    assert (record.topic, record.as_type(str)) == ("example/any", "☃")


def test_control_takes_an_address_as_text(app: StateFunFlask) -> None:
    with app.statefun.runtime(errors="park") as engine:
        engine.send("example/greeter/eve", GreetRequest(""))
        engine.run_until_idle()
        assert engine.control.state("example/greeter/eve") == {}
        assert len(engine.control.queue("example/greeter/eve")) == 1
        assert engine.control.retry("example/greeter/eve") == [Address("example/greeter", "eve")]
        engine.run_until_idle()
        engine.control.replace("example/greeter/eve", Message(*encode(GreetRequest("eve"))))
        assert engine.state("example/greeter/eve") == {"seen_count": 1}


def test_runtime_and_fixture_return_the_same_class(app: StateFunFlask) -> None:
    with app.statefun.runtime() as engine, EnginePool() as pool:
        assert type(pool.get("embedded", app)) is type(engine)
        assert isinstance(engine, TestEngine)
