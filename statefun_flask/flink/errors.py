"""What goes wrong around the engine."""

from __future__ import annotations

from ..errors import StateFunError


class EngineError(StateFunError):
    """The engine cannot be fetched, started or used; the message says what to do."""


class StartFailed(EngineError):
    """A process ended in its start, for a reason that may be gone at the next try."""


class PortTaken(StartFailed):
    """A process ended because somebody took its port between the choice and the start."""
