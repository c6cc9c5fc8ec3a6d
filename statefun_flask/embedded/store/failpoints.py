"""Places where a test can have the process end, to prove that nothing is lost there.

``STATEFUN_RUNTIME_FAIL=point:n`` ends it the n-th time that it comes to the point. The points are
``call`` (a function has answered), ``transaction`` (half of a commit is written), ``commit`` (it is
on disk), ``deliver`` (records are delivered, the cursor is not yet moved), ``checkpoint`` (a part
of the log is moved into the database) and ``recover`` (the queues are half read).
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import os

VARIABLE = "STATEFUN_RUNTIME_FAIL"
STATUS = 86


class FailPoints:
    """Counts down to the place that the environment names."""

    def __init__(self, text: str | None = None) -> None:
        text = os.environ.get(VARIABLE, "") if text is None else text
        self.point, _, count = text.partition(":")
        self._left = int(count or 1)

    def hit(self, point: str) -> None:
        """End the process if this is the place and the time."""
        if point == self.point and self._due():
            os._exit(STATUS)

    @contextlib.contextmanager
    def inside_checkpoint(self, path: str) -> cabc.Iterator[None]:
        """End the process when a checkpoint has written half of the database.

        SQLite calls nobody there; a limit on the size of files stops it in the middle.
        """
        if self.point != "checkpoint" or not self._due():
            yield
            return
        import resource  # POSIX only

        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(path) // 2, hard))
        try:
            yield
        finally:
            os._exit(STATUS)

    def _due(self) -> bool:
        self._left -= 1
        return self._left == 0
