"""Turns Flink's logs and stack traces into sentences about functions."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import re

#: The exception of a call that is not tried again, so that the job fails.
_OUT_OF_TIME = r"RequestTimeoutException"

#: Patterns of Flink's messages about failed calls, with their meaning as a clause.
_REASONS = (
    (r"Unexpected response code (\d+) \((.*?)\)", "it answered {} {}"),
    (r"(?:HTTP response code|error is: invalid HTTP response code) (\d+)", "it answered {}"),
    (
        r"(?:Unexpected content type|Wrong HTTP content-type) ?(\S*)",
        "it answered with the content type '{}' instead of 'application/octet-stream'",
    ),
    (r"(?:Connection refused|Failed to connect to): ?\S*?/([\w.:\[\]]+)", "nothing listens at {}"),
    (r"Failed to connect to \S*?/([\w.:\[\]]+)", "nothing listens at {}"),
    (_OUT_OF_TIME, "the time that its endpoint has for a call and its retries is over"),
    (r"SocketTimeoutException", "it took longer than its endpoint allows"),
    (r"InvalidProtocolBufferException\S*: (.*)", "its reply is not a FromFunction message: {}"),
    (
        r"DisconnectedException|Connection reset|unexpected end of stream",
        "it closed the connection",
    ),
    (
        r"Cannot find a provider for type FunctionType\((.*?), (.*?)\)",
        "it sent a message to '{}/{}', which no endpoint of module.yaml serves",
    ),
    (
        r"Unknown egress EgressKey\((.*?), ?(.*?)(?:, class .*?)?\)",
        (
            "it wrote to the egress '{0}/{1}', which module.yaml lacks. Declare the egress with"
            ' egresses=["{0}/{1}"] at the function, or add it to module.yaml'
        ),
    ),
    (r"TaskManager with id (\S+) is no longer reachable", "{} is gone"),
    (r"[Hh]eartbeat of TaskManager with id (\S+) timed out", "{} is gone"),
)

_CALL = re.compile(
    r"(?:NettyRequest|RetryingCallback) - .* trying to deliver a message: (?:\(attempt #(\d+)\))?"
    r"ToFunctionRequestSummary\(address=Address\((.*?), (.*?), (.*)\), batchSize=(\d+)"
)
_TARGET = re.compile(r"Address\((.*?), (.*?), (.*)\)$|invoke function FunctionType\((.*?), (.*?)\)")


@dataclasses.dataclass(frozen=True)
class FailedCall:
    """A failed request to a function, which StateFun tries again.

    :param attempt: Counts from 1; None if the log does not have it.
    :param reason: Why, as a clause that begins with "it" or a noun.
    """

    function: str
    id: str
    attempt: int | None
    reason: str


class CallLog:
    """Reads failed calls from a TaskManager's log, which may come in pieces."""

    def __init__(self) -> None:
        self._header: re.Match[str] | None = None

    def read(self, lines: cabc.Iterable[str]) -> cabc.Iterator[FailedCall]:
        """Yield the failed calls in further lines of the log."""
        for line in lines:
            header, self._header = self._header, _CALL.search(line)
            if header is not None and not re.search(_OUT_OF_TIME, line):
                attempt, namespace, name, id, _ = header.groups()
                number = None if attempt is None else int(attempt) + 1
                yield FailedCall(f"{namespace}/{name}", id, number, reason(line))


class Digest:
    """Reports failed calls without repetition.

    :param url: Returns the URL of a function.
    :param clock: Returns the time, in seconds.
    :param pause: The least time between two sentences about one subject, in seconds.
    """

    def __init__(
        self,
        url: cabc.Callable[[str], str | None],
        clock: cabc.Callable[[], float],
        pause: float = 10.0,
    ) -> None:
        self._url = url
        self._clock = clock
        self._pause = pause
        self._reported: dict[tuple[str, str], float] = {}
        self._unreported: dict[tuple[str, str], list[FailedCall]] = {}

    def add(self, call: FailedCall) -> None:
        """Add a failed call."""
        self._unreported.setdefault((call.function, call.reason), []).append(call)

    def sentences(self) -> cabc.Iterator[str]:
        """Yield the sentences that are due."""
        now = self._clock()
        for subject, calls in list(self._unreported.items()):
            reported = self._reported.get(subject)
            if reported is not None and now - reported < self._pause:
                continue
            if reported is None:
                yield self._first(calls[0])
                del calls[0]
            else:
                yield self._more(calls)
                calls.clear()
            if not calls:
                del self._unreported[subject]
            self._reported[subject] = now

    def _first(self, call: FailedCall) -> str:
        url = self._url(call.function)
        return (
            f"A call of {call.function}{f' at {url}' if url else ''} failed"
            f" (id '{call.id}'{_attempt(call)}): {call.reason}. It is tried again."
        )

    def _more(self, calls: list[FailedCall]) -> str:
        last = calls[-1]
        some = "1 more call" if len(calls) == 1 else f"{len(calls)} more calls"
        where = f"last: id '{last.id}'{_attempt(last)}"
        return f"{some} of {last.function} failed ({where}): {last.reason}."


def reason(text: str) -> str:
    """Return the meaning of a Java exception as a clause."""
    for pattern, clause in _REASONS:
        found = re.search(pattern, text)
        if found:
            return clause.format(*found.groups()).rstrip(".")
    return _message(text)


def job_failure(trace: str) -> str:
    """Return a sentence about the stack trace of a failed job: the function and the cause."""
    causes = _causes(trace)
    clause = reason(causes[-1])
    for text in reversed(causes):
        # The innermost exception is often a detail of a more helpful outer one.
        if any(re.search(pattern, text) for pattern, _ in _REASONS):
            clause = reason(text)
            break
    for text in reversed(causes):
        target = _TARGET.search(text)
        if target:
            namespace, name, id, *other = target.groups()
            if namespace is None:
                return f"{other[0]}/{other[1]} failed: {clause}."
            return f"{namespace}/{name} (id '{id}') failed: {clause}."
    return f"{clause}."


def cause(trace: str) -> str:
    """Return the message of the innermost exception of a stack trace, without a full stop."""
    return _message(_causes(trace)[-1])


def _causes(trace: str) -> list[str]:
    """Return the exceptions of a stack trace, the outermost first."""
    lines = [line.strip() for line in trace.strip().splitlines()]
    inner = [line for line in lines if line.startswith("Caused by: ")]
    return [line.removeprefix("Caused by: ") for line in [*lines[:1], *inner]] or [""]


def _message(text: str) -> str:
    """Return the message of an exception, or the last part of its name if it has none."""
    name, _, message = text.partition(": ")
    return message.rstrip(".") or name.rpartition(".")[2]


def _attempt(call: FailedCall) -> str:
    return "" if call.attempt is None else f", attempt {call.attempt}"
