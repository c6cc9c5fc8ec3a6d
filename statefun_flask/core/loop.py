"""The one event loop of the process, for async functions that a synchronous server calls.

It starts with the first async function and lives as long as the process, on a thread of its own, so
that what those functions hold on to (connections, sessions, locks) stays usable from one request
to the next.
"""

from __future__ import annotations

import collections.abc as cabc
import os
import threading
import typing as t

if t.TYPE_CHECKING:
    import asyncio

T = t.TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def run(coroutine: cabc.Coroutine[t.Any, t.Any, T]) -> T:
    """Run a coroutine on the loop's thread and wait for its result.

    The caller's context variables go along, Flask's application context among them.
    """
    # Imported with the first async function: many apps have none, and it takes 15 ms.
    import asyncio

    loop = _running_loop()
    if _is_current(loop):
        coroutine.close()
        raise RuntimeError(
            "A stateful function was called from within the loop of async functions, which would"
            " wait for itself. Await RequestHandler.handle_async there instead."
        )
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result()


def _running_loop() -> asyncio.AbstractEventLoop:
    import asyncio

    global _loop

    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="statefun-loop", daemon=True).start()
        return _loop


def _is_current(loop: asyncio.AbstractEventLoop) -> bool:
    import asyncio

    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _forget() -> None:
    """Start anew in a forked child: the loop's thread stayed behind in the parent."""
    global _lock, _loop

    _lock = threading.Lock()
    _loop = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
