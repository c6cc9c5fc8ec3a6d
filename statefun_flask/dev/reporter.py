"""The output of ``flask statefun dev``: lines for people, or a JSON object in each line."""

from __future__ import annotations

import os
import pathlib
import time
import typing as t

from ..embedded import events
from . import banner
from .output import Output
from .printable import printable
from .printable import printable_json
from .serializer import JsonObject
from .serializer import Serializer
from .session import Session
from .text_log import TextLog

_PACKAGE = str(pathlib.Path(__file__).parent.parent) + os.sep

#: The time between two reports of the progress of a file, in seconds.
_PROGRESS_INTERVAL = 2.0


class Reporter(t.Protocol):
    """Writes the events of a run."""

    def listener(self, session: Session) -> events.Listener:
        """Return a listener of the engine that writes events."""

    def started(self, session: Session, data: str, seconds: float) -> None:
        """Write that the session has started.

        :param data: A description of where the data is.
        :param seconds: The duration of the start.
        """

    def say(self, kind: str, text: str, *, error: bool = False) -> None:
        """Write any other line.

        :param kind: The event of the JSON object.
        :param error: Write text to standard error.
        """

    def progress(self, session: Session) -> None:
        """Write the progress of an input from time to time."""


class JsonReporter:
    """Writes objects to standard output."""

    def __init__(self, out: Output) -> None:
        self._out = out

    def listener(self, session: Session) -> events.Listener:
        """Return a listener of the engine that writes events."""
        serializer = Serializer(session.codec)

        def write(event: events.Event) -> None:
            for each in serializer.objects(event):
                self._write(each)

        return write

    def started(self, session: Session, data: str, seconds: float) -> None:
        """Write that the session has started."""
        self._write(
            {
                "event": "ready",
                "url": session.url,
                "functions": list(session.registry),
                "data": session.options.data,
                "kafka": session.options.kafka,
                "start_seconds": round(seconds, 3),
            }
        )

    def say(self, kind: str, text: str, *, error: bool = False) -> None:
        """Write any other line."""
        self._write({"event": kind, "text": text})

    def progress(self, session: Session) -> None:
        """Write nothing, since programs do not need the progress."""

    def _write(self, value: JsonObject) -> None:
        self._out.write(printable_json(value))


class TextReporter:
    """Writes events and the start screen to standard output, other lines to standard error."""

    def __init__(
        self, out: Output, err: Output, *, quiet: bool, full_traceback: bool, reloads: bool
    ) -> None:
        self._out = out
        self._err = err
        self._quiet = quiet
        self._full_traceback = full_traceback
        self._reloads = reloads
        self._last_progress = time.monotonic()
        self._is_read = True

    def listener(self, session: Session) -> events.Listener:
        """Return a listener of the engine that writes events."""
        return TextLog(
            session.codec,
            self._out.write,
            quiet=self._quiet,
            sampled=self._out.is_terminal,
            full_traceback=self._full_traceback,
            package=_PACKAGE,
            reloads=self._reloads,
        ).show

    def started(self, session: Session, data: str, seconds: float) -> None:
        """Write the start screen."""
        if not self._quiet:
            for line in banner.lines(session, data):
                self._out.write(line)

    def say(self, kind: str, text: str, *, error: bool = False) -> None:
        """Write any other line, after the lines that are queued."""
        if error and self._is_read:
            self._is_read = self._out.flush(1.0)
        for line in text.split("\n"):
            (self._err if error else self._out).write(printable(line))

    def progress(self, session: Session) -> None:
        """Write the progress of an input to a terminal from time to time."""
        now = time.monotonic()
        if not self._err.is_terminal or now - self._last_progress < _PROGRESS_INTERVAL:
            return
        self._last_progress = now
        for source in session.inputs:
            if not source.finished and source.size:
                share = source.offset / source.size
                self.say(
                    "progress", f"{source.path}: line {source.line:,} ({share:.0%})", error=True
                )
