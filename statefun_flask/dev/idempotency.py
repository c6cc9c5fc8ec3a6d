"""Messages from outside: sent once under an idempotency key, followed until they are finished."""

from __future__ import annotations

from ..embedded import Engine
from ..embedded.core import Core
from ..values.address import Address
from ..values.message import Message

#: How long a key is remembered, in milliseconds.
REMEMBERED = 24 * 3600 * 1000


def send(
    engine: Engine, address: Address, message: Message, key: str | None = None
) -> tuple[int, bool]:
    """Send a message, and return its trace when it is on disk.

    :param key: A message under a key that was used in the last 24 hours is not sent again. The
        first one may not be on disk yet: its repetition waits for it too.
    :return: The trace, and whether the message was sent by this call.
    """
    if key is None:
        return engine.send(address, message), True

    def once(core: Core) -> tuple[int, bool]:
        name = f"idempotency:{key}"
        known = core.store.changes.positions.get(name) or core.store.position(name)
        if known is not None:
            trace, at = map(int, known.split())
            if core.clock.now() - at < REMEMBERED:
                return trace, False
        (trace,) = core.accept([(address, message)])
        core.store.changes.positions[name] = f"{trace} {core.clock.now()}"
        return trace, True

    return engine.act(once)


def unfinished(engine: Engine, trace: int) -> bool:
    """Return whether messages of a cause wait or run, apart from parked ones."""

    return engine.ask(lambda core: core.store.is_waiting(trace))
