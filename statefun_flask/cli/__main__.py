"""``python -m statefun_flask.cli``: the script ``statefun``."""

from __future__ import annotations

from .script import main

if __name__ == "__main__":
    main()
