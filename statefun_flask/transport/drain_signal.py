"""The signal by which the workers of granian learn that the server is about to stop.

granian passes SIGTERM on to its workers, which then close their sockets and finish the running
requests. This signal is set earlier, so the workers answer 503 while they still listen.
"""

from __future__ import annotations

import collections.abc as cabc
import multiprocessing
import os
import signal
import threading
import time
import typing as t

from ..core.endpoint import Endpoint

#: The time after which SIGTERM is sent again to a running worker, in seconds.
_RESEND_DELAY = 0.5


class DrainSignal:
    """A signal that the server's process sets once and that all of its workers receive.

    :param delay: The time in seconds for which the workers listen and refuse before they stop.
    """

    def __init__(self, delay: float) -> None:
        self._delay = delay
        # Not an Event: setting one blocks forever when a process that waits for it was killed.
        self._semaphore = multiprocessing.Semaphore(0)

    def drain_when_set(self, endpoint: Endpoint) -> None:
        """Make an endpoint of this worker drain when the signal is set."""

        def drain() -> None:
            self._semaphore.acquire()
            self._semaphore.release()
            endpoint.draining = True

        threading.Thread(target=drain, name="statefun-drain", daemon=True).start()

    def set_before(self, stop: cabc.Callable[..., t.Any]) -> None:
        """Set the signal at SIGTERM, and stop the server after the delay.

        A second SIGTERM stops the server at once.
        """
        server = os.getpid()
        is_set = stopped = False

        def end(seconds: float) -> None:
            nonlocal stopped
            time.sleep(seconds)
            if stopped:
                return
            stopped = True
            stop()
            time.sleep(_RESEND_DELAY)
            _stop_again()

        def on_signal(number: int, frame: object) -> None:
            nonlocal is_set
            if os.getpid() != server:
                # A worker that was just forked has no handler of its own yet.
                os._exit(0)
            seconds = 0 if is_set else self._delay
            is_set = True
            self._semaphore.release()
            threading.Thread(target=end, args=(seconds,), daemon=True).start()

        signal.signal(signal.SIGTERM, on_signal)


def _stop_again() -> None:
    """Send SIGTERM again to the workers that are still running.

    About one worker in thirty misses the first one: the signal arrives, but granian's handler is
    not called, because Python's main thread still waits for a lock. A worker that is about to end
    may get SIGTERM twice. At a third SIGTERM granian's handler would wait, and block every running
    request.
    """
    for child in multiprocessing.active_children():
        if child.name == "granian-worker":
            child.terminate()
