"""The test kit on Flink; tests/e2e/engines compares the behaviour of both engines."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt

import pytest

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import kafka_record
from statefun_flask import StateFunFlask
from statefun_flask.embedded.errors import UnknownTargetError
from statefun_flask.flink import Kafka
from statefun_flask.testing import EnginePool
from statefun_flask.testing import WaitTimeoutError

pytestmark = pytest.mark.e2e


@pytest.fixture
def pool(statefun_engine_pool: EnginePool) -> cabc.Iterator[EnginePool]:
    """Return a separate pool with the broker of all tests."""
    broker: Kafka = statefun_engine_pool.kafka
    with EnginePool(report=print, kafka=broker) as made:
        yield made


def answer(context: Context, text: str) -> Effects:
    if text == "bad":
        raise ValueError("a bad text")
    record = kafka_record("flink-answers", key=context.self_address.id, value=text)
    return Effects().egress("example/out", record)


def test_a_failing_function_is_reported_and_another_app_replaces_it(
    pool: EnginePool,
) -> None:
    app = StateFunFlask(__name__)
    app.statefun("example/answer", egresses=["example/out"])(answer)
    engine = pool.get("flink", app)
    engine.send("example/answer/one", "good")
    engine.send("example/answer/two", "bad")
    with pytest.raises(WaitTimeoutError) as raised:
        engine.records("flink-answers", 2, timeout=5)
    text = str(raised.value)
    assert text.startswith("The engine 'flink' waited 5 s for 2 records in 'flink-answers'.")
    assert "Found: one: b'good'" in text
    assert "A function raised ValueError: a bad text" in text
    assert isinstance(raised.value.__cause__, ValueError)
    assert pool.get("flink", app) is engine

    with pytest.raises(RuntimeError, match="Flink does not give access to the state"):
        engine.state("example/answer/one")
    with pytest.raises(RuntimeError, match="Flink does not report that it is idle"):
        engine.run_until_idle()
    with pytest.raises(RuntimeError, match="A real clock cannot be moved by 30 days"):
        engine.advance(dt.timedelta(days=30))
    with pytest.raises(UnknownTargetError, match="Did you mean 'example/"):
        engine.send("exmple/answer/one", "good")

    # The first job does not end by itself, because its function is called again and again.
    functions = FunctionRegistry()
    functions.register("example/answer", answer, egresses=["example/out"])
    engine = pool.get("flink", functions)
    engine.send("example/answer/three", "good")
    assert [each.key for each in engine.records("flink-answers", key="three")] == ["three"]
    assert engine.records("flink-answers", 0, key="one") == []
