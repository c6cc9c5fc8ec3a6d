"""The owner of all mailboxes, the ready queue, the pauses and the parked addresses."""

from __future__ import annotations

import collections.abc as cabc
import types

from ...values.address import Address
from ..records import Envelope
from ..records import Parked
from .backoff import Pause
from .mailbox import Condition
from .mailbox import Mailbox
from .ready import ReadyQueue

_READY = Condition.READY
_IN_FLIGHT = Condition.IN_FLIGHT


class Addresses:
    """Moves addresses from one :class:`.mailbox.Condition` to another, and counts them.

    It does no I/O. Its methods return what the engine must store or report.

    :param parked: The addresses that are parked from the start.
    :param held: The function types that are held back from the start.
    """

    def __init__(self, parked: cabc.Iterable[Parked] = (), held: cabc.Iterable[str] = ()) -> None:
        #: Messages in mailboxes, addresses in flight, and addresses that back off.
        self.queued = self.in_flight = self.backing_off = 0
        self._ready: ReadyQueue[Mailbox] = ReadyQueue()
        self._mailboxes: dict[Address, Mailbox] = {}
        self._parked = {each.address: each for each in parked}
        self._pauses: dict[str, Pause] = {}
        #: The function types that a person holds back, each with the addresses that wait.
        self._held: dict[str, list[Mailbox]] = {each: [] for each in held}

    # -- looking --------------------------------------------------------------------------

    def __iter__(self) -> cabc.Iterator[Mailbox]:
        """Yield the mailboxes of all addresses that have messages and are not parked."""
        yield from self._mailboxes.values()

    @property
    def ready(self) -> int:
        """How many addresses wait to be called."""
        return len(self._ready)

    @property
    def parked(self) -> cabc.Mapping[Address, Parked]:
        """The parked addresses."""
        return types.MappingProxyType(self._parked)

    @property
    def paused(self) -> tuple[str, ...]:
        """The function types whose endpoint is down."""
        return tuple(self._pauses)

    @property
    def held(self) -> tuple[str, ...]:
        """The function types that a person holds back."""
        return tuple(self._held)

    def condition(self, address: Address) -> Condition:
        """Return what an address is doing."""
        if address in self._parked:
            return Condition.PARKED
        mailbox = self._mailboxes.get(address)
        return Condition.IDLE if mailbox is None else mailbox.condition

    def messages(self, address: Address, limit: int) -> list[Envelope]:
        """Return the messages that wait for an address that is not parked."""
        mailbox = self._mailboxes.get(address)
        return [] if mailbox is None else mailbox.messages[:limit]

    def queue_length(self, address: Address) -> int:
        """Return how many messages wait for an address that is not parked."""
        mailbox = self._mailboxes.get(address)
        return 0 if mailbox is None else len(mailbox.messages)

    def is_waiting(self, trace: int) -> bool:
        """Return whether messages of a trace wait for the engine.

        Those of parked addresses and of held function types wait for a person.
        """
        return any(
            envelope.trace == trace
            for mailbox in self._mailboxes.values()
            if mailbox.condition is not Condition.HELD
            for envelope in mailbox.messages
        )

    def waiting(self, typename: str) -> int:
        """Return how many addresses of a function type wait to be called."""
        pause = self._pauses.get(typename)
        waiting = len(self._held.get(typename, ()))
        waiting += 0 if pause is None else len(pause.waiting)
        return waiting + sum(each.address.type == typename for each in self._ready)

    # -- messages -------------------------------------------------------------------------

    def put(self, envelopes: cabc.Iterable[Envelope]) -> None:
        """Put messages in their mailboxes. Those of parked addresses stay in the store only."""
        parked, mailboxes = self._parked, self._mailboxes
        for envelope in envelopes:
            target = envelope.target
            if parked and target in parked:
                continue
            self.queued += 1
            mailbox = mailboxes.get(target)
            if mailbox is None:
                mailbox = mailboxes[target] = Mailbox(target)
                self._ready.add(mailbox, external=envelope.caller is None)
            mailbox.messages.append(envelope)

    # -- calls ----------------------------------------------------------------------------

    def take(self) -> Mailbox | None:
        """Remove the next address from the ready queue and return it.

        The caller must start a batch of that address. Returns None if the address has to wait for
        its endpoint or a person.

        :raises IndexError: No address is ready.
        """
        mailbox = self._ready.take()
        if self._held and mailbox.address.type in self._held:
            self._hold(mailbox)
            return None
        pause = self._pauses.get(mailbox.address.type) if self._pauses else None
        if pause is None:
            return mailbox
        mailbox.condition = Condition.PAUSED
        pause.waiting.append(mailbox)
        return None

    def begin(self, mailbox: Mailbox, limit: int) -> list[Envelope]:
        """Start a batch of at most this many messages (0: all) and return it."""
        self.in_flight += 1
        mailbox.condition = _IN_FLIGHT
        return mailbox.take(limit)

    def applied(self, mailbox: Mailbox) -> None:
        """End a batch: its messages are handled."""
        self.in_flight -= 1
        self.queued -= mailbox.in_flight
        mailbox.applied()
        messages = mailbox.messages
        if messages:
            mailbox.condition = _READY
            self._ready.add(mailbox, external=messages[0].caller is None)
        else:
            del self._mailboxes[mailbox.address]

    def repeat(self, mailbox: Mailbox) -> None:
        """End a batch as if it had not been sent. It is the next one to be sent."""
        self.in_flight -= 1
        mailbox.returned()
        mailbox.condition = _READY
        self._ready.add_first(mailbox)

    # -- messages that fail ---------------------------------------------------------------

    def failed(self, mailbox: Mailbox, tries: int, error: str, now: int) -> Condition:
        """End a batch that failed, and return the condition of its address.

        :param tries: After how many tries a message that fails on its own parks its address.
        """
        self.in_flight -= 1
        if not mailbox.failed():
            mailbox.condition = _READY
            self._ready.add(mailbox)
        elif mailbox.tries < tries:
            mailbox.condition = Condition.BACKING_OFF
            self.backing_off += 1
        else:
            self._park(mailbox, error, now)
        return mailbox.condition

    def _park(self, mailbox: Mailbox, error: str, now: int) -> None:
        address, culprit = mailbox.address, mailbox.messages[0]
        mailbox.condition = Condition.PARKED
        self._parked[address] = Parked(address, culprit.seq, culprit.trace, error, now)
        self.queued -= len(mailbox.messages)
        del self._mailboxes[address]

    def retry(self, mailbox: Mailbox) -> None:
        """Make an address ready that has backed off long enough."""
        self.backing_off -= 1
        mailbox.condition = _READY
        self._ready.add(mailbox)

    def unpark(self, address: Address, messages: cabc.Iterable[Envelope]) -> Parked:
        """Make a parked address ready with its messages, the first of which is sent alone."""
        parked = self._parked.pop(address)
        self.put(messages)
        return parked

    # -- endpoints that are down ----------------------------------------------------------

    def pause(self, mailbox: Mailbox) -> Pause | None:
        """End a batch whose endpoint is down; its address waits with its messages.

        :return: The pause if its endpoint is to be probed after the pause's delay; None if a probe
            is planned or in flight already.
        """
        typename = mailbox.address.type
        self.in_flight -= 1
        mailbox.returned()
        mailbox.condition = Condition.PAUSED
        pause = self._pauses.get(typename)
        is_new = pause is None
        if pause is None:
            pause = self._pauses[typename] = Pause()
        pause.waiting.append(mailbox)
        if pause.probe is mailbox:
            pause.lengthen()
            return pause
        return pause if is_new else None

    def probe(self, typename: str, pause: Pause) -> Mailbox | None:
        """Return the address that probes an endpoint now. The caller must start a batch of it.

        Returns None if the endpoint has answered meanwhile, or if no address waits for it.
        A function type that a person holds back sends no probe: its pause ends, and its first call
        after the release begins another one if the endpoint is still down.
        """
        if self._pauses.get(typename) is not pause:
            return None
        if typename in self._held:
            self._hold(*pause.waiting)
            pause.waiting.clear()
        if not pause.waiting:
            del self._pauses[typename]
            return None
        pause.probe = pause.waiting.popleft()
        return pause.probe

    def is_paused(self, typename: str) -> bool:
        """Return whether the endpoint of a function type is down."""
        return typename in self._pauses

    def resume(self, typename: str) -> None:
        """Make the addresses of a function type ready, since its endpoint has answered."""
        for mailbox in self._pauses.pop(typename).waiting:
            mailbox.condition = _READY
            self._ready.add(mailbox)

    # -- function types that a person holds back ------------------------------------------

    def hold(self, typename: str) -> bool:
        """Make no call of a function type from now on; calls in flight go on.

        :return: Whether it was not held before.
        """
        if typename in self._held:
            return False
        self._held[typename] = []
        return True

    def release(self, typename: str) -> bool:
        """Make the addresses of a function type ready that was held, and return whether it was."""
        waiting = self._held.pop(typename, None)
        for mailbox in waiting or ():
            mailbox.condition = _READY
            self._ready.add(mailbox)
        return waiting is not None

    def _hold(self, *mailboxes: Mailbox) -> None:
        for mailbox in mailboxes:
            mailbox.condition = Condition.HELD
            self._held[mailbox.address.type].append(mailbox)
