"""The layers of the package, checked against the import statements."""

from __future__ import annotations

import ast
import collections.abc as cabc
import functools
import importlib.util
import pathlib
import shutil
import subprocess
import sys

import pytest

_SPEC = importlib.util.find_spec("statefun_flask")
assert _SPEC is not None
assert _SPEC.origin is not None
#: The folder of the package. It is not imported, so a module that fails does no harm here.
PACKAGE = pathlib.Path(_SPEC.origin).parent

#: Every part of the package, lowest first. A part imports only from parts before it. The longest
#: matching path names the part of a file: ``cli/__init__`` adds the command group to an app and is
#: apart from the commands, which are imported when they are used.
PARTS = (
    "values/_text",
    "errors",
    "values",
    "typing",
    "protocol",
    "config",
    "core",
    "module_yaml",
    "embedded",
    "flink",
    "transport",
    "views",
    "testing",
    "cli/__init__",
    "extension",
    "blueprint",
    "app",
    "dev",
    "cli",
    "__init__",
)
#: Parts that import neither Flask, nor click, nor an HTTP server.
FRAMEWORK_FREE = PARTS[: PARTS.index("flink")]
FRAMEWORKS = {"click", "flask", "granian", "waitress", "werkzeug"}


def part(path: pathlib.Path, package: pathlib.Path = PACKAGE) -> str:
    """Return the part that a file belongs to.

    :raises LookupError: ``PARTS`` does not list it.
    """
    name = path.relative_to(package).with_suffix("").as_posix()
    for each in sorted(PARTS, key=len, reverse=True):
        if name == each or name.startswith(f"{each}/"):
            return each
    raise LookupError(f"'{name}' belongs to no part. Add its part to PARTS.")


def imports(path: pathlib.Path, package: pathlib.Path = PACKAGE) -> cabc.Iterator[str]:
    """Yield the absolute names that a file imports at run time."""
    folder = ["statefun_flask", *path.relative_to(package).parent.parts]
    for node in import_statements(path.read_text()):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            base = folder[: len(folder) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


@functools.cache
def import_statements(source: str) -> tuple[ast.Import | ast.ImportFrom, ...]:
    return tuple(
        node
        for node in run_time_nodes(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    )


def run_time_nodes(node: ast.AST) -> cabc.Iterator[ast.AST]:
    """Yield a node and those below it, without what only type checkers read."""
    yield node
    children: cabc.Iterable[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, ast.If):
        if is_type_checking(node.test):
            children = node.orelse
        elif isinstance(node.test, ast.UnaryOp) and is_type_checking(node.test.operand):
            children = node.body
    for child in children:
        yield from run_time_nodes(child)


def is_type_checking(test: ast.expr) -> bool:
    """Return whether a condition is ``TYPE_CHECKING`` or ``t.TYPE_CHECKING``."""
    return ast.unparse(test) in ("TYPE_CHECKING", "t.TYPE_CHECKING", "typing.TYPE_CHECKING")


def parts_imported(path: pathlib.Path, package: pathlib.Path = PACKAGE) -> set[str]:
    """Return the parts that a file imports."""
    found: set[str] = set()
    for name in imports(path, package):
        first, _, rest = name.partition(".")
        if first == "statefun_flask" and rest:
            found.add(part(imported_file(rest, package), package))
    return found


def imported_file(name: str, package: pathlib.Path) -> pathlib.Path:
    """Return the file of the longest leading part of a dotted name that is a module."""
    names = name.split(".")
    for length in range(len(names), 0, -1):
        path = package.joinpath(*names[:length])
        if path.with_suffix(".py").exists():
            return path.with_suffix(".py")
        if (path / "__init__.py").exists():
            return path / "__init__.py"
    return package / "__init__.py"


def others_imported(path: pathlib.Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)} - {"statefun_flask"}


def upward_imports(package: pathlib.Path) -> list[str]:
    """Return every import of a part that does not lie below the importing file's own part."""
    found: list[str] = []
    for path in sorted(package.rglob("*.py")):
        own = PARTS.index(part(path, package))
        for each in sorted(parts_imported(path, package)):
            if PARTS.index(each) > own:
                found.append(f"{path.relative_to(package).as_posix()} imports {each}")
    return found


def test_parts_import_only_from_parts_below() -> None:
    assert upward_imports(PACKAGE) == []


@pytest.fixture
def copy(tmp_path: pathlib.Path) -> pathlib.Path:
    """Return a copy of the package that a test may damage."""
    package = tmp_path / "statefun_flask"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


@pytest.mark.parametrize(
    ("file", "statement", "above"),
    [
        ("values/message.py", "from ..core import handler", "core"),
        ("values/_wire.py", "import statefun_flask.embedded.engine", "embedded"),
        ("embedded/engine.py", "from ..dev.run import Run", "dev"),
        ("module_yaml/reader.py", "from .. import extension", "extension"),
        ("flink/rest.py", "from ..cli.flink import command", "cli"),
        ("extension.py", "from .cli import dev", "cli"),
        ("core/handler.py", "from .. import StateFun", "__init__"),
        ("core/table.py", "if t.TYPE_CHECKING: ...\nelse: from ..dev.run import Run", "dev"),
        ("core/table.py", "if not t.TYPE_CHECKING: from ..dev.run import Run", "dev"),
        ("core/table.py", "if t.TYPE_CHECKING or True: from ..dev.run import Run", "dev"),
    ],
)
def test_an_upward_import_is_found(
    copy: pathlib.Path, file: str, statement: str, above: str
) -> None:
    path = copy / file
    path.write_text(f"{path.read_text()}\n{statement}\n")

    assert upward_imports(copy) == [f"{file} imports {above}"]


@pytest.mark.parametrize(
    "statement",
    [
        "if t.TYPE_CHECKING: from ..dev.run import Run",
        "if not t.TYPE_CHECKING: ...\nelse: from ..dev.run import Run",
    ],
)
def test_an_import_for_type_checkers_is_none_at_run_time(
    copy: pathlib.Path, statement: str
) -> None:
    path = copy / "core/table.py"
    path.write_text(f"{path.read_text()}\n{statement}\n")

    assert upward_imports(copy) == []


def test_a_module_outside_every_part_is_found(copy: pathlib.Path) -> None:
    (copy / "helpers.py").write_text("import os\n")

    with pytest.raises(LookupError, match="'helpers' belongs to no part"):
        upward_imports(copy)


def test_framework_free_parts_import_no_framework() -> None:
    using = {
        path.relative_to(PACKAGE).as_posix(): others_imported(path) & FRAMEWORKS
        for path in PACKAGE.rglob("*.py")
        if part(path) in FRAMEWORK_FREE
    }

    assert {path: names for path, names in using.items() if names} == {}


def test_only_protocol_imports_protobuf() -> None:
    using = {part(path) for path in PACKAGE.rglob("*.py") if "google" in others_imported(path)}

    assert using == {"protocol"}


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = ["yaml", "confluent_kafka", "granian", "waitress", "sqlite3", "asyncio"]
    code = (
        "import sys, flask; before = set(sys.modules); import statefun_flask;"
        f"print([name for name in {heavy} if name in set(sys.modules) - before])"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
