"""Free ports on the loopback interface."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import socket
import typing as t

from .errors import StartFailedError

T = t.TypeVar("T")

HOST = "127.0.0.1"


def free(count: int) -> list[int]:
    """Return different ports that are free at this moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def retrying(start: cabc.Callable[[], T], attempts: int = 3) -> T:
    """Return the result of a start, which is repeated if it fails by chance.

    Usually another program has taken a chosen port: Java processes get ports as numbers, so time
    passes between the choice of a free port and its use.
    """
    for _ in range(attempts - 1):
        with contextlib.suppress(StartFailedError):
            return start()
    return start()
