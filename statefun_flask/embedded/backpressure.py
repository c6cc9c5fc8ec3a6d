"""Backpressure: a source of messages waits while too many messages wait in the engine."""

from __future__ import annotations

import collections.abc as cabc
import threading
import time

from ..values.address import Address
from ..values.message import Message
from .engine import Engine

#: A source waits while more messages, or more bytes of messages, wait in the engine. The limits are
#: high because larger batches cost less CPU time per message.
MESSAGES = 60_000
BYTES = 64 << 20

#: A source that waits continues below this fraction of the limit.
LOW = 0.8


class Backpressure:
    """The backpressure of one source."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._high = MESSAGES

    @property
    def is_full(self) -> bool:
        """Whether the source must wait."""
        return self._engine.queued > self._high

    def sent(self, messages: cabc.Sequence[tuple[Address, Message]]) -> None:
        """Note messages that the source has sent.

        The engine does not know the size of the waiting messages. This class assumes that they have
        the average size of the last ones.
        """
        if messages:
            size = sum(len(message.value) for _, message in messages)
            self._high = min(MESSAGES, len(messages) * BYTES // max(size, 1))

    def wait(
        self, stopping: threading.Event, meanwhile: cabc.Callable[[], None] = lambda: None
    ) -> None:
        """Return when the engine can accept messages, or when the source is stopping.

        :param meanwhile: Called repeatedly while the source waits.
        """
        if not self.is_full:
            return
        while self._engine.queued > self._high * LOW and not stopping.is_set():
            meanwhile()
            # Polling costs little. A notification would cost the engine time for each message.
            time.sleep(0.005)
