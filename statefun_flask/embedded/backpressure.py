"""Holds up what reads messages from outside while the engine has enough of them."""

from __future__ import annotations

import collections.abc as cabc
import threading
import time

from ..values.address import Address
from ..values.message import Message
from .engine import Engine

#: Reading stops when so many messages wait in the engine, or messages of so many bytes. The more
#: wait, the more of them are in one call, and the less each of them costs.
MESSAGES = 60_000
BYTES = 64 << 20

#: It goes on at this part of it, so that it is not begun anew for each message.
LOW = 0.8


class Backpressure:
    """One source's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._high = MESSAGES

    @property
    def is_full(self) -> bool:
        """Whether the engine has enough messages, at a glance."""
        return self._engine.queued > self._high

    def sent(self, messages: cabc.Sequence[tuple[Address, Message]]) -> None:
        """Note what was sent.

        The engine does not know how large what waits is. It is taken to be like what came last.
        """
        if messages:
            size = sum(len(message.value) for _, message in messages)
            self._high = min(MESSAGES, len(messages) * BYTES // max(size, 1))

    def wait(
        self, stopping: threading.Event, meanwhile: cabc.Callable[[], None] = lambda: None
    ) -> None:
        """Return when there is room, or nothing more is to be sent.

        :param meanwhile: Is called time and again.
        """
        if not self.is_full:
            return
        while self._engine.queued > self._high * LOW and not stopping.is_set():
            meanwhile()
            # Looking costs next to nothing; being told would cost the engine for each message.
            time.sleep(0.005)
