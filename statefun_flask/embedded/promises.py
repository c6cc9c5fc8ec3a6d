"""What an engine has promised to answer, so that nobody waits for ever for one that ended."""

from __future__ import annotations

import concurrent.futures
import contextlib
import typing as t


class Promises:
    """Futures that are resolved in any case, if only with the engine's own end."""

    def __init__(self) -> None:
        self._open: set[concurrent.futures.Future[t.Any]] = set()

    def make(self) -> concurrent.futures.Future[t.Any]:
        """Return a future."""
        future: concurrent.futures.Future[t.Any] = concurrent.futures.Future()
        self._open.add(future)
        future.add_done_callback(self._open.discard)
        return future

    def break_all(self, cause: BaseException | None) -> None:
        """Resolve those that are open with an error."""
        for future in list(self._open):
            error = RuntimeError(f"The engine does not run any more: {cause}. Start another one.")
            error.__cause__ = cause
            # Another thread may break, or its owner cancel, the same future at this moment.
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                future.set_exception(error)
