"""Text that is safe to write to a terminal.

Ids, keys, values and error texts come from anywhere. An escape sequence in one of them could
change a terminal's title or contents, and a line feed could forge a line of the log.
"""

from __future__ import annotations

import json
import typing as t


def printable(text: str) -> str:
    """Return a text in one line, with every character that is not printable escaped."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def printable_json(value: t.Any) -> str:
    """Return a value as JSON in one line, with every character that is not printable escaped."""
    text = json.dumps(value, ensure_ascii=False)
    if text.isprintable():
        return text
    # Such a character occurs inside of strings only, where JSON allows an escape.
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)
