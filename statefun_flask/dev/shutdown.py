"""Ends a run: closes the session and reports unfinished work."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import time

from ..embedded.records import Delay
from ..values._text import duration_text
from .session import Session

#: The largest numbers of pending delays that are listed, and that are counted.
LISTED = 20
COUNTED = 1000

#: How long a function that runs in the engine's own thread may hold up the end, in seconds.
_LOOK_TIMEOUT = 2.0

#: Called with the kind and the text of each line.
Say = cabc.Callable[[str, str], None]


def shut_down(session: Session, say: Say) -> int:
    """Close a session, report unfinished work, and return the exit status: 1 after a failure."""
    started = time.monotonic()
    for source in session.sources:
        source.stop()
    try:
        status = session.engine.status(_LOOK_TIMEOUT)
    except TimeoutError:
        session.close()
        say("end", "ended while a function did not return; its call is repeated at the next start")
        return 1
    delays = session.control.delays(COUNTED + 1)
    now = session.clock.now()
    session.close()

    bad = sum(source.bad for source in session.sources)
    errors = [source.error for source in session.sources if source.error is not None]
    left = [f"drained in {time.monotonic() - started:.1f} s"]
    if status.parked:
        left.append(f"{status.parked} address{'es' * (status.parked != 1)} parked")
    if status.held:
        left.append(f"paused: {', '.join(status.held)}")
    undelivered = session.engine.undelivered
    if undelivered:
        left.append("records wait for Kafka")
    if bad:
        what = "record" if session.links is not None else "line"
        left.append(f"{bad} {what}{'s' * (bad != 1)} skipped")
    if delays:
        count = str(len(delays)) if len(delays) <= COUNTED else f"more than {COUNTED}"
        plural = "s" * (len(delays) != 1)
        left.append(f"{count} delay{plural} pending (next in {_until(delays[0], now)})")
        if session.options.finite:
            _list(session, delays, now, say)
    if session.options.temporary and (status.parked or delays or status.queued or undelivered):
        left.append("lost with the temporary data; --data DIR keeps them")
    for error in errors:
        left.append(f"the input ended: {error}")
    say("end", " · ".join(left))
    return 1 if status.parked or status.down or bad or errors else 0


def _list(session: Session, delays: list[Delay], now: int, say: Say) -> None:
    """List the messages that the run does not wait for."""
    for delay in delays[:LISTED]:
        value = session.codec.show(delay.message)
        say("delay", f"  {delay.target} in {_until(delay, now)}  <- {value}")
    if len(delays) > LISTED:
        say("delay", f"  and {len(delays) - LISTED} more")


def _until(delay: Delay, now: int) -> str:
    """Return the two largest units of the time until a delay is due."""
    span = dt.timedelta(milliseconds=max(0, delay.due - now))
    return " ".join(duration_text(span).split()[:4])
