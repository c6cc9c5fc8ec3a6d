"""What the engine's surroundings need of a module.yaml: its addresses, URLs and topics.

It works on YAML's nodes, so that what it does not change reaches the engine as it was written: the
text ``"3.0"`` stays a text.
"""

from __future__ import annotations

import collections.abc as cabc
import os
import pathlib
import typing as t
import urllib.parse

import yaml

from .engines import Engine
from .errors import EngineError

#: The sections of the formats that are one document.
_SECTIONS = ("functions", "endpoints", "ingresses", "egresses")


class Module:
    """A module.yaml of any format.

    :param source: A path, or the text itself.
    :raises EngineError: It cannot be read.
    """

    def __init__(self, source: str | os.PathLike[str]) -> None:
        if isinstance(source, str) and "\n" in source:
            self.name, text = "module.yaml", source
        else:
            self.name = os.fspath(source)
            try:
                text = pathlib.Path(source).read_text()
            except OSError as exc:
                raise EngineError(
                    f"Cannot read '{self.name}': {exc.strerror}. Name the app's module file"
                    " with --module."
                ) from None
        try:
            composed = list(yaml.compose_all(text, yaml.SafeLoader))
        except yaml.MarkedYAMLError as exc:
            mark = exc.problem_mark or exc.context_mark
            where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
            raise EngineError(
                f"'{self.name}' is not YAML. Correct it at {where}: {exc.problem}."
            ) from None
        except yaml.YAMLError as exc:
            raise EngineError(f"'{self.name}' is not YAML. Correct this: {exc}") from None
        self._documents = [node for node in composed if isinstance(node, yaml.MappingNode)]
        if not self._documents:
            raise EngineError(
                f"'{self.name}' says nothing. Write at least an endpoint and an ingress in it."
            )

    @property
    def version(self) -> str | None:
        """The text at ``version``, which the format of several documents lacks."""
        node = _at(self._documents[0], "version")
        return node.value if isinstance(node, yaml.ScalarNode) else None

    @property
    def urls(self) -> list[str]:
        """Where the functions are, in order, each once."""
        return list(dict.fromkeys(node.value for node in self._urls()))

    def url(self, function: str) -> str | None:
        """Return where a function is; its own endpoint goes before its namespace's."""
        namespace, _, name = function.rpartition("/")
        found: dict[str, str] = {}
        for kind, spec in self._components():
            pattern = _at(spec, "functions")
            for node in self._urls_of(spec):
                found[kind if pattern is None else str(pattern.value)] = node.value
        url = found.get(function) or found.get(f"{namespace}/*")
        return url and url.replace("{function.name}", name)

    @property
    def uses_kafka(self) -> bool:
        """Whether an ingress or egress is Kafka's."""
        return any(self._kafka())

    @property
    def topics(self) -> list[str]:
        """The Kafka topics that ingresses read, in order, each once."""
        entries = (entry for spec in self._kafka() for entry in _sequence(_at(spec, "topics")))
        names = (_at(entry, "topic") for entry in entries)
        return list(dict.fromkeys(node.value for node in names if node is not None))

    def check(self, engine: Engine) -> None:
        """Raise if the engine does not read the format.

        :raises EngineError: It does not.
        """
        from .engines import ENGINES

        if self.version in engine.modules:
            return
        written = (
            "is in the format of several documents"
            if self.version is None
            else f"has version '{self.version}'"
        )
        readers = [each.version for each in ENGINES.values() if self.version in each.modules]
        cure = f"Use --engine {readers[0]}" if readers else "Use another version"
        raise EngineError(
            f"'{self.name}' {written}, which StateFun {engine.version} does not read. {cure}, or"
            f" write it for StateFun {engine.version}."
        )

    def adapted(self, kafka: str | None = None, endpoint: str | None = None) -> str:
        """Return the text with other addresses in it.

        :param kafka: Replaces the address of every Kafka ingress and egress.
        :param endpoint: ``http://host:port``, replaces that of every function's URL.
        """
        if kafka is not None:
            for spec in self._kafka():
                kept = [(key, value) for key, value in spec.value if key.value != "address"]
                spec.value = [*kept, (_scalar("address"), _scalar(kafka))]
        if endpoint is not None:
            scheme, host, *_ = urllib.parse.urlsplit(endpoint)
            for node in self._urls():
                url = urllib.parse.urlsplit(node.value)
                node.value = url._replace(scheme=scheme, netloc=host).geturl()
        return yaml.serialize_all(
            self._documents, Dumper=yaml.SafeDumper, explicit_start=True, allow_unicode=True
        )

    def _kafka(self) -> cabc.Iterator[yaml.MappingNode]:
        for kind, spec in self._components():
            if ".kafka" in kind:
                yield spec

    def _urls(self) -> cabc.Iterator[yaml.ScalarNode]:
        for _, spec in self._components():
            yield from self._urls_of(spec)

    def _urls_of(self, spec: yaml.MappingNode) -> cabc.Iterator[yaml.ScalarNode]:
        for key in ("urlPathTemplate", "endpoint"):
            node = _at(spec, key)
            if isinstance(node, yaml.ScalarNode):
                yield node

    def _components(self) -> cabc.Iterator[tuple[str, yaml.MappingNode]]:
        """Yield the kind and the spec of every part, whichever format it is in."""
        for document in self._documents:
            yield from _component(document)
            for section in _SECTIONS:
                for entry in _sequence(_at(document, "module", "spec", section)):
                    yield from _component(_at(entry, section[: -2 if "ss" in section else -1]))
                    # Some write 'meta' and 'spec' beside 'function:' and not below it.
                    yield from _component(entry)


def _component(node: yaml.Node | None) -> cabc.Iterator[tuple[str, yaml.MappingNode]]:
    # In the old formats, an endpoint has a kind only, all others have a type.
    kind = _at(node, "kind") or _at(node, "meta", "type") or _at(node, "meta", "kind")
    spec = _at(node, "spec")
    if isinstance(kind, yaml.ScalarNode) and isinstance(spec, yaml.MappingNode):
        yield kind.value, spec


def _at(node: yaml.Node | None, *keys: str) -> yaml.Node | None:
    for key in keys:
        if not isinstance(node, yaml.MappingNode):
            return None
        found = (value for name, value in node.value if name.value == key)
        node = next(found, None)
    return node


def _sequence(node: yaml.Node | None) -> list[yaml.Node]:
    return t.cast("list[yaml.Node]", node.value) if isinstance(node, yaml.SequenceNode) else []


def _scalar(value: str) -> yaml.ScalarNode:
    return yaml.ScalarNode("tag:yaml.org,2002:str", value)
