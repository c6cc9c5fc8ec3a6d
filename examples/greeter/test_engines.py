"""Tests of the whole greeter, on the engine that ``--statefun-engine`` chooses."""

from __future__ import annotations

from greeter_pb2 import GreetRequest
from greeter_pb2 import GreetResponse

from statefun_flask.testing import TestEngine


def greetings(engine: TestEngine, name: str, count: int) -> list[str]:
    records = engine.records("greetings", count, key=name)
    return [record.as_type(GreetResponse).greeting for record in records]


def test_names_from_kafka_are_greeted(statefun_engine: TestEngine) -> None:
    request = GreetRequest(name="Ada").SerializeToString()
    statefun_engine.produce("names", "Ada", request)
    statefun_engine.produce("names", "Ada", request)
    assert greetings(statefun_engine, "Ada", 2) == [
        "Say hello to Ada from Flask. I've seen them 1 times now.",
        "Say hello to Ada from Flask. I've seen them 2 times now.",
    ]


def test_the_count_outlives_a_failure_of_the_engine(statefun_engine: TestEngine) -> None:
    statefun_engine.send("example/greeter/Grace", GreetRequest(name="Grace"))
    assert len(greetings(statefun_engine, "Grace", 1)) == 1
    statefun_engine.fail()
    statefun_engine.send("example/greeter/Grace", GreetRequest(name="Grace"))
    assert greetings(statefun_engine, "Grace", 2) == [
        "Say hello to Grace from Flask. I've seen them 1 times now.",
        "Say hello to Grace from Flask. I've seen them 2 times now.",
    ]


def test_names_wait_for_a_stopped_worker(statefun_engine: TestEngine) -> None:
    statefun_engine.stop_worker()
    statefun_engine.send("example/greeter/Joan", GreetRequest(name="Joan"))
    statefun_engine.start_worker()
    assert greetings(statefun_engine, "Joan", 1) == [
        "Say hello to Joan from Flask. I've seen them 1 times now."
    ]
