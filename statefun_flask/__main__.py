"""``python -m statefun_flask``: the script ``statefun``."""

from __future__ import annotations

from .cli.script import main

main()
