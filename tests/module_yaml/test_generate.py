from __future__ import annotations

import datetime as dt
import typing as t

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import json_type
from statefun_flask import Message
from statefun_flask import ValueSpec
from statefun_flask.module_yaml import dump
from statefun_flask.module_yaml import FormatError
from statefun_flask.module_yaml import KafkaEgress
from statefun_flask.module_yaml import KafkaIngress
from statefun_flask.module_yaml import load
from statefun_flask.module_yaml import Module
from statefun_flask.module_yaml import read
from statefun_flask.module_yaml import VERSIONS
from statefun_flask.module_yaml.compare import compare
from statefun_flask.module_yaml.generate import generate
from statefun_flask.module_yaml.generate import Request
from statefun_flask.module_yaml.model import Version

URL = "http://app:5000/statefun"
NAMES = ("names", "example/greeter", None)


@json_type("example/GreetRequest")
class GreetRequest(t.NamedTuple):
    name: str


def greet(context: Context, request: GreetRequest) -> Effects:
    return Effects()


def relay(context: Context, message: Message) -> Effects:
    return Effects()


def say(context: Context, text: str) -> Effects:
    return Effects()


@pytest.fixture
def registry() -> FunctionRegistry:
    made = FunctionRegistry()
    seen = ValueSpec("seen_count", int)
    made.register("example/greeter", greet, states=[seen], egresses=["example/greets"])
    made.register("example/relay", relay)
    return made


def request(**options: t.Any) -> Request:
    given = {"url": URL, "group": "app", "kafka": "kafka:9092", "ingresses": (NAMES,)} | options
    return Request(**given)


def test_a_namespace_that_the_app_serves_is_one_endpoint(registry: FunctionRegistry) -> None:
    module = generate(registry, request())

    assert [(each.functions, each.url) for each in module.endpoints] == [("example/*", URL)]
    (ingress,) = module.ingresses
    assert isinstance(ingress, KafkaIngress)
    assert (ingress.id, ingress.address, ingress.group) == ("example/ingress", "kafka:9092", "app")
    (topic,) = ingress.topics
    assert (topic.topic, topic.value_type, topic.targets) == (
        "names",
        "example/GreetRequest",
        ("example/greeter",),
    )
    assert module.egresses == [KafkaEgress(id="example/greets", address="kafka:9092")]


def test_functions_are_named_when_others_of_the_namespace_get_messages(
    registry: FunctionRegistry,
) -> None:
    old = load(
        "kind: io.statefun.kafka.v1/ingress\n"
        "spec:\n"
        "  id: other/in\n"
        "  address: h:1\n"
        "  consumerGroupId: g\n"
        "  topics: [{topic: t, valueType: a/T, targets: [example/elsewhere]}]\n"
        "---\n"
        "kind: io.statefun.endpoints.v2/http\n"
        "spec: {functions: example/elsewhere, urlPathTemplate: 'http://other:1/'}\n"
    )
    with_endpoint = generate(registry, request(old=old))
    assert [each.functions for each in with_endpoint.endpoints] == [
        "example/*",
        "example/elsewhere",
    ]

    without = Module("3.1", (old.ingresses[0],))
    with pytest.raises(FormatError) as info:
        generate(registry, request(old=without))
    assert str(info.value) == (
        "The app has no function 'example/elsewhere', the target of a topic. Did you mean"
        " 'example/relay'? Correct the name, or register it."
    )


def test_targets_of_one_topic_come_together(registry: FunctionRegistry) -> None:
    both = (NAMES, ("names", "example/relay", "example/GreetRequest"), NAMES)

    (ingress,) = generate(registry, request(ingresses=both)).ingresses

    assert [each.targets for each in ingress.topics] == [("example/greeter", "example/relay")]


def test_format_2_0_has_the_states_and_the_names_of_2_x() -> None:
    registry = FunctionRegistry()
    states: list[ValueSpec[t.Any] | str] = [
        ValueSpec("a", int, expire_after_write=dt.timedelta(minutes=5)),
        ValueSpec("b", int, expire_after_call=dt.timedelta(microseconds=1500)),
        "c",
    ]
    registry.register("example/say", say, states=states)

    module = generate(registry, request(version="2.0", ingresses=(("t", "example/say", None),)))

    assert "com.googleapis/google.protobuf.StringValue" in dump(module)
    assert [
        (state.name, state.expire_after, state.expire_mode)
        for state in module.endpoints[0].states or ()
    ] == [
        ("a", dt.timedelta(minutes=5), "after-write"),
        ("b", dt.timedelta(milliseconds=1), "after-invoke"),
        ("c", None, "after-invoke"),
    ]


def test_an_old_module_is_kept_and_completed(registry: FunctionRegistry) -> None:
    old = generate(registry, request())
    registry.register("other/say", say, egresses=["other/said"])

    module = generate(registry, request(old=old, ingresses=(), url_is_given=False))

    assert [each.functions for each in module.endpoints] == ["other/*", "example/*"]
    assert [each.id for each in module.egresses] == ["example/greets", "other/said"]
    assert module.ingresses == old.ingresses


def test_a_pattern_is_written_out_for_2_0(registry: FunctionRegistry) -> None:
    text = (
        "kind: io.statefun.endpoints.v2/http\n"
        "spec:\n"
        "  functions: example/*\n"
        "  urlPathTemplate: http://h:1/{function.name}\n"
        "  maxNumBatchRequests: 5\n"
    )
    wanted = request(old=load(text), url_is_given=False, version="2.0")

    module = generate(registry, wanted)

    assert [(each.functions, each.url, each.max_batch) for each in module.endpoints] == [
        ("example/greeter", "http://h:1/greeter", 5),
        ("example/relay", "http://h:1/relay", 5),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"ingresses": ()},
            (
                "The module would have no ingress, and the runtime does not start a job without"
                " one. Add --kafka HOST:PORT --ingress TOPIC=namespace/name."
            ),
        ),
        (
            {"kafka": None},
            "--ingress needs brokers to read from. Add --kafka HOST:PORT.",
        ),
        (
            {"kafka": None, "ingresses": ()},
            "The egress 'example/greets' needs brokers to write to. Add --kafka HOST:PORT.",
        ),
        (
            {"ingresses": (("names", "example/greter", None),)},
            (
                "The app has no function 'example/greter', the target of 'names'. Did you mean"
                " 'example/greeter'? Name one of the app's functions, or add the type: --ingress"
                " names=example/greter:TYPENAME."
            ),
        ),
        (
            {"ingresses": (("names", "example/relay", None),)},
            (
                "'example/relay' handles messages of more than one type: any. Add the topic's"
                " type: --ingress names=example/relay:TYPENAME."
            ),
        ),
        (
            {"ingresses": (NAMES, ("names", "example/relay", "a/T"))},
            (
                "The topic 'names' would have the types 'example/GreetRequest' and 'a/T'. Give one"
                " for all its functions."
            ),
        ),
    ],
)
def test_a_request_that_does_not_fit_the_app_is_refused(
    registry: FunctionRegistry, options: dict[str, t.Any], message: str
) -> None:
    with pytest.raises(FormatError) as info:
        generate(registry, request(**options))

    assert str(info.value) == message


lives = st.sampled_from([{}, {"expire_after_write": dt.timedelta(hours=1)}]) | st.timedeltas(
    dt.timedelta(milliseconds=1), dt.timedelta(days=999)
).map(lambda span: {"expire_after_call": span})
specs = st.builds(
    lambda name, type, life: ValueSpec(name, type, **life),
    st.sampled_from(["seen", "total", "last"]),
    st.sampled_from([int, str, float]),
    lives,
)
declarations = st.fixed_dictionaries(
    {
        "states": st.lists(specs, unique_by=lambda spec: spec.name),
        "egresses": st.lists(st.sampled_from(["a/out", "b/out"]), unique=True),
    }
)
apps = st.dictionaries(
    st.sampled_from(["a/one", "a/two", "b/one", "c/three"]), declarations, min_size=1
)


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=30, deadline=None)
@given(app=apps, exactly_once=st.booleans())
def test_generated_modules_pass_the_check(
    app: dict[str, dict[str, t.Any]], exactly_once: bool, version: Version
) -> None:
    registry = FunctionRegistry()
    for typename, declared in app.items():
        registry.register(typename, say, **declared)
    ingresses = tuple(("topic", typename, None) for typename in app)
    wanted = request(version=version, ingresses=ingresses, exactly_once=exactly_once)
    try:
        module = generate(registry, wanted)
    except FormatError:
        expiring = [
            spec
            for each in app.values()
            for spec in each["states"]
            if spec.expire_after_call or spec.expire_after_write
        ]
        assert version == "1.0"
        assert expiring
        return

    reading = read(dump(module))

    assert reading.findings == ()
    assert reading.module == module
    assert compare([reading.module], registry) == []
