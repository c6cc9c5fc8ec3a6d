"""The test kit on the embedded engine; tests/e2e/engines runs the same methods on Flink."""

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
from statefun_flask import kafka_record
from statefun_flask import StateFunFlask
from statefun_flask import ValueSpec
from statefun_flask.embedded.errors import UnknownTargetError
from statefun_flask.module_yaml import ModuleError
from statefun_flask.testing import EnginePool
from statefun_flask.testing import Record
from statefun_flask.testing import TestEngine
from statefun_flask.testing import WaitTimeoutError

COUNT = ValueSpec("count", int)


def count(context: Context, text: str) -> Effects:
    """Count texts. Some texts fail, arrive late, or are sent to other functions."""
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
def pool() -> cabc.Iterator[EnginePool]:
    CALLS.clear()
    with EnginePool() as made:
        yield made


@pytest.fixture
def engine(pool: EnginePool) -> TestEngine:
    return pool.get("embedded", make_app())


def texts(engine: TestEngine, count: int = 1, **options: t.Any) -> list[str]:
    return [record.text for record in engine.records("counts", count, **options)]


def test_messages_to_an_address_arrive_in_order(engine: TestEngine) -> None:
    for text in ("a", "b"):
        engine.send(Address("example/count", "bob"), text)
    assert engine.records("counts", 2) == [
        Record("counts", "bob", b"a 1"),
        Record("counts", "bob", b"b 2"),
    ]


def test_records_can_be_read_by_key(engine: TestEngine) -> None:
    engine.send("example/count/bob", "a")
    engine.send("example/count/eve", "b")
    assert texts(engine, key="eve") == ["b 1"]
    assert texts(engine, 0, key="nobody") == []


def test_waiting_for_records_moves_the_clock(engine: TestEngine) -> None:
    engine.send("example/count/bob", "later")
    with pytest.raises(WaitTimeoutError):
        engine.records("counts")
    assert texts(engine, timeout=3600) == ["late 1"]


def test_advance_moves_the_clock(engine: TestEngine) -> None:
    engine.send("example/count/bob", "later")
    engine.advance(dt.timedelta(minutes=59))
    assert texts(engine, 0) == []
    engine.advance(dt.timedelta(minutes=1))
    assert texts(engine, 0) == ["late 1"]


def test_waiting_messages_are_handled_again_after_a_failure(engine: TestEngine) -> None:
    engine.send("example/count/bob", "before")
    assert texts(engine) == ["before 1"]
    engine.send("example/count/bob", "during")
    engine.fail()
    assert texts(engine, 2) == ["before 1", "during 2"]
    assert CALLS == ["before", "during", "during"]


def test_messages_wait_for_a_stopped_worker(engine: TestEngine) -> None:
    engine.stop_worker()
    engine.send("example/count/bob", "a")
    with pytest.raises(WaitTimeoutError, match="'example/count' cannot be called: it was stopped"):
        engine.records("counts", timeout=1)
    engine.start_worker()
    assert texts(engine) == ["a 1"]


def test_the_timeout_error_lists_records_and_failures(engine: TestEngine) -> None:
    engine.send("example/count/bob", "a")
    engine.send("example/count/eve", "bad")
    with pytest.raises(WaitTimeoutError) as raised:
        engine.records("counts", 3, timeout=5)
    lines = str(raised.value).splitlines()
    assert lines[0] == "The engine 'embedded' waited 5 s for 3 records in 'counts'."
    assert lines[1] == "Found: bob: b'a 1'"
    assert lines[2].startswith("A function raised ValueError: a bad text")
    assert lines[3].startswith("'example/count/eve' is parked: ValueError: a bad text")
    assert isinstance(raised.value.__cause__, ValueError)


def test_a_condition_that_does_not_hold_in_time_is_an_error(engine: TestEngine) -> None:
    assert engine.eventually(lambda: 5) == 5
    message = "The engine 'embedded' waited 2 s for a call."
    with pytest.raises(WaitTimeoutError, match=f"^{re.escape(message)}$"):
        engine.eventually(lambda: CALLS, "a call", timeout=2)


def test_an_undeclared_egress_fails_as_on_flink(engine: TestEngine) -> None:
    engine.send("example/count/bob", "undeclared")
    with pytest.raises(
        WaitTimeoutError, match=r"No function declares the egress 'example/undeclared'\."
    ):
        engine.records("counts", timeout=1)


def test_begin_test_forgets_records_and_errors(engine: TestEngine) -> None:
    engine.send("example/count/bob", "a")
    engine.send("example/count/eve", "bad")
    assert texts(engine) == ["a 1"]
    engine.begin_test()
    assert texts(engine, 0) == []
    assert engine.errors == []
    engine.send("example/count/bob", "b")
    assert texts(engine) == ["b 2"]


def test_produce_writes_to_a_topic_of_an_ingress(pool: EnginePool) -> None:
    engine = pool.get("embedded", make_app(), MODULE)
    engine.produce("texts", "bob", b"\x0a\x01a")
    assert texts(engine, key="bob") == ["a 1"]


def test_produce_refuses_a_topic_without_an_ingress(pool: EnginePool) -> None:
    engine = pool.get("embedded", make_app(), MODULE)
    with pytest.raises(
        ValueError,
        match=re.escape(
            "No ingress reads the topic 'names' (topics with an ingress: texts). Add it to an"
            " ingress of module.yaml, or send the message to its function with 'send'."
        ),
    ):
        engine.produce("names", "bob", "text")


def test_an_address_without_an_id_is_refused(engine: TestEngine) -> None:
    message = "'example/count' is not an address. Write it as 'namespace/name/id'."
    with pytest.raises(ValueError, match=re.escape(message)):
        engine.send("example/count", "text")


def test_the_caller_of_a_message_is_the_sender_and_ignores_replies(pool: EnginePool) -> None:
    functions = FunctionRegistry()

    def answer(context: Context, text: str) -> Effects:
        assert context.caller_address is not None
        record = kafka_record("callers", value=str(context.caller_address.type))
        return Effects().send(context.caller_address, text).egress("example/out", record)

    functions.register("example/answer", answer, egresses=["example/out"])
    engine = pool.get("embedded", functions)
    engine.send("example/answer/bob", "hello")
    assert [each.text for each in engine.records("callers")] == ["statefun.testing/sender"]
    assert engine.errors == []


def test_an_app_runs_until_another_app_replaces_it(pool: EnginePool) -> None:
    one, other = make_app(), make_app()
    first = pool.get("embedded", one)
    first.send("example/count/bob", "a")
    assert texts(first) == ["a 1"]
    assert pool.get("embedded", one) is first
    assert texts(pool.get("embedded", other), 0) == []


def test_an_unknown_engine_is_refused(pool: EnginePool) -> None:
    message = "There is no engine 'spark'. Use 'embedded' or 'flink'."
    with pytest.raises(ValueError, match=re.escape(message)):
        pool.get("spark", make_app())


def test_a_module_of_format_3_0_runs(pool: EnginePool) -> None:
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
    engine = pool.get("embedded", make_app(), module)
    engine.send("example/count/bob", "a")
    assert texts(engine) == ["a 1"]


def test_an_invalid_module_is_refused(pool: EnginePool) -> None:
    with pytest.raises(ModuleError):
        pool.get("embedded", make_app(), "kind: io.statefun.endpoints.v2/http\nspec: 1\n")


def test_a_message_to_an_unknown_function_is_refused(engine: TestEngine) -> None:
    with pytest.raises(UnknownTargetError, match="No endpoint serves the function 'exmple/count'"):
        engine.send("exmple/count/bob", "text")


@pytest.mark.parametrize(("count", "noun"), [(1, "1 record"), (2, "2 records")])
def test_the_timeout_error_names_the_missing_records(
    engine: TestEngine, count: int, noun: str
) -> None:
    message = f"The engine 'embedded' waited 5 s for {noun} in 'counts' with the key 'bob'."
    with pytest.raises(WaitTimeoutError, match=f"^{re.escape(message)}$"):
        engine.records("counts", count, key="bob", timeout=5)


def test_the_timeout_error_quotes_the_condition_as_it_is_given(engine: TestEngine) -> None:
    message = "The engine 'embedded' waited 1 s for 15 calls of 'example/count'."
    with pytest.raises(WaitTimeoutError, match=f"^{re.escape(message)}$"):
        engine.eventually(lambda: None, "15 calls of 'example/count'", timeout=1)


def test_records_lost_in_a_failure_are_not_returned(engine: TestEngine) -> None:
    engine.send("example/count/bob", "a")
    engine.fail()
    assert texts(engine) == ["a 1"]
    engine.begin_test()
    engine.send("example/count/bob", "b")
    engine.fail()
    assert texts(engine) == ["b 2"]


def test_the_errors_of_a_function_do_not_end_a_test(engine: TestEngine) -> None:
    engine.send("example/count/bob", "bad")
    engine.send("example/count/eve", "a")
    assert texts(engine) == ["a 1"]
    assert [str(each) for each in engine.errors] == ["a bad text"]
