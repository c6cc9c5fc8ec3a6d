"""What goes wrong around the engine."""

from __future__ import annotations

from ..errors import StateFunError


class EngineError(StateFunError):
    """The engine cannot be fetched, started or used; the message says what to do."""


class PortTaken(EngineError):
    """A process ended because somebody took its port between the choice and the start."""
