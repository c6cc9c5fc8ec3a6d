"""Watching a cluster: what a user should know while it runs."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import pathlib
import time

from .cluster import Cluster
from .errors import EngineError
from .failures import CallLog
from .failures import Digest
from .failures import job_failure
from .job import ENDED
from .job import Job


class Watch:
    """Tells, sentence by sentence, what fails in a cluster whose job runs."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._job = cluster.job
        self._logs: dict[pathlib.Path, _Log] = {}
        self._digest = Digest(cluster.url, time.monotonic)
        self._failure = 0

    def news(self) -> cabc.Iterator[str]:
        """Yield what happened since the last time.

        :raises EngineError: A process or the job has ended.
        """
        for process in self._cluster.taskmanagers:
            log = self._logs.setdefault(process.log, _Log(process.log))
            for call in log.calls.read(log.lines()):
                self._digest.add(call)
        yield from self._digest.sentences()
        with contextlib.suppress(OSError):
            yield from self._job_news(self._job)
        self._cluster.check()

    def _job_news(self, job: Job) -> cabc.Iterator[str]:
        failure, state = job.failure(), job.state()
        if state in ENDED:
            why = job_failure(failure[1]) if failure else "It was ended from outside."
            raise EngineError(f"The job is {state}. {why} Correct that, and start again.")
        if failure is not None and failure[0] != self._failure:
            self._failure, trace = failure
            yield f"The job restarts from its last checkpoint: {job_failure(trace)}"


class _Log:
    """A log file that grows."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._position = 0
        self.calls = CallLog()

    def lines(self) -> list[str]:
        """Return the whole lines that were written since the last time."""
        with self._path.open("rb") as file:
            file.seek(self._position)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._position += len(whole)
        return whole.decode(errors="replace").splitlines()
