"""Processes of Flink and Kafka, which write to a log file and end with this process."""

from __future__ import annotations

import collections.abc as cabc
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import typing as t

from . import supervisor
from .errors import FlinkError
from .errors import PortTakenError

#: The time between SIGTERM and SIGKILL, in seconds.
GRACE = 10.0

#: How much of the end of a log is read, in bytes.
_END = 64 << 10

#: A line of a Java stack trace which says that a port was taken. Other lines with these words are
#: not about this process.
_TAKEN = re.compile(
    r"^(?:Caused by: )?[\w.$]+(?:BindException\b|Exception: .*Address already in use)", re.MULTILINE
)

T = t.TypeVar("T")


class Process:
    """A program that runs until it is stopped, or until this Python process ends in any way.

    :param name: The name in messages.
    :param command: The program and its arguments.
    :param folder: The folder of the log, which is removed if this Python process is killed. A log
        keeps its last megabyte when it grows beyond 16.
    :param env: The whole environment; None for the environment of this process.
    """

    def __init__(
        self,
        name: str,
        command: cabc.Sequence[str],
        folder: pathlib.Path,
        env: cabc.Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        #: The file of its standard output and error.
        self.log = log_file(name, folder)
        # The supervisor reads the end that it keeps.
        with self.log.open("ab+") as log:
            # In a session of its own it does not get the terminal's Ctrl-C; Python stops it.
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", supervisor.__file__, str(folder), *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )
        self.pid = self._popen.pid

    def alive(self) -> bool:
        """Return whether it runs."""
        return self._popen.poll() is None

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._popen.poll()

    def check(self) -> None:
        """Raise if it has ended, with the end of its log.

        :raises PortTakenError: It ended because its port was taken.
        :raises FlinkError: It ended.
        """
        if self.alive():
            return
        kind = PortTakenError if is_port_taken(self._end()) else FlinkError
        raise kind(
            f"The {self.name} ended with status {self._popen.returncode}."
            f" Its log ends with:\n{self.tail()}"
        )

    def output(self) -> str:
        """Return its whole log."""
        return self.log.read_text(errors="replace")

    def _end(self) -> str:
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _END))
            return log.read().decode(errors="replace")

    def tail(self, lines: int = 20) -> str:
        """Return the last lines of its log, without the inner frames of Java's stack traces."""
        written = self._end().splitlines()
        return "\n".join([line for line in written if not line.startswith("\tat ")][-lines:])

    def wait(self) -> int:
        """Wait until it ends by itself, and return its exit status."""
        status = self._popen.wait()
        self._release()
        return status

    def stop(self) -> None:
        """End it with SIGTERM, and after :data:`GRACE` seconds with SIGKILL."""
        if self.alive():
            self._popen.send_signal(signal.SIGTERM)
            try:
                self._popen.wait(GRACE)
            except subprocess.TimeoutExpired:
                self._popen.kill()
        self.wait()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._popen.kill()
        self.wait()

    def _release(self) -> None:
        """Tell the supervisor to exit without killing the command."""
        pipe = self._popen.stdin
        if pipe is not None and not pipe.closed:
            try:
                pipe.write(b".")
                pipe.close()
            except BrokenPipeError:  # The script was killed before it forked.
                pass


def log_file(name: str, folder: pathlib.Path) -> pathlib.Path:
    """Return the path of the log of a process."""
    return folder / f"{name.lower().replace(' ', '-')}.log"


def is_port_taken(text: str) -> bool:
    """Return whether a Java process ended because it could not listen on its port."""
    return _TAKEN.search(text) is not None


def wait_until(
    condition: cabc.Callable[[], T | None],
    what: str,
    processes: cabc.Iterable[Process] = (),
    timeout: float = 60.0,
) -> T:
    """Return the first true value of a condition.

    :param what: The condition as a clause for the message: "the JobManager answers".
    :param processes: The processes that must not end meanwhile.
    :param timeout: In seconds.
    :raises FlinkError: A process ended, or the time is over.
    """
    processes = tuple(processes)
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        for process in processes:
            process.check()
        if time.monotonic() > deadline:
            logs = "".join(f"\n{each.name}:\n{each.tail()}" for each in processes)
            raise FlinkError(
                f"Gave up after {timeout:g} seconds of waiting until {what}."
                + (f" The end of each log may say why:{logs}" if logs else "")
            )
        time.sleep(0.05)
