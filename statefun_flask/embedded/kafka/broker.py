"""Whether the brokers at an address answer, reported once for each change."""

from __future__ import annotations

import collections.abc as cabc
import re
import threading
import time
import typing as t

from confluent_kafka import KafkaError
from confluent_kafka import KafkaException

from .. import events

#: The pause between requests to brokers that do not answer, in seconds.
INTERVAL = 0.5

#: The time limit for such a request, in seconds.
TIMEOUT = 2.0

_CAUSE = re.compile(r"(?:.*failed: |[^ ]*/[^ ]*: )?(?P<cause>.*?)(?: \(after .*| \(config.*)?")


class Broker:
    """The state of the brokers at an address, shared by all clients of these brokers.

    :param tell: Called with each event, in any thread.
    """

    def __init__(
        self,
        address: str,
        tell: cabc.Callable[[events.Event], None],
        now: cabc.Callable[[], int],
    ) -> None:
        self.address = address
        self._tell = tell
        self._now = now
        self._lock = threading.Lock()
        self._down = False
        self._suspect = True
        self._reason: str | None = None
        self._asked = 0
        self._next = 0.0

    @property
    def is_down(self) -> bool:
        """Whether the brokers did not answer the last request."""
        return self._down

    def error(self, error: KafkaError) -> None:
        """Note an error of a client. It may be temporary: :meth:`look` finds out."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._reason = _cause(error)
        self._suspect = True

    def look(self, client: t.Any) -> None:
        """Ask the brokers if a client met an error, and report a change."""
        if not self._suspect or time.monotonic() < self._next:
            return
        try:
            client.list_topics(timeout=TIMEOUT)
        except KafkaException as exc:
            self.went(exc)
            self._next = time.monotonic() + INTERVAL
        else:
            self.came()

    def went(self, exc: KafkaException) -> None:
        """Note that the brokers do not answer. The reason is known later, or never."""
        with self._lock:
            if self._down:
                return
            self._suspect, self._asked = True, self._asked + 1
            if self._reason is None and self._asked < 2:
                return
            self._down = True
            reason = self._reason or _cause(exc.args[0])
            at = self._now()
        self._tell(events.Disconnected(at=at, broker=self.address, reason=reason))

    def came(self) -> None:
        """Note that the brokers answer."""
        with self._lock:
            self._suspect = False
            self._reason = None
            self._asked = 0
            if not self._down:
                return
            self._down = False
            at = self._now()
        self._tell(events.Connected(at=at, broker=self.address))


def _cause(error: KafkaError) -> str:
    """Return the cause of an error without the words that librdkafka adds."""
    match = _CAUSE.fullmatch(error.str())
    return match["cause"] if match else error.str()
