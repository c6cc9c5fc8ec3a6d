"""How busy an engine is."""

from __future__ import annotations

import typing as t


class Status(t.NamedTuple):
    """How busy an engine is.

    :param ready: Addresses that could be called now.
    :param flying: Calls in flight.
    :param queued: Messages that wait, without those of parked addresses.
    :param retrying: Addresses whose first message failed and is tried again in a moment.
    :param parked: Addresses that wait for a person.
    :param down: Function types whose endpoint is down.
    :param undelivered: Whether egress records wait for their receiver.
    :param full: The path of the store when it cannot be written to.
    """

    ready: int
    flying: int
    queued: int
    retrying: int
    parked: int
    down: tuple[str, ...]
    undelivered: bool
    full: str | None

    @property
    def idle(self) -> bool:
        """Whether nothing more happens by itself, but for delays and endpoints that are down."""
        return not (self.ready or self.flying or self.retrying or self.undelivered or self.full)
