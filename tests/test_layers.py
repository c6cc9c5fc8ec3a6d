"""Data goes one way: which module may import which, read from the import statements.

values ← protocol ← handler ← {transport, extension} ← {cli, testing}
"""

from __future__ import annotations

import ast
import collections.abc as cabc
import pathlib
import subprocess
import sys

import pytest

import statefun_flask

PACKAGE = pathlib.Path(statefun_flask.__file__).parent
ROOT = "statefun_flask"

#: The modules of the package's root that are no part of the core.
FLASK = {"extension", "app", "blueprint", "views"}
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
    "typing",
    "wire",
}
HANDLER = {"registry", "signature", "invocation", "handler", "loop"}
FRAMEWORKS = {"flask", "werkzeug", "click", "jinja2", "blinker"}
SERVERS = {"waitress", "granian", "uvicorn", "hypercorn", "asgiref"}


def modules() -> dict[str, pathlib.Path]:
    """Return the package's modules by their dotted name below the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path
    return found


MODULES = modules()


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in (
        "t.TYPE_CHECKING",
        "TYPE_CHECKING",
    )


def statements(node: ast.AST) -> cabc.Iterator[ast.AST]:
    """Yield a module's nodes, also those inside of functions, but for what only checkers read."""
    for child in ast.iter_child_nodes(node):
        yield child
        if is_type_checking(child):
            yield from (each for other in child.orelse for each in statements(other))
        else:
            yield from statements(child)


def imports(name: str, path: pathlib.Path) -> set[str]:
    """Return what a module imports: ``.x.y`` for the package's own modules, else dotted names."""
    is_package = path.name == "__init__.py"
    here = name.split(".") if name else []
    found: set[str] = set()
    for node in statements(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module or "")
        elif isinstance(node, ast.ImportFrom):
            up = node.level - is_package
            base = here[: len(here) - up] if up else here
            base = base + (node.module or "").split(".") if node.module else base
            for alias in node.names:
                full = ".".join([*base, alias.name])
                found.add("." + (full if full in MODULES else ".".join(base)))
    return found


def own(name: str) -> set[str]:
    """Return the package's modules that a module imports."""
    return {each[1:] for each in IMPORTS[name] if each.startswith(".")}


def foreign(name: str) -> set[str]:
    """Return the top-level packages that a module imports."""
    return {each.split(".")[0] for each in IMPORTS[name] if not each.startswith(".")}


IMPORTS = {name: imports(name, path) for name, path in MODULES.items()}


def within(package: str) -> list[str]:
    return [name for name in MODULES if name == package or name.startswith(package + ".")]


def is_in(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


CORE = [name for name in MODULES if name in VALUES | HANDLER or is_in(name, "protocol")]
# endpoint and config are what transports and the Flask layer share.
ROOTS = {"", "endpoint", "config"} | VALUES | HANDLER | FLASK


def test_the_readings_of_imports_are_right() -> None:
    """The reader of imports sees what is known to be there."""
    assert "protocol.v3" in own("protocol.sniff")
    assert "protocol.schema.request_reply_v3" in own("protocol.v3")
    assert "handler" in own("")
    assert "wire" in own("protocol.sniff")
    assert foreign("views") >= {"flask", "werkzeug"}
    assert "waitress" in foreign("transport.waitress")  # inside of a function
    assert "extension" not in own("blueprint")  # only for type checkers


def test_every_module_of_the_root_has_its_layer() -> None:
    assert {
        name for name in MODULES if "." not in name and MODULES[name].parent == PACKAGE
    } == ROOTS


@pytest.mark.parametrize("name", CORE)
def test_the_core_imports_no_framework_and_no_server(name: str) -> None:
    assert not foreign(name) & (FRAMEWORKS | SERVERS)


def test_the_endpoint_imports_no_framework_and_no_server() -> None:
    for name in ("endpoint", "config"):
        assert not foreign(name) & (FRAMEWORKS | SERVERS)


def test_only_the_protocol_imports_protobuf() -> None:
    core = [name for name in MODULES if "." not in name]
    assert [name for name in core if "google" in foreign(name)] == []
    assert {name for name in within("protocol") if "google" in foreign(name)} >= {"protocol.schema"}


@pytest.mark.parametrize("name", sorted(VALUES))
def test_values_import_values_only(name: str) -> None:
    assert own(name) - VALUES == set()


def test_wire_imports_nothing_of_the_package() -> None:
    assert own("wire") == set()


@pytest.mark.parametrize("name", within("protocol"))
def test_the_protocol_imports_values_only(name: str) -> None:
    beyond = {each for each in own(name) if not is_in(each, "protocol")} - VALUES
    assert beyond == set()


@pytest.mark.parametrize("name", sorted(HANDLER))
def test_the_handler_imports_protocol_and_values_only(name: str) -> None:
    beyond = {each for each in own(name) if not is_in(each, "protocol")} - VALUES - HANDLER
    assert beyond == set()


@pytest.mark.parametrize("name", within("transport"))
def test_transports_import_no_cli_and_no_testing(name: str) -> None:
    assert not [each for each in own(name) if is_in(each, "cli", "testing", "runtime", "flink")]


def test_nothing_imports_cli_but_what_adds_its_group() -> None:
    importers = {
        name
        for name in MODULES
        if not is_in(name, "cli") and any(is_in(each, "cli") for each in own(name))
    }
    assert importers == {"extension"}
    # The group alone; each command is imported when it is used.
    assert {each for each in own("extension") if is_in(each, "cli")} == {"cli"}
    assert own("cli") - {"cli"} == set()


def test_nothing_below_imports_the_flask_layer() -> None:
    for name in [*CORE, "endpoint", "config"]:
        assert own(name) & FLASK == set(), name


@pytest.mark.parametrize("name", within("runtime"))
def test_the_embedded_engine_talks_bytes_and_imports_no_flask(name: str) -> None:
    assert not foreign(name) & (FRAMEWORKS | SERVERS)
    # The registry tells it what is declared; calls are bytes.
    assert own(name) & (FLASK | HANDLER - {"registry"} | {"endpoint"}) == set()
    assert not [each for each in own(name) if is_in(each, "cli", "testing", "flink", "transport")]


def test_there_is_no_cycle() -> None:
    """Each module can be imported first, and none needs itself."""
    state: dict[str, str] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert state.get(name) != "open", " → ".join((*path, name))
        if name in state or name not in MODULES:
            return
        state[name] = "open"
        for each in own(name) - {name, ""}:
            visit(each, (*path, name))
        state[name] = "done"

    for name in CORE:
        visit(name, ())


# -- what an import costs ---------------------------------------------------------------------


def loaded(code: str) -> set[str]:
    """Return the top-level modules that are there after a program."""
    program = f"{code}\nimport sys\nprint(*sorted({{name for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_no_server_and_no_extra() -> None:
    found = loaded(f"import {ROOT}")
    assert ROOT in found
    unwanted = {"yaml", "confluent_kafka", "granian", "waitress", "sqlite3", "pydantic", "asyncio"}
    assert found & unwanted == set()
    assert not [name for name in found if is_in(name, f"{ROOT}.cli.routes", f"{ROOT}.runtime")]


def test_flask_alone_loads_no_less_of_what_is_forbidden() -> None:
    """So that the test above is about this package: Flask itself loads none of them either."""
    assert "yaml" not in loaded("import flask")
    assert "waitress" not in loaded("import flask")


def test_a_core_module_is_imported_without_the_package_pulling_in_a_server() -> None:
    found = loaded("from statefun_flask.handler import RequestHandler")
    assert "waitress" not in found
