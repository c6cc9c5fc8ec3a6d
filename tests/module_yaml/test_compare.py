from __future__ import annotations

import datetime as dt
import typing as t

import pytest

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import ValueSpec
from statefun_flask.config import Settings
from statefun_flask.module_yaml import Finding
from statefun_flask.module_yaml import read
from statefun_flask.module_yaml.compare import compare

V3 = """\
kind: io.statefun.endpoints.v2/http
spec:
  functions: example/*
  urlPathTemplate: http://app:5000/statefun
---
kind: io.statefun.kafka.v1/ingress
spec:
  id: example/in
  address: h:9092
  consumerGroupId: g
  topics:
    - topic: names
      valueType: io.statefun.types/string
      targets:
        - example/greeter
---
kind: io.statefun.kafka.v1/egress
spec:
  id: example/greets
  address: h:9092
"""
V2 = """\
version: "2.0"
module:
  meta: {type: remote}
  spec:
    functions:
      - function:
          meta: {kind: http, type: example/greeter}
          spec:
            endpoint: http://app:5000/statefun
            states:
              - name: seen_count
                expireAfter: 1h
                expireMode: after-write
    ingresses:
      - ingress:
          meta: {type: statefun.kafka.io/routable-protobuf-ingress, id: example/in}
          spec:
            address: h:9092
            consumerGroupId: g
            topics:
              - topic: names
                typeUrl: com.googleapis/google.protobuf.StringValue
                targets:
                  - example/greeter
    egresses:
      - egress:
          meta: {type: statefun.kafka.io/generic-egress, id: example/greets}
          spec: {address: "h:9092"}
"""
SEEN = ValueSpec("seen_count", int, expire_after_write=dt.timedelta(hours=1))


def greet(context: Context, name: str) -> Effects:
    return Effects()


@pytest.fixture
def registry() -> FunctionRegistry:
    made = FunctionRegistry()
    made.register("example/greeter", greet, states=[SEEN], egresses=["example/greets"])
    return made


def found(registry: FunctionRegistry, *texts: str, **settings: t.Any) -> list[Finding]:
    readings = [read(text, f"{number}.yaml") for number, text in enumerate(texts)]
    assert not any(reading.findings for reading in readings)
    return compare([each.module for each in readings], registry, Settings(**settings))


@pytest.mark.parametrize("text", [V3, V2])
def test_files_that_fit_have_no_finding(registry: FunctionRegistry, text: str) -> None:
    assert found(registry, text) == []


def test_files_of_one_job_are_looked_at_together(registry: FunctionRegistry) -> None:
    endpoint, _, rest = V3.partition("---\n")

    assert found(registry, endpoint, rest) == []
    assert [each.code for each in found(registry, endpoint)] == ["no-ingress", "unknown-egress"]
    assert [each.code for each in found(registry, rest)] == [
        "no-endpoint",
        "no-endpoint-for-target",
        "unrouted-function",
    ]


def test_components_in_two_files_are_found(registry: FunctionRegistry) -> None:
    first = found(registry, V3, V3)[0]

    assert str(first) == (
        "1.yaml:3:14: [0].spec.functions: The pattern 'example/*' is also in '0.yaml'. Remove one"
        " of them, or give it another name."
    )


@pytest.mark.parametrize(
    ("base", "change", "message"),
    [
        (
            V3,
            ("- example/greeter", "- exmple/greeter"),
            (
                "0.yaml:15:11: [1].spec.topics[0].targets[0]: No endpoint serves the target"
                " 'exmple/greeter', so its first record ends the job. Correct the name, or write an"
                " endpoint for it."
            ),
        ),
        (
            V3,
            ("- example/greeter", "- example/greter"),
            (
                "0.yaml:15:11: [1].spec.topics[0].targets[0]: The app has no function"
                " 'example/greter'. Did you mean 'example/greeter'? Correct the name, or register"
                " the function."
            ),
        ),
        (
            V3,
            ("types/string", "types/int"),
            (
                "0.yaml:13:18: [1].spec.topics[0].valueType: 'example/greeter' does not accept"
                " messages of type 'io.statefun.types/int', only 'io.statefun.types/string'."
                " Correct the type, or annotate a function with it."
            ),
        ),
        (
            V3,
            ("id: example/greets", "id: example/greet"),
            (
                "0.yaml: 'example/greeter' writes to the egress 'example/greets', which the file"
                " lacks; its first record ends the job. Did you mean 'example/greet'? Write an"
                " egress with the id 'example/greets', or correct the id."
            ),
        ),
        (
            V2,
            ("expireAfter: 1h", "expireAfter: 2h"),
            (
                "0.yaml:12:30: module.spec.functions[0].function.spec.states[0].expireAfter: The"
                " state 'seen_count' of 'example/greeter' expires 2h after write here, and expires"
                " 1h after write in the app; StateFun 2.x uses the file's. Write"
                " '{name: seen_count, expireAfter: 1h, expireMode: after-write}'."
            ),
        ),
        (
            V2,
            (
                "\n                expireAfter: 1h\n                expireMode: after-write\n",
                "\n",
            ),
            (
                "0.yaml:11:17: module.spec.functions[0].function.spec.states[0]: The state"
                " 'seen_count' of 'example/greeter' never expires here, and expires 1h after write"
                " in the app; StateFun 2.x uses the file's. Write '{name: seen_count,"
                " expireAfter: 1h, expireMode: after-write}'."
            ),
        ),
    ],
)
def test_a_mismatch_is_found_at_its_place(
    registry: FunctionRegistry, base: str, change: tuple[str, str], message: str
) -> None:
    assert change[0] in base

    assert message in map(str, found(registry, base.replace(*change)))


def test_missing_and_extra_states_are_found(registry: FunctionRegistry) -> None:
    missing, extra = found(registry, V2.replace("name: seen_count", "name: seen_counts"))

    assert str(missing) == (
        "0.yaml:11:15: module.spec.functions[0].function.spec.states: The state 'seen_count' of"
        " 'example/greeter' is missing, so every request for it fails. Did you mean 'seen_counts'?"
        " Add '- {name: seen_count, expireAfter: 1h, expireMode: after-write}' to its states."
    )
    assert str(extra) == (
        "0.yaml:11:23: warning: module.spec.functions[0].function.spec.states[0].name:"
        " 'example/greeter' declares no state 'seen_counts', which is sent with every request. Did"
        " you mean 'seen_count'? Correct the name, declare it, or remove it."
    )


def test_an_unserved_endpoint_is_found_unless_another_app_has_it(
    registry: FunctionRegistry,
) -> None:
    more = (
        "---\nkind: io.statefun.endpoints.v2/http\n"
        "spec: {functions: example/gone, urlPathTemplate: 'http://app:5000/x'}\n"
    )

    assert [(each.code, each.line) for each in found(registry, V3 + more)] == [
        ("unserved-function", 23)
    ]
    assert found(registry, V3 + more.replace("app:5000", "other:5000")) == []


def test_a_function_without_an_endpoint_is_found(registry: FunctionRegistry) -> None:
    registry.register("other/fn", greet)

    (finding,) = found(registry, V3)
    assert str(finding) == (
        "0.yaml: The app's function 'other/fn' has no endpoint, so a message to it ends the job."
        " Write an endpoint for 'other/fn'."
    )


def test_a_protocol_that_is_switched_off_is_found(registry: FunctionRegistry) -> None:
    (finding,) = found(registry, V2, protocol="v3")
    assert str(finding) == (
        "0.yaml: The file is for StateFun 2.x, and the app's STATEFUN_PROTOCOL is 'v3'. Set it to"
        " 'v2', or write the file in another format."
    )
    assert found(registry, V2, protocol="v2") == []


def test_components_of_a_foreign_kind_may_be_anything(registry: FunctionRegistry) -> None:
    text = (
        "kind: io.statefun.endpoints.v2/http\n"
        "spec: {functions: example/*, urlPathTemplate: 'http://app:5000/statefun'}\n"
        "---\nkind: acme.v1/ingress\nspec: {}\n"
    )
    reading = read(text)

    assert [each.severity for each in reading.findings] == ["warning"]
    assert compare([reading.module], registry) == []
