"""Turns nodes, and the values of fields, into YAML."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import yaml

from .kinds import NOT_TEXT
from .nodes import Mapping
from .nodes import Node
from .nodes import Scalar
from .nodes import Sequence

_TAG = "tag:yaml.org,2002:"


class Raw(str):
    """A text that is YAML already."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Indents the items of lists, which PyYAML does not."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


def serialize(node: Node) -> str:
    """Return a node as YAML, with its quotes."""
    return _serialize([_of_node(node)])


def dump(documents: cabc.Sequence[t.Any]) -> str:
    """Return mappings, lists, strings and numbers as YAML, a document for each value."""
    return _serialize([_of_value(each) for each in documents])


def _serialize(nodes: cabc.Sequence[yaml.Node]) -> str:
    # An explicit start for every document would also put one at the top.
    texts = (
        yaml.serialize(node, Dumper=_Dumper, allow_unicode=True, width=2**31) for node in nodes
    )
    return "---\n".join(texts)


def _of_node(node: Node) -> yaml.Node:
    if isinstance(node, Mapping):
        pairs = [(_of_node(node.keys[name]), _of_node(node.values[name])) for name in node.values]
        return yaml.MappingNode(_TAG + "map", pairs, flow_style=False)
    if isinstance(node, Sequence):
        inner = [_of_node(item) for item in node.items]
        return yaml.SequenceNode(_TAG + "seq", inner, flow_style=False)
    if isinstance(node, Scalar):
        return _plain(node.text) if node.plain else _text(node.text, '"')
    return _plain("null")


def _of_value(value: t.Any) -> yaml.Node:
    if isinstance(value, dict):
        pairs = [(_text(name), _of_value(inner)) for name, inner in value.items()]
        return yaml.MappingNode(_TAG + "map", pairs, flow_style=False)
    if isinstance(value, list):
        inner = [_of_value(item) for item in value]
        return yaml.SequenceNode(_TAG + "seq", inner, flow_style=False)
    if isinstance(value, Raw):
        return t.cast("yaml.Node", yaml.compose(value, yaml.SafeLoader))
    return _plain(str(value)) if isinstance(value, int) else _text(value)


def _plain(text: str) -> yaml.ScalarNode:
    resolver: t.Any = _Dumper
    return yaml.ScalarNode(resolver.resolve(resolver, yaml.ScalarNode, text, (True, False)), text)


def _text(text: str, style: str | None = None) -> yaml.ScalarNode:
    """Return a string, quoted if YAML 1.1 or the runtime's parser would not read it as one."""
    if NOT_TEXT.fullmatch(text):
        style = '"'
    return yaml.ScalarNode(_TAG + "str", text, style=style)
