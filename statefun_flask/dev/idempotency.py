"""Messages from outside that are sent once under an idempotency key."""

from __future__ import annotations

from ..embedded import Engine
from ..embedded.errors import KeyReusedError
from ..values.address import Address
from ..values.message import Message
from .codec import RequestError

#: The largest length of a key, in characters.
LONGEST = 255


def send(
    engine: Engine, address: Address, message: Message, key: str | None = None
) -> tuple[int, bool]:
    """Send a message, and return its trace when the message is on disk.

    :param key: A message under a key that was used for its address in the last 24 hours is not
        sent again. If the first message is not on disk yet, its repetition waits for it too.
    :return: The trace, and whether the message was sent by this call.
    :raises RequestError: The key is empty or too long, or another message was sent under it.
    """
    if key is None:
        return engine.send(address, message), True
    if not 0 < len(key) <= LONGEST:
        raise RequestError(
            400,
            f"The Idempotency-Key has {len(key)} characters. Use 1 to {LONGEST} characters, or"
            " omit the header.",
        )
    try:
        return engine.send_once(address, message, key)
    except KeyReusedError as exc:
        raise RequestError(422, str(exc)) from None
