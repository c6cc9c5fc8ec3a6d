"""Calls of endpoints, on worker threads: bytes go in, bytes or an exception come out."""

from __future__ import annotations

import collections.abc as cabc
import queue
import threading
import time

import msgspec

from ...values.address import Address
from ...values.batch_scope import engine_call
from ..addresses.mailbox import Mailbox
from ..clock import Clock
from ..exchange.states import StateSpecs
from ..records import Envelope
from .routes import FunctionEndpoint


class Call(msgspec.Struct, eq=False):
    """A request to an endpoint, and its outcome.

    :param mailbox: Where its messages wait until it has an outcome.
    :param attached: The states that the request has.
    :param clock: The time that functions in this process see.
    :param duration: In seconds.
    """

    address: Address
    endpoint: FunctionEndpoint
    mailbox: Mailbox
    batch: list[Envelope]
    attached: StateSpecs
    body: bytes
    clock: Clock
    outcome: bytes | BaseException = b""
    duration: float = 0.0

    def run(self) -> None:
        """Call the endpoint."""
        token = engine_call.set(self)
        started = time.perf_counter()
        try:
            self.outcome = self.endpoint(self.body)
        except Exception as exc:
            self.outcome = exc
        finally:
            engine_call.reset(token)
        self.duration = time.perf_counter() - started

    def now(self) -> int:
        """Return the time of the engine's clock, in milliseconds since 1970."""
        return self.clock.now()

    def trace(self, position: int) -> int:
        """Return the trace of a message of the request, counted from 0."""
        return self.batch[position].trace


class CallPool:
    """Threads that take one call each.

    :param done: Gets each call with its outcome, in the worker's thread.
    """

    def __init__(self, number: int, done: cabc.Callable[[Call], None]) -> None:
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._done = done
        self.threads = [
            threading.Thread(target=self._work, name=f"statefun-worker-{index}", daemon=True)
            for index in range(number)
        ]
        for thread in self.threads:
            thread.start()

    def put(self, call: Call) -> None:
        """Have a call made."""
        self._calls.put(call)

    def close(self, timeout: float) -> None:
        """End the threads once they have made their calls, or leave them after so many seconds."""
        for _ in self.threads:
            self._calls.put(None)
        deadline = time.monotonic() + timeout
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call.run()
            except BaseException as exc:  # a function's SystemExit must not end the worker
                call.outcome = exc
            self._done(call)
