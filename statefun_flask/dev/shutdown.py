"""The end of a run: it stops, and what it leaves behind is told."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import time

from ..embedded.records import Delay
from ..values.state import readable
from .session import Session

#: How many of the delays that are still pending are listed at the end.
LISTED = 20

#: Is called with the kind and the text of each line.
Say = cabc.Callable[[str, str], None]


def shut_down(session: Session, say: Say) -> int:
    """End a session, say what is left, and return the exit status: 1 when a person has to look."""
    started = time.monotonic()
    for source in session.sources:
        source.stop()
    status = session.engine.status()
    delays = session.control.delays(1_000_000)
    now = session.clock.now()
    session.close()

    bad = sum(source.bad for source in session.sources)
    errors = [source.error for source in session.sources if source.error is not None]
    left = [f"drained in {time.monotonic() - started:.1f} s"]
    if status.parked:
        left.append(f"{status.parked} address{'es' * (status.parked != 1)} parked")
    undelivered = session.engine.undelivered
    if undelivered:
        left.append("records wait for Kafka")
    if bad:
        what = "record" if session.links is not None else "line"
        left.append(f"{bad} {what}{'s' * (bad != 1)} left out")
    if delays:
        plural = "s" * (len(delays) != 1)
        left.append(f"{len(delays)} delay{plural} pending (next in {_until(delays[0], now)})")
        if session.options.finite:
            _list(session, delays, now, say)
    if session.options.temporary and (status.parked or delays or status.queued or undelivered):
        left.append("lost with the temporary data; --data DIR keeps them")
    for error in errors:
        left.append(f"the input ended: {error}")
    say("end", " · ".join(left))
    return 1 if status.parked or status.down or bad or errors else 0


def _list(session: Session, delays: list[Delay], now: int, say: Say) -> None:
    """Say which messages nobody waits for any more."""
    for delay in delays[:LISTED]:
        value = session.codec.show(delay.message)
        say("delay", f"  {delay.target} in {_until(delay, now)}  <- {value}")
    if len(delays) > LISTED:
        say("delay", f"  and {len(delays) - LISTED} more")


def _until(delay: Delay, now: int) -> str:
    """Return the two largest units of the time until a delay is due."""
    span = dt.timedelta(milliseconds=max(0, delay.due - now))
    return " ".join(readable(span).split()[:4])
