"""The errors of the embedded engine."""

from __future__ import annotations

import os

from ..errors import StateFunError
from ..values._text import did_you_mean
from ..values._text import suggestions


class ReplyRefusedError(StateFunError):
    """The reply of a function breaks a rule of the protocol.

    StateFun on Flink restarts the job for such a reply, again and again. The engine parks the
    address.
    """


class StepFailedError(StateFunError):
    """The engine failed at a step, before the step changed anything.

    The engine parks the address, as for a function that raises. ``__cause__`` is the exception.
    """

    def __init__(self, typename: str, id: str, reason: str) -> None:
        super().__init__(
            f"The engine failed at the request or the reply of '{typename}' for id '{id}'"
            f" ({reason}). Correct the function or drop the message, and report the traceback."
        )


class ProcessEndedError(StateFunError):
    """The process ended several times while one message was handled.

    :param ends: How often.
    """

    def __init__(self, typename: str, id: str, ends: int) -> None:
        super().__init__(
            f"The process ended {ends} times while '{typename}' handled this message for id '{id}'."
            " Look for os._exit, a crash in C or a lack of memory, correct the function, and retry"
            " the message; or drop it."
        )


class CallTimeoutError(StateFunError):
    """A function in this process did not return in time.

    :param where: The line of code that it was at.
    """

    def __init__(self, typename: str, id: str, seconds: float, where: str) -> None:
        super().__init__(
            f"'{typename}' did not return for id '{id}' within {seconds:g} s (it was {where})."
            " Correct the function, or allow more time with --call-timeout. Its thread still runs"
            " if it is blocked, and what it returns is ignored."
        )


class UnknownTargetError(StateFunError, LookupError):
    """No endpoint serves a function type.

    :param known: The typenames that are served, for suggestions.
    """

    def __init__(self, typename: str, known: tuple[str, ...] = ()) -> None:
        self.typename = typename
        served = f" Functions with an endpoint: {', '.join(known)}." if known else ""
        super().__init__(
            f"No endpoint serves the function '{typename}'."
            f"{did_you_mean(suggestions(typename, known))}"
            f" Correct the typename, or add it to the app or to module.yaml.{served}"
        )


class UnknownEgressError(StateFunError, LookupError):
    """No egress has an identifier.

    :param known: The identifiers that exist, for suggestions.
    :param declared: Whether the egresses are those that the functions declare, not those of a
        module.yaml that somebody wrote.
    """

    def __init__(
        self, identifier: str, known: tuple[str, ...] = (), *, declared: bool = False
    ) -> None:
        self.identifier = identifier
        near = did_you_mean(suggestions(identifier, known))
        super().__init__(
            f"No function declares the egress '{identifier}'.{near} Add"
            f' egresses=["{identifier}"] to the registration of the function, or correct the'
            " identifier."
            if declared
            else f"There is no egress '{identifier}'.{near} Correct the identifier, or add the"
            " egress to module.yaml."
        )


class EndpointDownError(StateFunError):
    """An endpoint cannot be reached or is overloaded. The message is not the cause.

    :param reason: The reason in a few words, for one line of a log.
    :param is_cut_off: Whether the endpoint received some of the request and ended the connection
        without a proper response. If this repeats at one message, the message is the cause.
    """

    def __init__(self, endpoint: str, reason: str, *, is_cut_off: bool = False) -> None:
        self.endpoint = endpoint
        self.reason = reason
        self.is_cut_off = is_cut_off
        super().__init__(
            f"The endpoint {endpoint} is down: {reason}. The engine tries it again automatically."
        )


class EndpointError(StateFunError):
    """The response of an endpoint is not a reply."""

    #: After how many tries it parks the message; None for as many as the endpoint says.
    tries: int | None = None


class RequestTooLargeError(EndpointError):
    """An endpoint does not take a request of that size, at any time.

    :param size: Of the request, in bytes.
    """

    tries = 1

    def __init__(self, endpoint: str, size: int) -> None:
        super().__init__(
            f"{endpoint} answered with the status 413: a request of {size} bytes is too large for"
            " the worker or for a proxy before it. Raise the limit there, or send a smaller message"
            " and keep less state in the address."
        )


class MessageEndsWorkerError(EndpointError):
    """An endpoint ends the connection at a message, and otherwise works.

    :param times: How often it did.
    :param reason: How the last connection ended.
    """

    def __init__(self, endpoint: str, times: int, reason: str) -> None:
        super().__init__(
            f"{endpoint} did not answer this message ({reason}), {times} times, though it was there"
            " each time. The message may crash the worker, whose log says more: correct the"
            " function and retry, or drop the message."
        )


class NotFoundError(StateFunError, LookupError):
    """A command names an address, a delay or a message that the engine does not have."""


class NotParkedError(NotFoundError):
    """An address is not parked, or no parked address has a trace."""


class SeveralParkedError(StateFunError, ValueError):
    """The number of a message names several parked addresses.

    :param addresses: All of them.
    """

    def __init__(self, trace: int, addresses: list[str]) -> None:
        self.addresses = addresses
        shown = ", ".join(f"'{each}'" for each in addresses[:20])
        more = f" and {len(addresses) - 20} more" * (len(addresses) > 20)
        super().__init__(
            f"Message {trace} has led to {len(addresses)} parked addresses: {shown}{more}. Name"
            " one of them, or ask for all."
        )


class NotHeldError(NotFoundError):
    """A function type is not held back by a person."""


class UnknownDelayError(NotFoundError):
    """No pending delay has a number."""


class UnknownDeadLetterError(NotFoundError):
    """No dead letter has a number."""


class KeyReusedError(StateFunError, ValueError):
    """An idempotency key was used for another message to the same address."""

    def __init__(self, address: str, key: str) -> None:
        super().__init__(
            f"The idempotency key '{key}' was used for another message to '{address}'. Use a new"
            " key for each message."
        )


class EngineStoppedError(StateFunError, RuntimeError):
    """The engine is closing, was closed or has failed.

    :param reason: A clause; for a failed engine, the text of the failure.
    """

    def __init__(self, reason: str) -> None:
        if reason == "it closes":
            text = "The engine is closing and accepts no more messages. Start another engine."
        else:
            text = f"The engine no longer runs: {reason}. Start another engine."
        super().__init__(text)


class DataFolderError(StateFunError):
    """A data folder cannot be used."""


class BackupError(StateFunError, RuntimeError):
    """Data cannot be copied or restored."""


class NoDataFolderError(StateFunError, ValueError):
    """An engine keeps its data in memory."""

    def __init__(self) -> None:
        super().__init__(
            "The engine keeps its data in memory, which cannot be backed up. Start it with --data"
            " DIR."
        )


class DiskFullError(StateFunError):
    """The store cannot be written to.

    No data is lost: unwritten changes stay in memory, and the engine tries to write them again.

    :param path: The file that cannot grow.
    :param size: Its size in bytes.
    """

    def __init__(self, path: str, size: int, reason: str) -> None:
        self.path = path
        self.size = size
        super().__init__(
            f"'{path}' ({size} bytes) cannot be written to: {reason}. Free some space on its disk;"
            " the engine accepts no input until then, and tries again every 5 s."
        )

    @classmethod
    def of(cls, path: str, reason: str) -> DiskFullError:
        """Return the error for a file whose size is not known yet."""
        return cls(path, os.path.getsize(path) if os.path.exists(path) else 0, reason)
