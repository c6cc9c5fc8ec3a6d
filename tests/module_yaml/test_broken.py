"""Every broken file of the corpus has exactly the findings that are marked in it."""

from __future__ import annotations

import collections.abc as cabc
import pathlib
import re

import pytest

from statefun_flask.module_yaml import read

CORPUS = pathlib.Path(__file__).with_name("broken.txt").read_text()


def cases() -> cabc.Iterator[tuple[str, str]]:
    for case in CORPUS.split("\n=== ")[1:]:
        name, _, text = case.partition("\n")
        yield name, text + "\n"


def expected(text: str) -> list[tuple[int, str]]:
    return sorted(
        (number, code)
        for number, line in enumerate(text.splitlines(), 1)
        if (marked := re.search(r"#! (.*)", line))
        for code in marked[1].split()
    )


@pytest.mark.parametrize(("name", "text"), list(cases()), ids=[name for name, _ in cases()])
def test_a_broken_file_has_its_findings(name: str, text: str) -> None:
    found = [(each.line, each.code) for each in read(text).findings]

    assert sorted(found) == expected(text)


@pytest.mark.parametrize(("name", "text"), list(cases()), ids=[name for name, _ in cases()])
def test_a_finding_is_two_sentences_and_has_a_place(name: str, text: str) -> None:
    for finding in read(text).findings:
        assert re.fullmatch(r"\S.*[.?]", finding.text, re.S)
        assert re.fullmatch(r"[A-Z].*\.", finding.fix, re.S)
        assert finding.column > 0
        assert str(finding).startswith(f"module.yaml:{finding.line}:{finding.column}: ")


def test_the_corpus_is_large() -> None:
    assert len(list(cases())) >= 100
