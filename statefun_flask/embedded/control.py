"""The commands of an engine, which inspect the engine and resolve failures.

The thread of the engine runs each command between two steps, so a command sees complete steps only.
Commands see all steps so far, even if a step is not on disk yet. A command that changes something
returns once the change is on disk.
"""

from __future__ import annotations

import typing as t

from ..values.address import Address
from ..values.address import as_address
from ..values.message import Message
from .core import Core
from .engine import Engine
from .errors import NotParked
from .errors import UnknownDeadLetter
from .errors import UnknownDelay
from .records import Dead
from .records import Delay
from .records import EgressRecord
from .records import Envelope
from .records import Parked


class Waiting(t.NamedTuple):
    """A parked address with the message that failed.

    :param behind: The number of messages that wait behind it.
    """

    parked: Parked
    envelope: Envelope
    behind: int


class Control:
    """The commands of an engine.

    An address may be written as ``"namespace/name/id"``.

    A parked address is named by the address, or by the trace of the failed message, which the log
    shows. A trace names all parked addresses whose failed message has this trace.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # -- looking --------------------------------------------------------------------------

    def state(self, address: Address | str) -> dict[str, Message]:
        """Return the values of an address's states, without expired ones."""
        address = as_address(address)

        def read(core: Core) -> dict[str, Message]:
            specs = core.states.of(address.type)
            types = core.transaction.state_types
            now = core.clock.now()
            values = {}
            for name, value in core.transaction.state(address).items():
                spec = specs.get(name)
                if spec is None or not spec.mode or now < value.stamp + spec.ttl:
                    values[name] = Message(types[address.type, name], value.value)
            return values

        return self._engine.look(read)

    def addresses(self, typename: str, after: str = "", limit: int = 100) -> list[Address]:
        """Return addresses of a function type that have state, in the order of their ids."""
        return self._engine.look(lambda core: core.transaction.addresses(typename, after, limit))

    def queue(self, address: Address | str, limit: int = 100) -> list[Envelope]:
        """Return the messages that wait for an address, or are in flight to it."""
        target = as_address(address)
        return self._engine.look(lambda core: core.queue(target, limit))

    def is_unfinished(self, trace: int) -> bool:
        """Return whether messages of a trace wait or are in flight, except parked ones."""
        return self._engine.look(lambda core: core.addresses.is_waiting(trace))

    def egress(self, topic: str, after: int = 0, limit: int = 1000) -> list[EgressRecord]:
        """Return the committed records of a topic, or of an egress, with higher numbers."""
        return self._engine.look(lambda core: core.store.records(after, limit, topic))

    def pop(self, topic: str) -> EgressRecord | None:
        """Return the oldest committed record of a topic that no earlier call returned."""
        reader = f"topic:{topic}"

        def take(core: Core) -> EgressRecord | None:
            records = core.store.records(core.transaction.cursor(reader), 1, topic)
            if not records:
                return None
            core.transaction.set_cursor(reader, records[0].seq)
            return records[0]

        return self._engine.act(take)

    def delays(self, limit: int = 100) -> list[Delay]:
        """Return the delays that fire next."""
        return self._engine.look(lambda core: core.transaction.next_delays(limit))

    def deliver_delay(self, seq: int) -> Delay:
        """Deliver the message of a delay now.

        :raises UnknownDelay: There is no such delay.
        """

        def deliver(core: Core) -> Delay:
            delay = core.deliver_delay(seq)
            if delay is None:
                raise UnknownDelay(
                    f"There is no delay {seq}. List the delays to see their numbers."
                )
            return delay

        return self._engine.act(deliver)

    def deliver_due(self) -> None:
        """Deliver the messages whose delay is over, after the clock was moved."""
        self._engine.look(lambda core: core.fire())

    def next_instant(self) -> int | None:
        """Return the next instant at which a timer is due, in milliseconds since 1970."""
        return self._engine.look(lambda core: core.next_instant())

    # -- parked addresses -----------------------------------------------------------------

    def parked(self) -> list[Waiting]:
        """Return the parked addresses, the oldest first, each with the message that failed."""

        def read(core: Core) -> list[Waiting]:
            found = []
            for parked in sorted(core.addresses.parked.values(), key=lambda each: each.seq):
                culprit, *others = core.transaction.queue(parked.address)
                found.append(Waiting(parked, culprit, len(others)))
            return found

        return self._engine.look(read)

    def retry(self, which: Address | str | int) -> list[Address]:
        """Call parked addresses again. The failed message is sent first and alone.

        :raises NotParked: No parked address has that name.
        """

        def again(core: Core) -> list[Address]:
            addresses = _find(core, which)
            for address in addresses:
                core.retry(address)
            return addresses

        return self._engine.act(again)

    def retry_all(self) -> list[Address]:
        """Call all parked addresses again, as after the code has changed."""

        def again(core: Core) -> list[Address]:
            addresses = list(core.addresses.parked)
            for address in addresses:
                core.retry(address)
            return addresses

        return self._engine.act(again)

    def drop(self, which: Address | str | int) -> list[Envelope]:
        """Make the failed message a dead letter, and handle the messages behind it.

        :raises NotParked: No parked address has that name.
        """
        return self._engine.act(lambda core: [core.drop(address) for address in _find(core, which)])

    def replace(self, address: Address | str, message: Message) -> None:
        """Replace the body of the failed message, and call the address again.

        :raises NotParked: The address is not parked.
        :raises ValueError: The message cannot be stored.
        """
        address = as_address(address)

        def exchange(core: Core) -> None:
            _find(core, address)
            core.replace(address, message)

        self._engine.act(exchange)

    def dead(self, limit: int = 100) -> list[Dead]:
        """Return the dead letters."""
        return self._engine.look(lambda core: core.transaction.dead(limit))

    def revive(self, seq: int) -> Envelope:
        """Queue a dead letter again, behind its address's messages and under a new number.

        :raises UnknownDeadLetter: No message of that number was dropped.
        """

        def put_back(core: Core) -> Envelope:
            revived = core.revive(seq)
            if revived is None:
                raise UnknownDeadLetter(
                    f"There is no dropped message {seq}. List the dead letters to see their"
                    " numbers."
                )
            return revived

        return self._engine.act(put_back)


def _find(core: Core, which: Address | str | int) -> list[Address]:
    parked = core.addresses.parked
    if isinstance(which, int):
        found = [address for address, each in parked.items() if each.trace == which]
    else:
        which = as_address(which)
        found = [which] if which in parked else []
    if not found:
        name = f"message {which}" if isinstance(which, int) else f"'{which}'"
        raise NotParked(
            f"Nothing is parked at {name}. List the parked messages to see their names."
        )
    return found
