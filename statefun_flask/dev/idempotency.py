"""Messages from outside that are sent once under an idempotency key."""

from __future__ import annotations

import hashlib

from ..embedded import Engine
from ..embedded.core import Core
from ..values.address import Address
from ..values.message import Message
from .codec import RequestError

#: How long a key is remembered, in milliseconds.
REMEMBERED = 24 * 3600 * 1000

#: How long a key may be, in characters.
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
            " leave the header out.",
        )
    # A header's value has no line feed, so that two pairs of key and address never share a name.
    name = f"idempotency:{key}\n{address}"
    digest = hashlib.sha256(f"{message.typename}\n".encode() + message.value).hexdigest()

    def once(core: Core) -> tuple[int, bool]:
        known = core.store.changes.positions.get(name) or core.store.position(name)
        if known is not None:
            trace, at, sent = known.split()
            if core.clock.now() - int(at) < REMEMBERED:
                if sent != digest:
                    raise RequestError(
                        422,
                        f"Another message was sent to '{address}' under this Idempotency-Key: it"
                        f" is message {trace}. Use a new key for a new message.",
                    )
                return int(trace), False
        (new,) = core.accept([(address, message)])
        core.store.changes.positions[name] = f"{new} {core.clock.now()} {digest}"
        return new, True

    return engine.act(once)


def unfinished(engine: Engine, trace: int) -> bool:
    """Return whether messages of a trace wait or run, apart from parked messages."""
    return engine.ask(lambda core: core.store.is_waiting(trace))
