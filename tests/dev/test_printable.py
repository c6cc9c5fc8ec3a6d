from __future__ import annotations

import json

import pytest

from statefun_flask.dev.printable import printable
from statefun_flask.dev.printable import printable_json

ODD = [
    "\x1b]0;title\x07",
    "two\nlines",
    "\x7f",
    "\x9b31m",
    "\u202ebidi",
    "\u2028",
    "\udcff",
    "\U000e0001",
]


@pytest.mark.parametrize("text", ODD)
def test_unprintable_characters_are_escaped(text: str) -> None:
    assert printable(text).isprintable()
    assert printable_json({"id": text}).isprintable()
    assert json.loads(printable_json({text: [text]})) == {text: [text]}


@pytest.mark.parametrize("text", ["", "bob", "naïve 名 🚀"])
def test_other_text_is_unchanged(text: str) -> None:
    assert printable(text) == text
    assert printable_json(text) == f'"{text}"'
