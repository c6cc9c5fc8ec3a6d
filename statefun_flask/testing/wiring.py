"""The module.yaml of a test: the app's own, or one made for it, with everything where it is now."""

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
from . import inbox

Source: t.TypeAlias = "str | os.PathLike[str] | None"


@dataclasses.dataclass(frozen=True)
class Wiring:
    """What an engine runs.

    :param tag: Ends the names of the topics that are read, so that no other job reads them.
    """

    module: module_yaml.Module
    tag: str

    @property
    def topics(self) -> dict[str, module_yaml.Topic]:
        """The topics that are read, by the name that tests know."""
        return {
            topic.topic.removesuffix(self.tag): topic
            for ingress in self.module.ingresses
            for topic in ingress.topics
        }

    def topic(self, name: str) -> module_yaml.Topic:
        """Return a topic that is read.

        :raises ValueError: None of that name is.
        """
        topics = self.topics
        if name not in topics:
            known = ", ".join(sorted(topics.keys() - {inbox.TOPIC})) or "none"
            raise ValueError(
                f"No ingress reads the topic '{name}'; read are: {known}. Add it to an ingress of"
                " module.yaml, or send the message to its function with 'send'."
            )
        return topics[name]


def wire(
    served: Servable,
    source: Source,
    *,
    worker: str = "http://worker",
    inbox_url: str = "http://inbox",
    kafka: str = "kafka:9092",
    tag: str = "",
) -> Wiring:
    """Return the module of an app with all its addresses.

    :param source: The path of a module.yaml or its text; without one it is made of what the app
        declares, with an egress for each that it names.
    :param worker: ``http://host:port`` of the app.
    :param kafka: The broker.
    :raises ValueError: The test engines cannot run it.
    """
    registry = functions(served)
    if source is None:
        url = worker + DirectEndpoint(served, skip_hooks=True).endpoint.path
        door = module_yaml.Module("3.1", _inbox("3.1", inbox_url, kafka, tag))
        group = f"statefun-testing{tag}"
        request = Request(url=url, kafka=kafka, group=group, exactly_once=True, old=door)
        return Wiring(generate(registry, request), tag)
    module = module_yaml.load(source)
    if module.version in ("1.0", "2.0"):
        raise ValueError(
            f"'{module.file}' is of format {module.version}, which is StateFun 2.x, and the test"
            " engines run 3.x. Give the tests a module.yaml of a format of 3.x."
        )
    components = [
        _wired(each, registry, module.file, worker, kafka, tag) for each in module.components
    ]
    components += _inbox(module.version, inbox_url, kafka, tag)
    return Wiring(dataclasses.replace(module, components=tuple(components)), tag)


def functions(served: Servable) -> FunctionRegistry:
    """Return the functions of an app, or of a registry that is served without one."""
    if isinstance(served, FunctionRegistry):
        return served
    registry: FunctionRegistry = served.extensions["statefun"].registry
    return registry


def _inbox(version: Version, url: str, kafka: str, tag: str) -> tuple[module_yaml.Component, ...]:
    transport = "async" if version == "3.1" else "okhttp"
    topic = module_yaml.Topic(
        topic=inbox.TOPIC + tag, value_type=inbox.TYPENAME, targets=(inbox.FUNCTION,)
    )
    return (
        module_yaml.Endpoint(functions=inbox.FUNCTION, url=f"{url}/statefun", transport=transport),
        module_yaml.KafkaIngress(
            id="statefun.testing/tests",
            address=kafka,
            group=inbox.TOPIC + tag,
            startup="earliest",
            topics=(topic,),
        ),
    )


def _wired(
    component: module_yaml.Component,
    registry: FunctionRegistry,
    file: str,
    worker: str,
    kafka: str,
    tag: str,
) -> module_yaml.Component:
    """Return a component with its address of now; other workers stay where they are."""
    if isinstance(component, module_yaml.Endpoint):
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
            # The topics are new, so that wherever it began, it would begin there.
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
        f"'{file}' has a component that the test engines lack ({_kind(component)}): their ingresses"
        " and egresses are Kafka's. Give the tests a module.yaml with Kafka in its place."
    )


def _kind(component: module_yaml.Component) -> str:
    if isinstance(component, module_yaml.Extension):
        return component.type
    return type(component).__name__
