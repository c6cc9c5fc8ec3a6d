"""States in the formats that declare them: names in 1.0, mappings in 2.0."""

from __future__ import annotations

import dataclasses

from .kinds import Text
from .kinds import text_of
from .model import State
from .nodes import Mapping
from .nodes import Node
from .nodes import Report
from .nodes import Scalar
from .shape import Record


@dataclasses.dataclass(frozen=True)
class StateName:
    """A state that is its name."""

    label: str = "text"

    def read(self, node: Node, report: Report) -> State | None:
        """Return the state."""
        if isinstance(node, Mapping):
            name = node.get("name")
            called = name.text if isinstance(name, Scalar) else "name"
            report.error(
                node,
                "other-format",
                "This is a mapping, as format 2.0 has it; in 1.0 a state is its name.",
                f"Write '- {called}', or version: \"2.0\" at the top.",
            )
            return None
        text = Text().read(node, report)
        return None if text is None else State(node=node, name=text)

    def write(self, value: State) -> str:
        """Return the name."""
        return value.name


@dataclasses.dataclass(frozen=True)
class StateRecord(Record[State]):
    """A state that is a mapping."""

    def read(self, node: Node, report: Report) -> State | None:
        """Return the state."""
        if isinstance(node, Scalar):
            text = text_of(node, report)
            report.error(
                node,
                "other-format",
                "This is a text, as format 1.0 has it; in 2.0 a state is a mapping.",
                f"Write '- name: {text}', or version: \"1.0\" at the top.",
            )
            return None
        return super().read(node, report)
