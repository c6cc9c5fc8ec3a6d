from __future__ import annotations

import dataclasses
import datetime as dt
import typing as t

import pytest
import yaml
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from statefun_flask.module_yaml import convert
from statefun_flask.module_yaml import dump
from statefun_flask.module_yaml import Extension
from statefun_flask.module_yaml import FormatError
from statefun_flask.module_yaml import HttpEndpoint
from statefun_flask.module_yaml import KafkaEgress
from statefun_flask.module_yaml import KafkaIngress
from statefun_flask.module_yaml import load
from statefun_flask.module_yaml import Module
from statefun_flask.module_yaml import PlaygroundIngress
from statefun_flask.module_yaml import read
from statefun_flask.module_yaml import State
from statefun_flask.module_yaml import Topic
from statefun_flask.module_yaml import VERSIONS
from statefun_flask.module_yaml.model import Version

HOUR = dt.timedelta(hours=1)
GREETER = HttpEndpoint(
    functions="example/greeter",
    url="http://app:8000/statefun",
    transport="okhttp",
    states=(State(name="seen_count"),),
)


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_written_modules_are_read_back_equal_and_without_a_finding(
    data: st.DataObject, version: Version, modules_of: t.Any
) -> None:
    module = data.draw(modules_of(version))

    reading = read(dump(module))

    assert reading.findings == ()
    assert reading.module == module


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_conversion_to_3_1_and_back_keeps_all_but_states(
    data: st.DataObject, modules_of: t.Any
) -> None:
    module = data.draw(modules_of("3.0"))

    assert convert(convert(module, "3.1"), "3.0") == module
    assert read(dump(convert(module, "3.1"))).findings == ()


values = st.recursive(
    st.text(st.characters(exclude_categories=["Cs", "Cc"])) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text("abc", min_size=1), values, min_size=1))
def test_a_foreign_component_is_kept_as_it_is(spec: dict[str, t.Any]) -> None:
    written = dump(read(yaml.safe_dump({"kind": "acme.v1/ingress", "spec": spec})).module)

    assert yaml.safe_load(written) == {"kind": "acme.v1/ingress", "spec": spec}
    assert dump(read(written).module) == written


def test_writes_the_documents_of_3_1() -> None:
    module = Module(
        "3.1",
        (
            HttpEndpoint(
                functions="example/*",
                url="http://app:8000/{function.name}",
                transport="okhttp",
                call=HOUR,
            ),
            KafkaIngress(
                id="example/names",
                address="kafka:9092",
                group="5",
                topics=(
                    Topic(topic="names", value_type="example/Name", targets=("example/greeter",)),
                ),
            ),
            KafkaEgress(
                id="example/greets",
                address="kafka:9092",
                delivery="exactly-once",
                transaction_timeout=dt.timedelta(minutes=15),
                properties=(("linger.ms", "5"),),
            ),
        ),
    )

    assert (
        dump(module)
        == """\
kind: io.statefun.endpoints.v2/http
spec:
  functions: example/*
  urlPathTemplate: http://app:8000/{function.name}
  transport:
    type: io.statefun.transports.v1/okhttp
    timeouts:
      call: 1h
---
kind: io.statefun.kafka.v1/ingress
spec:
  id: example/names
  address: kafka:9092
  consumerGroupId: "5"
  topics:
    - topic: names
      valueType: example/Name
      targets:
        - example/greeter
---
kind: io.statefun.kafka.v1/egress
spec:
  id: example/greets
  address: kafka:9092
  deliverySemantic:
    type: exactly-once
    transactionTimeout: 15min
  properties:
    - linger.ms: "5"
"""
    )


def test_writes_functions_with_states_in_2_0() -> None:
    state = State(name="seen_count", expire_after=HOUR, expire_mode="after-write")
    module = Module(
        "2.0", (GREETER, HttpEndpoint(**{**vars(GREETER), "functions": "a/b", "states": (state,)}))
    )

    assert (
        dump(module)
        == """\
version: "2.0"
module:
  meta:
    type: remote
  spec:
    functions:
      - function:
          meta:
            kind: http
            type: example/greeter
          spec:
            endpoint: http://app:8000/statefun
            states:
              - name: seen_count
      - function:
          meta:
            kind: http
            type: a/b
          spec:
            endpoint: http://app:8000/statefun
            states:
              - name: seen_count
                expireAfter: 1h
                expireMode: after-write
"""
    )


def test_1_0_refuses_a_state_that_expires() -> None:
    state = State(name="seen_count", expire_after=HOUR)
    module = Module("1.0", (dataclasses.replace(GREETER, states=(state,)),))

    with pytest.raises(FormatError) as info:
        dump(module)

    assert str(info.value) == (
        "The state 'seen_count' of 'example/greeter' expires, which format 1.0 cannot express:"
        " it would stay for ever. Write format 2.0, which StateFun 2.2 and later read."
    )


@pytest.mark.parametrize(
    ("version", "component", "message"),
    [
        (
            "2.0",
            HttpEndpoint(functions="a/*", url="http://h:1", transport="okhttp"),
            (
                "'a/*' stands for many functions, and in format 2.0 each has an entry of its own."
                " Name the functions."
            ),
        ),
        (
            "2.0",
            HttpEndpoint(functions="a/b", url="http://h:1/{function.name}", transport="okhttp"),
            (
                "'http://h:1/{function.name}' is a template, which format 2.0 does not have. Write"
                " the URL of 'a/b'."
            ),
        ),
        (
            "3.0",
            HttpEndpoint(functions="a/b", url="http://h:1"),
            (
                "'a/b' is called with the async transport, and format 3.0 has only okhttp. Convert"
                " the module first."
            ),
        ),
        (
            "3.1",
            GREETER,
            (
                "Format 3.1 does not declare states, such as 'seen_count' of 'example/greeter'."
                " Declare them with the function, and convert the module."
            ),
        ),
        (
            "3.0",
            PlaygroundIngress(port=1),
            "Format 3.0 has no component 'Playground ingress'. Remove it, or write another format.",
        ),
        (
            "3.1",
            Extension(section="routers", type="a/router", spec="{}"),
            (
                "'a/router' belongs to another format, and has no known equivalent in 3.1. Remove"
                " it, and write its replacement by hand."
            ),
        ),
    ],
)
def test_a_component_that_a_format_cannot_express_is_refused(
    version: Version, component: t.Any, message: str
) -> None:
    with pytest.raises(FormatError) as info:
        dump(Module(version, (component,)))

    assert str(info.value) == message


@pytest.mark.parametrize("kind", ["/", "a/b", "grcp"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_a_function_of_an_unknown_kind_keeps_its_name(version: Version, kind: str) -> None:
    text = (
        f'version: "{version}"\n'
        "module:\n"
        "  meta: {type: remote}\n"
        "  spec:\n"
        "    functions:\n"
        f"      - function: {{meta: {{kind: {kind}, type: a/f}}, spec: {{host: h}}}}\n"
    )
    module = read(text).module

    written = dump(module)

    assert "type: a/f" in written
    assert read(written).module == module


def test_a_conversion_from_2_0_drops_states_and_renames_types() -> None:
    topic = Topic(topic="t", value_type="com.googleapis/a.Name", targets=("example/greeter",))
    ingress = KafkaIngress(id="a/in", address="h:1", group="g", topics=(topic,))

    made = convert(Module("2.0", (GREETER, ingress)), "3.1")

    assert made.endpoints[0].states is None
    assert made.endpoints[0].transport == "okhttp"
    assert made.ingresses[0].topics[0].value_type == "type.googleapis.com/a.Name"
    assert convert(made, "2.0").ingresses[0] == ingress


def test_a_conversion_to_okhttp_keeps_the_call_timeout() -> None:
    module = Module("3.1", (HttpEndpoint(functions="a/b", url="http://h:1/s", pool_size=5),))

    made = convert(module, "3.0")

    assert made.endpoints[0].call == dt.timedelta(minutes=2)
    assert load(dump(made)) == made


def test_a_conversion_to_okhttp_bounds_the_other_timeouts() -> None:
    second = dt.timedelta(seconds=1)
    module = Module("3.1", (HttpEndpoint(functions="a/b", url="http://h:1/s", call=5 * second),))

    made = convert(module, "3.0")

    assert made.endpoints[0].read == made.endpoints[0].connect == 5 * second
    assert load(dump(made)) == made
