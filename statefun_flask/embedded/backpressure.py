"""Backpressure: a source of messages waits while too many messages wait in the engine."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import threading
import time

from .engine import Engine

#: A source waits while more messages, or more bytes of messages, wait in the engine. The limits are
#: high because larger batches cost less CPU time per message.
MESSAGES = 60_000
BYTES = 64 << 20

#: A source that waits continues below this fraction of the limit.
LOW = 0.8


class Backpressure:
    """Tells the sources of messages whether the engine has room for more."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._reserved = 0

    @contextlib.contextmanager
    def room(self, size: int) -> cabc.Iterator[bool]:
        """Return whether there is room for a message, and keep the room until it is sent.

        A message that is larger than all that may wait has room while nothing else waits.

        :param size: The size of its payload, or of the body that it is made of, in bytes.
        """
        with self._lock:
            waiting = self._engine.queued_bytes + self._reserved
            has_room = not self._is_over(1.0) and (not waiting or waiting + size <= BYTES)
            if has_room:
                self._reserved += size
        try:
            yield has_room
        finally:
            if has_room:
                with self._lock:
                    self._reserved -= size

    def _is_over(self, part: float) -> bool:
        engine = self._engine
        return engine.queued > MESSAGES * part or engine.queued_bytes > BYTES * part

    def wait(
        self, stopping: threading.Event, meanwhile: cabc.Callable[[], None] = lambda: None
    ) -> None:
        """Return when the engine can accept messages, or when the source is stopping.

        :param meanwhile: Called repeatedly while the source waits.
        """
        if not self._is_over(1.0):
            return
        while self._is_over(LOW) and not stopping.is_set():
            meanwhile()
            # Polling costs little. A notification would cost the engine time for each message.
            time.sleep(0.005)
