"""What the contexts of one batch share: its messages, the engine that sent it, and the logger."""

from __future__ import annotations

import collections.abc as cabc
import contextvars
import logging
import typing as t

import msgspec

from .message import Message

if t.TYPE_CHECKING:
    from .address import Address


class EngineCall(t.Protocol):
    """What an engine in this process knows about a request that it makes."""

    def now(self) -> int:
        """Return the time of the engine's clock, in milliseconds since 1970."""
        ...

    def trace(self, position: int) -> int:
        """Return the trace of a message of the request, counted from 0."""
        ...


#: The request that an engine in this process makes; None for a request of Flink.
engine_call: contextvars.ContextVar[EngineCall | None] = contextvars.ContextVar(
    "statefun_engine_call", default=None
)


def default_logger() -> logging.Logger:
    """Return the logger of functions that belong to no app."""
    return logging.getLogger("statefun_flask.functions")


class BatchScope(msgspec.Struct, eq=False, gc=False):
    """What the contexts of one batch share.

    :param messages: The messages of the batch, each with its sender.
    :param call: The request of an engine in this process, or None.
    :param logger: Returns the logger of the app.
    """

    messages: cabc.Sequence[tuple[Address | None, Message]]
    call: EngineCall | None
    logger: cabc.Callable[[], logging.Logger]
