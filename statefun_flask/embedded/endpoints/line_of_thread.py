"""The line of a user's code that a thread is at."""

from __future__ import annotations

import pathlib
import sys
import sysconfig
import threading
import types
import typing as t

_PACKAGE = str(pathlib.Path(__file__).parents[2])
_LIBRARIES = (_PACKAGE, sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"))

#: The thread on which async functions run.
_LOOP = "statefun-loop"


def line_of(thread: threading.Thread) -> str:
    """Return where a thread is: ``at app.py:12 in greet``.

    The innermost line outside of libraries counts. A thread that waits for an async function has
    none; if the loop is blocked, its line counts.
    """
    frames = sys._current_frames()
    loops = [each for each in threading.enumerate() if each.name == _LOOP]
    for each in (thread, *loops):
        for frame in _outward(frames.get(each.ident or 0)):
            file = frame.f_code.co_filename
            if not file.startswith(_LIBRARIES):
                return f"at {file}:{frame.f_lineno} in {frame.f_code.co_name}"
    return "waiting in a library or for an async function"


def _outward(frame: types.FrameType | None) -> t.Iterator[types.FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
