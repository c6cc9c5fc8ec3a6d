"""Drops repeated log records of a function that fails and is called again."""

from __future__ import annotations

import collections.abc as cabc
import logging


class Repeats(logging.Filter):
    """Drops records of an exception that was logged a moment ago with the same text.

    :param clock: Returns the time, in seconds.
    :param pause: The least time between two records of one exception, in seconds.
    """

    def __init__(self, clock: cabc.Callable[[], float], pause: float = 10.0) -> None:
        super().__init__()
        self._clock = clock
        self._pause = pause
        self._logged: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is shown."""
        if not record.exc_info or record.exc_info[1] is None:
            return True
        subject = (record.getMessage(), repr(record.exc_info[1]))
        now = self._clock()
        self._logged = {
            each: logged for each, logged in self._logged.items() if now - logged < self._pause
        }
        if subject in self._logged:
            return False
        self._logged[subject] = now
        return True
