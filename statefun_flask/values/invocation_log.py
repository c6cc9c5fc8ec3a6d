"""The fields of log records that name the invocation in which they are made.

``context.logger`` adds them to its own records, and :class:`StateFunLogFilter` to those of every
other logger. Both build them for a record that is really made only.
"""

from __future__ import annotations

import collections.abc as cabc
import contextvars
import logging
import typing as t

if t.TYPE_CHECKING:
    from .context import Context

#: The context of the invocation that runs in this thread or task, or None.
current: contextvars.ContextVar[Context | None] = contextvars.ContextVar(
    "statefun_context", default=None
)

_OUTSIDE: dict[str, t.Any] = {
    "statefun": "",
    "statefun_function": None,
    "statefun_id": None,
    "statefun_type": None,
    "statefun_position": None,
    "statefun_messages": None,
    "statefun_trace": None,
}


def fields(context: Context) -> dict[str, t.Any]:
    """Return the fields of a record that is made in an invocation."""
    address = context.self_address
    found = {
        **_OUTSIDE,
        "statefun": str(address),
        "statefun_function": str(address.type),
        "statefun_id": address.id,
    }
    found.update(context._log_fields())
    return found


class InvocationLogger(logging.LoggerAdapter[logging.Logger]):
    """``context.logger``: a logger whose records name the invocation, by the fields of the filter.

    :param logger: The logger of the app.
    """

    def __init__(self, logger: logging.Logger, context: Context) -> None:
        super().__init__(logger)
        self._context = context

    def process(
        self, msg: t.Any, kwargs: cabc.MutableMapping[str, t.Any]
    ) -> tuple[t.Any, cabc.MutableMapping[str, t.Any]]:
        """Add the fields to those of the call, which take precedence."""
        kwargs["extra"] = {**fields(self._context), **(kwargs.get("extra") or {})}
        return msg, kwargs


class StateFunLogFilter(logging.Filter):
    """Adds the fields of the running invocation to log records, whatever logger makes them.

    Put it on a handler::

        handler.addFilter(StateFunLogFilter())
        handler.setFormatter(logging.Formatter("%(levelname)s [%(statefun)s] %(message)s"))

    ========================  ========================================================
    ``statefun``              the address as text, ``example/greeter/bob``
    ``statefun_function``     the typename of the function
    ``statefun_id``           the id of the instance
    ``statefun_type``         the typename of the message
    ``statefun_position``     the position of the message in its batch, from 1
    ``statefun_messages``     the number of messages in the batch
    ``statefun_trace``        the trace, on the embedded engine; None on Flink
    ========================  ========================================================

    Outside of an invocation ``statefun`` is empty and the others are None. Records of tasks and of
    ``asyncio.to_thread`` belong to the invocation that started them; those of a thread that a
    function starts by hand belong to none.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields, and let every record pass."""
        if not hasattr(record, "statefun"):  # context.logger has added them
            context = current.get()
            vars(record).update(_OUTSIDE if context is None else fields(context))
        return True
