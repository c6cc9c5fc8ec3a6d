"""How the workers of granian learn that the server is about to stop.

granian passes SIGTERM on to its workers, which close the door and finish what they were given. Here
they are told before that, so that they say so while the door is still open.
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

#: After how many seconds a worker that does not end is told once more.
_PATIENCE = 0.5


class Notice:
    """Given once, by the server's process, and heard by all of its workers.

    :param seconds: How long they go on listening, and refusing, before they are stopped.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # Not an event: telling those that wait for one takes for ever when one of them was killed.
        self._baton = multiprocessing.Semaphore(0)

    def watch(self, endpoint: Endpoint) -> None:
        """Have an endpoint of this worker drain when the notice is given."""

        def drain() -> None:
            self._baton.acquire()
            self._baton.release()
            endpoint.draining = True

        threading.Thread(target=drain, name="statefun-notice", daemon=True).start()

    def precede(self, stop: cabc.Callable[..., t.Any]) -> None:
        """Give the notice at SIGTERM, and stop the server when its time is over.

        A second signal stops it at once.
        """
        server = os.getpid()
        given = stopped = False

        def end(seconds: float) -> None:
            nonlocal stopped
            time.sleep(seconds)
            if stopped:
                return
            stopped = True
            stop()
            time.sleep(_PATIENCE)
            _stop_again()

        def give(number: int, frame: object) -> None:
            nonlocal given
            if os.getpid() != server:
                # A worker that was forked just now, and has no handler of its own yet.
                os._exit(0)
            seconds = 0 if given else self._seconds
            given = True
            self._baton.release()
            threading.Thread(target=end, args=(seconds,), daemon=True).start()

        signal.signal(signal.SIGTERM, give)


def _stop_again() -> None:
    """Stop the workers that have not noticed.

    Seen with one in thirty: the signal arrived, and granian's handler for it was not called, as
    Python's main thread went on to wait for a lock. A worker that is about to end may be told
    twice; a third time granian's handler would wait, and hold up all that is in flight.
    """
    for child in multiprocessing.active_children():
        if child.name == "granian-worker":
            child.terminate()
