"""What the engine does, without threads: one owner calls each method, one after the other.

A step does everything that one answer asks for, or nothing. Steps are collected in a transaction
and written by :meth:`Core.commit`.
"""

from __future__ import annotations

import collections.abc as cabc
import hashlib
import logging

from ..values.address import Address
from ..values.message import Message
from . import events
from .addresses.addresses import Addresses
from .addresses.backoff import Pause
from .addresses.backoff import RETRY_DELAY
from .addresses.mailbox import Condition
from .addresses.mailbox import Mailbox
from .clock import Clock
from .egress import Sinks
from .endpoints.pool import Call
from .endpoints.routes import Routes
from .error_text import describe
from .error_text import text_of
from .errors import AnswerRefused
from .errors import DiskFull
from .errors import EndpointDown
from .errors import KeyReused
from .errors import StepFailed
from .errors import UnknownTarget
from .exchange import answer
from .exchange import checks
from .exchange import request
from .exchange.states import attach
from .exchange.states import RegisteredStates
from .exchange.states import StateSpec
from .exchange.states import StateSpecs
from .records import Dead
from .records import Delay
from .records import Envelope
from .records import KeyUse
from .records import Parked
from .records import StoredValue
from .step import Step
from .store.base import Store
from .store.transaction import Transaction
from .timers import Plans
from .timers import Timers

logger = logging.getLogger("statefun_flask")

#: Between tries to write to a full disk, in milliseconds.
DISK_DELAY = 5_000

#: How many expired values, and how many old idempotency keys, are deleted at a time.
SWEEP = 1_000

#: How long an idempotency key is remembered, in milliseconds.
REMEMBERED = 24 * 3600 * 1000


class Core:
    """Queues, states, delays and egress records of one engine.

    :param start: Makes a call and, now or later, has :meth:`finish` called with it.
    """

    def __init__(
        self, routes: Routes, store: Store, clock: Clock, start: cabc.Callable[[Call], None]
    ) -> None:
        self.routes = routes
        self.store = store
        self.clock = clock
        self.listeners: list[events.Listener] = []
        self.transaction = Transaction(store)
        self.states = RegisteredStates(self.transaction)
        self.addresses = Addresses(store.parked())
        self.timers = Timers(self.transaction, clock)
        self.plans = Plans(clock)
        self.sinks = Sinks(store, self.transaction)
        #: How many steps there were since the last commit.
        self.steps = 0
        #: Why the store cannot be written to; None if it can.
        self.full: DiskFull | None = None
        #: Whether the commit that found no space is to be repeated now.
        self.retry_due = False
        self._retry_planned = False
        #: Called after the next commit.
        self.committed: list[cabc.Callable[[], None]] = []
        self._events: list[events.Event] = []
        self._start = start
        self.addresses.put(store.messages())

    # -- messages -------------------------------------------------------------------------

    def accept(
        self,
        messages: cabc.Sequence[tuple[Address, Message]],
        positions: cabc.Mapping[str, str] | None = None,
    ) -> list[int]:
        """Queue messages from outside, all or none, and return their traces.

        :raises UnknownTarget: No endpoint serves the function type of one.
        :raises ValueError: One cannot be stored.
        """
        for typename in dict.fromkeys(target.type for target, _ in messages):
            self.routes.endpoint(typename)
        for target, message in messages:
            self._check_message(target, message)
        if positions:
            checks.text_size(*positions)  # a lone surrogate cannot be stored
            self.transaction.set_positions(positions)
        traces = self.transaction.numbers("trace", len(messages))
        self._enqueue(traces, None, messages)
        return list(traces)

    def accept_once(self, address: Address, message: Message, key: str) -> tuple[int, bool]:
        """Queue a message from outside unless its key was used for the address before.

        :return: The trace of the message that was queued under the key, and whether that is new.
        :raises KeyReused: The key was used for another message.
        :raises UnknownTarget: No endpoint serves the function type.
        :raises ValueError: The message or the key cannot be stored.
        """
        now = self.clock.now()
        digest = hashlib.sha256(message.typename.encode() + b"\0" + message.value).digest()
        use = self.transaction.key_use((address, key))
        if use is not None and now - use.at < REMEMBERED:
            if use.digest != digest:
                raise KeyReused(str(address), key)
            return use.trace, False
        checks.text_size(key)
        (trace,) = self.accept([(address, message)])
        self.transaction.set_key_use((address, key), KeyUse(digest, trace, now))
        return trace, True

    def _check_message(self, target: Address, message: Message) -> None:
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
        messages: cabc.Sequence[tuple[Address, Message]],
    ) -> list[Envelope]:
        """Queue messages of one caller."""
        numbers = self.transaction.numbers("message", len(messages))
        envelopes = [
            Envelope(seq, trace, target, caller, message)
            for seq, trace, (target, message) in zip(numbers, traces, messages, strict=True)
        ]
        self.transaction.enqueue(envelopes)
        self.addresses.put(envelopes)
        return envelopes

    # -- calls ----------------------------------------------------------------------------

    @property
    def ready(self) -> int:
        """How many addresses wait to be called."""
        return self.addresses.ready

    @property
    def in_flight(self) -> int:
        """How many calls are in flight."""
        return self.addresses.in_flight

    def dispatch(self) -> None:
        """Call the first ready address, unless it has to wait for its endpoint."""
        mailbox = self.addresses.take()
        if mailbox is not None:
            self._call(mailbox)

    def _call(self, mailbox: Mailbox) -> None:
        address = mailbox.address
        try:
            endpoint = self.routes.endpoint(address.type)
        except UnknownTarget as exc:  # it was served when the message came
            self._fail(mailbox, self.addresses.begin(mailbox, 1), exc, tries=1)
            return
        batch = self.addresses.begin(mailbox, endpoint.batch)
        try:
            specs = self.states.of(address.type)
            values = self._attach(address, specs) if specs else {}
            body = request.write(address, specs, values, batch)
        except Exception as exc:
            self._fail(mailbox, batch, _step_failed(address, exc), endpoint.tries)
            return
        self._start(Call(address, endpoint, mailbox, batch, specs, body, self.clock))

    def _attach(self, address: Address, specs: StateSpecs) -> dict[str, StoredValue]:
        """Return the values for a request, and store what the request changes."""
        stored = self.transaction.state(address)
        attached = attach(specs, stored, self.clock.now())
        for name, spec in specs.items():
            if spec.mode and name in stored:
                value = attached.get(name)
                if value is not stored[name]:
                    expires = None if value is None else spec.expires(value)
                    self.transaction.set_state(address, name, value, expires)
        return attached

    def abandon(self, call: Call) -> None:
        """Undo a call that was not made."""
        self.addresses.repeat(call.mailbox)

    def finish(self, call: Call) -> None:
        """Do what an answer asks for, in one step, or deal with its failure."""
        self.steps += 1
        address, mailbox, outcome = call.address, call.mailbox, call.outcome

        if isinstance(outcome, EndpointDown):
            self._pause(call, outcome)
            return
        if self.addresses.paused and self.addresses.is_paused(address.type):
            self._resume(address.type, call.endpoint.name)
        if not isinstance(outcome, bytes):
            self._fail(mailbox, call.batch, outcome, call.endpoint.tries)
            return
        try:
            result = answer.read(address, outcome)
            if isinstance(result, answer.IncompleteContext):
                self._register(call, result)
                return
            step = self._read(call, outcome, result)
        except AnswerRefused as exc:
            self._fail(mailbox, call.batch, exc, call.endpoint.tries)
            return
        except Exception as exc:  # nothing of the step has happened yet
            self._fail(mailbox, call.batch, _step_failed(address, exc), call.endpoint.tries)
            return
        self._apply(mailbox, step)

    def _read(self, call: Call, body: bytes, result: answer.Result) -> Step:
        """Check an answer and return its step.

        :raises AnswerRefused: It breaks a rule.
        """
        address, specs = call.address, self.states.of(call.address.type)
        contents = checks.check(address, result, specs, self.routes, self._is_pending)
        largest = self.store.largest
        # Nearly all answers are too small for any of their parts to be too large.
        if 2 * len(body) + checks.text_size(address.type, address.id) > largest:
            checks.check_sizes(address, result, contents, largest)
        return Step(call, result, contents, specs, self.transaction)

    def _is_pending(self, caller_id: str, token: str) -> bool:
        return self.transaction.delay_of_token(caller_id, token) is not None

    def _register(self, call: Call, missing: answer.IncompleteContext) -> None:
        """Register new states, and send the same batch again with them."""
        typename = call.address.type
        new: list[StateSpec] = self.states.register(call.address, missing.specs, call.attached)
        self.addresses.repeat(call.mailbox)
        if new:
            names = [spec.name for spec in new]
            self.notify(events.Registered(at=self.clock.now(), typename=typename, states=names))

    def _apply(self, mailbox: Mailbox, step: Step) -> None:
        outcome = step.apply(self.clock.now(), with_event=bool(self.listeners))
        if outcome.sends:
            self.addresses.put(outcome.sends)
        for delay in outcome.delays:
            self.timers.add(delay)
        for delay in outcome.cancelled:
            self.timers.remove(delay)
        if outcome.event is not None:
            self.notify(outcome.event)
        self.addresses.applied(mailbox)

    # -- failures -------------------------------------------------------------------------

    def _fail(
        self, mailbox: Mailbox, batch: list[Envelope], exc: BaseException, tries: int
    ) -> None:
        """End a batch that failed.

        :param tries: After how many tries a message that fails on its own parks its address.
        """
        address, now = mailbox.address, self.clock.now()
        waiting = len(mailbox.messages) - 1
        condition = self.addresses.failed(mailbox, tries, describe(exc), now)
        if condition is Condition.PARKED:
            self.transaction.park(self.addresses.parked[address])
        elif condition is Condition.BACKING_OFF:
            self.plans.add(RETRY_DELAY * mailbox.tries, lambda: self.addresses.retry(mailbox))
        self.notify(
            events.Failed(
                at=now,
                trace=batch[0].trace,
                address=address,
                batch=batch,
                error=exc,
                parked=condition is Condition.PARKED,
                waiting=waiting,
            )
        )

    def _pause(self, call: Call, exc: EndpointDown) -> None:
        """Hold back a function type, since its endpoint is down; its messages stay as they are."""
        typename = call.address.type
        pause = self.addresses.pause(call.mailbox)
        if pause is None:
            return
        self._plan_probe(typename, pause)
        self.notify(
            events.Down(
                at=self.clock.now(),
                typename=typename,
                endpoint=call.endpoint.name,
                reason=exc.reason,
                waiting=self.addresses.waiting(typename),
                delay=pause.delay,
            )
        )

    def _plan_probe(self, typename: str, pause: Pause) -> None:
        self.plans.add(pause.delay, lambda: self._probe(typename, pause))

    def _probe(self, typename: str, pause: Pause) -> None:
        mailbox = self.addresses.probe(typename, pause)
        if mailbox is None:
            return
        steps = self.steps
        self._call(mailbox)
        if mailbox.condition is not Condition.IN_FLIGHT and self.steps == steps:
            self._plan_probe(typename, pause)  # no request could be made: try another address

    def _resume(self, typename: str, endpoint: str) -> None:
        self.addresses.resume(typename)
        self.notify(events.Up(at=self.clock.now(), typename=typename, endpoint=endpoint))

    # -- parked addresses and dead letters ------------------------------------------------

    def retry(self, address: Address, *, replaced: bool = False) -> None:
        """Call a parked address again; its first message is sent alone."""
        parked = self._unpark(address, self.transaction.queue(address))
        self.notify(
            events.Retried(
                at=self.clock.now(), trace=parked.trace, address=address, replaced=replaced
            )
        )

    def replace(self, address: Address, message: Message) -> None:
        """Give the first message of a parked address another body, and call the address again.

        :raises ValueError: The message cannot be stored.
        """
        self._check_message(address, message)
        (old,) = self.transaction.queue(address, 1)
        self.transaction.replace(Envelope(old.seq, old.trace, old.target, old.caller, message))
        self.retry(address, replaced=True)

    def drop(self, address: Address) -> Envelope:
        """Make the first message of a parked address a dead letter, and call the address again."""
        culprit, *others = self.transaction.queue(address)
        parked, now = self._unpark(address, others), self.clock.now()
        self.transaction.bury(Dead(culprit, parked.error, now))
        self.notify(events.Dropped(at=now, trace=culprit.trace, address=address, envelope=culprit))
        return culprit

    def _unpark(self, address: Address, messages: list[Envelope]) -> Parked:
        self.transaction.unpark(address)
        return self.addresses.unpark(address, messages)

    def revive(self, seq: int) -> Envelope | None:
        """Queue a dead letter under a new number; None if there is none with the number."""
        dead = self.transaction.exhume(seq)
        if dead is None:
            return None
        old = dead.envelope
        return self._enqueue([old.trace], old.caller, [(old.target, old.message)])[0]

    def queue(self, address: Address, limit: int) -> list[Envelope]:
        """Return the messages that wait for an address, or are in flight to it."""
        if address in self.addresses.parked:
            return self.transaction.queue(address, limit)
        return self.addresses.messages(address, limit)

    # -- time -----------------------------------------------------------------------------

    def fire(self) -> None:
        """Deliver the messages whose delay is over, and do what is planned for now."""
        while (delay := self.timers.pop()) is not None:
            self._fire(delay)
        while (plan := self.plans.pop()) is not None:
            plan()

    def deliver_delay(self, seq: int) -> Delay | None:
        """Deliver the message of a delay early; None if there is no delay with the number."""
        delay = self.transaction.delay(seq)
        if delay is not None:
            self.timers.remove(delay)
            self._fire(delay)
        return delay

    def _fire(self, delay: Delay) -> None:
        self.transaction.remove_delay(delay)
        self._enqueue([delay.trace], delay.caller, [(delay.target, delay.message)])
        if self.listeners:
            self.notify(events.Fired(at=self.clock.now(), trace=delay.trace, delay=delay))

    def next_instant(self) -> int | None:
        """Return the next instant at which something is due, in milliseconds since 1970."""
        instants = [each.due for each in self.transaction.next_delays(1)]
        for source in (self.timers, self.plans):
            milliseconds = source.milliseconds_until_due()
            if milliseconds is not None:
                instants.append(self.clock.now() + milliseconds)
        return min(instants, default=None)

    def seconds_until_due(self) -> float | None:
        """Return in how many seconds something is due that is in memory."""
        waits = (self.timers.milliseconds_until_due(), self.plans.milliseconds_until_due())
        soonest = min((each for each in waits if each is not None), default=None)
        return None if soonest is None else soonest / 1000

    def sweep(self) -> None:
        """Delete some expired values and old keys, so that an idle engine does not keep them.

        Everything must be committed.
        """
        now = self.clock.now()
        for address, name in self.store.expired(now, SWEEP):
            value = self.transaction.state(address).get(name)
            spec = self.states.of(address.type).get(name)
            # A function that has not been called since the start has no specs: the value expires
            # as it was stored. A spec with another time to live moves the expiration.
            expires = None if spec is None or value is None else spec.expires(value)
            if value is None or spec is None or (expires is not None and expires <= now):
                self.transaction.set_state(address, name, None)
            else:
                self.transaction.set_state(address, name, value, expires)
        for key in self.store.old_keys(now - REMEMBERED, SWEEP):
            self.transaction.set_key_use(key, None)

    # -- commits --------------------------------------------------------------------------

    @property
    def has_changes(self) -> bool:
        """Whether there is something to commit."""
        return bool(self.transaction)

    def commit(self) -> bool:
        """Write all steps since the last commit. Return whether it worked.

        A commit that did not work is repeated by itself. After one that did, call :meth:`announce`.
        """
        try:
            records = self.transaction.commit()
        except DiskFull as exc:
            self._disk_full(exc)
            return False
        self.steps = 0
        self.sinks.committed(records)
        if self.full is not None:
            self.full = None
            self.notify(events.Writable(at=self.clock.now()))
        return True

    def announce(self) -> None:
        """Call those who wait for the last commit, and the listeners."""
        happened, self._events = self._events, []
        committed, self.committed = self.committed, []
        for act in committed:
            try:
                act()
            except Exception:
                logger.exception("A callback failed after a commit. The engine goes on.")
        for event in happened:
            self.notify_now(event)

    def _disk_full(self, exc: DiskFull) -> None:
        first = self.full is None
        self.full = exc
        if not self._retry_planned:
            self._retry_planned = True
            self.plans.add(DISK_DELAY, self._retry_commit)
        if first:
            reason = str(exc.__cause__)
            self.notify_now(
                events.Full(at=self.clock.now(), path=exc.path, size=exc.size, reason=reason)
            )

    def _retry_commit(self) -> None:
        self._retry_planned = False
        self.retry_due = self.full is not None

    # -- events ---------------------------------------------------------------------------

    def notify(self, event: events.Event) -> None:
        """Call the listeners with an event after the next commit."""
        if self.listeners:
            self._events.append(event)

    def notify_now(self, event: events.Event) -> None:
        """Call the listeners with an event that is not a step, and so needs no commit."""
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
