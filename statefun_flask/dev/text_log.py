"""The log of the embedded engine for people: one line for each event."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import os
import shlex
import sysconfig
import time
import traceback
import typing as t

import click

from ..embedded import EgressRecord
from ..embedded import events
from ..embedded.error_text import text_of
from ..errors import StateFunError
from ..values._text import duration_text
from .codec import MessageCodec
from .codec import shorten_text
from .printable import printable

#: The number of invocations that are shown per second. A person cannot read more.
SHOWN = 200

#: The folder of the standard library.
_STANDARD = sysconfig.get_path("stdlib") + os.sep

Write: t.TypeAlias = cabc.Callable[[str], None]


class TextLog:
    """Writes events as lines.

    :param quiet: Write only egress records and errors.
    :param sampled: Write at most :data:`SHOWN` invocations per second, and the number of others.
    :param reloads: Whether the process restarts with corrected code.
    :param full_traceback: Write all frames of an exception, not only those of user code.
    """

    def __init__(
        self,
        codec: MessageCodec,
        write: Write = click.echo,
        *,
        quiet: bool = False,
        sampled: bool = False,
        full_traceback: bool = False,
        package: str = "",
        reloads: bool = False,
    ) -> None:
        self._codec = codec
        self._write = write
        self._quiet = quiet
        self._sampled = sampled
        self._full = full_traceback
        self._package = package
        self._cure = (
            "Save the corrected code to try the message again"
            if reloads
            else "Correct the code and start again (--reload does so automatically)"
        )
        self._second = 0.0
        self._count = 0

    def show(self, event: events.Event) -> None:
        """Write an event. If a value of the event cannot be shown, write its name."""
        try:
            self._show(event)
        except OSError:
            raise  # an error of the output, not of a value
        except Exception as exc:
            what = f"{type(event).__name__} cannot be shown: {type(exc).__name__}"
            self._line(event.at, what, "yellow")

    def _show(self, event: events.Event) -> None:
        match event:
            case events.Invocation():
                self._invocation(event)
            case events.Failed():
                self._failed(event)
            case events.Fired():
                self._fired(event)
            case events.Retried():
                self._retried(event)
            case events.Dropped():
                self._dropped(event)
            case events.Held():
                self._line(
                    event.at,
                    f"{event.typename} is paused by a person: {_addresses(event.waiting)};"
                    f" 'flask statefun resume {event.typename}' calls it again",
                    "yellow",
                )
            case events.Released():
                self._line(event.at, f"{event.typename} is called again", "green")
            case events.Cancelled():
                self._line(event.at, f"#{event.trace} {event.delay.target}  delay is cancelled")
            case events.Down():
                self._down(event)
            case events.Up():
                self._up(event)
            case events.Full():
                self._full_disk(event)
            case events.Writable():
                self._line(event.at, "the data can be written again", "green")
            case events.Undelivered():
                self._undelivered(event)
            case events.Disconnected():
                self._disconnected(event)
            case events.Connected():
                self._line(event.at, f"Kafka at {event.broker} answers again", "green")
            case events.TopicMissing():
                self._missing(event)
            case events.Unreadable():
                self._line(
                    event.at,
                    f"topic '{event.topic}' at {event.broker} cannot be read ({event.reason}): it"
                    " is tried again",
                    "red",
                )
            case events.LeftOut():
                self._line(event.at, f"{event.source} skips {event.what}", "yellow")

    def _line(self, at: int, text: str, colour: str | None = None) -> None:
        self._write(
            f"{click.style(_stamp(at), dim=True)} {click.style(printable(text), fg=colour)}"
        )

    # -- success -------------------------------------------------------------------

    def _invocation(self, event: events.Invocation) -> None:
        if self._quiet:
            for record in event.records:
                self._write(printable(f"{record.topic} {self._record(record)}"))
            return
        if self._sampled and not self._is_shown():
            return

        parts = [f"{event.duration * 1000:.1f} ms"]
        for name, before, after in event.changes:
            parts.append(f"{name}: {self._value(before)} -> {self._value(after)}")
        parts += [f"-> {sent.target}" for sent in event.sends]
        for delay in event.delays:
            span = duration_text(dt.timedelta(milliseconds=delay.due - event.at))
            parts.append(f"-> {delay.target} in {span}")
        parts += [f"x {delay.target} ({delay.token} cancelled)" for delay in event.cancelled]
        parts += [f"=> {each.topic} {self._record(each)}" for each in event.records]
        self._line(event.at, f"{self._received(event)}  {'  '.join(parts)}")

    def _received(self, event: events.Invocation | events.Failed) -> str:
        first = event.batch[0].message
        what = f"{self._codec.label(first)} {self._codec.show(first)}"
        if len(event.batch) > 1:
            what = f"{len(event.batch)} messages, the first {what}"
        return f"#{event.trace} {event.address}  <- {what}"

    def _record(self, record: EgressRecord) -> str:
        text = self._codec.record(record.value)
        return shorten_text(text if record.key is None else f"{record.key}: {text}")

    def _value(self, message: t.Any) -> str:
        return "none" if message is None else self._codec.show(message)

    def _is_shown(self) -> bool:
        now = time.monotonic()
        if now - self._second >= 1:
            hidden = self._count - SHOWN
            self._second, self._count = now, 0
            if hidden > 0:
                self._write(
                    click.style(
                        f"… {hidden} more invocations in that second (--format json shows all)",
                        dim=True,
                    )
                )
        self._count += 1
        return self._count <= SHOWN

    def _fired(self, event: events.Fired) -> None:
        if not self._quiet:
            self._line(event.at, f"#{event.trace} {event.delay.target}  <- delay is over")

    def _retried(self, event: events.Retried) -> None:
        again = "is tried again with another body" if event.replaced else "is tried again"
        self._line(event.at, f"#{event.trace} {event.address} {again}")

    def _dropped(self, event: events.Dropped) -> None:
        self._line(
            event.at,
            f"#{event.trace} {event.address} continues without message {event.envelope.seq},"
            f" which 'flask statefun dead revive {event.envelope.seq}' sends again",
        )

    # -- failures ------------------------------------------------------------------

    def _failed(self, event: events.Failed) -> None:
        error = event.error
        kind = "" if isinstance(error, StateFunError) else f"{type(error).__name__}: "
        self._line(event.at, f"{self._received(event)}  FAILED  {kind}{text_of(error)}", "red")
        for line in self._frames(error):
            self._write(f"    {printable(line)}")
        if not event.parked:
            self._write("  Its messages are sent again one at a time.")
            return

        address = printable(str(event.address))
        behind = f" ({event.waiting} more wait behind it)" if event.waiting else ""
        self._write(
            f"  {address} is parked at message {event.trace}{behind}; all others continue."
            f" {self._cure}, or:"
        )
        # An address that cannot be typed is named by the number of its message.
        shown = str(event.address)
        which = shlex.quote(shown) if shown.isprintable() else str(event.trace)
        self._write(f"    retry    flask statefun parked retry {which}")
        self._write(f"    replace  flask statefun parked replace {which} BODY")
        self._write(f"    drop     flask statefun parked drop {which}")

    def _frames(self, error: BaseException) -> cabc.Iterator[str]:
        """Yield the lines of a traceback that the user wrote, the innermost last."""
        if self._full:
            yield from "".join(traceback.format_exception(error)).splitlines()
            return
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if not _is_installed(frame.filename, self._package)]
        for frame in own:
            yield f"{_from_here(frame.filename)}:{frame.lineno} in {frame.name}"
            if frame.line:
                yield f"    {frame.line}"
        if frames and len(own) < len(frames):
            yield "(your frames only; --full-traceback shows all)"

    def _down(self, event: events.Down) -> None:
        self._line(
            event.at,
            f"endpoint {event.endpoint} is down ({event.reason}): {event.waiting} addresses of"
            f" {event.typename} wait, next try in {event.delay / 1000:.1f} s",
            "yellow",
        )

    def _up(self, event: events.Up) -> None:
        self._line(event.at, f"endpoint {event.endpoint} answers {event.typename} again", "green")

    def _full_disk(self, event: events.Full) -> None:
        self._line(
            event.at,
            f"{event.path} ({event.size} bytes) cannot be written to: {event.reason}. No"
            " function is called until then; free some space on its disk.",
            "red",
        )

    def _undelivered(self, event: events.Undelivered) -> None:
        self._line(
            event.at,
            f"records were not accepted ({text_of(event.error)}); they are sent again in"
            f" {event.delay / 1000:.1f} s",
            "yellow",
        )

    def _disconnected(self, event: events.Disconnected) -> None:
        self._line(
            event.at,
            f"Kafka at {event.broker} does not answer ({event.reason}): its topics continue"
            " when it answers",
            "yellow",
        )

    def _missing(self, event: events.TopicMissing) -> None:
        self._line(
            event.at,
            f"topic '{event.topic}' does not exist at {event.broker}: it is read from its start"
            " once it exists",
            "yellow",
        )


def _addresses(waiting: int) -> str:
    return "1 address waits" if waiting == 1 else f"{waiting} addresses wait"


def _stamp(at: int) -> str:
    """Return the time of day of an instant, or its number if it is out of range."""
    try:
        return dt.datetime.fromtimestamp(at / 1000).strftime("%H:%M:%S.%f")[:-3]
    except (ValueError, OverflowError, OSError):
        return str(at)


def _is_installed(filename: str, package: str) -> bool:
    return "site-packages" in filename or filename.startswith((package, _STANDARD, "<"))


def _from_here(filename: str) -> str:
    """Return a path relative to the working directory, if it is below that."""
    return filename.removeprefix(os.getcwd() + os.sep)
