"""An app on the embedded engine, as tests see it; tests/e2e has the same on Flink."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import re
import textwrap
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import INT
from statefun_flask import json_type
from statefun_flask import kafka_record
from statefun_flask import Message
from statefun_flask import StateFunFlask
from statefun_flask import ValueSpec
from statefun_flask.module_yaml import ModuleError
from statefun_flask.testing import Engine
from statefun_flask.testing import Engines
from statefun_flask.testing import NothingCame
from statefun_flask.testing import Record

COUNT = ValueSpec("count", int)


def count(context: Context, text: str) -> Effects:
    """Count texts; those of some kinds go wrong, come late, or go elsewhere."""
    if text == "bad":
        raise ValueError("a bad text")
    if text == "lost":
        return Effects().send("example/nowhere", text)  # type: ignore[arg-type]
    if text == "later":
        return Effects().send_after(context.self_address, dt.timedelta(hours=1), "late")
    if text == "undeclared":
        return Effects().egress("example/undeclared", kafka_record("counts", value="1"))
    counted = (context.get_state(COUNT) or 0) + 1
    CALLS.append(text)
    record = kafka_record("counts", key=context.self_address.id, value=f"{text} {counted}")
    return Effects().update_state(COUNT, counted).egress("example/out", record)


CALLS: list[str] = []

MODULE = """
kind: io.statefun.endpoints.v2/http
spec:
  functions: example/*
  urlPathTemplate: http://elsewhere/statefun
---
kind: io.statefun.kafka.v1/ingress
spec:
  id: example/in
  address: broker:9092
  consumerGroupId: example
  topics:
    - topic: texts
      valueType: io.statefun.types/string
      targets: [example/count]
---
kind: io.statefun.kafka.v1/egress
spec:
  id: example/out
  address: broker:9092
"""


def make_app() -> StateFunFlask:
    app = StateFunFlask(__name__)
    app.statefun("example/count", states=[COUNT], egresses=["example/out"])(count)
    return app


@pytest.fixture
def engines() -> cabc.Iterator[Engines]:
    CALLS.clear()
    with Engines() as made:
        yield made


@pytest.fixture
def engine(engines: Engines) -> Engine:
    return engines.get("embedded", make_app())


def texts(engine: Engine, count: int = 1, **options: t.Any) -> list[str]:
    return [record.text for record in engine.records("counts", count, **options)]


def test_messages_to_an_address_arrive_in_order(engine: Engine) -> None:
    for text in ("a", "b"):
        engine.send(Address("example/count", "bob"), text)
    assert engine.records("counts", 2) == [
        Record("counts", "bob", b"a 1"),
        Record("counts", "bob", b"b 2"),
    ]


def test_records_of_a_key(engine: Engine) -> None:
    engine.send("example/count/bob", "a")
    engine.send("example/count/eve", "b")
    assert texts(engine, key="eve") == ["b 1"]
    assert texts(engine, 0, key="nobody") == []


def test_time_passes_while_a_test_waits_for_records(engine: Engine) -> None:
    engine.send("example/count/bob", "later")
    with pytest.raises(NothingCame):
        engine.records("counts")
    assert texts(engine, timeout=3600) == ["late 1"]


def test_time_passes_as_asked(engine: Engine) -> None:
    engine.send("example/count/bob", "later")
    engine.wait(dt.timedelta(minutes=59))
    assert texts(engine, 0) == []
    engine.wait(dt.timedelta(minutes=1))
    assert texts(engine, 0) == ["late 1"]


def test_what_is_under_way_is_done_again_after_a_failure(engine: Engine) -> None:
    engine.send("example/count/bob", "before")
    assert texts(engine) == ["before 1"]
    engine.send("example/count/bob", "during")
    engine.fail()
    assert texts(engine, 2) == ["before 1", "during 2"]
    assert CALLS == ["before", "during", "during"]


def test_messages_wait_for_a_worker_that_is_away(engine: Engine) -> None:
    engine.stop_worker()
    engine.send("example/count/bob", "a")
    with pytest.raises(NothingCame, match="'example/count' cannot be called: it was stopped"):
        engine.records("counts", timeout=1)
    engine.start_worker()
    assert texts(engine) == ["a 1"]


def test_the_message_says_what_came_and_what_failed(engine: Engine) -> None:
    engine.send("example/count/bob", "a")
    engine.send("example/count/eve", "bad")
    with pytest.raises(NothingCame) as raised:
        engine.records("counts", 3, timeout=5)
    lines = str(raised.value).splitlines()
    assert lines[0] == (
        "There are not yet 3 records in 'counts' after 5 s on the engine 'embedded'."
    )
    assert lines[1] == "There is: bob: b'a 1'"
    assert lines[2].startswith("A function raised ValueError: a bad text")
    assert lines[3].startswith("'example/count/eve' is parked: ValueError: a bad text")
    assert isinstance(raised.value.__cause__, ValueError)


def test_a_condition_that_does_not_hold(engine: Engine) -> None:
    assert engine.eventually(lambda: 5) == 5
    message = "There is not yet a call after 2 s on the engine 'embedded'."
    with pytest.raises(NothingCame, match=f"^{re.escape(message)}$"):
        engine.eventually(lambda: CALLS, "a call", timeout=2)


def test_an_egress_that_the_app_does_not_declare_fails_as_on_flink(engine: Engine) -> None:
    engine.send("example/count/bob", "undeclared")
    with pytest.raises(NothingCame, match=r"There is no egress 'example/undeclared'\."):
        engine.records("counts", timeout=1)


def test_a_test_begins_with_no_records_and_no_errors(engine: Engine) -> None:
    engine.send("example/count/bob", "a")
    engine.send("example/count/eve", "bad")
    assert texts(engine) == ["a 1"]
    engine.begin()
    assert texts(engine, 0) == []
    assert engine.errors == []
    engine.send("example/count/bob", "b")
    assert texts(engine) == ["b 2"]


def test_records_go_in_by_the_topics_of_the_module(engines: Engines) -> None:
    engine = engines.get("embedded", make_app(), MODULE)
    engine.produce("texts", "bob", b"\x0a\x01a")
    assert texts(engine, key="bob") == ["a 1"]


def test_a_topic_that_nobody_reads(engines: Engines) -> None:
    engine = engines.get("embedded", make_app(), MODULE)
    with pytest.raises(
        ValueError,
        match=re.escape(
            "No ingress reads the topic 'names'; read are: texts. Add it to an ingress of"
            " module.yaml, or send the message to its function with 'send'."
        ),
    ):
        engine.produce("names", "bob", "text")


def test_an_address_in_another_form(engine: Engine) -> None:
    message = "'example/count' is not an address. Write it as 'namespace/name/id'."
    with pytest.raises(ValueError, match=re.escape(message)):
        engine.send("example/count", "text")


def test_the_caller_of_a_message_is_the_inbox_and_may_be_answered(engines: Engines) -> None:
    functions = FunctionRegistry()

    def answer(context: Context, text: str) -> Effects:
        assert context.caller_address is not None
        record = kafka_record("callers", value=str(context.caller_address.type))
        return Effects().send(context.caller_address, text).egress("example/out", record)

    functions.register("example/answer", answer, egresses=["example/out"])
    engine = engines.get("embedded", functions)
    engine.send("example/answer/bob", "hello")
    assert [each.text for each in engine.records("callers")] == ["statefun.testing/inbox"]
    assert engine.errors == []


def test_an_app_goes_on_until_another_one_takes_its_place(engines: Engines) -> None:
    one, other = make_app(), make_app()
    first = engines.get("embedded", one)
    first.send("example/count/bob", "a")
    assert texts(first) == ["a 1"]
    assert engines.get("embedded", one) is first
    assert texts(engines.get("embedded", other), 0) == []


def test_an_engine_that_does_not_exist(engines: Engines) -> None:
    message = "There is no engine 'spark'. Use 'embedded' or 'flink'."
    with pytest.raises(ValueError, match=re.escape(message)):
        engines.get("spark", make_app())


def test_a_module_of_statefun_2(engines: Engines) -> None:
    module = textwrap.dedent(
        """
        version: "2.0"
        module:
          meta: {type: remote}
          spec:
            functions:
              - function:
                  meta: {kind: http, type: example/count}
                  spec: {endpoint: http://worker/statefun}
        """
    )
    with pytest.raises(
        ValueError,
        match=re.escape(
            "'module.yaml' is of format 2.0, which is StateFun 2.x, and the test engines run 3.x."
            " Give the tests a module.yaml of a format of 3.x."
        ),
    ):
        engines.get("embedded", make_app(), module)


def test_a_module_of_the_format_3_0(engines: Engines) -> None:
    module = textwrap.dedent(
        """
        version: "3.0"
        module:
          meta: {type: remote}
          spec:
            endpoints:
              - endpoint:
                  meta: {kind: http}
                  spec: {functions: example/*, urlPathTemplate: http://worker/statefun}
            egresses:
              - egress:
                  meta: {type: io.statefun.kafka/egress, id: example/out}
                  spec: {address: broker:9092}
        """
    )
    engine = engines.get("embedded", make_app(), module)
    engine.send("example/count/bob", "a")
    assert texts(engine) == ["a 1"]


def test_a_module_with_what_the_engines_lack(engines: Engines) -> None:
    module = MODULE + textwrap.dedent(
        """
        ---
        kind: io.statefun.playground.v1/ingress
        spec: {port: 8090}
        """
    )
    with pytest.raises(
        ValueError,
        match=re.escape(
            "'module.yaml' has a component that the test engines lack (PlaygroundIngress): their"
            " ingresses and egresses are Kafka's. Give the tests a module.yaml with Kafka in its"
            " place."
        ),
    ):
        engines.get("embedded", make_app(), module)


def test_a_module_that_is_wrong(engines: Engines) -> None:
    with pytest.raises(ModuleError):
        engines.get("embedded", make_app(), "kind: io.statefun.endpoints.v2/http\nspec: 1\n")


@json_type("example/Thing")
class Thing(t.NamedTuple):
    name: str


@pytest.mark.parametrize(
    ("value", "type"),
    [("☃", str), (b"\xff", bytes), (7, INT), (Thing("x"), Thing)],
)
def test_a_record_is_read_as_what_was_written(value: object, type: t.Any) -> None:
    message = kafka_record("out", value=value, type=None if type in (str, bytes, Thing) else type)
    assert isinstance(message, Message)
    payload = {str: "☃".encode(), bytes: b"\xff", INT: b"\x0d\x07\0\0\0", Thing: b'["x"]'}[type]
    assert Record("out", None, payload).as_type(type) == value
