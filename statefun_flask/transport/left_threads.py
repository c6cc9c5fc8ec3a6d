"""The end of a process in which user code has left threads.

Python waits at its end for threads that are not daemon threads, and for the jobs of executors. One
that never ends would keep a command running after SIGTERM.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import types

#: How long threads may take to end once the program has, in seconds.
GRACE = 2.0

#: How often it is looked whether the program has ended, in seconds.
_INTERVAL = 0.05


def end_despite_threads(status: int, grace: float = GRACE) -> None:
    """Let the process end with a status soon after its program, whatever threads are left.

    To be called when everything of the program is closed and saved. It returns at once.

    :param grace: How long other threads may take, in seconds. Then a line on standard error names
        them, and the process ends.
    """
    threading.Thread(target=_end, args=(status, grace), name="statefun-end", daemon=True).start()


def _end(status: int, grace: float) -> None:
    while _is_program_running():
        time.sleep(_INTERVAL)
    time.sleep(grace)
    os.write(2, f"{_line(_left(), grace)}\n".encode(errors="backslashreplace"))
    os._exit(status)


def _is_program_running() -> bool:
    """Return whether the main thread runs a module, and not Python's own end."""
    main = threading.main_thread()
    frame: types.FrameType | None = sys._current_frames().get(main.ident or 0)
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            return True
        frame = frame.f_back
    return False


def _left() -> list[str]:
    """Return the names of the threads that Python waits for."""
    executors = getattr(sys.modules.get("concurrent.futures.thread"), "_threads_queues", {})
    return [
        each.name
        for each in threading.enumerate()
        if each is not threading.main_thread() and (not each.daemon or each in executors)
    ]


def _line(names: list[str], grace: float) -> str:
    if not names:
        return (
            f"A function that was registered with atexit has not returned in {grace:g} s, and is"
            " cut off. Correct it."
        )
    threads = f"{len(names)} thread{'s' * (len(names) != 1)}"
    return (
        f"User code has left {threads} running, which the end of the process cuts off:"
        f" {', '.join(map(repr, names))}. Make them daemon threads, or end them in time."
    )
