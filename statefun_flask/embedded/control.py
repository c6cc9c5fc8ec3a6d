"""What a person, or a program for them, asks an engine: look at it, and deal with what is parked.

Each call is answered by the engine's owner between two steps, so that it sees whole steps only.
"""

from __future__ import annotations

import typing as t

from ..values.address import Address
from ..values.message import Message
from . import events
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

    :param behind: How many messages wait behind it.
    """

    parked: Parked
    envelope: Envelope
    behind: int


class Control:
    """The control calls of an engine.

    Parked addresses are named by their address, or by the trace of the message that failed: the
    number that the log shows. A trace stands for all parked addresses that it led to.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # -- looking --------------------------------------------------------------------------

    def state(self, address: Address) -> dict[str, Message]:
        """Return the values of an address's states; expired ones are not among them."""

        def read(core: Core) -> dict[str, Message]:
            specs = core.states.of(address.type)
            now = core.clock.now()
            values = {}
            for name, cell in core.store.cells(address).items():
                spec = specs.get(name)
                if spec is None or not spec.mode or now < cell.stamp + spec.ttl:
                    values[name] = Message(core.store.specs[address.type, name], cell.value)
            return values

        return self._engine.ask(read)

    def addresses(self, typename: str, after: str = "", limit: int = 100) -> list[Address]:
        """Return addresses of a function type that have state, in the order of their ids."""
        return self._engine.ask(lambda core: core.store.addresses(typename, after, limit))

    def queue(self, address: Address, limit: int = 100) -> list[Envelope]:
        """Return the messages that wait for an address, or are in flight to it."""
        return self._engine.ask(lambda core: core.store.queue(address, limit))

    def egress(self, topic: str, after: int = 0, limit: int = 1000) -> list[EgressRecord]:
        """Return the records of a topic, or of an egress, with higher numbers than one."""
        return self._engine.ask(lambda core: core.store.records(after, limit, topic))

    def pop(self, topic: str) -> EgressRecord | None:
        """Return the oldest record of a topic that was not yet popped, and move on."""
        reader = f"topic:{topic}"

        def take(core: Core) -> EgressRecord | None:
            records = core.store.records(core.store.cursor(reader), 1, topic)
            if not records:
                return None
            core.store.changes.cursors[reader] = records[0].seq
            return records[0]

        return self._engine.ask(take)

    def delays(self, limit: int = 100) -> list[Delay]:
        """Return the delays that fire next."""
        return self._engine.ask(lambda core: core.store.next_delays(limit))

    def deliver_delay(self, seq: int) -> Delay:
        """Deliver the message of a delay now.

        :raises UnknownDelay: There is no such delay.
        """

        def deliver(core: Core) -> Delay:
            delay = core.store.delay_number(seq)
            if delay is None:
                raise UnknownDelay(f"There is no delay {seq}. List them to see their numbers.")
            core.deliver_delay(delay)
            return delay

        return self._engine.ask(deliver)

    # -- what is parked -------------------------------------------------------------------

    def parked(self) -> list[Waiting]:
        """Return the parked addresses, each with its message."""

        def read(core: Core) -> list[Waiting]:
            return [
                Waiting(
                    each,
                    core.store.queue(each.address, 1)[0],
                    core.store.waiting(each.address) - 1,
                )
                for each in core.store.parked()
            ]

        return self._engine.ask(read)

    def retry(self, which: Address | int) -> list[Address]:
        """Try parked addresses again; the message that failed goes first and alone.

        :raises NotParked: None is parked under that name.
        """

        def again(core: Core) -> list[Address]:
            addresses = _find(core, which)
            for address in addresses:
                _go_on(core, address, replaced=False)
            return addresses

        return self._engine.ask(again)

    def retry_all(self) -> list[Address]:
        """Try all parked addresses again, as after the code has changed."""

        def again(core: Core) -> list[Address]:
            addresses = list(core.parked)
            for address in addresses:
                _go_on(core, address, replaced=False)
            return addresses

        return self._engine.ask(again)

    def drop(self, which: Address | int) -> list[Envelope]:
        """Put the message that failed with the dead ones, and let those behind it go on.

        :raises NotParked: None is parked under that name.
        """

        def bury(core: Core) -> list[Envelope]:
            return [_bury(core, address) for address in _find(core, which)]

        return self._engine.ask(bury)

    def replace(self, address: Address, message: Message) -> None:
        """Give the message that failed another body, and try it again.

        :raises NotParked: The address is not parked.
        """

        def exchange(core: Core) -> None:
            _find(core, address)
            core.check_message(address, message)
            old = core.store.queue(address, 1)[0]
            new = Envelope(old.seq, old.trace, old.target, old.caller, message)
            core.store.changes.replace(new)
            core.commit()
            _go_on(core, address, replaced=True)

        self._engine.ask(exchange)

    def dead(self, limit: int = 100) -> list[Dead]:
        """Return the dropped messages."""
        return self._engine.ask(lambda core: core.store.dead(limit))

    def revive(self, seq: int) -> Envelope:
        """Put a dropped message back, at the end of its address's queue and under a new number.

        :raises UnknownDeadLetter: No message of that number was dropped.
        """

        def put_back(core: Core) -> Envelope:
            for each in core.store.dead():
                if each.envelope.seq == seq:
                    core.store.changes.dead[seq] = None
                    return core.send_again(each.envelope)
            raise UnknownDeadLetter(
                f"There is no dropped message {seq}. List them to see their numbers."
            )

        return self._engine.ask(put_back)


def _find(core: Core, which: Address | int) -> list[Address]:
    if isinstance(which, Address):
        found = [which] if which in core.parked else []
    else:
        found = [address for address, each in core.parked.items() if each.trace == which]
    if not found:
        name = f"'{which}'" if isinstance(which, Address) else f"message {which}"
        raise NotParked(f"Nothing is parked at {name}. List what is parked to see what there is.")
    return found


def _go_on(core: Core, address: Address, *, replaced: bool) -> None:
    trace = core.parked[address].trace
    core.unpark(address)
    core.tell(events.Retried(at=core.clock.now(), trace=trace, address=address, replaced=replaced))


def _bury(core: Core, address: Address) -> Envelope:
    parked = core.parked[address]
    culprit = core.store.queue(address, 1)[0]
    now = core.clock.now()
    core.unpark(address, skip=1)
    core.store.changes.consume([culprit])
    core.store.changes.dead[culprit.seq] = Dead(culprit, parked.error, now)
    core.tell(events.Dropped(at=now, trace=culprit.trace, address=address, envelope=culprit))
    return culprit
