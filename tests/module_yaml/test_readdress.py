"""The addresses of a file are replaced in its text."""

from __future__ import annotations

import itertools
import typing as t

import pytest
import yaml

from statefun_flask.module_yaml import FormatError
from statefun_flask.module_yaml import nodes
from statefun_flask.module_yaml import read
from statefun_flask.module_yaml import readdress

KAFKA = "127.0.0.1:41234"

NEW = """\
# Which functions are where.
kind: io.statefun.endpoints.v2/http
spec:
  functions: example/*
  urlPathTemplate: http://localhost:5000/statefun/{function.name}  # the app
---
---
kind: io.statefun.endpoints.v2/http
spec: {functions: "example/special", urlPathTemplate: 'http://localhost:5001/special'}
---
kind: io.statefun.kafka.v1/ingress
spec:
  id: example/names
  address: 'localhost:9092'
  startupPosition: {type: date, date: "2026-01-01 00:00:00.000 +0000"}
  topics:
    - topic: "1.0"
      valueType: example/GreetRequest
      targets: [example/greeter]
    - {topic: more, valueType: a/b, targets: [example/greeter]}
---
kind: io.statefun.kafka.v1/egress
spec: {id: example/greets, address: localhost:9092}
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
          spec:
            endpoint: >-
              http://127.0.0.1:8000/statefun

            maxNumBatchRequests: 5
    ingresses:
      - ingress:
          meta: {type: statefun.kafka.io/routable-protobuf-ingress, id: example/names}
          spec:
            address: kafka:9092
            consumerGroupId: g
            topics: [{topic: names, typeUrl: a/b, targets: [example/greeter]}]
      - ingress:
          meta: {type: statefun.kafka.io/protobuf-ingress, id: example/others}
          spec: {address: "kafka:9092", topics: [other]}
    egresses:
      - egress:
          meta: {type: statefun.kafka.io/generic-egress, id: example/greets}
          spec: {address: "kafka:9092"}
"""


@pytest.fixture(params=["CSafeLoader", "SafeLoader"], autouse=True)
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read with each of PyYAML's two parsers."""
    monkeypatch.setattr(nodes, "_Loader", getattr(yaml, request.param))


def test_only_the_addresses_of_kafka_change() -> None:
    changed = readdress(read(NEW), kafka=KAFKA)

    assert changed == NEW.replace("'localhost:9092'", f'"{KAFKA}"').replace(
        "localhost:9092}", f'"{KAFKA}"}}'
    )


def test_only_the_host_of_a_url_changes() -> None:
    changed = readdress(read(NEW), endpoint="http://127.0.0.1:7777")

    assert changed == NEW.replace(
        "http://localhost:5000/statefun/{function.name}",
        '"http://127.0.0.1:7777/statefun/{function.name}"',
    ).replace("'http://localhost:5001/special'", '"http://127.0.0.1:7777/special"')


def test_nothing_changes_without_an_address() -> None:
    assert readdress(read(NEW)) == NEW


def test_the_old_formats_are_changed_in_all_sections() -> None:
    changed = readdress(read(OLD), kafka=KAFKA, endpoint="http://127.0.0.1:7777")

    spec = yaml.safe_load(changed)["module"]["spec"]
    expected = yaml.safe_load(OLD)["module"]["spec"]
    for section, entry in itertools.product(("ingresses", "egresses"), range(2)):
        if entry < len(expected[section]):
            expected[section][entry][{"i": "ingress", "e": "egress"}[section[0]]]["spec"][
                "address"
            ] = KAFKA
    for function in expected["functions"]:
        function["function"]["spec"]["endpoint"] = "http://127.0.0.1:7777/statefun"
    assert spec == expected


EGRESS = "kind: io.statefun.kafka.v1/egress\nspec: {}\n"


@pytest.mark.parametrize(
    "spec",
    [
        "\n  address: h:1\n  id: a/b",
        "\n  # \U0001f600 comment\n  id: a/b\u2028  address: h:1 # which",
        "{id: a/b, address: h:1}",
        "\n    address: |-\n        h:1\n    id: a/b",
        "\n  address: >-\n    h:1\n\n\n  id: a/b",
        '\n  "address": "h:1"\n  id: a/b',
        "\n  ? address\n  : h:1\n  id: a/b",
    ],
)
def test_an_address_is_replaced_however_it_is_written(spec: str) -> None:
    text = EGRESS.replace("{}", spec)
    assert read(text).errors == ()

    changed = yaml.safe_load(readdress(read(text), kafka=KAFKA))

    assert changed == yaml.safe_load(text) | {"spec": {"id": "a/b", "address": KAFKA}}


PROPERTIES = "properties: [{bootstrap.servers: h:1}, {group.id: g}]"
TOPICS = "topics: [{topic: t, valueType: a/b, targets: [a/b]}]"


@pytest.mark.parametrize(
    "spec",
    [
        f"\n  id: a/b # an id\n  {TOPICS}\n  {PROPERTIES}",
        f"{{id: a/b, {TOPICS}, {PROPERTIES}}}",
        f"\n  id: a/b\n  address:\n  {TOPICS}\n  {PROPERTIES}",
        f"\n  id: a/b\n  address: ~ # none\n  {TOPICS}\n  {PROPERTIES}",
        f"{{id: a/b, address: , {TOPICS}, {PROPERTIES}}}",
    ],
)
def test_an_address_that_only_a_property_has_is_added(spec: str) -> None:
    text = f"kind: io.statefun.kafka.v1/ingress\nspec: {spec}\n"
    assert read(text).errors == ()

    changed = yaml.safe_load(readdress(read(text), kafka=KAFKA))

    expected: dict[str, t.Any] = yaml.safe_load(text)
    expected["spec"]["address"] = KAFKA
    assert changed == expected


def test_a_byte_order_mark_does_not_shift_the_places() -> None:
    text = "\ufeff" + EGRESS.replace("{}", "{id: a/b, address: h:1}")
    assert yaml.safe_load(readdress(read(text), kafka=KAFKA))["spec"]["address"] == KAFKA


def test_an_address_that_cannot_be_placed_is_refused() -> None:
    text = (
        f"kind: io.statefun.kafka.v1/ingress\nspec:\n  ? id\n  : a/b\n  {TOPICS}\n  {PROPERTIES}\n"
    )
    assert read(text).errors == ()

    with pytest.raises(FormatError) as info:
        readdress(read(text), kafka=KAFKA)
    assert str(info.value) == (
        "The addresses in 'module.yaml' cannot be replaced as they are written. Write each"
        " 'address' and URL on a line of its own, as 'name: value'."
    )
