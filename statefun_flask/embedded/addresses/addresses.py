"""The owner of all mailboxes, the ready queue, the pauses and the parked addresses."""

from __future__ import annotations

import collections.abc as cabc
import types

from ...values.address import Address
from ..records import Envelope
from ..records import Parked
from ..suspects import Suspects
from .backoff import Pause
from .mailbox import Condition
from .mailbox import Mailbox
from .ready import EndpointQueue

_READY = Condition.READY
_IN_FLIGHT = Condition.IN_FLIGHT


class Addresses:
    """Moves addresses from one :class:`.mailbox.Condition` to another, and counts them.

    It does no I/O. Its methods return what the engine must store or report.

    :param parked: The addresses that are parked from the start.
    :param queue: Returns the ready queue of a function type's endpoint, always the same one; by
        default all have one queue.
    :param suspects: The addresses that were called when the last process ended.
    :param held: The function types that are held back from the start.
    """

    def __init__(
        self,
        parked: cabc.Iterable[Parked] = (),
        queue: cabc.Callable[[str], EndpointQueue[Mailbox]] | None = None,
        *,
        suspects: Suspects | None = None,
        held: cabc.Iterable[str] = (),
    ) -> None:
        #: Messages in mailboxes, addresses that wait to be called, addresses in flight, and
        #: addresses that back off.
        self.queued = self.ready = self.in_flight = self.backing_off = 0
        #: The payloads of the messages in mailboxes, in bytes.
        self.queued_bytes = 0
        only: EndpointQueue[Mailbox] = EndpointQueue()
        self._queue = queue or (lambda typename: only)
        self._queues: dict[str, EndpointQueue[Mailbox]] = {}
        #: The queues with a ready address and a free call. They take turns.
        self._open: dict[EndpointQueue[Mailbox], None] = {}
        self._mailboxes: dict[Address, Mailbox] = {}
        self._parked = {each.address: each for each in parked}
        self._pauses: dict[str, Pause] = {}
        #: The function types that a person holds back, each with the addresses that wait.
        self._held: dict[str, list[Mailbox]] = {each: [] for each in held}
        self._suspects = Suspects() if suspects is None else suspects
        #: How many suspects have messages. While there are any, calls are made one at a time.
        self.suspected = 0

    # -- looking --------------------------------------------------------------------------

    def __iter__(self) -> cabc.Iterator[Mailbox]:
        """Yield the mailboxes of all addresses that have messages and are not parked."""
        yield from self._mailboxes.values()

    @property
    def can_call(self) -> bool:
        """Whether an address is ready whose endpoint may have another call."""
        return bool(self._open)

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
        waiting += 0 if pause is None else len(pause)
        queue = self._queues.get(typename, ())
        return waiting + sum(each.address.type == typename for each in queue)

    # -- messages -------------------------------------------------------------------------

    def put(self, envelopes: cabc.Iterable[Envelope]) -> None:
        """Put messages in their mailboxes. Those of parked addresses stay in the store only."""
        parked, mailboxes = self._parked, self._mailboxes
        for envelope in envelopes:
            target = envelope.target
            if parked and target in parked:
                continue
            self.queued += 1
            self.queued_bytes += len(envelope.message.value)
            mailbox = mailboxes.get(target)
            if mailbox is None:
                mailbox = mailboxes[target] = Mailbox(target, queue=self._queue_of(target.type))
                if self._suspects and target in self._suspects:
                    self._suspect(mailbox)
                else:
                    self._make_ready(mailbox, external=envelope.caller is None)
            mailbox.messages.append(envelope)

    def _queue_of(self, typename: str) -> EndpointQueue[Mailbox]:
        queue = self._queues.get(typename)
        if queue is None:
            queue = self._queues[typename] = self._queue(typename)
        return queue

    def _make_ready(self, mailbox: Mailbox, *, external: bool = False, first: bool = False) -> None:
        mailbox.condition = _READY
        queue = mailbox.queue
        if first or mailbox.suspect:
            queue.add_first(mailbox)
        else:
            queue.add(mailbox, external=external)
        self.ready += 1
        if queue.in_flight < queue.limit:
            self._open[queue] = None
            if mailbox.suspect:
                self._open = {queue: None, **self._open}  # it is the first one now

    def _suspect(self, mailbox: Mailbox) -> None:
        """Have a suspect called before all others, its first messages one at a time."""
        mailbox.suspect = True
        mailbox.one_by_one = max(1, self._suspects.untried(mailbox.address))
        self.suspected += 1
        self._make_ready(mailbox)

    def _tried(self, mailbox: Mailbox) -> None:
        """Clear a suspect once its first messages are handled."""
        if self._suspects.tried(mailbox.address, max(1, mailbox.in_flight)):
            self._unsuspect(mailbox)

    def _unsuspect(self, mailbox: Mailbox) -> None:
        """Call an address as all others are called.

        The next start suspects it again, unless its messages were handled before.
        """
        if mailbox.suspect:
            mailbox.suspect = False
            self.suspected -= 1

    # -- calls ----------------------------------------------------------------------------

    def take(self) -> Mailbox | None:
        """Remove the next address from the ready queue and return it.

        The caller must start a batch of that address. Returns None if the address has to wait for
        its endpoint or a person.

        :raises IndexError: No address can be called, see :attr:`can_call`.
        """
        queue = next(iter(self._open), None)
        if queue is None:
            raise IndexError("No address can be called.")
        mailbox = queue.take()
        self.ready -= 1
        if not queue:
            del self._open[queue]
        elif len(self._open) > 1 and not self.suspected:
            self._open[queue] = self._open.pop(queue)  # it is the last one now
        if self._held and mailbox.address.type in self._held:
            self._hold(mailbox)
            return None
        pause = self._pauses.get(mailbox.address.type) if self._pauses else None
        if pause is None:
            return mailbox
        self._unsuspect(mailbox)  # it waits for another process, whose end is not this one's
        mailbox.condition = Condition.PAUSED
        pause.add(mailbox)
        return None

    def begin(self, mailbox: Mailbox, limit: int) -> list[Envelope]:
        """Start a batch of at most this many messages (0: all) and return it."""
        self.in_flight += 1
        queue = mailbox.queue
        queue.in_flight += 1
        if queue.in_flight >= queue.limit:
            self._open.pop(queue, None)
        mailbox.condition = _IN_FLIGHT
        return mailbox.take(limit)

    def _end(self, mailbox: Mailbox) -> None:
        """Note that an address has no call any more."""
        self.in_flight -= 1
        queue = mailbox.queue
        queue.in_flight -= 1
        if queue.in_flight < queue.limit and queue:
            self._open[queue] = None

    def applied(self, mailbox: Mailbox) -> None:
        """End a batch: its messages are handled."""
        self._end(mailbox)
        self._leave(mailbox.messages[: mailbox.in_flight])
        if mailbox.suspect:
            self._tried(mailbox)
        mailbox.applied()
        messages = mailbox.messages
        if messages:
            self._make_ready(mailbox, external=messages[0].caller is None)
        else:
            del self._mailboxes[mailbox.address]
            if mailbox.suspect:
                # Messages that no commit had written before the process ended do not come again.
                self._suspects.acquit(mailbox.address)
                self._unsuspect(mailbox)

    def _leave(self, messages: list[Envelope]) -> None:
        self.queued -= len(messages)
        for each in messages:
            self.queued_bytes -= len(each.message.value)

    def repeat(self, mailbox: Mailbox) -> None:
        """End a batch as if it had not been sent. It is the next one to be sent."""
        self._end(mailbox)
        mailbox.returned()
        self._make_ready(mailbox, first=True)

    # -- messages that fail ---------------------------------------------------------------

    def failed(self, mailbox: Mailbox, tries: int, error: str, now: int) -> Condition:
        """End a batch that failed, and return the condition of its address.

        :param tries: After how many tries a message that fails on its own parks its address.
        """
        self._end(mailbox)
        if mailbox.suspect:
            self._tried(mailbox)
        if not mailbox.failed():
            self._make_ready(mailbox)
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
        self._leave(mailbox.messages)
        del self._mailboxes[address]
        self._unsuspect(mailbox)  # after a retry the messages behind this one are suspects again

    def quarantine(self, parked: Parked) -> None:
        """Park an address before its messages are put in a mailbox."""
        self._parked[parked.address] = parked
        self._suspects.acquit(parked.address)

    def retry(self, mailbox: Mailbox) -> None:
        """Make an address ready that has backed off long enough."""
        self.backing_off -= 1
        self._make_ready(mailbox)

    def unpark(self, address: Address, messages: cabc.Iterable[Envelope]) -> Parked:
        """Make a parked address ready with its messages, the first of which is sent alone."""
        parked = self._parked.pop(address)
        self.put(messages)
        return parked

    # -- endpoints that are down ----------------------------------------------------------

    def pause(self, mailbox: Mailbox, *, cut_off: bool = False) -> Pause | None:
        """End a batch whose endpoint is down; its address waits with its messages.

        :param cut_off: Whether the endpoint ended the connection after it had got the request.
        :return: The pause if its endpoint is to be probed after the pause's delay; None if a probe
            is planned or in flight already.
        """
        typename = mailbox.address.type
        self._end(mailbox)
        self._unsuspect(mailbox)
        if cut_off:
            mailbox.cut_off()
        else:
            mailbox.returned()
        mailbox.condition = Condition.PAUSED
        pause = self._pauses.get(typename)
        is_new = pause is None
        if pause is None:
            pause = self._pauses[typename] = Pause()
        pause.add(mailbox)
        if pause.probe is mailbox:
            pause.failed()
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
            self._hold(*pause.clear())
        if not pause:
            del self._pauses[typename]
            return None
        return pause.next()

    def is_paused(self, typename: str) -> bool:
        """Return whether the endpoint of a function type is down."""
        return typename in self._pauses

    def trial(self, mailbox: Mailbox) -> Pause | None:
        """Return the pause in which the first message of an address is on trial, if it is."""
        pause = self._pauses.get(mailbox.address.type)
        return pause if pause is not None and pause.is_trial and pause.probe is mailbox else None

    def answered(self, mailbox: Mailbox) -> Pause | None:
        """Note that an endpoint that was down has answered an address.

        :return: The pause if another address is to probe now; None if a probe is in flight, or if
            the pause is over, see :meth:`is_paused`.
        """
        typename = mailbox.address.type
        pause = self._pauses[typename]
        pause.answered(mailbox)
        if pause.suspects:
            return pause if pause.probe is None else None
        if pause.probe is None or not pause.probe.cut_offs:
            self._resume(typename)
        return None

    def _resume(self, typename: str) -> None:
        """Make the addresses of a function type ready, since its endpoint has answered."""
        for mailbox in self._pauses.pop(typename):
            self._make_ready(mailbox)

    # -- function types that a person holds back ------------------------------------------

    def hold(self, typename: str) -> bool:
        """Make no call of a function type from now on. Calls in flight continue.

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
            self.suspected += mailbox.suspect
            self._make_ready(mailbox)
        return waiting is not None

    def _hold(self, *mailboxes: Mailbox) -> None:
        for mailbox in mailboxes:
            mailbox.condition = Condition.HELD
            self.suspected -= mailbox.suspect
            self._held[mailbox.address.type].append(mailbox)
