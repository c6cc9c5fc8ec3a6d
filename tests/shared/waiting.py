"""Waits for a condition in tests."""

from __future__ import annotations

import collections.abc as cabc
import time


def wait_for(condition: cabc.Callable[[], bool], what: str, seconds: float) -> None:
    """Return as soon as a condition holds, and fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)
