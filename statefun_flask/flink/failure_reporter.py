"""Reports failures in a running cluster to its user."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import os
import pathlib
import time

from . import supervisor
from .cluster import Cluster
from .errors import FlinkError
from .explain import CallLog
from .explain import Digest
from .explain import job_failure
from .job import ENDED
from .job import Job


class FailureReporter:
    """Describes the failures in a cluster with a running job, one sentence each."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._job = cluster.job
        self._logs: dict[pathlib.Path, Log] = {}
        self._digest = Digest(cluster.url, time.monotonic)
        self._failure = 0

    def new_failures(self) -> cabc.Iterator[str]:
        """Yield the descriptions of the failures since the last call.

        :raises FlinkError: A process or the job has ended.
        """
        for process in self._cluster.taskmanagers:
            log = self._logs.setdefault(process.log, Log(process.log))
            for call in log.calls.read(log.lines()):
                self._digest.add(call)
        yield from self._digest.sentences()
        with contextlib.suppress(OSError):
            yield from self._job_failures(self._job)
        self._cluster.check()

    def _job_failures(self, job: Job) -> cabc.Iterator[str]:
        failure, state = job.failure(), job.state()
        if state in ENDED:
            why = job_failure(failure[1]) if failure else "Another program ended it."
            raise FlinkError(f"The job is {state}. {why} Correct the cause, and start again.")
        if failure is not None and failure[0] != self._failure:
            self._failure, trace = failure
            yield f"The job restarts from its last checkpoint: {job_failure(trace)}"


class Log:
    """A log file that grows, and that is sometimes cut to its end."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._position = 0
        self.calls = CallLog()

    def lines(self) -> list[str]:
        """Return the whole lines that were written since the last call."""
        with self._path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size < self._position:
                self._position = min(size, supervisor.KEPT_LOG_BYTES)
            file.seek(self._position)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._position += len(whole)
        return whole.decode(errors="replace").splitlines()
