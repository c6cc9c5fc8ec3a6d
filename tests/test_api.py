"""The public names and their signatures: a change here is a change for users."""

from __future__ import annotations

import ast
import inspect
import pathlib
import re
import typing as t

import statefun_flask
from statefun_flask.extension import AppStateFun

SNAPSHOT = pathlib.Path(__file__).with_name("api.txt")


def signature(thing: t.Any) -> str:
    try:
        text = str(inspect.signature(thing))
    except (TypeError, ValueError):
        return "(…)"
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def public_names() -> list[str]:
    """Return the names that the package re-exports as ``X as X``."""
    tree = ast.parse(pathlib.Path(statefun_flask.__file__).read_text())
    return sorted(
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    )


def public_classes() -> list[type]:
    """Return the classes that the package exports: users make their objects."""
    return [*filter(inspect.isclass, (getattr(statefun_flask, name) for name in public_names()))]


def classes() -> set[type]:
    """Return the public classes, with those that users hold or whose members they inherit."""
    listed = [*public_classes(), AppStateFun]
    bases = {base for cls in listed for base in cls.__mro__ if is_ours(base)}
    return {cls for cls in bases if not cls.__name__.startswith("_")}


def constructors() -> set[t.Any]:
    """Return the constructors that users call, other than those without parameters."""
    called = {cls.__init__ for cls in public_classes()}  # type: ignore[misc]
    return {each for each in called if list(inspect.signature(each).parameters) != ["self"]}


def is_ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "statefun_flask"


def members(cls: type) -> dict[str, t.Any]:
    """Return the members that a class adds to those of its bases, by name.

    Those of a private base count as its own. A member that overrides one of Flask's is Flask's.
    """
    found: dict[str, t.Any] = {}
    for base in reversed(cls.__mro__):
        if base is cls or (is_ours(base) and base.__name__.startswith("_")):
            found |= vars(base)
    others = [base for base in cls.__mro__ if not is_ours(base) and base is not object]
    return {
        name: value
        for name, value in found.items()
        if name == "__init__" or not any(name in vars(base) for base in others)
    }


def class_lines(cls: type) -> t.Iterator[str]:
    bases = ", ".join(base.__name__ for base in cls.__bases__)
    yield f"{cls.__name__}({bases})"
    own = members(cls)
    if own.get("__init__") not in constructors():
        own.pop("__init__", None)
    if issubclass(cls, Exception):
        return
    if getattr(cls, "_is_protocol", False):
        own.pop("__init__", None)  # typing makes one
    for member, value in sorted(own.items()):
        if member in ("__init__", "__call__"):
            yield f"    {member}{signature(value)}"
        elif not member.startswith("_"):
            function = getattr(value, "__func__", value)
            text = signature(function) if inspect.isroutine(function) else ""
            yield f"    {member}{text}"


def lines() -> t.Iterator[str]:
    by_name = {cls.__name__: cls for cls in classes()}
    for name in sorted({*public_names(), *by_name}):
        if name in by_name:
            yield from class_lines(by_name[name])
        else:
            thing = getattr(statefun_flask, name)
            yield (
                f"{name}{signature(thing)}" if inspect.isfunction(thing) else f"{name} = {thing!r}"
            )


def test_the_public_api_is_as_it_was_agreed() -> None:
    """After an intended change, write the new file: ``python tests/test_api.py``."""
    assert SNAPSHOT.read_text().splitlines() == list(lines())


if __name__ == "__main__":
    SNAPSHOT.write_text("\n".join(lines()) + "\n")
