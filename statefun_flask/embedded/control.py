"""The commands of an engine, which inspect the engine and resolve failures.

The thread of the engine runs each command between two steps, so a command sees complete steps only.
Commands see all steps so far, even if a step is not on disk yet. A command that changes something
returns once the change is on disk.
"""

from __future__ import annotations

import heapq
import itertools
import typing as t

from ..values.address import Address
from ..values.address import as_address
from ..values.message import Message
from . import events
from .addresses.mailbox import Condition
from .core import Core
from .engine import Engine
from .errors import NotHeldError
from .errors import NotParkedError
from .errors import SeveralParkedError
from .errors import UnknownDeadLetterError
from .errors import UnknownDelayError
from .records import Dead
from .records import Delay
from .records import EgressRecord
from .records import Envelope
from .records import Parked
from .store.base import topic_reader


class Waiting(t.NamedTuple):
    """A parked address with the message that failed.

    :param behind: The number of messages that wait behind it.
    """

    parked: Parked
    envelope: Envelope
    behind: int


class Instance(t.NamedTuple):
    """A function instance that has messages or state.

    :param queued: How many messages wait for it or are in flight to it.
    """

    address: Address
    condition: Condition
    queued: int
    has_state: bool


#: How many dead letters are deleted between two looks at the engine's other work.
_PURGED = 1000


class Control:
    """The commands of an engine.

    An address may be written as ``"namespace/name/id"``.

    A parked address is named by the address, or by the trace of the failed message, which the log
    shows. A trace can name several parked addresses; a command refuses it unless it may.
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

    def instances(
        self, typename: str | None = None, after: Address | None = None, limit: int = 100
    ) -> list[Instance]:
        """Return the instances of one or all function types that have messages or state.

        They are in the order of their addresses, from behind the address ``after``.
        """

        def read(core: Core) -> list[Instance]:
            busy = heapq.nsmallest(limit, _busy(core, typename, after))
            with_state = _with_state(core, typename, after, limit)
            found = sorted({*busy, *with_state})[:limit]
            return [_instance(core, each, each in with_state) for each in found]

        return self._engine.look(read)

    def queue(self, address: Address | str, limit: int = 100) -> list[Envelope]:
        """Return the messages that wait for an address, or are in flight to it."""
        target = as_address(address)
        return self._engine.look(lambda core: core.queue(target, limit))

    def is_unfinished(self, trace: int) -> bool:
        """Return whether messages of a trace wait or are in flight, except parked ones."""
        return self._engine.look(lambda core: core.addresses.is_waiting(trace))

    def egress(
        self, topic: str, after: int = 0, limit: int = 1000, size: int | None = None
    ) -> list[EgressRecord]:
        """Return the committed records of a topic, or of an egress, with higher numbers.

        :param size: No more records are returned once their values have so many bytes.
        """
        return self._engine.look(lambda core: core.store.records(after, limit, topic, size))

    def pop(self, topic: str) -> EgressRecord | None:
        """Return the oldest committed record of a topic that no earlier call returned."""
        reader = topic_reader(topic)

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

        :raises UnknownDelayError: There is no such delay.
        """

        def deliver(core: Core) -> Delay:
            delay = core.deliver_delay(seq)
            if delay is None:
                raise UnknownDelayError(
                    f"There is no delay {seq}. List the delays to see their numbers."
                )
            return delay

        return self._engine.act(deliver)

    def cancel_delay(self, seq: int) -> Delay:
        """Remove a delay, so that its message is never delivered.

        :raises UnknownDelayError: There is no such delay.
        """

        def cancel(core: Core) -> Delay:
            delay = core.cancel_delay(seq)
            if delay is None:
                raise UnknownDelayError(f"There is no delay {seq}. List them to see their numbers.")
            return delay

        return self._engine.act(cancel)

    def deliver_due(self) -> None:
        """Deliver the messages whose delay is over, after the clock was moved."""
        self._engine.look(lambda core: core.fire())

    def next_instant(self) -> int | None:
        """Return the next instant at which a timer is due, in milliseconds since 1970."""
        return self._engine.look(lambda core: core.next_instant())

    # -- parked addresses -----------------------------------------------------------------

    def parked(self, after: int = 0, limit: int | None = None) -> list[Waiting]:
        """Return the parked addresses, the oldest first, each with the message that failed.

        :param after: Only those whose message that failed has a higher number.
        """

        def read(core: Core) -> list[Waiting]:
            later = [each for each in core.addresses.parked.values() if each.seq > after]
            later.sort(key=lambda each: each.seq)
            found = []
            for parked in later[:limit]:
                (culprit,) = core.transaction.queue(parked.address, 1)
                behind = core.transaction.queue_length(parked.address) - 1
                found.append(Waiting(parked, culprit, behind))
            return found

        return self._engine.look(read)

    def parked_behind(self, trace: int, targets: list[Address]) -> list[Parked]:
        """Return which addresses are parked at another trace with messages of a trace behind it.

        :param targets: The addresses to look at.
        """

        def read(core: Core) -> list[Parked]:
            parked = core.addresses.parked
            return [
                parked[each]
                for each in targets
                if each in parked
                and parked[each].trace != trace
                and any(sent.trace == trace for sent in core.transaction.queue(each, _LOOKED_AT))
            ]

        return self._engine.look(read)

    def retry(self, which: Address | str | int, *, several: bool = False) -> list[Address]:
        """Call parked addresses again. The failed message is sent first and alone.

        :param several: Whether a trace may name several addresses.
        :raises NotParkedError: No parked address has that name.
        :raises SeveralParkedError: Several are.
        """

        def again(core: Core) -> list[Address]:
            addresses = _find(core, which, several)
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

    def drop(self, which: Address | str | int, *, several: bool = False) -> list[Envelope]:
        """Make the failed message a dead letter, and handle the messages behind it.

        :param several: Whether a trace may name several addresses.
        :raises NotParkedError: No parked address has that name.
        :raises SeveralParkedError: Several are.
        """
        return self._engine.act(
            lambda core: [core.drop(address) for address in _find(core, which, several)]
        )

    def drop_all(self) -> list[Envelope]:
        """Make the messages that failed at all parked addresses dead letters."""
        return self._engine.act(
            lambda core: [core.drop(address) for address in list(core.addresses.parked)]
        )

    def parked_at(self, which: Address | str | int) -> Address:
        """Return the one parked address that a name means.

        :raises NotParkedError: No parked address has that name.
        :raises SeveralParkedError: Several are.
        """
        (found,) = self._engine.look(lambda core: _find(core, which))
        return found

    def replace(self, address: Address | str, message: Message) -> None:
        """Replace the body of the failed message, and call the address again.

        :raises NotParkedError: The address is not parked.
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

        :raises UnknownDeadLetterError: No message of that number was dropped.
        """

        def put_back(core: Core) -> Envelope:
            revived = core.revive(seq)
            if revived is None:
                raise UnknownDeadLetterError(
                    f"There is no dropped message {seq}. List the dead letters to see their"
                    " numbers."
                )
            return revived

        return self._engine.act(put_back)

    def purge(self, seq: int) -> Dead:
        """Delete a dead letter for good.

        :raises UnknownDeadLetterError: No message of that number was dropped.
        """

        def delete(core: Core) -> Dead:
            dead = core.transaction.exhume(seq)
            if dead is None:
                raise UnknownDeadLetterError(
                    f"There is no dropped message {seq}. List them to see their numbers."
                )
            return dead

        return self._engine.act(delete)

    def purge_all(self) -> int:
        """Delete all dead letters for good, and return how many there were."""

        def delete(core: Core) -> int:
            dead = core.transaction.dead(_PURGED)
            for each in dead:
                core.transaction.exhume(each.envelope.seq)
            return len(dead)

        count = 0
        while deleted := self._engine.act(delete):
            count += deleted
        return count

    # -- backups --------------------------------------------------------------------------

    def backup(self) -> t.BinaryIO:
        """Return an open file with a copy of all that has happened so far, or later.

        The engine goes on meanwhile.

        :raises NoDataFolderError: The engine keeps its data in memory.
        :raises BackupError: The copy cannot be written.
        """
        self._engine.flush()
        return self._engine.store.copy()

    # -- function types -------------------------------------------------------------------

    def hold(self, typename: str) -> int:
        """Make no call of a function type until it is released, also after a restart.

        Calls in flight go on, and messages are accepted.

        :return: How many of its addresses have messages.
        :raises UnknownTargetError: No endpoint serves the function type.
        """

        def stop(core: Core) -> int:
            core.routes.endpoint(typename)
            core.hold(typename)
            return core.addresses.waiting(typename)

        return self._engine.act(stop)

    def report_held(self) -> None:
        """Call the listeners with an event for each function type that is held."""

        def report(core: Core) -> None:
            for each in core.addresses.held:
                waiting = core.addresses.waiting(each)
                core.notify_now(events.Held(at=core.clock.now(), typename=each, waiting=waiting))

        self._engine.look(report)

    def release(self, typename: str) -> int:
        """Call a function type again that was held.

        :return: How many of its addresses have messages.
        :raises NotHeldError: It was not held.
        """

        def go_on(core: Core) -> int:
            waiting = core.addresses.waiting(typename)
            if not core.release(typename):
                raise NotHeldError(
                    f"Nobody has paused '{typename}'. Ask for the status to see what is paused."
                )
            return waiting

        return self._engine.act(go_on)


#: How many messages of a queue are looked at for those of one trace.
_LOOKED_AT = 1000


def _busy(core: Core, typename: str | None, after: Address | None) -> t.Iterator[Address]:
    """Yield the addresses that have messages."""
    waiting = (each.address for each in core.addresses)
    for address in itertools.chain(waiting, core.addresses.parked):
        if (typename is None or address.type == typename) and (after is None or address > after):
            yield address


def _with_state(
    core: Core, typename: str | None, after: Address | None, limit: int
) -> set[Address]:
    """Return the first addresses that have state."""
    found: set[Address] = set()
    for each in sorted({function for function, _ in core.transaction.state_types}):
        if len(found) >= limit:
            break
        if (typename is not None and each != typename) or (after is not None and each < after.type):
            continue
        first = after.id if after is not None and each == after.type else None
        page = core.transaction.addresses(each, first or "", limit - len(found))
        if first is None and core.transaction.state(empty := Address(each, "")):
            page.insert(0, empty)  # pages begin behind an id, and the first id may be empty
        found.update(page[: limit - len(found)])
    return found


def _instance(core: Core, address: Address, has_state: bool) -> Instance:
    condition = core.addresses.condition(address)
    if condition is Condition.PARKED:
        queued = core.transaction.queue_length(address)
    else:
        queued = core.addresses.queue_length(address)
    if not has_state:  # it may lie behind the page of those with state
        has_state = bool(core.transaction.state(address))
    return Instance(address, condition, queued, has_state)


def _find(core: Core, which: Address | str | int, several: bool = False) -> list[Address]:
    parked = core.addresses.parked
    if isinstance(which, int):
        found = sorted(address for address, each in parked.items() if each.trace == which)
    else:
        which = as_address(which)
        found = [which] if which in parked else []
    if not found:
        name = f"message {which}" if isinstance(which, int) else f"'{which}'"
        raise NotParkedError(
            f"Nothing is parked at {name}. List the parked messages to see their names."
        )
    if len(found) > 1 and not several:
        raise SeveralParkedError(t.cast("int", which), [str(each) for each in found])
    return found
