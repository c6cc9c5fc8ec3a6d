"""Exceptions as text that can be stored and shown."""

from __future__ import annotations

from .errors import CallTimeoutError
from .errors import ProcessEndedError
from .errors import ReplyRefusedError
from .errors import StepFailedError
from .errors import UnknownTargetError

#: How many characters of an error are stored.
LONGEST_ERROR = 10_000


def describe(exc: BaseException) -> str:
    """Return an exception as text to store, with its notes, which name the invocation."""
    notes = getattr(exc, "__notes__", ())
    text = text_of(exc)
    if not isinstance(
        exc,
        ReplyRefusedError
        | CallTimeoutError
        | ProcessEndedError
        | StepFailedError
        | UnknownTargetError,
    ):
        text = f"{type(exc).__name__}: {text}"
    if isinstance(notes, list | tuple):
        text = " ".join([text, *(note for note in notes if isinstance(note, str))]).rstrip()
    text = _storable(text)
    return text if len(text) <= LONGEST_ERROR else text[: LONGEST_ERROR - 1] + "…"


def text_of(exc: BaseException) -> str:
    """Return the text of an exception, or a substitute if its class raises an exception."""
    try:
        return str(exc)
    except Exception as failure:
        return f"<its text cannot be read: {type(failure).__name__}>"


def _storable(text: str) -> str:
    """Return a text with its lone surrogates escaped: UTF-8 cannot express them."""
    return text.encode(errors="backslashreplace").decode()
