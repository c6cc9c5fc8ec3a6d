"""What the engine does, without threads: each method is called by one owner, one after the other.

A step takes one answer from an endpoint and does all that it wants, or nothing. Steps are collected
in the store's changes and written by :meth:`Core.commit`.
"""

from __future__ import annotations

import collections.abc as cabc
import logging

from ..values.address import Address
from ..values.message import Message
from . import events
from .addresses.failures import Failures
from .addresses.mailbox import Mailbox
from .addresses.ready import ReadyQueue
from .clock import Clock
from .egress import Sinks
from .endpoints.pool import Call
from .endpoints.routes import Routes
from .error_text import text_of
from .errors import AnswerRefused
from .errors import DiskFull
from .errors import EndpointDown
from .errors import StepFailed
from .errors import UnknownTarget
from .exchange import answer
from .exchange import checks
from .exchange import request
from .exchange.formats import RecordContent
from .exchange.states import attach
from .exchange.states import RegisteredStates
from .exchange.states import StateSpec
from .exchange.states import StateSpecs
from .records import Delay
from .records import Envelope
from .records import StoredValue
from .steps import Pending
from .steps import Steps
from .store.store import Store
from .timers import Schedule

logger = logging.getLogger("statefun_flask")

#: Between tries to write to a full disk, in milliseconds.
DISK_DELAY = 5_000

#: How many expired values are deleted at a time.
SWEEP = 1_000


class Core:
    """Mailboxes, states, delays and egress of one engine.

    :param start: Makes a call and, now or later, has :meth:`finish` called with it.
    """

    def __init__(
        self,
        routes: Routes,
        store: Store,
        clock: Clock,
        start: cabc.Callable[[Call], None],
    ) -> None:
        self.routes = routes
        self.store = store
        self.clock = clock
        self.listeners: list[events.Listener] = []
        #: Addresses with messages that nothing holds back.
        self.ready: ReadyQueue[Address] = ReadyQueue()
        #: Calls in flight, messages in memory, and steps since the last commit.
        self.in_flight = self.queued = self.steps = 0
        self.full: DiskFull | None = None
        #: Called after the next commit.
        self.committed: list[cabc.Callable[[], None]] = []
        self.states = RegisteredStates(store.specs)
        self.schedule = Schedule(store, clock)
        self.failures = Failures(store, clock, self.schedule, self.ready, self.tell, self._call)
        self.parked = self.failures.parked
        self.pauses = self.failures.pauses
        self.sinks = Sinks(store)
        self._start = start
        self._steps = Steps(store, self.schedule, self._enqueue)
        self._mailboxes: dict[Address, Mailbox] = {}
        self._told: list[events.Event] = []
        self._recover()

    def _recover(self) -> None:
        self._put(self.store.queued())

    # -- messages -------------------------------------------------------------------------

    def accept(self, messages: cabc.Sequence[tuple[Address, Message]]) -> list[int]:
        """Take messages from outside, all or none, and return their traces.

        :raises UnknownTarget: No endpoint serves the function type of one.
        :raises ValueError: One cannot be stored.
        """
        for typename in dict.fromkeys(target.type for target, _ in messages):
            self.routes.endpoint(typename)
        for target, message in messages:
            self.check_message(target, message)
        traces = self.store.numbers("trace", len(messages))
        self._enqueue(traces, None, messages)
        return list(traces)

    def check_message(self, target: Address, message: Message) -> None:
        """Refuse a message from outside that the store cannot hold.

        :raises ValueError: It is too large, or one of its texts has a lone surrogate.
        """
        size, largest = checks.message_size(target, message), self.store.largest
        if size > largest:
            raise ValueError(
                f"The message has {size} bytes, and the engine can store {largest} bytes at most."
                " Send a smaller one, or keep the content elsewhere."
            )

    def _enqueue(
        self,
        traces: cabc.Iterable[int],
        caller: Address | None,
        sends: cabc.Sequence[tuple[Address, Message]],
    ) -> list[Envelope]:
        """Queue messages of one caller."""
        queue = self.store.changes.queue
        numbers = self.store.numbers("message", len(sends))
        envelopes: list[Envelope] = []
        for seq, trace, (target, message) in zip(numbers, traces, sends, strict=False):
            queue[seq] = envelope = Envelope(seq, trace, target, caller, message)
            envelopes.append(envelope)
        self._put(envelopes)
        return envelopes

    def _put(self, envelopes: cabc.Iterable[Envelope]) -> None:
        """Put messages in their mailboxes; those of a parked address are on disk only."""
        parked, mailboxes = self.parked, self._mailboxes
        for envelope in envelopes:
            target = envelope.target
            if parked and target in parked:
                continue
            self.queued += 1
            mailbox = mailboxes.get(target)
            if mailbox is None:
                mailbox = mailboxes[target] = Mailbox()
            if mailbox.put(envelope):
                self.ready.add(target, external=envelope.caller is None)

    def send_again(self, envelope: Envelope) -> Envelope:
        """Queue a message anew, under a new number."""
        again = (envelope.target, envelope.message)
        return self._enqueue([envelope.trace], envelope.caller, [again])[0]

    # -- calls ----------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Send a batch of the first ready address."""
        address = self.ready.take()
        if self.pauses and address.type in self.pauses:
            self.pauses[address.type].waiting.append(address)
        else:
            self._call(address)

    def _call(self, address: Address) -> None:
        mailbox = self._mailboxes[address]
        try:
            endpoint = self.routes.endpoint(address.type)
        except UnknownTarget as exc:  # it was served when the message came
            mailbox.take(1)
            self._fail(address, mailbox, [mailbox.messages[0]], exc, tries=1)
            return
        batch = mailbox.take(endpoint.batch)
        try:
            specs = self.states.of(address.type)
            cells = self._attach(address, specs) if specs else {}
            body = request.write(address, specs, cells, batch)
        except Exception as exc:
            self._fail(address, mailbox, batch, _step_failed(address, exc), endpoint.tries)
            return
        self.in_flight += 1
        self._start(Call(address, endpoint, mailbox, batch, specs, body))

    def _attach(self, address: Address, specs: StateSpecs) -> dict[str, StoredValue]:
        stored = self.store.cells(address)
        seen = attach(specs, stored, self.clock.now())
        for name, spec in specs.items():
            if spec.mode and name in stored:
                cell = seen.get(name)
                if cell is not stored[name]:
                    self.store.write(
                        address, name, cell, None if cell is None else spec.expires(cell)
                    )
        return seen

    def abandon(self, call: Call) -> None:
        """Undo a call that was not made."""
        self.in_flight -= 1
        call.mailbox.returned()
        self.ready.add_first(call.address)

    def finish(self, call: Call) -> None:
        """Do what an answer wants, in one step, or deal with its failure."""
        self.in_flight -= 1
        self.steps += 1
        address, mailbox, outcome = call.address, call.mailbox, call.outcome

        if isinstance(outcome, EndpointDown):
            self.failures.pause(call, outcome)
            return
        if self.pauses and address.type in self.pauses:
            self.failures.resume(address.type, call.endpoint.name)
        if not isinstance(outcome, bytes):
            self._fail(address, mailbox, call.batch, outcome, call.endpoint.tries)
            return
        try:
            result = answer.read(address, outcome)
            specs = self.states.of(address.type)
            if isinstance(result, answer.MissingStates):
                new = self.states.register(address, result.specs, call.attached)
            else:
                contents = checks.check(address, result, specs, self.routes, self._is_pending)
                self._check_sizes(address, outcome, result, contents)
                pending = self._steps.read(address, result)
        except AnswerRefused as exc:
            self._fail(address, mailbox, call.batch, exc, call.endpoint.tries)
            return
        except Exception as exc:  # nothing of the step has happened yet
            failure = _step_failed(address, exc)
            self._fail(address, mailbox, call.batch, failure, call.endpoint.tries)
            return
        if isinstance(result, answer.MissingStates):
            self._registered(address, mailbox, new)
        else:
            self._apply(call, mailbox, result, contents, pending, specs)

    def _check_sizes(
        self, address: Address, answer: bytes, result: answer.Result, contents: list[RecordContent]
    ) -> None:
        """Refuse an answer with a part that no row can hold; nearly every answer is smaller."""
        largest = self.store.largest
        if 2 * len(answer) + checks.text_size(address.type, address.id) > largest:
            checks.check_sizes(address, result, contents, largest)

    def _registered(self, address: Address, mailbox: Mailbox, new: list[StateSpec]) -> None:
        """Keep new states, and send the same batch again with them."""
        for spec in new:
            self.store.changes.specs[address.type, spec.name] = spec.typename
        mailbox.returned()
        self.ready.add_first(address)
        if new:
            names = [spec.name for spec in new]
            self.tell(events.Registered(at=self.clock.now(), typename=address.type, states=names))

    def _apply(
        self,
        call: Call,
        mailbox: Mailbox,
        result: answer.Result,
        contents: list[RecordContent],
        pending: Pending,
        specs: StateSpecs,
    ) -> None:
        address = call.address
        now, told = self.clock.now(), bool(self.listeners)
        event = self._steps.apply(call, result, contents, pending, specs, now, told)
        if event is not None:
            self.tell(event)
        self.queued -= len(call.batch)
        mailbox.applied()
        if mailbox.messages:
            self.ready.add(address, external=mailbox.messages[0].caller is None)
        else:
            del self._mailboxes[address]

    # -- failures -------------------------------------------------------------------------

    def _fail(
        self,
        address: Address,
        mailbox: Mailbox,
        batch: list[Envelope],
        exc: BaseException,
        tries: int,
    ) -> None:
        if self.failures.fail(address, mailbox, batch, exc, tries):
            self.queued -= len(mailbox.messages)
            del self._mailboxes[address]

    def unpark(self, address: Address, skip: int = 0) -> None:
        """Let a parked address go on; its first message is sent alone.

        Everything must be committed, since its messages are read from the store.

        :param skip: How many of its messages are left out.
        """
        self.failures.unpark(address)
        self._put(self.store.queue(address)[skip:])

    # -- time -----------------------------------------------------------------------------

    def fire(self) -> None:
        """Deliver the messages whose delay is over, and do what else is due."""
        schedule = self.schedule
        while (delay := schedule.delay()) is not None:
            self.deliver_delay(delay)
        while (plan := schedule.plan()) is not None:
            plan()

    def deliver_delay(self, delay: Delay) -> None:
        """Put the message of a delay into the queue of its address."""
        self.schedule.forget(delay)
        self._enqueue([delay.trace], delay.caller, [(delay.target, delay.message)])
        if self.listeners:
            self.tell(events.Fired(at=self.clock.now(), trace=delay.trace, delay=delay))

    def _is_pending(self, caller_id: str, token: str) -> bool:
        return self.store.delay(caller_id, token) is not None

    def sweep(self) -> None:
        """Delete some expired values, so that the store of an idle engine does not keep them.

        Everything must be committed.
        """
        now = self.clock.now()
        for address, name in self.store.expired(now, SWEEP):
            spec = self.states.of(address.type).get(name)
            cell = self.store.cells(address)[name]
            if spec is not None and spec.mode and now >= cell.stamp + spec.ttl:
                self.store.write(address, name, None, None)

    # -- commits --------------------------------------------------------------------------

    def commit(self) -> bool:
        """Write all steps since the last commit, then tell of them. Returns whether it worked.

        What did not work is tried again by itself.
        """
        records = self.store.changes.egress
        try:
            self.store.commit()
        except DiskFull as exc:
            self._disk_full(exc)
            return False
        self.sinks.committed(records)
        self.steps = 0
        if self.full is not None:
            self.full = None
            self.tell(events.Writable(at=self.clock.now()))
        told, self._told = self._told, []
        committed, self.committed = self.committed, []
        for act in committed:
            try:
                act()
            except Exception:
                logger.exception("A callback failed after a commit. The engine goes on.")
        for event in told:
            self.tell_now(event)
        self.sinks.tidy()
        return True

    def _disk_full(self, exc: DiskFull) -> None:
        first = self.full is None
        self.full = exc
        if first:
            self.schedule.later(DISK_DELAY, self._retry_commit)
            reason = str(exc.__cause__)
            self.tell_now(
                events.Full(at=self.clock.now(), path=exc.path, size=exc.size, reason=reason)
            )

    def _retry_commit(self) -> None:
        if self.full is not None and not self.commit():
            self.schedule.later(DISK_DELAY, self._retry_commit)

    def tell(self, event: events.Event) -> None:
        """Tell of an event after the next commit."""
        if self.listeners:
            self._told.append(event)

    def tell_now(self, event: events.Event) -> None:
        """Tell of what is no step, and so needs no commit."""
        for listener in self.listeners:
            try:
                listener(event)
            except Exception:
                logger.exception(
                    "A listener failed at the event '%s'. The engine goes on.",
                    type(event).__name__,
                )


def _step_failed(address: Address, exc: Exception) -> StepFailed:
    """Return why an address is parked by an exception that is not the function's."""
    failure = StepFailed(address.type, address.id, f"{type(exc).__name__}: {text_of(exc)}")
    failure.__cause__ = exc
    return failure
