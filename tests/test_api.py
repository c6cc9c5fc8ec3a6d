"""The public names and their signatures: a change here is a change for users."""

from __future__ import annotations

import ast
import inspect
import pathlib
import re
import typing as t

import statefun_flask

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


def lines() -> t.Iterator[str]:
    for name in public_names():
        thing = getattr(statefun_flask, name)
        if not inspect.isclass(thing):
            yield (
                f"{name}{signature(thing)}" if inspect.isfunction(thing) else f"{name} = {thing!r}"
            )
            continue
        bases = ", ".join(base.__name__ for base in thing.__bases__)
        yield f"{name}({bases})"
        own = {**vars(thing)}
        if issubclass(thing, Exception):
            continue
        if getattr(thing, "_is_protocol", False):
            own.pop("__init__", None)  # typing makes one
        for member, value in sorted(own.items()):
            if member == "__init__" or (member == "__call__" and "__init__" in own):
                yield f"    {member}{signature(value)}"
            elif not member.startswith("_"):
                function = getattr(value, "__func__", value)
                text = signature(function) if inspect.isroutine(function) else ""
                yield f"    {member}{text}"


def test_the_public_api_is_as_it_was_agreed() -> None:
    """After an intended change, write the new file: ``python tests/test_api.py``."""
    assert SNAPSHOT.read_text().splitlines() == list(lines())


if __name__ == "__main__":
    SNAPSHOT.write_text("\n".join(lines()) + "\n")
