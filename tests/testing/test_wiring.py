"""The module.yaml that a test runs on Flink."""

from __future__ import annotations

import re
import textwrap

import pytest

from statefun_flask import FunctionRegistry
from statefun_flask.module_yaml import KafkaEgress
from statefun_flask.module_yaml import KafkaIngress
from statefun_flask.testing.wiring import wire
from statefun_flask.testing.wiring import Wiring

MODULE = """
kind: io.statefun.endpoints.v2/http
spec: {functions: example/*, urlPathTemplate: "http://elsewhere:1/path?query=kept"}
---
kind: io.statefun.endpoints.v2/http
spec: {functions: other/*, urlPathTemplate: "http://other:2/statefun"}
---
kind: io.statefun.kafka.v1/ingress
spec:
  id: example/in
  address: broker:9092
  consumerGroupId: group
  topics: [{topic: texts, valueType: io.statefun.types/string, targets: [example/count]}]
---
kind: io.statefun.kafka.v1/egress
spec: {id: example/out, address: "broker:9092"}
"""


def wired(module: str | None) -> Wiring:
    functions = FunctionRegistry()
    functions.register("example/count", lambda context, message: None, egresses=["example/out"])
    return wire(
        functions,
        module,
        worker="http://127.0.0.1:7",
        sender_url="http://127.0.0.1:8",
        kafka="127.0.0.1:9",
        tag="-tag",
    )


def test_endpoints_of_the_app_get_its_address_and_others_keep_theirs() -> None:
    urls = {each.functions: each.url for each in wired(MODULE).module.endpoints}
    assert urls == {
        "example/*": "http://127.0.0.1:7/path?query=kept",
        "other/*": "http://other:2/statefun",
        "statefun.testing/sender": "http://127.0.0.1:8/statefun",
    }


def test_topics_are_read_from_the_tests_broker_under_names_of_their_own() -> None:
    wiring = wired(MODULE)
    assert wiring.topic("texts").topic == "texts-tag"
    for ingress in wiring.module.ingresses:
        assert isinstance(ingress, KafkaIngress)
        assert ingress.bootstrap == "127.0.0.1:9"
    (egress,) = wiring.module.egresses
    assert isinstance(egress, KafkaEgress)
    assert egress.address == "127.0.0.1:9"


def test_without_a_module_the_declared_egresses_exist() -> None:
    module = wired(None).module
    assert [each.id for each in module.egresses] == ["example/out"]
    assert {each.functions for each in module.endpoints} == {"example/*", "statefun.testing/sender"}


def test_a_module_of_statefun_2_is_refused() -> None:
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
    message = (
        "'module.yaml' has the format 2.0 of StateFun 2.x, and the test engine 'flink' runs"
        " StateFun 3.3. Give the tests a module.yaml of a 3.x format."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        wired(module)


def test_a_component_that_is_not_kafkas_is_refused() -> None:
    module = MODULE + "---\nkind: io.statefun.playground.v1/ingress\nspec: {port: 8090}\n"
    message = (
        "'module.yaml' has the component PlaygroundIngress, which the test engine 'flink' cannot"
        " run: its ingresses and egresses are those of Kafka. Give the tests a module.yaml with"
        " Kafka in its place."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        wired(module)
