"""The fields of log records that name the invocation in which they are made.

``context.logger`` adds them to its own records, and ``StateFunLogFilter`` to those of every other
logger. Both build them for a record that is really made only.
"""

from __future__ import annotations

import collections.abc as cabc
import logging
import typing as t

if t.TYPE_CHECKING:
    from .context import Context

#: The fields of a record that is made outside of an invocation.
OUTSIDE: dict[str, t.Any] = {
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
        **OUTSIDE,
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
