"""A StateFun job, which runs one module.yaml."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import pathlib
import typing as t

from .errors import FlinkError
from .explain import cause
from .explain import job_failure
from .process import Process
from .process import wait_until
from .rest import Rest

#: The final states of a job.
ENDED = ("CANCELED", "FAILED", "FINISHED")

T = t.TypeVar("T")


class Job:
    """A job that was submitted; :meth:`~statefun_flask.flink.Cluster.submit` returns it.

    :param id: Its id in the JobManager.
    :param processes: Returns the processes that must not end during a wait for the job.
    """

    def __init__(self, rest: Rest, id: str, processes: cabc.Callable[[], list[Process]]) -> None:
        self.id = id
        self._rest = rest
        self._processes = processes

    def __repr__(self) -> str:
        return f"<Job {self.id}>"

    def state(self) -> str:
        """Return its state in Flink: ``RUNNING``, ``RESTARTING``, ``FAILED`` …"""
        return str(self._get()["state"])

    def running(self) -> bool:
        """Return whether all its tasks run."""
        job = self._get()
        tasks = [vertex["status"] for vertex in job["vertices"]]
        return bool(job["state"] == "RUNNING" and tasks and set(tasks) == {"RUNNING"})

    def checkpoints(self) -> int:
        """Return the number of completed checkpoints since its submission."""
        return int(self._get("/checkpoints")["counts"]["completed"])

    def restarted(self) -> int:
        """Return the time of its last restart, in milliseconds since 1970; 0 for never.

        This uses the job's timestamps: the restart metric can be ten minutes late after a
        TaskManager has died.
        """
        return int(self._get()["timestamps"]["RESTARTING"])

    def failure(self) -> tuple[int, str] | None:
        """Return the time of its last failure, in milliseconds since 1970, and the stack trace."""
        found = self._get("/exceptions")
        if found.get("root-exception") is None:
            return None
        return int(found["timestamp"]), str(found["root-exception"])

    def wait_running(self, timeout: float = 60.0) -> None:
        """Wait until all its tasks run.

        :param timeout: In seconds.
        :raises FlinkError: The job ended, or the time is over.
        """
        self._wait(self.running, "runs", timeout)

    def wait_checkpoint(self, timeout: float = 60.0) -> None:
        """Wait until one more checkpoint is completed.

        The first checkpoints of a job whose ingress starts at ``latest``, the default, may lack the
        position. A restart from one of them skips the records since. Tests that kill a process
        therefore start at ``earliest``.

        :param timeout: In seconds.
        :raises FlinkError: The job ended, or the time is over.
        """
        before = self.checkpoints()
        self._wait(lambda: self.checkpoints() > before, "has one more checkpoint", timeout)

    def wait_restart(self, since: int = 0, timeout: float = 60.0) -> None:
        """Wait until it has restarted and runs.

        :param since: The earlier result of :meth:`restarted`.
        :param timeout: In seconds.
        """
        self._wait(lambda: self.restarted() > since and self.running(), "restarted", timeout)

    def savepoint(self, folder: pathlib.Path | None = None, timeout: float = 60.0) -> str:
        """Write the whole state to a folder, and return its path for a later submit.

        :param folder: The folder; by default one that is removed with the cluster.
        :param timeout: In seconds.
        :raises FlinkError: The savepoint failed.
        """
        body = {"cancel-job": False, "target-directory": folder and folder.as_uri()}
        trigger = self._rest.post(f"/jobs/{self.id}/savepoints", body)["request-id"]

        def done() -> dict[str, t.Any] | None:
            status = self._get(f"/savepoints/{trigger}")
            return status["operation"] if status["status"]["id"] == "COMPLETED" else None

        operation = self._wait(done, "has a savepoint", timeout)
        if "location" not in operation:
            raise FlinkError(
                f"The savepoint failed: {cause(operation['failure-cause']['stack-trace'])}."
                " Try again when the job runs."
            )
        return str(operation["location"])

    def cancel(self, timeout: float = 60.0) -> None:
        """Cancel it, and wait until it has ended.

        Flink waits for requests in flight, retries included.
        """
        self._rest.patch(f"/jobs/{self.id}?mode=cancel")
        wait_until(
            lambda: self.state() in ENDED, "the job has ended", self._processes(), timeout=timeout
        )

    def _get(self, path: str = "") -> t.Any:
        return self._rest.get(f"/jobs/{self.id}{path}")

    def _wait(self, condition: cabc.Callable[[], T | None], what: str, timeout: float) -> T:
        def checked() -> T | None:
            with contextlib.suppress(OSError):
                value = condition()
                if not value and (state := self.state()) in ENDED:
                    _, trace = self.failure() or (0, "the cause is unknown")
                    raise FlinkError(
                        f"The job is {state}: {job_failure(trace)} Correct the cause, and submit"
                        " it again."
                    )
                return value
            return None

        return wait_until(checked, f"the job {what}", self._processes(), timeout)
