"""The threads of a waitress server, with one apart for what is answered at once."""

from __future__ import annotations

import typing as t

from waitress.task import ThreadedTaskDispatcher

from ..core.endpoint import Endpoint
from ..core.health import Health


class Lanes(ThreadedTaskDispatcher):  # type: ignore[misc,unused-ignore]
    """Keeps probes, and refusals while draining, from waiting for functions that take long.

    :param threads: How many requests are answered at a time, in the lane of all others.
    """

    def __init__(self, endpoint: Endpoint, threads: int) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._url = endpoint.settings.url.rstrip("/")
        self._health = Health(endpoint).paths
        self._short = ThreadedTaskDispatcher()
        self._short.set_thread_count(1)
        self.set_thread_count(threads)

    def add_task(self, task: t.Any) -> None:
        """Have a connection's next request answered."""
        path = getattr(task.requests[0], "path", "")
        if path in self._health or (self._endpoint.draining and path.rstrip("/") == self._url):
            self._short.add_task(task)
        else:
            super().add_task(task)

    def drain(self) -> None:
        """Refuse what no thread has begun yet; what they are at goes on."""
        self._endpoint.draining = True
        with self.lock:
            waiting = list(self.queue)
            self.queue.clear()
        for task in waiting:
            self.add_task(task)

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> bool:
        """End the threads of both lanes."""
        self._short.shutdown(cancel_pending, timeout)
        return bool(super().shutdown(cancel_pending, timeout))
