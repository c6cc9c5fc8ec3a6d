"""Why bytes are no request, in the words of either protocol."""

from __future__ import annotations

import typing as t

from ..errors import ProtocolError


def unreadable(body: bytes, version: str, reason: Exception) -> ProtocolError:
    """Return the error of bytes that do not parse.

    :param version: The protocol's, such as ``"3.x"``.
    """
    return ProtocolError(
        f"The body of {len(body)} bytes is not a ToFunction of StateFun {version}: {reason}."
        " Only the StateFun runtime should call this address.",
        body,
    )


def untargeted(body: bytes, version: str, request: t.Any) -> ProtocolError:
    """Return the error of a ToFunction that names no function."""
    if not request.HasField("invocation"):
        return ProtocolError(
            f"The body of {len(body)} bytes holds no invocation."
            f" Send a ToFunction of StateFun {version}, as the runtime does.",
            body,
        )
    return ProtocolError(
        "The invocation names no target function."
        " Send a ToFunction with a target address, as the runtime does.",
        body,
    )
