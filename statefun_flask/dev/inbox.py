"""Messages from outside, sent once under an idempotency key."""

from __future__ import annotations

from ..embedded import Engine
from ..values.address import Address
from ..values.message import Message


def send(
    engine: Engine, address: Address, message: Message, key: str | None = None
) -> tuple[int, bool]:
    """Send a message, and return its trace when it is on disk.

    :param key: A message under a key that was used for the address in the last 24 hours is not sent
        again. The first one may not be on disk yet: its repetition waits for it too.
    :return: The trace, and whether the message was sent by this call.
    :raises KeyReused: The key was used for another message to the address.
    """
    if key is None:
        return engine.send(address, message), True
    return engine.send_once(address, message, key)
