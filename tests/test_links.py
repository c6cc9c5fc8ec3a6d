"""The links of the documents lead to files and headings that exist."""

from __future__ import annotations

import collections.abc as cabc
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("examples/**/README.md"),
    ]
)


def prose(document: pathlib.Path) -> str:
    """Return a document without its blocks of code."""
    return re.sub(r"^(```+).*?^\1$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(document: pathlib.Path) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *#*$", prose(document), re.MULTILINE):
        text = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        number = sum(
            re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", each) is not None for each in found
        )
        found.add(f"{anchor}-{number}" if number else anchor)
    return found


def dead_links(document: pathlib.Path) -> cabc.Iterator[str]:
    """Yield the relative links of a document that lead nowhere."""
    text = re.sub(r"`[^`\n]*`", "", prose(document))
    links = re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", text)
    links += re.findall(r"^ {0,3}\[[^\]]+\]: +(\S+)", text, re.MULTILINE)
    links += re.findall(r"(?:href|src)=\"([^\"]+)\"", text)
    for link in links:
        if re.match(r"[a-z][a-z+.-]*:", link):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_somewhere(document: pathlib.Path) -> None:
    assert list(dead_links(document)) == []


def test_a_dead_link_is_found(tmp_path: pathlib.Path) -> None:
    document = tmp_path / "one.md"
    (tmp_path / "two.md").write_text(
        "# Two `words`, *or* more\n## Again\n## Again\n```\n# no\n```\n"
    )
    document.write_text(
        "# One\n[a](two.md) [b](#one) [c](two.md#two-words-or-more) [d](two.md#again-1)"
        " [e](https://example.com/x) `[f](none.md)`\n"
        "[g](none.md) [h](#two) [i](two.md#no) [j][k]\n\n[k]: gone.md\n"
        '<img src="none.svg">\n```\n[l](none.md)\n```\n'
    )

    assert list(dead_links(document)) == ["none.md", "#two", "two.md#no", "gone.md", "none.svg"]


def test_the_readme_links_every_document() -> None:
    links = set(re.findall(r"\]\((docs/[\w-]+\.md)", (ROOT / "README.md").read_text()))
    documents = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md")}

    # The description of module.yaml links the list of its fields.
    assert documents - links == {"docs/module-fields.md"}


def test_every_module_that_a_docstring_names_exists() -> None:
    dead = []
    for path in (ROOT / "statefun_flask").rglob("*.py"):
        for name in re.findall(r":mod:`(?:[^`<]*<)?~?([\w.]+)>?`", path.read_text()):
            base = path.parent if name.startswith(".") else ROOT
            target = base.joinpath(*name.strip(".").split("."))
            if not (target.with_suffix(".py").exists() or target.is_dir()):
                dead.append(f"{path.name}: {name}")

    assert dead == []
