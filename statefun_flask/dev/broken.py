"""Answers requests while the app cannot be loaded, so that nobody waits for corrected code."""

from __future__ import annotations

import socket
import traceback
import types

from .application import Unavailable
from .server import Server


def answer_unavailable(listening: socket.socket, reason: str) -> None:
    """Answer every request at a socket with 503 and a reason, until the process ends."""
    Server(Unavailable(reason), 0, listening).start()


def reason_of(exc: BaseException) -> str:
    """Return where and why an app cannot be loaded, on one line."""
    file, line = _place(exc)
    text = traceback.format_exception_only(exc)[-1].strip()
    return f"The app cannot be loaded: {file}:{line}: {text}. Correct the code to load it again."


def _place(exc: BaseException) -> tuple[str, int]:
    """Return the file and the line of an error."""
    if isinstance(exc, SyntaxError) and exc.filename is not None:
        return exc.filename, exc.lineno or 0
    last: types.TracebackType | None = exc.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return "unknown", 0
    return last.tb_frame.f_code.co_filename, last.tb_lineno
