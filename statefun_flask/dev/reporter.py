"""What ``flask statefun dev`` writes: lines for people, or a JSON object in each line."""

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

#: How often the progress of a file is shown, in seconds.
_PROGRESS_INTERVAL = 2.0


class Reporter(t.Protocol):
    """Writes what happens during a run."""

    def listener(self, session: Session) -> events.Listener:
        """Return a listener of the engine that writes events."""

    def started(self, session: Session, data: str, seconds: float) -> None:
        """Write that the session has started.

        :param data: Where the data is, in words.
        :param seconds: How long the start took.
        """

    def say(self, kind: str, text: str, *, error: bool = False) -> None:
        """Write something else.

        :param kind: The event of the JSON object.
        :param error: Write text to standard error.
        """

    def progress(self, session: Session) -> None:
        """Write now and then how far an input is read."""


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
        """Write something else."""
        self._write({"event": kind, "text": text})

    def progress(self, session: Session) -> None:
        """Write nothing: a program does not watch."""

    def _write(self, value: JsonObject) -> None:
        self._out.write(printable_json(value))


class TextReporter:
    """Writes events and the start screen to standard output, and all else to standard error."""

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
        """Write something else, behind what is written already."""
        if error and self._is_read:
            self._is_read = self._out.flush(1.0)
        for line in text.split("\n"):
            (self._err if error else self._out).write(printable(line))

    def progress(self, session: Session) -> None:
        """Write now and then to a terminal how far an input is read."""
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
