"""Builds the module.yaml of a test, with the addresses of the servers that run during the test."""

from __future__ import annotations

import dataclasses
import os
import typing as t
import urllib.parse

from .. import module_yaml
from ..core.registry import FunctionRegistry
from ..module_yaml.generate import generate
from ..module_yaml.generate import Request
from ..module_yaml.model import Version
from ..transport.direct import DirectEndpoint
from ..transport.direct import Servable
from . import sender

ModuleSource: t.TypeAlias = "str | os.PathLike[str] | module_yaml.Module | None"


@dataclasses.dataclass(frozen=True)
class Wiring:
    """The module of a test.

    :param tag: Ends the names of the topics that the ingresses read, so that no other job reads
        them.
    """

    module: module_yaml.Module
    tag: str = ""

    @property
    def topics(self) -> dict[str, module_yaml.Topic]:
        """The topics that the ingresses read, by the name without the tag."""
        return {
            topic.topic.removesuffix(self.tag): topic
            for ingress in self.module.ingresses
            if isinstance(ingress, module_yaml.KafkaIngress)
            for topic in ingress.topics
        }

    def topic(self, name: str) -> module_yaml.Topic:
        """Return a topic that an ingress reads.

        :raises ValueError: No ingress reads a topic of that name.
        """
        topics = self.topics
        if name not in topics:
            known = ", ".join(sorted(topics.keys() - {sender.TOPIC})) or "none"
            raise ValueError(
                f"No ingress reads the topic '{name}' (topics with an ingress: {known}). Add it to"
                " an ingress of module.yaml, or send the message to its function with 'send'."
            )
        return topics[name]


def functions(served: Servable) -> FunctionRegistry:
    """Return the functions of an app, or of a registry that is served without an app."""
    if isinstance(served, FunctionRegistry):
        return served
    registry: FunctionRegistry = served.extensions["statefun"].registry
    return registry


def load(source: str | os.PathLike[str] | module_yaml.Module) -> module_yaml.Module:
    """Return the module of a path or a text."""
    return source if isinstance(source, module_yaml.Module) else module_yaml.load(source)


def generated(
    served: Servable,
    *,
    worker: str = "http://worker",
    sender_url: str = "http://sender",
    kafka: str = "kafka:9092",
    tag: str = "",
) -> module_yaml.Module:
    """Return a module of the functions and egresses that an app declares, with the sender.

    :param worker: ``http://host:port`` of the app.
    :param sender_url: ``http://host:port`` of the sender.
    :param kafka: The address of the broker.
    """
    url = worker + DirectEndpoint(served, skip_hooks=True).endpoint.path
    old = module_yaml.Module("3.1", _sender("3.1", sender_url, kafka, tag))
    group = f"statefun-testing{tag}"
    request = Request(url=url, kafka=kafka, group=group, exactly_once=True, old=old)
    return generate(functions(served), request)


def wire(
    served: Servable, source: ModuleSource, *, worker: str, sender_url: str, kafka: str, tag: str
) -> Wiring:
    """Return the module of an app, with the sender and the addresses of the running servers.

    :param source: A module.yaml; None to generate one from what the app declares.
    :param worker: ``http://host:port`` of the app.
    :param sender_url: ``http://host:port`` of the sender.
    :param kafka: The address of the broker.
    :raises ValueError: StateFun 3.3 with Kafka cannot run it.
    """
    if source is None:
        module = generated(served, worker=worker, sender_url=sender_url, kafka=kafka, tag=tag)
        return Wiring(module, tag)
    module = load(source)
    if module.version in ("1.0", "2.0"):
        raise ValueError(
            f"'{module.file}' has the format {module.version} of StateFun 2.x, and the test engine"
            " 'flink' runs StateFun 3.3. Give the tests a module.yaml of a 3.x format."
        )
    registry = functions(served)
    components = [
        _rewritten(each, registry, module.file, worker, kafka, tag) for each in module.components
    ]
    components += _sender(module.version, sender_url, kafka, tag)
    return Wiring(dataclasses.replace(module, components=tuple(components)), tag)


def _sender(version: Version, url: str, kafka: str, tag: str) -> tuple[module_yaml.Component, ...]:
    transport = "async" if version == "3.1" else "okhttp"
    topic = module_yaml.Topic(
        topic=sender.TOPIC + tag, value_type=sender.TYPENAME, targets=(sender.FUNCTION,)
    )
    return (
        module_yaml.HttpEndpoint(
            functions=sender.FUNCTION, url=f"{url}/statefun", transport=transport
        ),
        module_yaml.KafkaIngress(
            id="statefun.testing/tests",
            address=kafka,
            group=sender.TOPIC + tag,
            startup="earliest",
            topics=(topic,),
        ),
    )


def _rewritten(
    component: module_yaml.Component,
    registry: FunctionRegistry,
    file: str,
    worker: str,
    kafka: str,
    tag: str,
) -> module_yaml.Component:
    """Return a component with the addresses of the test; other workers keep their URLs."""
    if isinstance(component, module_yaml.HttpEndpoint):
        if not any(component.serves(typename) for typename in registry):
            return component
        scheme, host, *_ = urllib.parse.urlsplit(worker)
        url = urllib.parse.urlsplit(component.url)._replace(scheme=scheme, netloc=host)
        return dataclasses.replace(component, url=url.geturl())
    if isinstance(component, module_yaml.KafkaIngress):
        return dataclasses.replace(
            component,
            address=kafka,
            group=f"{component.consumer_group or 'tests'}{tag}",
            # The topics are new: every startup position means their beginning.
            startup="earliest",
            offsets=None,
            date=None,
            topics=tuple(
                dataclasses.replace(each, topic=each.topic + tag) for each in component.topics
            ),
        )
    if isinstance(component, module_yaml.KafkaEgress):
        return dataclasses.replace(component, address=kafka)
    raise ValueError(
        f"'{file}' has the component {_kind(component)}, which the test engine 'flink' cannot run:"
        " its ingresses and egresses are those of Kafka. Give the tests a module.yaml with Kafka in"
        " its place."
    )


def _kind(component: module_yaml.Component) -> str:
    if isinstance(component, module_yaml.Extension):
        return component.type
    return type(component).__name__
