"""The logging filter that names the running invocation on the records of every logger."""

from __future__ import annotations

import logging
import sys
import types
import typing as t

from ..values.invocation_log import fields
from ..values.invocation_log import OUTSIDE
from .invocation import run
from .invocation import running

if t.TYPE_CHECKING:
    from ..values.context import InvocationContext


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
            context = _running_context()
            vars(record).update(OUTSIDE if context is None else fields(context))
        return True


def _running_context() -> InvocationContext | None:
    """Return the context of the running invocation.

    A synchronous function is called by a frame of ``run``, which has the context: a message whose
    function logs nothing has no cost. An asynchronous function has no such frame.
    """
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is run.__code__:
            names = frame.f_locals
            context: InvocationContext | None = names.get("context")
            is_current = context is not None and context._position == names["position"]
            return context if is_current else None
        frame = frame.f_back
    return running.get()
