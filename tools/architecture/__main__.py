"""Generates the pictures of ``docs/architecture.md``: ``python -m tools.architecture``.

With ``--check`` nothing is written, and the exit status says whether the pictures are current.
"""

from __future__ import annotations

import sys

from . import pictures


def main(arguments: list[str]) -> int:
    """Write the pictures that differ from the committed ones, or name them."""
    if arguments not in ([], ["--check"]):
        print("Usage: python -m tools.architecture [--check]", file=sys.stderr)
        return 2
    try:
        outdated = pictures.outdated()
    except ValueError as exc:
        print(exc, file=sys.stderr)
        return 1
    for path, text in outdated.items():
        if not arguments:
            path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(pictures.ROOT)} {'is not current' if arguments else 'written'}")
    return 1 if arguments and outdated else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
