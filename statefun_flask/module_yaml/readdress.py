"""Replaces addresses in the text of a module.yaml; everything else stays as it was written."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import json
import urllib.parse

from .findings import FormatError
from .model import Component
from .model import Extension
from .model import HttpEndpoint
from .model import KafkaEgress
from .model import KafkaIngress
from .model import Module
from .nodes import Mapping
from .nodes import Scalar
from .reader import read
from .reader import ReadResult


@dataclasses.dataclass(frozen=True)
class _Edit:
    """A piece of the text that is replaced."""

    start: int
    end: int
    text: str


def readdress(source: ReadResult, *, kafka: str | None = None, endpoint: str | None = None) -> str:
    """Return a file's text with other addresses.

    Comments, quotes and the order of fields stay.

    :param kafka: Replaces the address of every Kafka ingress and egress, and is added where only a
        property has it.
    :param endpoint: ``http://host:port``, which replaces that part of every function's URL.
    :raises FormatError: An address is written in a way that cannot be replaced.
    """
    edits = sorted(_edits(source, kafka, endpoint), key=lambda each: each.start)
    text = source.text
    for edit in reversed(edits):
        text = text[: edit.start] + edit.text + text[edit.end :]
    if edits:
        _check(source.module, read(text, source.module.file).module, kafka, endpoint)
    return text


def _edits(source: ReadResult, kafka: str | None, endpoint: str | None) -> cabc.Iterator[_Edit]:
    for component in source.module.components:
        spec = component.place("spec")
        if not isinstance(spec, Mapping):
            continue
        if kafka is not None and _is_kafka(component):
            yield from _address(source.text, spec, kafka)
        if endpoint is not None and isinstance(component, HttpEndpoint | Extension):
            for old in _urls(spec):
                yield _replacement(source.text, old, _at(endpoint, old.text))


def _is_kafka(component: Component) -> bool:
    if isinstance(component, Extension):
        return ".kafka" in component.type
    return isinstance(component, KafkaIngress | KafkaEgress)


def _address(text: str, spec: Mapping, address: str) -> cabc.Iterator[_Edit]:
    old = spec.values.get("address")
    if isinstance(old, Scalar):
        yield _replacement(text, old, address)
    elif spec.keys:
        first = next(iter(spec.keys.values()))
        separator = ", " if spec.flow else "\n" + " " * (first.column - 1)
        yield _Edit(first.start, first.start, f"address: {_quoted(address)}{separator}")


def _urls(spec: Mapping) -> cabc.Iterator[Scalar]:
    for name in ("urlPathTemplate", "endpoint"):
        url = spec.get(name)
        if isinstance(url, Scalar):
            yield url


def _at(endpoint: str, url: str) -> str:
    scheme, host, *_ = urllib.parse.urlsplit(endpoint)
    return urllib.parse.urlsplit(url)._replace(scheme=scheme, netloc=host).geturl()


def _replacement(text: str, old: Scalar, value: str) -> _Edit:
    """Return the edit that puts a value in the place of an old one."""
    written = text[old.start : old.end]
    # An empty value begins directly after its colon, and a block scalar includes its line break.
    before = "" if written else " "
    after = written[len(written.rstrip()) :]
    return _Edit(old.start, old.end, f"{before}{_quoted(value)}{after}")


def _quoted(text: str) -> str:
    """Return a text in double quotes; JSON's form is valid YAML."""
    return json.dumps(text, ensure_ascii=False)


def _check(before: Module, after: Module, kafka: str | None, endpoint: str | None) -> None:
    """Refuse a result that differs from the module in anything but the addresses."""
    wanted = [_moved(each, kafka, endpoint) for each in before.components]
    if [_moved(each) for each in after.components] != wanted:
        raise FormatError(
            f"The addresses in '{before.file}' cannot be replaced as they are written. Write each"
            " 'address' and URL on a line of its own, as 'name: value'."
        )


def _moved(
    component: Component, kafka: str | None = None, endpoint: str | None = None
) -> Component:
    """Return a component at other addresses. An extension's YAML is not compared."""
    if isinstance(component, HttpEndpoint) and endpoint is not None:
        return dataclasses.replace(component, url=_at(endpoint, component.url))
    if isinstance(component, KafkaIngress | KafkaEgress) and kafka is not None:
        return dataclasses.replace(component, address=kafka)
    if isinstance(component, Extension):
        return dataclasses.replace(component, spec="")
    return component
