"""Errors of Flink, Kafka, and the programs that they need."""

from __future__ import annotations

from ..errors import StateFunError


class FlinkError(StateFunError):
    """Flink or Kafka cannot be fetched, started or used; the message says what to do."""


class StartFailedError(FlinkError):
    """A process ended while it started, for a reason that another attempt may not meet."""


class PortTakenError(StartFailedError):
    """A process ended because another program took its port between the choice and the start."""
