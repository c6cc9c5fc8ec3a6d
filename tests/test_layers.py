"""The architecture of design, held by the import statements themselves."""

from __future__ import annotations

import ast
import collections.abc as cabc
import pathlib
import subprocess
import sys

import pytest

import statefun_flask

PACKAGE = pathlib.Path(statefun_flask.__file__).parent
VALUES = {
    "address",
    "context",
    "effects",
    "egress",
    "errors",
    "json",
    "message",
    "primitives",
    "state",
    "types",
    "wire",
}
CORE = VALUES | {"handler", "invocation", "loop", "protocol", "registry", "signature", "typing"}
LAYERS: dict[str, set[str]] = {
    "values": VALUES,
    "protocol": {"protocol"},
    "handler": {"handler", "invocation", "loop", "registry", "signature"},
    "endpoint": {"config", "endpoint", "health"},
    "extension": {"app", "blueprint", "extension", "hooks", "signals", "views"},
    "transport": {"transport"},
    "top": {"cli", "testing"},
}
FLASK = {"click", "flask", "werkzeug"}
SERVERS = {"granian", "waitress"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def part(path: pathlib.Path) -> str:
    """Return the module, or the folder, of the package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: pathlib.Path) -> cabc.Iterator[str]:
    """Yield what a file imports at run time, by absolute name."""
    package = ["statefun_flask", *path.relative_to(PACKAGE).parent.parts]
    for node in run_time_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def run_time_nodes(node: ast.AST) -> cabc.Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from run_time_nodes(child)


def parts_imported(path: pathlib.Path) -> set[str]:
    names = (name.split(".") for name in imports(path))
    return {name[1] for name in names if name[0] == "statefun_flask" and len(name) > 1}


def others_imported(path: pathlib.Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)} - {"statefun_flask"}


def of(*parts: str) -> list[pathlib.Path]:
    found = [path for path in MODULES if part(path) in parts]
    assert found
    return found


def test_the_package_is_read() -> None:
    assert "flask" in others_imported(PACKAGE / "extension.py")
    assert {"registry", "handler", "cli"} <= parts_imported(PACKAGE / "extension.py")


def test_the_core_imports_neither_flask_nor_click_nor_a_server() -> None:
    for path in of(*CORE, "endpoint", "config"):
        assert not others_imported(path) & (FLASK | SERVERS), path


def test_only_protocol_imports_protobuf() -> None:
    using = {part(path) for path in MODULES if "google" in others_imported(path)}

    assert using <= {"protocol"}


def test_what_a_layer_imports_is_below_it() -> None:
    below: set[str] = {"typing"}
    for layer, parts in LAYERS.items():
        below |= parts
        for path in MODULES:
            if part(path) in parts:
                above = parts_imported(path) & set().union(*LAYERS.values()) - below
                if layer == "values":
                    above -= {"typing"}
                if part(path) == "extension":
                    above -= {"cli"}  # it adds the command group
                if path.name == "direct.py" and layer == "transport":
                    above -= {"views", "extension"}
                assert not above, f"{path} imports {above}"


@pytest.mark.parametrize("folder", ["runtime", "modules"])
def test_the_runtime_and_module_files_know_nothing_of_flask(folder: str) -> None:
    for path in of(folder):
        assert not others_imported(path) & (FLASK | SERVERS), path
        assert not parts_imported(path) & {"app", "blueprint", "cli", "extension", "views"}, path


def test_nothing_imports_the_commands_but_what_adds_them() -> None:
    using = {part(path) for path in MODULES if "cli" in parts_imported(path)} - {"cli"}

    assert using == {"extension"}


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = ["yaml", "confluent_kafka", "granian", "waitress", "sqlite3", "asyncio"]
    code = (
        "import sys, flask; before = set(sys.modules); import statefun_flask;"
        f"print([name for name in {heavy} if name in set(sys.modules) - before])"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
