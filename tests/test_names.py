"""One name for one idea: no two public classes and no two modules share a name."""

from __future__ import annotations

import ast
import collections
import collections.abc as cabc
import importlib.util
import pathlib
import re

_SPEC = importlib.util.find_spec("statefun_flask")
assert _SPEC is not None
assert _SPEC.origin is not None
PACKAGE = pathlib.Path(_SPEC.origin).parent
GLOSSARY = pathlib.Path(__file__).parents[1] / "docs" / "glossary.md"

#: Modules that share a name because the folder says which of them is meant.
MODULES_OF_ONE_IDEA = {
    "egress": "the records for an egress, and the egresses that write them",
    "engine": "the engine of the folder",
    "errors": "the exceptions of the folder",
    "model": "the data classes of the folder",
}


def modules(package: pathlib.Path) -> cabc.Iterator[pathlib.Path]:
    """Yield the modules that are written by hand."""
    for path in sorted(package.rglob("*.py")):
        if "schema" not in path.parts:
            yield path.relative_to(package)


def shared_classes(package: pathlib.Path) -> dict[str, list[str]]:
    """Return the modules of each name that two or more public classes have."""
    found: dict[str, list[str]] = collections.defaultdict(list)
    for path in modules(package):
        for node in ast.parse((package / path).read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(path.as_posix())
    return {name: paths for name, paths in found.items() if len(paths) > 1}


def shared_modules(package: pathlib.Path) -> dict[str, list[str]]:
    """Return the modules of each name that two or more modules have.

    A module of ``cli`` has the name of its command.
    """
    found: dict[str, list[str]] = collections.defaultdict(list)
    for path in modules(package):
        if path.name != "__init__.py" and path.parts[0] != "cli":
            found[path.stem].append(path.as_posix())
    return {name: paths for name, paths in found.items() if len(paths) > 1}


def test_no_two_public_classes_share_a_name() -> None:
    assert shared_classes(PACKAGE) == {}


def test_no_two_modules_share_a_name() -> None:
    shared = shared_modules(PACKAGE)

    assert {name: paths for name, paths in shared.items() if name not in MODULES_OF_ONE_IDEA} == {}


def test_every_exception_is_needed() -> None:
    assert MODULES_OF_ONE_IDEA.keys() - shared_modules(PACKAGE).keys() == set()


def test_a_shared_name_is_found(tmp_path: pathlib.Path) -> None:
    for folder in ("one", "two", "cli"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
        (tmp_path / folder / "same.py").write_text("class Same: ...\nclass _Private: ...\n")

    assert shared_classes(tmp_path) == {"Same": ["cli/same.py", "one/same.py", "two/same.py"]}
    assert shared_modules(tmp_path) == {"same": ["one/same.py", "two/same.py"]}


def test_the_glossary_has_forty_words_at_most() -> None:
    words = re.findall(r"^\| \*\*(.+?)\*\* \|", GLOSSARY.read_text(), re.MULTILINE)

    assert 0 < len(words) <= 40
    assert len(set(words)) == len(words)
