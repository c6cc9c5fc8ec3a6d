"""Checks across the module files of one job."""

from __future__ import annotations

import collections.abc as cabc

from .findings import Finding
from .findings import Severity
from .model import AnyIngress
from .model import Extension
from .model import GrpcFunction
from .model import HttpEndpoint
from .model import Module
from .nodes import Node


def at(
    module: Module, node: Node, code: str, text: str, fix: str, severity: Severity = "error"
) -> Finding:
    """Return a finding at a node of a module, or of the whole file if the node has no place."""
    return Finding(code, text, fix, node.path, module.file, node.line, node.column, severity)


def check(modules: cabc.Sequence[Module]) -> cabc.Iterator[Finding]:
    """Yield findings about all the files of a job: errors at the start or later."""
    # An extension may be an endpoint or an ingress.
    foreign = any(module.extensions for module in modules)
    parts = [part for module in modules for part in module.components]
    if not foreign and not any(isinstance(part, HttpEndpoint | GrpcFunction) for part in parts):
        yield at(
            modules[0],
            Node(0, 0),
            "no-endpoint",
            "There is no endpoint, and the runtime does not start a job without one.",
            "Write one, or have 'flask statefun module' write it.",
        )
    if not foreign and not any(isinstance(part, AnyIngress) for part in parts):
        yield at(
            modules[0],
            Node(0, 0),
            "no-ingress",
            "There is no ingress, and the runtime does not start a job without one.",
            "Write one, or have 'flask statefun module --kafka … --ingress …' write it.",
        )
    yield from _duplicates(modules)
    if not any(
        extension.section in _ROUTING for module in modules for extension in module.extensions
    ):
        yield from _unserved_targets(modules)


#: The sections where an unknown kind may be a provider of functions.
_ROUTING = ("functions", "endpoints", "extensions")


def _duplicates(modules: cabc.Sequence[Module]) -> cabc.Iterator[Finding]:
    """Yield components that two files have. The reader finds repetitions within one file."""
    seen: dict[tuple[str, str], str] = {}
    for module in modules:
        own: dict[tuple[str, str], str] = {}
        for part in module.components:
            if isinstance(part, Extension):
                continue
            if isinstance(part, HttpEndpoint | GrpcFunction):
                key = ("The pattern", part.functions)
            else:
                what = "The ingress" if isinstance(part, AnyIngress) else "The egress"
                key = (what, part.id)
            if key in seen:
                yield at(
                    module,
                    part.name_place(module.version),
                    "duplicate",
                    f"{key[0]} '{key[1]}' is also in '{seen[key]}'.",
                    "Remove one of them, or give it another name.",
                )
            own[key] = module.file
        seen = own | seen


def _unserved_targets(modules: cabc.Sequence[Module]) -> cabc.Iterator[Finding]:
    grpc = {
        part.functions
        for module in modules
        for part in module.components
        if isinstance(part, GrpcFunction)
    }
    for module in modules:
        for ingress in module.ingresses:
            for topic in ingress.topics:
                for number, target in enumerate(topic.targets):
                    if target in grpc or any(each.endpoint_for(target) for each in modules):
                        continue
                    yield at(
                        module,
                        topic.place("targets", number),
                        "no-endpoint-for-target",
                        f"No endpoint serves the target '{target}', so its first record ends the"
                        " job.",
                        "Correct the name, or write an endpoint for it.",
                    )
