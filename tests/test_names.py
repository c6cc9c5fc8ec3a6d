"""One name for one idea: no two public types and no two modules share a name."""

from __future__ import annotations

import ast
import collections
import collections.abc as cabc
import importlib.util
import pathlib
import re

import pytest

_SPEC = importlib.util.find_spec("statefun_flask")
assert _SPEC is not None
assert _SPEC.origin is not None
PACKAGE = pathlib.Path(_SPEC.origin).parent
GLOSSARY = pathlib.Path(__file__).parents[1] / "docs" / "glossary.md"

#: Types that share a name because the folder says which of them is meant.
TYPES_OF_ONE_IDEA: dict[str, str] = {}

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


def type_names(nodes: cabc.Iterable[ast.stmt]) -> cabc.Iterator[str]:
    """Yield the names of the public classes and type aliases that statements of a module define.

    An alias is annotated ``TypeAlias``, or is an expression such as ``dict[str, int]`` under a name
    in capitalised words.
    """
    for node in nodes:
        name, is_type = "", False
        if isinstance(node, ast.If | ast.Try):
            yield from type_names([*node.body, *node.orelse])
        elif isinstance(node, ast.ClassDef):
            name, is_type = node.name, True
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name, is_type = node.target.id, "TypeAlias" in ast.dump(node.annotation)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            is_type = bool(re.match("_*[A-Z][a-z]", name)) and not isinstance(node.value, ast.Call)
        if is_type and not name.startswith("_"):
            yield name


def shared_types(package: pathlib.Path) -> dict[str, list[str]]:
    """Return the modules of each name that two or more public classes and aliases have."""
    found: dict[str, list[str]] = collections.defaultdict(list)
    for path in modules(package):
        for name in set(type_names(ast.parse((package / path).read_text()).body)):
            found[name].append(path.as_posix())
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


def test_no_two_public_types_share_a_name() -> None:
    shared = shared_types(PACKAGE)

    assert {name: paths for name, paths in shared.items() if name not in TYPES_OF_ONE_IDEA} == {}


def test_no_two_modules_share_a_name() -> None:
    shared = shared_modules(PACKAGE)

    assert {name: paths for name, paths in shared.items() if name not in MODULES_OF_ONE_IDEA} == {}


def test_every_exception_is_needed() -> None:
    assert TYPES_OF_ONE_IDEA.keys() - shared_types(PACKAGE).keys() == set()
    assert MODULES_OF_ONE_IDEA.keys() - shared_modules(PACKAGE).keys() == set()


@pytest.mark.parametrize(
    "source",
    [
        "class Same: ...",
        "Same: t.TypeAlias = dict[str, int]",
        'Same: TypeAlias = "dict[str, int]"',
        "Same = dict[str, int] | None",
        "if t.TYPE_CHECKING:\n    Same: t.TypeAlias = int",
    ],
)
def test_a_shared_name_is_found(tmp_path: pathlib.Path, source: str) -> None:
    for folder in ("one", "two", "cli"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
        (tmp_path / folder / "same.py").write_text(
            f"{source}\nclass _Private: ...\n_Alias = list[int]\nT = t.TypeVar('T')\nSIZE = 3\n"
        )

    assert shared_types(tmp_path) == {"Same": ["cli/same.py", "one/same.py", "two/same.py"]}
    assert shared_modules(tmp_path) == {"same": ["one/same.py", "two/same.py"]}


def test_the_glossary_has_forty_words_at_most() -> None:
    words = re.findall(r"^\| \*\*(.+?)\*\* \|", GLOSSARY.read_text(), re.MULTILINE)

    assert 0 < len(words) <= 40
    assert len(set(words)) == len(words)
