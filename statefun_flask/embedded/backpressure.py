"""Holds up what reads messages from outside while the engine has enough of them."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import threading
import time

from .engine import Engine

#: Reading stops when more messages wait in the engine, or messages of more bytes. The more wait,
#: the more of them are in one call, and the less each of them costs.
MESSAGES = 60_000
BYTES = 64 << 20

#: A reader that has stopped goes on at this part of it, so that it does not stop at each message.
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
        """Return when there is room, or nothing more is to be sent.

        :param meanwhile: Called repeatedly.
        """
        if not self._is_over(1.0):
            return
        while self._is_over(LOW) and not stopping.is_set():
            meanwhile()
            # Looking costs next to nothing; being told would cost the engine for each message.
            time.sleep(0.005)
