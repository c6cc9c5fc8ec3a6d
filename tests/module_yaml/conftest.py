"""Hypothesis strategies for modules."""

from __future__ import annotations

import datetime as dt
import typing as t

import pytest
from hypothesis import strategies as st

from statefun_flask.module_yaml import GrpcFunction
from statefun_flask.module_yaml import HttpEndpoint
from statefun_flask.module_yaml import KafkaEgress
from statefun_flask.module_yaml import KafkaIngress
from statefun_flask.module_yaml import KinesisEgress
from statefun_flask.module_yaml import KinesisIngress
from statefun_flask.module_yaml import Module
from statefun_flask.module_yaml import PlaygroundEgress
from statefun_flask.module_yaml import PlaygroundIngress
from statefun_flask.module_yaml import State
from statefun_flask.module_yaml import Topic
from statefun_flask.module_yaml.model import Version

OLD = ("1.0", "2.0")
SECOND = dt.timedelta(seconds=1)

words = st.text("aZ0_.-", min_size=1, max_size=4).map("a{}".format)
names = st.builds("{}/{}".format, words, words)
texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Cn"]), min_size=1, max_size=8
).filter(lambda text: "${" not in text)
spans = st.integers(10_000_000, 10**12).map(lambda micros: dt.timedelta(microseconds=micros))
addresses = st.builds("{}:{}".format, words, st.integers(1, 65535))


def optional(strategy: st.SearchStrategy[t.Any]) -> st.SearchStrategy[t.Any]:
    return st.none() | strategy


@st.composite
def endpoints(draw: st.DrawFn, version: Version) -> HttpEndpoint:
    scheme = draw(st.sampled_from(["http", "https"]))
    url = f"{scheme}://{draw(addresses)}/{draw(words)}"
    if version not in OLD:
        url += draw(st.sampled_from(["", "/{function.name}"]))
    functions = draw(names)
    if version not in OLD and draw(st.booleans()):
        functions = functions.rpartition("/")[0] + "/*"
    values: dict[str, t.Any] = {
        "functions": functions,
        "url": url,
        "max_batch": draw(st.integers(1, 5000)),
        "transport": "okhttp" if version != "3.1" else draw(st.sampled_from(["okhttp", "async"])),
        "call": draw(optional(spans)),
    }
    longest = values["call"] or 60 * SECOND
    if values["transport"] == "okhttp":
        for name in ("connect", "read", "write"):
            values[name] = draw(optional(st.timedeltas(SECOND, longest)))
    else:
        values["connect"] = draw(optional(spans))
        values["pool_ttl"] = draw(optional(spans | st.just(dt.timedelta())))
        values["pool_size"] = draw(optional(st.integers(1, 5000)))
        values["payload_max_bytes"] = draw(optional(st.integers(1, 2**31)))
        if scheme == "https" and draw(st.booleans()):
            values |= {"trust_cacerts": "classpath:ca.pem", "client_cert": "c", "client_key": "k"}
    if version in OLD:
        states = st.builds(
            State,
            name=st.text("abc", min_size=1, max_size=3),
            expire_after=optional(spans) if version == "2.0" else st.none(),
        )
        unique = st.lists(states, unique_by=lambda state: state.name, max_size=3)
        values["states"] = draw(optional(unique.map(tuple)))
    return HttpEndpoint(**values)


topics = st.lists(
    st.builds(
        Topic,
        topic=words,
        value_type=names,
        targets=st.lists(names, min_size=1, max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda topic: topic.topic,
).map(tuple)
properties = st.dictionaries(words, texts, max_size=3).map(lambda made: tuple(made.items()))
Values: t.TypeAlias = dict[str, t.Any]
starts: st.SearchStrategy[Values] = st.sampled_from(
    [
        {},
        {"startup": "earliest"},
        {"startup": "date", "date": "2020-02-01 04:15:00.000 +0100"},
    ]
)
more_starts: list[Values] = [
    {"startup": "group-offsets"},
    {"startup": "specific-offsets", "offsets": (("a/b/0", 5), ("c/1", 0))},
]
kafka_starts = starts | st.sampled_from(more_starts)


def exactly_once(millis: int) -> Values:
    return {
        "delivery": "exactly-once",
        "transaction_timeout": dt.timedelta(milliseconds=millis),
    }


others: list[Values] = [{}, {"delivery": "none"}]
deliveries = st.sampled_from(others) | st.integers(1, 900_000).map(exactly_once)
regions: st.SearchStrategy[Values] = st.sampled_from(
    [
        {},
        {"region": "specific", "region_id": "eu-west-1"},
        {"region": "custom-endpoint", "region_endpoint": "http://h:1", "region_id": "eu-west-1"},
        {"credentials": "basic", "access_key_id": "i", "secret_access_key": "0123"},
        {"credentials": "profile", "profile_name": "p", "profile_path": "~/x"},
    ]
)


@st.composite
def ends(draw: st.DrawFn) -> t.Any:
    """An ingress or egress that every format has."""
    kind = draw(st.sampled_from([KafkaIngress, KafkaEgress, KinesisIngress, KinesisEgress]))
    values: dict[str, t.Any] = {"id": draw(names), "properties": draw(properties)}
    if kind is KafkaIngress:
        values |= {"topics": draw(topics), "address": draw(addresses), "group": draw(texts)}
        values |= draw(kafka_starts)
        values["auto_offset_reset"] = draw(st.sampled_from(["latest", "earliest"]))
    elif kind is KafkaEgress:
        values |= {"address": draw(addresses)} | draw(deliveries)
    elif kind is KinesisIngress:
        values |= {"topics": draw(topics)} | draw(starts) | draw(regions)
    else:
        values |= {"max_outstanding": draw(st.integers(1, 5000))} | draw(regions)
    return kind(**values)


def key(component: t.Any) -> tuple[bool, str]:
    functions = getattr(component, "functions", None)
    return functions is not None, functions or component.id


@st.composite
def modules(draw: st.DrawFn, version: Version) -> Module:
    parts: list[t.Any] = draw(st.lists(endpoints(version), max_size=4))
    if version in OLD and draw(st.booleans()):
        parts.append(GrpcFunction(functions="grpc/function", host="h", port=5))
    parts += draw(st.lists(ends(), max_size=4))
    if version == "3.1" and draw(st.booleans()):
        parts.append(PlaygroundIngress(port=8090))
        parts.append(PlaygroundEgress(port=8091, topics=("greetings", "1.0")))
    found = {key(each): each for each in parts}
    # Formats of one document have sections, so that kinds keep job_rules.
    order = sorted(found.values(), key=_section) if version != "3.1" else list(found.values())
    return Module(version, tuple(order)) if order else Module(version, (PARTS,))


PARTS = KafkaEgress(id="a/out", address="h:1")


def _section(component: t.Any) -> int:
    if getattr(component, "functions", None) is not None:
        return 0
    return 1 if isinstance(component, KafkaIngress | KinesisIngress) else 2


@pytest.fixture(scope="session")
def modules_of() -> t.Callable[[Version], st.SearchStrategy[Module]]:
    """Makes modules that a format can express."""
    return modules
