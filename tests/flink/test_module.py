from __future__ import annotations

import pathlib

import pytest
import yaml

from statefun_flask.flink import EngineError
from statefun_flask.flink import engines
from statefun_flask.flink.module import Module

NEW = """\
kind: io.statefun.endpoints.v2/http
spec:
  functions: example/*
  urlPathTemplate: http://localhost:5000/statefun/{function.name}
---
---
kind: io.statefun.endpoints.v2/http
spec:
  functions: example/special
  urlPathTemplate: http://localhost:5001/special
---
kind: io.statefun.kafka.v1/ingress
spec:
  id: example/names
  address: localhost:9092
  startupPosition: {type: date, date: "2026-01-01 00:00:00.000 +0000"}
  topics:
    - topic: names
      valueType: example/GreetRequest
      targets: [example/greeter]
    - {topic: more, valueType: a/b, targets: [example/greeter]}
---
kind: io.statefun.kafka.v1/egress
spec:
  id: example/greets
"""
OLD = """\
version: "2.0"
module:
  meta: {type: remote}
  spec:
    functions:
      - function:
          meta: {kind: http, type: example/greeter}
          spec: {endpoint: "http://127.0.0.1:8000/statefun", states: [{name: seen}]}
      - function:
        meta: {kind: http, type: example/relay}
        spec: {endpoint: "http://127.0.0.1:8000/statefun"}
    ingresses:
      - ingress:
          meta: {type: statefun.kafka.io/routable-protobuf-ingress, id: example/names}
          spec: {address: "kafka:9092", topics: [{topic: names, typeUrl: a/b}]}
    egresses:
      - egress:
          meta: {type: statefun.kafka.io/generic-egress, id: example/greets}
          spec: {address: "kafka:9092"}
"""
LEGACY = """\
version: "3.0"
module:
  meta: {type: remote}
  spec:
    endpoints:
      - endpoint:
          meta: {kind: http}
          spec: {functions: a/*, urlPathTemplate: "http://host:80/x"}
    ingresses:
      - ingress:
          meta: {type: io.statefun.kafka/ingress, id: a/b}
          spec: {address: "h:9092", topics: [{topic: t}]}
"""


def test_topics_urls_and_version_are_read_from_every_format() -> None:
    new, old, legacy = Module(NEW), Module(OLD), Module(LEGACY)
    assert [each.version for each in (new, old, legacy)] == [None, "2.0", "3.0"]
    assert [each.topics for each in (new, old, legacy)] == [["names", "more"], ["names"], ["t"]]
    assert old.urls == ["http://127.0.0.1:8000/statefun"]
    assert legacy.urls == ["http://host:80/x"]
    assert new.urls == [
        "http://localhost:5000/statefun/{function.name}",
        "http://localhost:5001/special",
    ]


def test_the_url_of_a_function_is_its_own_endpoints_or_its_namespaces() -> None:
    new = Module(NEW)
    assert new.url("example/greeter") == "http://localhost:5000/statefun/greeter"
    assert new.url("example/special") == "http://localhost:5001/special"
    assert new.url("other/special") is None
    assert Module(OLD).url("example/relay") == "http://127.0.0.1:8000/statefun"
    assert Module(LEGACY).url("a/x") == "http://host:80/x"


def test_kafka_addresses_are_replaced_and_added_and_all_else_stays() -> None:
    before = list(yaml.safe_load_all(NEW))
    after = list(yaml.safe_load_all(Module(NEW).adapted(kafka="127.0.0.1:41234")))
    before = [document for document in before if document]
    for document in before[2:]:
        document["spec"]["address"] = "127.0.0.1:41234"
    assert after == before


def test_the_old_formats_kafka_addresses_are_replaced() -> None:
    spec = yaml.safe_load(Module(OLD).adapted(kafka="127.0.0.1:41234"))["module"]["spec"]
    assert spec["ingresses"][0]["ingress"]["spec"]["address"] == "127.0.0.1:41234"
    assert spec["egresses"][0]["egress"]["spec"]["address"] == "127.0.0.1:41234"


def test_the_endpoint_replaces_host_and_port_and_keeps_the_path() -> None:
    adapted = Module(Module(NEW).adapted(endpoint="http://127.0.0.1:7777"))
    assert adapted.urls == [
        "http://127.0.0.1:7777/statefun/{function.name}",
        "http://127.0.0.1:7777/special",
    ]
    assert Module(Module(OLD).adapted(endpoint="http://127.0.0.1:7777")).urls == [
        "http://127.0.0.1:7777/statefun"
    ]


def test_a_text_that_looks_like_a_number_stays_a_text() -> None:
    # The engine refuses a version that is a number.
    assert yaml.safe_load(Module(OLD).adapted())["version"] == "2.0"


def test_a_format_that_the_engine_does_not_read_names_the_engine_that_does() -> None:
    Module(NEW).check(engines.engine("3.3.0"))
    Module(OLD).check(engines.engine("2.2.2"))
    with pytest.raises(EngineError) as info:
        Module(OLD).check(engines.engine("3.3.0"))
    assert str(info.value) == (
        "'module.yaml' has version '2.0', which StateFun 3.3.0 does not read. Use --engine 2.2.2,"
        " or write it for StateFun 3.3.0."
    )
    with pytest.raises(EngineError) as info:
        Module(NEW).check(engines.engine("2.2.2"))
    assert str(info.value) == (
        "'module.yaml' is in the format of several documents, which StateFun 2.2.2 does not read."
        " Use --engine 3.3.0, or write it for StateFun 2.2.2."
    )


def test_a_missing_file_says_how_to_name_another(tmp_path: pathlib.Path) -> None:
    with pytest.raises(EngineError) as info:
        Module(tmp_path / "module.yaml")
    assert str(info.value) == (
        f"Cannot read '{tmp_path}/module.yaml': No such file or directory. Name the app's module"
        " file with --module."
    )


def test_what_is_not_yaml_is_refused_with_the_place() -> None:
    with pytest.raises(EngineError) as info:
        Module("kind: x\nspec: [1\n")
    assert str(info.value) == (
        "'module.yaml' is not YAML. Correct it at line 3, column 1: expected ',' or ']', but got"
        " '<stream end>'."
    )


def test_characters_that_yaml_forbids_are_refused() -> None:
    with pytest.raises(EngineError, match="special characters are not allowed"):
        Module("kind: x\nspec: \x00\n")


def test_a_file_without_anything_in_it_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "m.yaml").write_text("# nothing\n")
    with pytest.raises(EngineError, match="says nothing"):
        Module(tmp_path / "m.yaml")
