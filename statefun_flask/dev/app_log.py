"""The log of the app on the screen of ``flask statefun dev``."""

from __future__ import annotations

import logging

from flask import Flask
from flask.logging import default_handler

from ..core.log_filter import StateFunLogFilter

#: Flask's own format, and the same with the address of the running invocation.
_FORMAT = "[%(asctime)s] %(levelname)s in %(module)s: %(message)s"
_FORMAT_OF_FUNCTIONS = "[%(asctime)s] %(levelname)s in %(module)s, %(statefun)s: %(message)s"


def show_info(app: Flask) -> None:
    """Show the app's records from INFO on, each with the address of the invocation.

    An app that has set a level, or has handlers of its own, keeps them.
    """
    logger = app.logger
    if logger.level == logging.NOTSET and logger.getEffectiveLevel() == logging.WARNING:
        logger.setLevel(logging.INFO)
    formatter = default_handler.formatter
    if formatter.__class__ is logging.Formatter and formatter._fmt == _FORMAT:
        default_handler.addFilter(StateFunLogFilter())
        default_handler.setFormatter(_InvocationFormatter(_FORMAT))


class _InvocationFormatter(logging.Formatter):
    """Names the invocation on the records that were made in one."""

    _of_functions = logging.Formatter(_FORMAT_OF_FUNCTIONS)

    def format(self, record: logging.LogRecord) -> str:
        if getattr(record, "statefun", ""):
            return self._of_functions.format(record)
        return super().format(record)
