"""Writes standard output and standard error from a queue, so that no reader stops the engine."""

from __future__ import annotations

import collections.abc as cabc
import os
import select
import threading
import typing as t

import click

from .bounded_queue import BoundedQueue

#: The bytes that may wait for the reader of an output.
MAX_BYTES = 8 << 20


class Output:
    """Writes lines to a stream in a thread of its own.

    While the reader of a pipe or a terminal does not read, the oldest lines are dropped. When the
    reader continues, a line reports the number of dropped lines.

    The thread writes to the file descriptor itself: a thread that is blocked in a write of
    ``sys.stdout`` would hold a lock that the end of the process needs.

    :param complete: Wait for the reader instead of dropping lines, until :meth:`release`.
    :param missed: Returns the line for a number of dropped lines.
    :param gone: Called when the reader has closed the stream. Later lines are discarded.
    """

    def __init__(
        self,
        stream: t.TextIO,
        *,
        complete: bool = False,
        missed: cabc.Callable[[int], str],
        gone: cabc.Callable[[], None] = lambda: None,
    ) -> None:
        stream.flush()
        self.is_terminal = stream.isatty()
        self._descriptor = stream.fileno()
        self._encoding = stream.encoding
        self._complete = complete
        self._missed = missed
        self._gone = gone
        self._discarding = False
        self._queue: BoundedQueue[bytes | threading.Event] = BoundedQueue(MAX_BYTES)
        self._thread = threading.Thread(target=self._run, name="statefun-output", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Write a line soon."""
        data = self._encoded(line)
        self._queue.put(data, len(data), wait=self._complete)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait for so many seconds at most, and return whether all lines so far are written."""
        written = threading.Event()
        self._queue.put(written, 0)
        return written.wait(timeout)

    def release(self) -> None:
        """Drop lines from now on instead of waiting for the reader."""
        self._complete = False
        self._queue.release()

    def close(self, timeout: float) -> None:
        """Write the queued lines, for so many seconds at most."""
        self._queue.close()
        self._thread.join(timeout)

    def _encoded(self, line: str) -> bytes:
        # No value may stop the engine, whatever the encoding of the terminal is.
        text = line if self.is_terminal else click.unstyle(line)
        return f"{text}\n".encode(self._encoding, errors="backslashreplace")

    def _run(self) -> None:
        closed = False
        while not closed:
            missed, items, closed = self._queue.take()
            lines = [self._encoded(self._missed(missed))] if missed else []
            for item in items:
                if isinstance(item, bytes):
                    lines.append(item)
                else:
                    self._write(b"".join(lines))
                    lines = []
                    item.set()
            self._write(b"".join(lines))

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and not self._discarding:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # another process made the pipe non-blocking
                select.select([], [self._descriptor], [])
            except OSError:
                self._discarding = True
                self._gone()
