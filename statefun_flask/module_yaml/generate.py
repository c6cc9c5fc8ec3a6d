"""Generates a module from the declarations of an app."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import datetime as dt
import typing as t

from ..core.registry import FunctionRegistry
from ..values._text import did_you_mean
from ..values._text import suggestions
from . import declared
from .declared import DeclaredFunction
from .findings import FormatError
from .model import Component
from .model import GrpcFunction
from .model import HttpEndpoint
from .model import KafkaEgress
from .model import KafkaIngress
from .model import Module
from .model import Topic
from .model import V2_VERSIONS
from .model import Version
from .writer import convert
from .writer import dump
from .writer import value_type

#: What brokers allow without a change to their settings.
TRANSACTION = dt.timedelta(minutes=15)


class GenerateError(FormatError):
    """A request does not fit the app."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """The contents of a module in addition to the app's functions.

    :param version: The format.
    :param url: The URL of the app.
    :param url_is_given: Whether the URL replaces the endpoints of the app's functions in `old`.
    :param kafka: The brokers.
    :param ingresses: Topic, function and typename of its records; None is the function's own.
    :param egresses: Ids in addition to those that functions declare.
    :param group: The consumer group.
    :param old: A module whose other components are kept.
    """

    version: Version = "3.1"
    url: str
    url_is_given: bool = True
    kafka: str | None = None
    ingresses: tuple[tuple[str, str, str | None], ...] = ()
    egresses: tuple[str, ...] = ()
    group: str
    exactly_once: bool = False
    old: Module | None = None


def generate(registry: FunctionRegistry, request: Request) -> Module:
    """Return a module for an app.

    :raises GenerateError: The request does not fit the app.
    :raises FormatError: The format cannot express the app's declarations.
    """
    functions = declared.functions(registry)
    if not functions:
        raise GenerateError("The app has no functions. Register some, or name another --app.")
    old = _expanded(request.old, functions, request.version) if request.old else None
    kept = list(convert(old, request.version).components) if old else []
    if request.url_is_given:
        kept = [each for each in kept if not _is_apps(each, functions)]
    ingress = _ingress(functions, request, kept)
    targets = _targets([*kept, *ingress])
    made = _ordered(
        [
            *_endpoints(functions, request, kept, targets),
            *kept,
            *ingress,
            *_egresses(functions, request, kept),
        ]
    )
    module = _with_states(Module(request.version, made), functions)
    _check(module, targets)
    dump(module)
    return module


def _check(module: Module, targets: set[str]) -> None:
    """Refuse a module that the runtime would refuse."""
    if not module.ingresses and not module.extensions:
        raise GenerateError(
            "The module would have no ingress, and the runtime does not start a job without one."
            " Add --kafka HOST:PORT --ingress TOPIC=namespace/name."
        )
    grpc = [each.functions for each in module.components if isinstance(each, GrpcFunction)]
    for target in sorted(targets):
        if module.endpoint_for(target) is None and target not in grpc and not module.extensions:
            known = [each.functions for each in module.endpoints]
            raise GenerateError(
                f"The app has no function '{target}', the target of a topic."
                f"{did_you_mean(suggestions(target, known)[:1])} Correct the name, or register it."
            )


def _is_apps(component: Component, functions: dict[str, DeclaredFunction]) -> bool:
    return isinstance(component, HttpEndpoint) and any(map(component.serves, functions))


def _expanded(old: Module, functions: dict[str, DeclaredFunction], version: Version) -> Module:
    """Return a module with an endpoint for each function if the format has no patterns."""
    if version not in V2_VERSIONS:
        return old
    exact = {each.functions for each in old.endpoints if not each.is_wildcard}
    components: list[Component] = []
    for component in old.components:
        if isinstance(component, HttpEndpoint) and component.is_wildcard:
            components += [
                dataclasses.replace(component, functions=name, url=component.url_for(name))
                for name in functions
                if component.serves(name) and name not in exact
            ]
        else:
            components.append(component)
    return dataclasses.replace(old, components=tuple(components))


def _endpoints(
    functions: dict[str, DeclaredFunction],
    request: Request,
    kept: list[Component],
    targets: set[str],
) -> cabc.Iterator[HttpEndpoint]:
    """Yield endpoints for those of the app's functions that have none."""
    have = [each for each in kept if isinstance(each, HttpEndpoint)]
    others = {each.functions for each in kept if isinstance(each, HttpEndpoint | GrpcFunction)}
    missing = [name for name in functions if not any(each.serves(name) for each in have)]
    transport = "async" if request.version == "3.1" else "okhttp"
    if request.version in V2_VERSIONS:
        for name in missing:
            yield HttpEndpoint(functions=name, url=request.url, transport=transport)
        return
    for namespace in dict.fromkeys(name.partition("/")[0] for name in missing):
        own = [name for name in missing if name.partition("/")[0] == namespace]
        routed = {name for name in targets - others if name.partition("/")[0] == namespace}
        names = [f"{namespace}/*"] if routed <= set(functions) else own
        for name in names:
            yield HttpEndpoint(functions=name, url=request.url, transport=transport)


def _ordered(components: list[Component]) -> tuple[Component, ...]:
    """Return components with the endpoints first."""
    return tuple(
        sorted(components, key=lambda each: not isinstance(each, HttpEndpoint | GrpcFunction))
    )


def _ingress(
    functions: dict[str, DeclaredFunction], request: Request, kept: list[Component]
) -> list[Component]:
    if not request.ingresses:
        return []
    if request.kafka is None:
        raise GenerateError("--ingress needs brokers to read from. Add --kafka HOST:PORT.")
    topics: dict[str, Topic] = {}
    for name, target, typename in request.ingresses:
        typename = typename or _type_of(target, functions, name, request.version)
        topic = topics.setdefault(name, Topic(topic=name, value_type=typename, targets=()))
        if topic.value_type != typename:
            raise GenerateError(
                f"The topic '{name}' would have the types '{topic.value_type}' and '{typename}'."
                " Give one for all its functions."
            )
        if target not in topic.targets:
            topics[name] = dataclasses.replace(topic, targets=(*topic.targets, target))
    namespace = request.ingresses[0][1].partition("/")[0]
    return [
        KafkaIngress(
            id=_free(f"{namespace}/ingress", kept),
            address=request.kafka,
            group=request.group,
            topics=tuple(topics.values()),
        )
    ]


def _free(id: str, kept: list[Component]) -> str:
    taken = {getattr(each, "id", None) for each in kept}
    number = 2
    free = id
    while free in taken:
        free = f"{id}-{number}"
        number += 1
    return free


def _type_of(
    target: str, functions: dict[str, DeclaredFunction], topic: str, version: Version
) -> str:
    """Return the only message type of a function."""
    function = functions.get(target)
    if function is None:
        near = did_you_mean(suggestions(target, functions)[:1])
        raise GenerateError(
            f"The app has no function '{target}', the target of '{topic}'.{near} Name one of the"
            f" app's functions, or add the type: --ingress {topic}={target}:TYPENAME."
        )
    types = function.types
    if len(types) != 1:
        which = ", ".join(f"'{each}'" for each in types) or "any"
        raise GenerateError(
            f"'{target}' handles messages of more than one type: {which}. Add the topic's type:"
            f" --ingress {topic}={target}:{types[0] if types else 'TYPENAME'}."
        )
    return value_type(types[0], version)


def _egresses(
    functions: dict[str, DeclaredFunction], request: Request, kept: list[Component]
) -> list[Component]:
    have = {getattr(each, "id", None) for each in kept if not isinstance(each, KafkaIngress)}
    wanted = list(request.egresses)
    wanted += [id for function in functions.values() for id in function.egresses]
    missing = [id for id in dict.fromkeys(wanted) if id not in have]
    if missing and request.kafka is None:
        raise GenerateError(
            f"The egress '{missing[0]}' needs brokers to write to. Add --kafka HOST:PORT."
        )
    options: dict[str, t.Any] = {}
    if request.exactly_once:
        options = {"delivery": "exactly-once", "transaction_timeout": TRANSACTION}
    return [KafkaEgress(id=id, address=str(request.kafka), **options) for id in missing]


def _targets(components: list[Component]) -> set[str]:
    topics = [topic for each in components for topic in getattr(each, "topics", ())]
    return {target for topic in topics if isinstance(topic, Topic) for target in topic.targets}


def _with_states(module: Module, functions: dict[str, DeclaredFunction]) -> Module:
    """Return a module of format 1.0 or 2.0 with the states that an app's functions declare."""
    if module.version not in V2_VERSIONS:
        return module
    components = tuple(
        dataclasses.replace(
            each,
            states=tuple(map(declared.state, functions[each.functions].states)) or None,
        )
        if isinstance(each, HttpEndpoint) and each.functions in functions
        else each
        for each in module.components
    )
    return dataclasses.replace(module, components=components)
