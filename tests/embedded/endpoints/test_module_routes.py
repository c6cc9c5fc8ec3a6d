"""Routing by module.yaml."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from statefun_flask import module_yaml
from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded.endpoints.module_routes import ModuleRoutes
from statefun_flask.embedded.errors import UnknownEgressError
from statefun_flask.embedded.errors import UnknownTargetError
from statefun_flask.embedded.exchange.formats import KafkaFormat
from statefun_flask.protocol.schema.egress import KafkaProducerRecord
from statefun_flask.values.egress import KAFKA
from statefun_flask.values.egress import kafka_record
from statefun_flask.values.message import Message

TEXT = """
kind: io.statefun.endpoints.v2/http
spec:
  functions: shop/*
  urlPathTemplate: http://worker:8000/{function.name}
---
kind: io.statefun.endpoints.v2/http
spec:
  functions: shop/pay
  urlPathTemplate: http://bank/pay
  maxNumBatchRequests: 2
  transport:
    type: io.statefun.transports.v1/async
    call: 5s
    connect: 1s
---
kind: io.statefun.kafka.v1/egress
spec:
  id: shop/out
  address: kafka:9092
---
kind: io.statefun.playground.v1/egress
spec:
  port: 8091
  topics: [greetings]
"""


@pytest.fixture
def module(tmp_path: pathlib.Path) -> module_yaml.Module:
    path = tmp_path / "module.yaml"
    path.write_text(TEXT)
    return module_yaml.load(path)


def test_template_has_the_name_of_the_function(module: module_yaml.Module) -> None:
    assert ModuleRoutes(module).endpoint("shop/cart").name == "http://worker:8000/cart"


def test_exact_name_goes_before_the_namespace(module: module_yaml.Module) -> None:
    endpoint = ModuleRoutes(module).endpoint("shop/pay")
    assert (endpoint.name, endpoint.batch) == ("http://bank/pay", 2)


def test_endpoint_is_looked_up_once_for_each_type(module: module_yaml.Module) -> None:
    routes = ModuleRoutes(module)
    assert routes.endpoint("shop/cart") is routes.endpoint("shop/cart")
    assert routes.endpoint("shop/cart") is not routes.endpoint("shop/list")


def test_functions_of_this_process_are_called_in_process(module: module_yaml.Module) -> None:
    routes = ModuleRoutes(module, lambda body: b"", ["shop/pay"])
    assert (routes.endpoint("shop/pay").name, routes.endpoint("shop/pay").batch) == (
        "in process",
        2,
    )
    assert routes.endpoint("shop/cart").name == "http://worker:8000/cart"


def test_function_without_an_endpoint(module: module_yaml.Module) -> None:
    with pytest.raises(UnknownTargetError) as info:
        ModuleRoutes(module, lambda body: b"", ["other/fn"]).endpoint("other/fn")
    assert str(info.value).startswith("No endpoint serves the function 'other/fn'.")


def test_unknown_egress(module: module_yaml.Module) -> None:
    with pytest.raises(UnknownEgressError) as info:
        ModuleRoutes(module).egress("shop/oot")
    assert str(info.value) == (
        "There is no egress 'shop/oot'. Did you mean 'shop/out'?"
        " Correct the identifier, or add the egress to module.yaml."
    )


def test_record_to_an_unknown_egress_parks_its_sender(
    module: module_yaml.Module, script: t.Any, bench: t.Any, reply: t.Any
) -> None:
    script.add("shop/pay", lambda batch: reply().egress("shop/none", b"x"))
    made = bench(routes=ModuleRoutes(module, script, ["shop/pay"]))
    made.run("shop/pay", "1")
    assert made.error() == (
        "'shop/pay' sends a record to an egress for id '1'. There is no egress 'shop/none'."
        " Did you mean 'shop/out'? Correct the identifier, or add the egress to module.yaml."
    )


def test_record_of_a_type_that_its_egress_does_not_accept_parks_its_sender(
    module: module_yaml.Module, script: t.Any, bench: t.Any, reply: t.Any
) -> None:
    script.add("shop/pay", lambda batch: reply().egress("shop/out", b"x", "a/b"))
    made = bench(routes=ModuleRoutes(module, script, ["shop/pay"]))
    made.run("shop/pay", "1")
    assert made.error() == (
        f"'shop/pay' sends a record to an egress for id '1'. The egress 'shop/out' accepts records"
        f" of type '{KAFKA}', not 'a/b'. Make the record with 'kafka_record'."
    )


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (b'{"topic": "greetings", "payload": "hi"}', None),
        (b'{"topic": "other", "payload": "hi"}', "has no topic 'other'"),
        (b'{"topic": 1}', "is not a JSON object with the strings 'topic' and 'payload'"),
        (b"nonsense", "is not a JSON object with the strings 'topic' and 'payload'"),
    ],
)
def test_playground_egress(
    module: module_yaml.Module,
    script: t.Any,
    bench: t.Any,
    reply: t.Any,
    value: bytes,
    error: str | None,
) -> None:
    name = "io.statefun.playground/egress"
    script.add(
        "shop/pay", lambda b: reply().egress(name, value, "io.statefun.playground/EgressRecord")
    )
    made = bench(routes=ModuleRoutes(module, script, ["shop/pay"]))
    made.run("shop/pay", "1")
    if error is None:
        (record,) = made.control.egress("greetings")
        assert (record.topic, record.value) == ("greetings", b"hi")
    else:
        assert error in made.error()


def test_kafka_record_is_read(
    module: module_yaml.Module, script: t.Any, bench: t.Any, reply: t.Any
) -> None:
    message = kafka_record("greetings", key="bob", value="hi")
    script.add("shop/pay", lambda b: reply().egress("shop/out", message.value, message.typename))
    made = bench(routes=ModuleRoutes(module, script, ["shop/pay"]))
    made.run("shop/pay", "1")
    (record,) = made.control.egress("greetings")
    assert (record.egress, record.topic, record.key, record.value) == (
        "shop/out",
        "greetings",
        "bob",
        b"hi",
    )


def test_module_of_statefun_2_is_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "module.yaml"
    path.write_text(
        'version: "2.0"\nmodule:\n  meta: {type: remote}\n  spec:\n    functions:\n'
        "      - function:\n          meta: {kind: http, type: a/b}\n"
        "          spec: {endpoint: 'http://x/statefun'}\n"
    )
    with pytest.raises(ValueError, match=r"is of format 2.0") as info:
        ModuleRoutes(module_yaml.load(path))
    assert str(info.value) == (
        f"'{path}' is of format 2.0, which is StateFun 2.x, and the embedded engine speaks 3.x"
        " only. Convert the file to a format of 3.x, or run it on the real engine with 'flask"
        " statefun flink' and STATEFUN_PROTOCOL='v2'."
    )


def test_popping_a_topic_moves_on_and_outlives_a_restart(
    script: t.Any, bench: t.Any, reply: t.Any, tmp_path: pathlib.Path
) -> None:
    script.add("ns/fn", lambda batch: reply().egress("ns/out", batch.id.encode()))
    first = bench(SqliteStore(tmp_path / "data"))
    for id in ("1", "2", "3"):
        first.run("ns/fn", id)
    assert first.control.pop("ns/out").value == b"1"
    assert first.control.pop("ns/out").value == b"2"
    first.engine.close()
    second = bench(SqliteStore(tmp_path / "data"))
    assert second.control.pop("ns/out").value == b"3"
    assert second.control.pop("ns/out") is None


@pytest.mark.parametrize("topic", ["", ".", "a/b", "ä", "x" * 250])
def test_invalid_topic_name(topic: str) -> None:
    message = Message(KAFKA, KafkaProducerRecord(topic=topic).SerializeToString())
    with pytest.raises(ValueError, match="not a name of a Kafka topic") as caught:
        KafkaFormat("ns/out").read(message)
    assert str(caught.value) == (
        f"The egress 'ns/out' got a record for the topic '{topic}', which is not a name of a"
        " Kafka topic. Use 1 to 249 letters, digits, '.', '_' and '-'."
    )


def test_record_that_is_larger_than_kafka_accepts() -> None:
    egress_format = KafkaFormat("ns/out", 1000)
    sizes = {size: kafka_record("t", value=b"x" * size) for size in (899, 901)}
    assert len(egress_format.read(sizes[899]).value) == 899
    with pytest.raises(ValueError, match="Kafka does not accept") as caught:
        egress_format.read(sizes[901])
    assert str(caught.value) == (
        "The egress 'ns/out' got a record of 901 bytes for the topic 't', which Kafka does not"
        " accept. Make it smaller, or raise 'max.request.size' (1000) in the egress's properties"
        " and the topic's own limit."
    )
