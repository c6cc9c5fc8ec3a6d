"""Compares module files with the app whose functions they name."""

from __future__ import annotations

import collections.abc as cabc
import pathlib
import typing as t
import urllib.parse

from ..config import Settings
from ..core.registry import FunctionRegistry
from ..values._text import did_you_mean
from ..values._text import suggestions
from . import declared
from . import job_rules
from .declared import DeclaredFunction
from .durations import expiration
from .durations import written
from .findings import Finding
from .findings import ModuleError
from .job_rules import at
from .model import HttpEndpoint
from .model import Module
from .model import State
from .model import V2_VERSIONS
from .nodes import Node
from .reader import read
from .reader import ReadResult


def compare_files(
    files: cabc.Sequence[str], registry: FunctionRegistry, settings: Settings
) -> list[Finding]:
    """Return the findings of the module files of one job, read and compared with an app.

    A file with an error is not compared: its components would seem to be missing.

    :param settings: The app's settings.
    """
    results: list[ReadResult] = []
    found: list[Finding] = []
    for file in files:
        try:
            results.append(read(pathlib.Path(file)))
        except ModuleError as exc:
            found += exc.findings
    found += [finding for result in results for finding in result.findings]
    if results and not any(finding.severity == "error" for finding in found):
        found += compare([result.module for result in results], registry, settings)
    return found


def accepted(file: str, registry: FunctionRegistry, settings: Settings) -> list[Finding]:
    """Return the warnings about the only module file of a job, compared with an app.

    :raises ModuleError: The file has errors, or does not fit the app.
    """
    findings = compare_files([file], registry, settings)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise ModuleError(errors)
    return findings


def compare(
    modules: cabc.Sequence[Module], registry: FunctionRegistry, settings: Settings | None = None
) -> list[Finding]:
    """Return the findings about all the module files of a job and an app.

    :param settings: The app's settings.
    """
    functions = declared.functions(registry)
    found = [*job_rules.check(modules)]
    found += _protocol(modules, settings or Settings())
    found += _unrouted(modules, functions)
    found += _unserved(modules, functions)
    found += _states(modules, functions)
    found += _topics(modules, functions)
    found += _egresses(modules, functions)
    return found


def _protocol(modules: cabc.Sequence[Module], settings: Settings) -> cabc.Iterator[Finding]:
    for module in modules:
        protocol = "v2" if module.version in V2_VERSIONS else "v3"
        if settings.protocol not in ("auto", protocol):
            yield at(
                module,
                Node(0, 0),
                "other-protocol",
                f"The file is for StateFun {protocol[1]}.x, and the app's STATEFUN_PROTOCOL is"
                f" '{settings.protocol}'.",
                f"Set it to '{protocol}', or write the file in another format.",
            )


def _endpoint_for(modules: cabc.Sequence[Module], typename: str) -> HttpEndpoint | None:
    found = [endpoint for module in modules if (endpoint := module.endpoint_for(typename))]
    return min(found, key=lambda each: each.is_wildcard, default=None)


def _unrouted(
    modules: cabc.Sequence[Module], functions: dict[str, DeclaredFunction]
) -> cabc.Iterator[Finding]:
    patterns = [each.functions for module in modules for each in module.endpoints]
    for typename in functions:
        if _endpoint_for(modules, typename) is None:
            near = did_you_mean(suggestions(typename, patterns)[:1])
            yield at(
                modules[0],
                Node(0, 0),
                "unrouted-function",
                f"The app's function '{typename}' has no endpoint, so a message to it ends the"
                f" job.{near}",
                f"Write an endpoint for '{typename}'.",
            )


def _unserved(
    modules: cabc.Sequence[Module], functions: dict[str, DeclaredFunction]
) -> cabc.Iterator[Finding]:
    """Yield the functions that the files name at this app and that it does not serve.

    Other apps may serve other functions, so only endpoints at the addresses of this app count. If
    none of its functions has an endpoint, all count.
    """
    routed = [endpoint for each in functions if (endpoint := _endpoint_for(modules, each))]
    addresses = {_address(endpoint) for endpoint in routed}
    served = {*functions, *(f"{each.rpartition('/')[0]}/*" for each in functions)}
    for module in modules:
        for endpoint in module.endpoints:
            if addresses and _address(endpoint) not in addresses:
                continue
            if endpoint.functions not in served:
                near = did_you_mean(suggestions(endpoint.functions, functions)[:1])
                yield at(
                    module,
                    endpoint.name_place(module.version),
                    "unserved-function",
                    f"The app has no function '{endpoint.functions}'.{near}",
                    "Correct the name, register the function, or remove the endpoint.",
                )
        for topic, number, target in _targets(module):
            served_at = _endpoint_for(modules, target)
            if target in functions or served_at is None or not served_at.is_wildcard:
                continue
            if _address(served_at) in addresses:
                near = did_you_mean(suggestions(target, functions)[:1])
                yield at(
                    module,
                    topic.place("targets", number),
                    "unserved-function",
                    f"The app has no function '{target}'.{near}",
                    "Correct the name, or register the function.",
                )


def _address(endpoint: HttpEndpoint) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(endpoint.url)
    return parts.scheme, parts.netloc or parts.path


def _targets(module: Module) -> cabc.Iterator[tuple[t.Any, int, str]]:
    for ingress in module.ingresses:
        for topic in ingress.topics:
            for number, target in enumerate(topic.targets):
                yield topic, number, target


def _states(
    modules: cabc.Sequence[Module], functions: dict[str, DeclaredFunction]
) -> cabc.Iterator[Finding]:
    for module in modules:
        if module.version not in V2_VERSIONS:
            continue
        for endpoint in module.endpoints:
            function = functions.get(endpoint.functions)
            if function is not None:
                yield from _states_of(module, endpoint, function)


def _states_of(
    module: Module, endpoint: HttpEndpoint, function: DeclaredFunction
) -> cabc.Iterator[Finding]:
    written_states = {state.name: state for state in endpoint.states or ()}
    wanted = {spec.name: declared.state(spec) for spec in function.states}
    for name, state in wanted.items():
        written_state = written_states.get(name)
        if written_state is None:
            near = did_you_mean(suggestions(name, written_states)[:1])
            yield at(
                module,
                endpoint.place("spec", "states"),
                "missing-state",
                f"The state '{name}' of '{function.typename}' is missing, so every request for it"
                f" fails.{near}",
                f"Add '- {name}' to its states."
                if module.version == "1.0"
                else f"Add '- {_entry(state)}' to its states.",
            )
        elif _life(written_state) != _life(state):
            yield at(
                module,
                written_state.place("expireAfter"),
                "other-expiration",
                f"The state '{name}' of '{function.typename}' {_says(written_state)} here, and"
                f" {_says(state)} in the app; StateFun 2.x uses the file's.",
                f"Write '{_entry(state)}'."
                if module.version == "2.0"
                else "Use format 2.0, which can say it, or declare the state without expiration.",
            )
    for name, state in written_states.items():
        if name not in wanted:
            near = did_you_mean(suggestions(name, wanted)[:1])
            yield at(
                module,
                state.place("name"),
                "extra-state",
                f"'{function.typename}' declares no state '{name}', which is sent with every"
                f" request.{near}",
                "Correct the name, declare it, or remove it.",
                "warning",
            )


def _life(state: State) -> tuple[object, str]:
    return state.expire_after, state.expire_mode if state.expire_after is not None else ""


def _says(state: State) -> str:
    return expiration(state.expire_after, state.expire_mode)


def _entry(state: State) -> str:
    if state.expire_after is None:
        return f"name: {state.name}"
    span = written(state.expire_after)
    return f"{{name: {state.name}, expireAfter: {span}, expireMode: {state.expire_mode}}}"


def _topics(
    modules: cabc.Sequence[Module], functions: dict[str, DeclaredFunction]
) -> cabc.Iterator[Finding]:
    for module in modules:
        for topic, _, target in _targets(module):
            function = functions.get(target)
            if function is not None and not function.accepts(topic.value_type):
                yield at(
                    module,
                    topic.place("typeUrl" if module.version in V2_VERSIONS else "valueType"),
                    "other-type",
                    f"'{target}' does not accept messages of type '{topic.value_type}', only"
                    f" {function.table.accepted()}.",
                    "Correct the type, or annotate a function with it.",
                )


def _egresses(
    modules: cabc.Sequence[Module], functions: dict[str, DeclaredFunction]
) -> cabc.Iterator[Finding]:
    if any(each.section in ("egresses", "extensions") for m in modules for each in m.extensions):
        return
    ids = [egress.id for module in modules for egress in module.egresses]
    for function in functions.values():
        for id in function.egresses:
            if id not in ids:
                yield at(
                    modules[0],
                    Node(0, 0),
                    "unknown-egress",
                    f"'{function.typename}' writes to the egress '{id}', which the file lacks; its"
                    f" first record ends the job.{did_you_mean(suggestions(id, ids)[:1])}",
                    f"Write an egress with the id '{id}', or correct the id.",
                )
