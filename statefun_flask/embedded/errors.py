"""What the embedded engine refuses, and what stops it."""

from __future__ import annotations

import os

from ..errors import StateFunError
from ..values._text import did_you_mean
from ..values._text import suggestions


class AnswerRefused(StateFunError):
    """A function's answer breaks a rule of the protocol.

    The real runtime restarts its job for such an answer, for ever; the engine parks the address.
    """


class StepFailed(StateFunError):
    """The engine failed at a step, before the step changed anything.

    The engine parks the address, as for a function that raises. ``__cause__`` is what failed.
    """

    def __init__(self, typename: str, id: str, reason: str) -> None:
        super().__init__(
            f"The engine failed at the request or the answer of '{typename}' for id '{id}'"
            f" ({reason}). This is a fault of the engine or of the answer: correct the function,"
            " or drop the message, and report the traceback."
        )


class UnknownTarget(StateFunError, LookupError):
    """No endpoint serves a function type.

    :param known: The typenames that are served, for suggestions.
    """

    def __init__(self, typename: str, known: tuple[str, ...] = ()) -> None:
        self.typename = typename
        served = f" Served are: {', '.join(known)}." if known else ""
        super().__init__(
            f"No endpoint serves the function '{typename}'."
            f"{did_you_mean(suggestions(typename, known))}"
            f" Correct the typename, or add it to the app or to module.yaml.{served}"
        )


class UnknownEgress(StateFunError, LookupError):
    """No egress has an identifier.

    :param known: The identifiers that exist, for suggestions.
    """

    def __init__(self, identifier: str, known: tuple[str, ...] = ()) -> None:
        self.identifier = identifier
        super().__init__(
            f"There is no egress '{identifier}'.{did_you_mean(suggestions(identifier, known))}"
            " Correct the identifier, or add the egress to module.yaml."
        )


class EndpointDown(StateFunError):
    """An endpoint cannot be reached or asks to be left alone; it is no fault of the message.

    :param reason: In a few words, for one line of a log.
    """

    def __init__(self, endpoint: str, reason: str) -> None:
        self.endpoint = endpoint
        self.reason = reason
        super().__init__(f"The endpoint {endpoint} is down: {reason}. It is tried again by itself.")


class EndpointError(StateFunError):
    """An endpoint answered, but not with a result."""


class NotFound(StateFunError, LookupError):
    """A command names something that the engine does not have."""


class NotParked(NotFound):
    """An address is not parked, or no parked address has a trace."""


class SeveralParked(StateFunError, ValueError):
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


class NotHeld(NotFound):
    """A function type is not held back by a person."""


class UnknownDelay(NotFound):
    """No pending delay has a number."""


class UnknownDeadLetter(NotFound):
    """No dead letter has a number."""


class KeyReused(StateFunError, ValueError):
    """An idempotency key was used for another message to the same address."""

    def __init__(self, address: str, key: str) -> None:
        super().__init__(
            f"The idempotency key '{key}' was used for another message to '{address}'. Use a new"
            " key for each message."
        )


class EngineStopped(StateFunError, RuntimeError):
    """The engine is closing, was closed or has failed, and does nothing more.

    :param reason: The rest of the sentence; of a failed engine, the text of its failure.
    """

    def __init__(self, reason: str) -> None:
        if reason == "it closes":
            text = "The engine is closing and accepts nothing more. Send to the next engine."
        else:
            text = f"The engine does not run any more: {reason}. Start another one."
        super().__init__(text)


class DataFolderError(StateFunError):
    """A data folder cannot be used."""


class BackupError(StateFunError, RuntimeError):
    """Data cannot be copied or restored."""


class NoDataFolder(StateFunError, ValueError):
    """An engine keeps its data in memory."""

    def __init__(self) -> None:
        super().__init__(
            "The engine keeps its data in memory, which cannot be backed up. Start it with --data"
            " DIR."
        )


class DiskFull(StateFunError):
    """The store cannot be written to.

    Nothing is lost: what was not written stays in memory and is tried again.

    :param path: The file that cannot grow.
    :param size: Its size in bytes.
    """

    def __init__(self, path: str, size: int, reason: str) -> None:
        self.path = path
        self.size = size
        super().__init__(
            f"'{path}' ({size} bytes) cannot be written to: {reason}. Free some space on its disk;"
            " the engine takes no input until then, and tries again every 5 s."
        )

    @classmethod
    def of(cls, path: str, reason: str) -> DiskFull:
        """Return the error for a file of which only the path is known."""
        return cls(path, os.path.getsize(path) if os.path.exists(path) else 0, reason)
