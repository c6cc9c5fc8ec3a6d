"""The event loop of the process, for async functions that a synchronous server calls.

The loop starts with the first async function and runs until the process ends, on its own thread.
Objects that belong to a loop (connections, sessions, locks) therefore stay usable from one request
to the next.
"""

from __future__ import annotations

import collections.abc as cabc
import logging
import os
import threading
import typing as t

if t.TYPE_CHECKING:
    import asyncio

T = t.TypeVar("T")

logger = logging.getLogger("statefun_flask")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None


def run(coroutine: cabc.Coroutine[t.Any, t.Any, T]) -> T:
    """Run a coroutine on the thread of the loop, and wait for its result.

    It sees the context variables of the caller, Flask's application context among them.
    """
    # Imported with the first async function: many apps have none, and the import takes 15 ms.
    import asyncio

    return asyncio.run_coroutine_threadsafe(coroutine, _running_loop()).result()


def check_outside() -> None:
    """Check that the caller does not run on the thread of the loop, which would wait for itself.

    :raises RuntimeError: The caller runs on that thread.
    """
    if _loop is not None and threading.current_thread() is _thread:
        raise RuntimeError(
            "A stateful function was called from within the loop of async functions, which would"
            " wait for itself. Await RequestHandler.handle_async there instead."
        )


def _running_loop() -> asyncio.AbstractEventLoop:
    import asyncio

    global _loop, _thread

    with _lock:
        if _loop is None or _thread is None or not _thread.is_alive():
            _loop = asyncio.new_event_loop()
            _thread = threading.Thread(
                target=_keep_running, args=(_loop,), name="statefun-loop", daemon=True
            )
            _thread.start()
        return _loop


def _keep_running(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop until it is closed, whatever its tasks raise.

    asyncio stops a loop when one of its tasks raises SystemExit or KeyboardInterrupt, and all other
    tasks would wait forever. The loop can continue where it stopped.
    """
    while not loop.is_closed():
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as exc:
            logger.error("A task of an async function raised %s", type(exc).__name__, exc_info=exc)


def _forget() -> None:
    """Discard the loop in a forked child, where its thread does not exist."""
    global _lock, _loop, _thread

    _lock = threading.Lock()
    _loop = _thread = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
