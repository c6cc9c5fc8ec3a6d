"""Apps on Flink, one after the other; the suite in tests/e2e/engines has what happens inside."""

from __future__ import annotations

import collections.abc as cabc

import pytest

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import kafka_record
from statefun_flask import StateFunFlask
from statefun_flask.flink import Kafka
from statefun_flask.testing import Engines
from statefun_flask.testing import NothingCame

pytestmark = pytest.mark.e2e


@pytest.fixture
def engines(statefun_engines: Engines) -> cabc.Iterator[Engines]:
    """Return engines of the test's own, with everyone's broker."""
    broker: Kafka = statefun_engines.kafka
    with Engines(report=print, kafka=broker) as made:
        yield made


def answer(context: Context, text: str) -> Effects:
    if text == "bad":
        raise ValueError("a bad text")
    record = kafka_record("flink-answers", key=context.self_address.id, value=text)
    return Effects().egress("example/out", record)


def test_a_function_that_fails_is_told_of_and_another_app_takes_its_place(
    engines: Engines,
) -> None:
    app = StateFunFlask(__name__)
    app.statefun("example/answer", egresses=["example/out"])(answer)
    engine = engines.get("flink", app)
    engine.send("example/answer/one", "good")
    engine.send("example/answer/two", "bad")
    with pytest.raises(NothingCame) as raised:
        engine.records("flink-answers", 2, timeout=5)
    text = str(raised.value)
    assert text.startswith("There are not yet 2 records in 'flink-answers' after 5 s")
    assert "There is: one: b'good'" in text
    assert "A function raised ValueError: a bad text" in text
    assert isinstance(raised.value.__cause__, ValueError)
    assert engines.get("flink", app) is engine

    # The first job never ends by itself: its function is called again and again.
    functions = FunctionRegistry()
    functions.register("example/answer", answer, egresses=["example/out"])
    engine = engines.get("flink", functions)
    engine.send("example/answer/three", "good")
    assert [each.key for each in engine.records("flink-answers", key="three")] == ["three"]
    assert engine.records("flink-answers", 0, key="one") == []
