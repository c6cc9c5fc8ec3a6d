"""Servers for functions without a Flask app, and for ``flask statefun serve``."""

from __future__ import annotations

import typing as t

from ..registry import FunctionRegistry
from .waitress import WaitressTransport as WaitressTransport


class Transport(t.Protocol):
    """Serves functions until it is stopped."""

    def run(self, registry: FunctionRegistry) -> None:
        """Answer the runtime's requests with the functions of a registry."""
