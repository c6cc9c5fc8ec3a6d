"""YAML as nodes with positions.

Scalars keep the text as written: PyYAML would read ``1:30`` as 90 and ``no`` as False where the
runtime's parser reads a string.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import typing as t

import yaml

from .findings import Finding
from .findings import Severity

#: The depth of nested collections that is allowed; the YAML parser has no limit.
MAX_DEPTH = 50

#: The number of findings after which further ones of a file are only counted.
MAX_FINDINGS = 1000

_NULLS = frozenset(("", "~", "null", "Null", "NULL"))

#: libyaml's parser if PyYAML has it; it is ten times as fast.
_Loader: t.Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Node:
    """A node of a YAML file.

    :param line: From 1.
    :param column: From 1.
    :param parent: The node around it, None for a document.
    :param key: Its name in a mapping or its index in a sequence. For a document its index, or None
        if it is the only one.
    """

    __slots__ = ("column", "key", "line", "parent")

    def __init__(self, line: int, column: int) -> None:
        self.line = line
        self.column = column
        self.parent: Node | None = None
        self.key: str | int | None = None

    @property
    def path(self) -> str:
        """Its path in the file: ``[1].spec.topics[0].topic``."""
        steps: list[str] = []
        node: Node | None = self
        while node is not None:
            if node.key is not None:
                steps.append(f"[{node.key}]" if isinstance(node.key, int) else f".{node.key}")
            node = node.parent
        return "".join(reversed(steps)).removeprefix(".")

    def at(self, *names: str | int) -> Node:
        """Return the deepest node that exists on a path of names and numbers."""
        node = self
        for name in names:
            below: Node | None = None
            if isinstance(node, Mapping) and isinstance(name, str):
                below = node.get(name)
            elif isinstance(node, Sequence) and isinstance(name, int):
                below = node.items[name]
            if below is None:
                break
            node = below
        return node

    @property
    def is_null(self) -> bool:
        """Whether the value is empty or ``null``."""
        return False


class Scalar(Node):
    """A string or number, as text.

    :param plain: Whether it is written without quotes.
    :param start: The index of its first character in the file's text.
    :param end: The index behind its last character.
    """

    __slots__ = ("end", "plain", "start", "text")

    what = "a string"

    def __init__(
        self, line: int, column: int, text: str, plain: bool, start: int = 0, end: int = 0
    ) -> None:
        super().__init__(line, column)
        self.text = text
        self.plain = plain
        self.start = start
        self.end = end

    @property
    def is_null(self) -> bool:
        """Whether the value is empty or ``null``."""
        return self.plain and self.text in _NULLS


class Mapping(Node):
    """Names and their values.

    :param flow: Whether it is written in braces.
    """

    __slots__ = ("flow", "keys", "values")

    what = "a mapping"

    def __init__(self, line: int, column: int) -> None:
        super().__init__(line, column)
        self.flow = False
        self.keys: dict[str, Scalar] = {}
        self.values: dict[str, Node] = {}

    def get(self, name: str) -> Node | None:
        """Return the value of a name, None if it has none."""
        value = self.values.get(name)
        return None if value is None or value.is_null else value


class Sequence(Node):
    """A list."""

    __slots__ = ("items",)

    what = "a list"

    def __init__(self, line: int, column: int) -> None:
        super().__init__(line, column)
        self.items: list[Node] = []


class Unread(Node):
    """Stands in the place of a value that has been refused with a finding."""

    __slots__ = ()

    what = "nothing"

    @property
    def is_null(self) -> bool:
        """Whether the value is empty or ``null``."""
        return True


@dataclasses.dataclass
class Report:
    """Collects findings of one file."""

    file: str
    version: str = "3.1"
    findings: list[Finding] = dataclasses.field(default_factory=list)
    omitted: int = 0

    @property
    def is_full(self) -> bool:
        """Whether further findings are only counted."""
        return len(self.findings) >= MAX_FINDINGS

    def error(self, node: Node, code: str, text: str, fix: str) -> None:
        """Add a finding about something that ends the job or loses data."""
        self.add(node, code, text, fix, "error")

    def warning(self, node: Node, code: str, text: str, fix: str) -> None:
        """Add a finding about something that the runtime ignores."""
        self.add(node, code, text, fix, "warning")

    def add(self, node: Node, code: str, text: str, fix: str, severity: Severity) -> None:
        """Add a finding at a node."""
        if self.is_full:
            self.omitted += 1
            return
        self.findings.append(
            Finding(code, text, fix, node.path, self.file, node.line, node.column, severity)
        )

    def sorted(self) -> tuple[Finding, ...]:
        """Return the findings in the order of their positions."""
        found = sorted(self.findings, key=lambda each: (each.line, each.column, each.code))
        if self.omitted:
            text = f"The file has {self.omitted} more findings."
            found.append(
                Finding("too-many", text, "Correct these first, and check again.", file=self.file)
            )
        return tuple(found)


def compose(text: str, report: Report) -> list[Node]:
    """Return a stream's documents without the empty ones.

    YAML that the runtime does not support is reported and skipped.
    """
    composer = _Composer(report)
    try:
        for event in yaml.parse(text, _Loader):
            composer.take(event)
    except yaml.MarkedYAMLError as exc:
        _report_syntax(exc, report)
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        place = Node(line, exc.position - text.rfind("\n", 0, exc.position))
        report.error(
            place,
            "syntax",
            f"The character {chr(exc.character)!r} is not allowed in YAML."
            if isinstance(exc.character, int)
            else "A character here is not allowed in YAML.",
            "Remove it.",
        )
    # The document with the error is cut off, so that fields would seem to be missing.
    whole = composer.documents[:-1] if composer.unfinished else composer.documents
    documents = [node for node in whole if not node.is_null]
    if len(documents) > 1:
        for number, node in enumerate(documents):
            node.key = number
    return documents


def _report_syntax(exc: yaml.MarkedYAMLError, report: Report) -> None:
    # An open quote is detected at the end of the file; the user needs the place where it began.
    at_end = exc.context_mark is not None and "end of stream" in (exc.problem or "")
    mark = exc.context_mark if at_end else exc.problem_mark or exc.context_mark
    place = Node(mark.line + 1, mark.column + 1) if mark else Node(1, 1)
    what = ", ".join(filter(None, (exc.context, exc.problem)))
    report.error(
        place, "syntax", f"This is not YAML: {what}.", "Correct the indentation or the quotes."
    )


class _Composer:
    """Builds nodes from the parser's events."""

    def __init__(self, report: Report) -> None:
        self.documents: list[Node] = []
        self._report = report
        self._stack: list[Mapping | Sequence] = []
        self._keys: list[Scalar | None] = []
        self._too_deep = 0

    @property
    def unfinished(self) -> bool:
        """Whether the last document has not ended."""
        return bool(self._stack)

    def take(self, event: t.Any) -> None:
        """Take the next event."""
        kind = event.__class__
        if kind is yaml.ScalarEvent:
            if not self._too_deep:
                self._scalar(event)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self._open(event)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self._close()
        elif kind is yaml.AliasEvent and not self._too_deep:
            node = self._place(event, Unread)
            self._add(node)
            self._refuse(
                node,
                "alias",
                f"The runtime does not support the alias '*{event.anchor}'.",
                "Write the value itself.",
            )

    def _scalar(self, event: t.Any) -> None:
        mark, end = event.start_mark, event.end_mark
        node = Scalar(
            mark.line + 1, mark.column + 1, event.value, event.implicit[0], mark.index, end.index
        )
        self._add(node)
        if event.anchor is not None or event.tag is not None:
            self._refuse_properties(node, event)

    def _open(self, event: t.Any) -> None:
        if self._too_deep:
            self._too_deep += 1
            return
        mapping = event.__class__ is yaml.MappingStartEvent
        if len(self._stack) == MAX_DEPTH:
            node = self._place(event, Unread)
            self._add(node)
            self._refuse(
                node,
                "nesting",
                f"This is nested more than {MAX_DEPTH} levels deep.",
                "Remove levels; a module file needs only a few.",
            )
            self._too_deep = 1
            return
        made: Mapping | Sequence
        if mapping:
            made = self._place(event, Mapping)
            made.flow = bool(event.flow_style)
        else:
            made = self._place(event, Sequence)
        self._add(made)
        if event.anchor is not None or event.tag is not None:
            self._refuse_properties(made, event)
        self._stack.append(made)
        self._keys.append(None)

    def _close(self) -> None:
        if self._too_deep > 1:
            self._too_deep -= 1
        elif self._too_deep:
            self._too_deep = 0
        else:
            self._stack.pop()
            self._keys.pop()

    def _add(self, node: Node) -> None:
        if not self._stack:
            self.documents.append(node)
            return
        around = self._stack[-1]
        node.parent = around
        if isinstance(around, Sequence):
            node.key = len(around.items)
            around.items.append(node)
        elif (key := self._keys[-1]) is None:
            self._keys[-1] = self._key(around, node)
        else:
            node.key = key.text
            self._keys[-1] = None
            self._set(around, key, node)

    def _key(self, around: Mapping, node: Node) -> Scalar:
        if isinstance(node, Scalar):
            node.key = node.text
            return node
        self._refuse(node, "bad-key", "A key must be a string.", "Write 'name: value'.")
        return Scalar(node.line, node.column, "?", plain=False)

    def _set(self, around: Mapping, key: Scalar, node: Node) -> None:
        if key.text == "<<" and key.plain:
            self._refuse(
                key,
                "merge-key",
                "The runtime does not support the merge key '<<'.",
                "Write the fields.",
            )
            return
        first = around.keys.get(key.text)
        if first is not None:
            self._refuse(
                key,
                "duplicate-key",
                f"'{key.text}' appears twice, on lines {first.line} and {key.line}.",
                "Remove one of them.",
            )
            return
        around.keys[key.text] = key
        around.values[key.text] = node

    def _refuse_properties(self, node: Node, event: t.Any) -> None:
        if event.anchor is not None:
            self._refuse(
                node,
                "anchor",
                f"The runtime does not support the anchor '&{event.anchor}'.",
                "Remove it, and write the value in each place.",
            )
        if event.tag is not None and event.tag != "!":
            self._refuse(
                node, "tag", f"'{event.tag}' is a tag, which the runtime ignores.", "Remove it."
            )

    def _refuse(self, node: Node, code: str, text: str, fix: str) -> None:
        self._report.error(node, code, text, fix)

    def _place(self, event: t.Any, node: type[N]) -> N:
        mark = event.start_mark
        return node(mark.line + 1, mark.column + 1)


N = t.TypeVar("N", Mapping, Sequence, Unread)


def items(node: Node | None) -> cabc.Iterator[Node]:
    """Yield the items of a list; other nodes have none."""
    if isinstance(node, Sequence):
        yield from node.items
