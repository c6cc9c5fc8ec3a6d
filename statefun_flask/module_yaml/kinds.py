"""The kinds of values that fields have: each is read, written and described.

Reading returns None for a refused value, with a finding in the report.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import re
import typing as t

from ..values._text import did_you_mean
from ..values._text import suggestions
from .model import V2_VERSIONS
from .nodes import Mapping
from .nodes import Node
from .nodes import Report
from .nodes import Scalar
from .nodes import Sequence
from .nodes import Unread

#: Unquoted scalars that the runtime's parser reads as a number or a boolean.
NOT_TEXT = re.compile(
    r"[-+]?(\d+(_+\d+)*(_*\.\d+)?|\.\d+)([eE][-+]?\d+)?|0x[\da-fA-F]+|true|false", re.I
)
INTEGER = re.compile(r"[-+]?\d+")
#: Java's Long, which is the largest number that the runtime reads.
MAX_INTEGER = 2**63 - 1
_PLACEHOLDER = re.compile(r"\$\{[^}]*\}")


class Kind(t.Protocol):
    """A kind of value."""

    @property
    def label(self) -> str:
        """Its name in the reference."""

    def read(self, node: Node, report: Report) -> t.Any:
        """Return the value of a node, or None."""

    def write(self, value: t.Any) -> t.Any:
        """Return the value for the serializer."""


def text_of(node: Node, report: Report, what: str = "a string") -> str | None:
    """Return the text of a scalar; other nodes are reported."""
    if not isinstance(node, Scalar):
        if not isinstance(node, Unread):
            report.error(
                node,
                "wrong-type",
                f"This is {getattr(node, 'what', 'nothing')}, not {what}.",
                f"Write {what} here.",
            )
        return None
    if "${" in node.text and (found := _PLACEHOLDER.search(node.text)):
        report.error(
            node,
            "placeholder",
            f"'{found[0]}' is not replaced: StateFun has no placeholders.",
            "Write the value, or replace it before the file is deployed.",
        )
        return None
    return node.text


@dataclasses.dataclass(frozen=True)
class Text:
    """A string."""

    label: str = "string"

    def read(self, node: Node, report: Report) -> str | None:
        """Return the text."""
        text = text_of(node, report)
        if text is None:
            return None
        if report.version in V2_VERSIONS and node_is_number(node):
            report.error(
                node,
                "unquoted",
                f"{text} is not a string without quotes, so format {report.version} refuses it.",
                f'Write "{text}".',
            )
            return None
        if not text:
            report.error(
                node, "empty", "This string is empty.", "Write a value, or remove the field."
            )
            return None
        return self.check(node, text, report)

    def check(self, node: Node, text: str, report: Report) -> str | None:
        """Return the text if it is allowed."""
        return text

    def write(self, value: str) -> str:
        """Return the text."""
        return value


def node_is_number(node: Node) -> bool:
    """Return whether the runtime's parser reads a node as a number or a boolean."""
    return isinstance(node, Scalar) and node.plain and bool(NOT_TEXT.fullmatch(node.text))


@dataclasses.dataclass(frozen=True)
class QualifiedName(Text):
    """``namespace/name``.

    :param what: What it names.
    :param wildcard: Whether ``namespace/*`` is allowed.
    """

    label: str = "ns/name"
    what: str = "function"
    wildcard: bool = False

    def check(self, node: Node, text: str, report: Report) -> str | None:
        """Return the name if it is well-formed."""
        namespace, _, name = text.rpartition("/")
        # Formats up to 3.0 split at the last slash, except for the functions of an endpoint.
        slashes = "/" in namespace and (self.wildcard or report.version == "3.1")
        if not (namespace and name) or slashes or text != text.strip():
            fix = "'namespace/name' or 'namespace/*'" if self.wildcard else "'namespace/name'"
            report.error(
                node,
                "bad-name",
                f"'{text}' is not the name of {_article(self.what)}.",
                f"Write it as {fix}, with one slash.",
            )
            return None
        if "*" in namespace or ("*" in name and not (self.wildcard and name == "*")):
            report.error(
                node,
                "bad-wildcard",
                f"'{text}' has a '*' in the wrong place: only an endpoint's functions can be"
                " 'namespace/*'.",
                f"Write '{namespace}/*'." if self.wildcard and "*" not in namespace
                else "Write the whole name.",
            )  # fmt: skip
            return None
        return text


def _article(what: str) -> str:
    return f"an {what}" if what[0] in "aei" else f"a {what}"


@dataclasses.dataclass(frozen=True)
class Typename(Text):
    """The typename of a topic's records, which the runtime passes to functions unchanged."""

    label: str = "typename"

    def check(self, node: Node, text: str, report: Report) -> str | None:
        """Return the typename."""
        if "/" not in text:
            report.warning(
                node,
                "bad-typename",
                f"'{text}' has no slash, so it is not a typename of any SDK.",
                "Write it as 'namespace/name'; that of a protobuf message is"
                f" 'type.googleapis.com/{text}'.",
            )
        return text


@dataclasses.dataclass(frozen=True)
class Integer:
    """A whole number.

    :param minimum: The smallest number that is allowed.
    """

    minimum: int | None = None

    @property
    def label(self) -> str:
        """Its name in the reference."""
        return "number" if self.minimum is None else f"number from {self.minimum}"

    def read(self, node: Node, report: Report) -> int | None:
        """Return the number."""
        text = text_of(node, report, "a number")
        if text is None:
            return None
        quoted = isinstance(node, Scalar) and not node.plain and report.version in V2_VERSIONS
        if quoted or INTEGER.fullmatch(text) is None:
            report.error(
                node,
                "bad-number",
                f"'{text}' is {'a string' if quoted else 'not a whole number'}.",
                f"Write {text} without quotes." if quoted and INTEGER.fullmatch(text)
                else "Write digits only, such as 1000.",
            )  # fmt: skip
            return None
        number = integer_of(node, text, report)
        if number is not None and self.minimum is not None and number < self.minimum:
            report.error(
                node,
                "small-number",
                f"{text} is less than {self.minimum}.",
                f"Write a number from {self.minimum}.",
            )
            return None
        return number

    def write(self, value: int) -> int:
        """Return the number."""
        return value


def integer_of(node: Node, text: str, report: Report) -> int | None:
    """Return the number of some digits; one that is too large is reported."""
    # Python refuses to read thousands of digits.
    if len(text) <= 100 and abs(int(text)) <= MAX_INTEGER:
        return int(text)
    shown = text if len(text) <= 40 else f"{text[:40]}…"
    report.error(
        node,
        "large-number",
        f"{shown} is too large for the runtime.",
        f"Write a number up to {MAX_INTEGER}.",
    )
    return None


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of several strings.

    :param any_case: Whether case is ignored; the value is in lower case.
    """

    values: tuple[str, ...]
    any_case: bool = False

    @property
    def label(self) -> str:
        """The strings."""
        return " or ".join(f"`{value}`" for value in self.values)

    def read(self, node: Node, report: Report) -> str | None:
        """Return the text."""
        text = text_of(node, report)
        if text is None:
            return None
        value = text.lower() if self.any_case else text
        if value not in self.values:
            report_choice(node, text, self.values, report)
            return None
        return value

    def write(self, value: str) -> str:
        """Return the text."""
        return value


def report_choice(
    node: Node, text: str, values: cabc.Collection[str], report: Report, what: str = ""
) -> None:
    """Report a string that is not one of the allowed ones."""
    near = suggestions(text.lower(), values)
    report.error(
        node,
        "bad-choice",
        f"'{text}' is not {what or 'allowed here'}.{did_you_mean(near[:1])}",
        f"Write {either(values)}.",
    )


def either(values: cabc.Iterable[str]) -> str:
    """Return strings in quotes with "or" before the last."""
    *first, last = (f"'{value}'" for value in values)
    return f"{', '.join(first)} or {last}" if first else last


def report_unknown(node: Mapping, name: str, known: cabc.Collection[str], report: Report) -> None:
    """Report a name in a mapping that is not one of the known ones."""
    if report.is_full:
        report.omitted += 1  # Computing a suggestion takes long.
        return
    report.warning(
        node.keys[name],
        "unknown-field",
        f"'{name}' is not known here, so the runtime ignores it."
        f"{did_you_mean(suggestions(name, known)[:1])}",
        "Correct the name, or remove it.",
    )


@dataclasses.dataclass(frozen=True)
class Many:
    """A list.

    :param item: The kind of its items.
    :param minimum: The smallest number of items.
    """

    item: Kind
    minimum: int = 0

    @property
    def label(self) -> str:
        """Its name in the reference."""
        return f"list of {self.item.label}"

    def read(self, node: Node, report: Report) -> tuple[t.Any, ...] | None:
        """Return the items that are allowed."""
        if not isinstance(node, Sequence):
            if not isinstance(node, Unread):
                report.error(
                    node,
                    "wrong-type",
                    f"This is {getattr(node, 'what', 'nothing')}, not a list.",
                    "Write '- ' before each item.",
                )
            return None
        if len(node.items) < self.minimum:
            report.error(node, "empty", "This list is empty.", "Write at least one item in it.")
            return None
        values = (self.item.read(item, report) for item in node.items)
        return tuple(value for value in values if value is not None)

    def write(self, value: tuple[t.Any, ...]) -> list[t.Any]:
        """Return the items."""
        return [self.item.write(item) for item in value]


@dataclasses.dataclass(frozen=True)
class Pair:
    """An item of a list of mappings with one entry each: ``- key: value``.

    :param value: The kind of the values.
    :param check: Returns a sentence about what is wrong with a key, or nothing.
    """

    value: Kind
    label: str = "`key: value`"
    check: cabc.Callable[[str], str] = lambda key: ""

    def read(self, node: Node, report: Report) -> tuple[str, t.Any] | None:
        """Return the key and the value."""
        if not isinstance(node, Mapping) or not node.values:
            if not isinstance(node, Unread):
                report.error(
                    node,
                    "bad-property",
                    f"This is {getattr(node, 'what', 'nothing')}, not a key and its value.",
                    "Write '- key: value'.",
                )
            return None
        for name in list(node.values)[1:]:
            report.error(
                node.keys[name],
                "lost-property",
                f"'{name}' is not read: the runtime takes only the first entry of each item.",
                f"Write '- ' before '{name}', to make it an item of its own.",
            )
        key, value = next(iter(node.values.items()))
        if wrong := self.check(key):
            report.error(node.keys[key], "bad-key", wrong, "Write '- topic/0: 123'.")
            return None
        read = self.value.read(value, report)
        return None if read is None else (key, read)

    def write(self, value: tuple[str, t.Any]) -> dict[str, t.Any]:
        """Return the entry."""
        return {value[0]: self.value.write(value[1])}


class PropertyValue(Text):
    """The value of a client's property, which may be a number or empty."""

    def read(self, node: Node, report: Report) -> str | None:
        """Return the text."""
        return text_of(node, report)
