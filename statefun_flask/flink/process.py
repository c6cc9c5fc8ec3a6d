"""Processes of the engine: started on a leash, writing to a log file, stopped for certain."""

from __future__ import annotations

import collections.abc as cabc
import pathlib
import signal
import subprocess
import sys
import time
import typing as t

from . import leash
from .errors import EngineError
from .errors import PortTaken

#: How long a process may take to end by itself after it was asked to, in seconds.
GRACE = 10.0

T = t.TypeVar("T")


class Process:
    """A program that runs until it is stopped, or until this Python process ends in any way.

    :param name: What messages call it.
    :param command: The program and its arguments.
    :param folder: Removed if this Python process is killed; the log is written there.
    :param env: The whole environment, if not this process's.
    """

    def __init__(
        self,
        name: str,
        command: cabc.Sequence[str],
        folder: pathlib.Path,
        env: cabc.Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        #: The file that holds what it writes to its standard output and error.
        self.log = log_file(name, folder)
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C in a terminal goes to Python, which stops it in order.
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", leash.__file__, str(folder), *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )
        self.pid = self._popen.pid

    def alive(self) -> bool:
        """Return whether it still runs."""
        return self._popen.poll() is None

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._popen.poll()

    def check(self) -> None:
        """Raise if it has ended, with the end of its log.

        :raises PortTaken: It ended since its port was taken.
        :raises EngineError: It ended.
        """
        if self.alive():
            return
        kind = PortTaken if is_port_taken(self.output()) else EngineError
        raise kind(
            f"The {self.name} ended with status {self._popen.returncode}."
            f" Its log ends with:\n{self.tail()}"
        )

    def output(self) -> str:
        """Return what it wrote."""
        return self.log.read_text(errors="replace")

    def tail(self, lines: int = 20) -> str:
        """Return the last lines that it wrote, without the inner frames of Java's stack traces."""
        written = self.output().splitlines()
        return "\n".join([line for line in written if not line.startswith("\tat ")][-lines:])

    def wait(self) -> int:
        """Wait until it ends by itself, and return its exit status."""
        status = self._popen.wait()
        self._release()
        return status

    def stop(self) -> None:
        """Ask it to end, and make it after :data:`GRACE` seconds."""
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
        """Send the leash's watcher away."""
        pipe = self._popen.stdin
        if pipe is not None and not pipe.closed:
            try:
                pipe.write(b".")
                pipe.close()
            except BrokenPipeError:  # it never came to be: the script itself was killed
                pass


def log_file(name: str, folder: pathlib.Path) -> pathlib.Path:
    """Return where a process of a name writes."""
    return folder / f"{name.lower().replace(' ', '-')}.log"


def is_port_taken(text: str) -> bool:
    """Return whether a Java process says that it could not listen."""
    return "BindException" in text or "Address already in use" in text


def wait_until(
    condition: cabc.Callable[[], T | None],
    what: str,
    processes: cabc.Iterable[Process] = (),
    timeout: float = 60.0,
) -> T:
    """Return the first true value of a condition.

    :param what: What is waited for, for the message: "the JobManager answers".
    :param processes: Those that must live on meanwhile.
    :param timeout: In seconds.
    :raises EngineError: A process ended, or the time is over.
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
            raise EngineError(f"Waited {timeout:g} seconds in vain until {what}.{logs}")
        time.sleep(0.05)
