"""The greeter as a whole, on the engine that ``--engine`` names: embedded, flink or both."""

from __future__ import annotations

from greeter_pb2 import GreetRequest
from greeter_pb2 import GreetResponse

from statefun_flask.testing import Engine


def greetings(engine: Engine, name: str, count: int) -> list[str]:
    records = engine.records("greetings", count, key=name)
    return [record.as_type(GreetResponse).greeting for record in records]


def test_names_from_kafka_are_greeted(engine: Engine) -> None:
    request = GreetRequest(name="Ada").SerializeToString()
    engine.produce("names", "Ada", request)
    engine.produce("names", "Ada", request)
    assert greetings(engine, "Ada", 2) == [
        "Say hello to Ada from Flask. I've seen them 1 times now.",
        "Say hello to Ada from Flask. I've seen them 2 times now.",
    ]


def test_the_count_outlives_a_failure_of_the_engine(engine: Engine) -> None:
    engine.send("example/greeter/Grace", GreetRequest(name="Grace"))
    assert len(greetings(engine, "Grace", 1)) == 1
    engine.fail()
    engine.send("example/greeter/Grace", GreetRequest(name="Grace"))
    assert greetings(engine, "Grace", 2) == [
        "Say hello to Grace from Flask. I've seen them 1 times now.",
        "Say hello to Grace from Flask. I've seen them 2 times now.",
    ]


def test_names_wait_for_a_worker_that_is_away(engine: Engine) -> None:
    engine.stop_worker()
    engine.send("example/greeter/Joan", GreetRequest(name="Joan"))
    engine.start_worker()
    assert greetings(engine, "Joan", 1) == [
        "Say hello to Joan from Flask. I've seen them 1 times now."
    ]
