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
from .addresses.ready import EndpointQueue
from .clock import Clock
from .egress import Sinks
from .endpoints.pool import Call
from .endpoints.remote import Remote
from .endpoints.routes import Routes
from .error_text import describe
from .error_text import text_of
from .errors import DiskFullError
from .errors import EndpointDownError
from .errors import EndpointError
from .errors import KeyReusedError
from .errors import MessageEndsWorkerError
from .errors import ProcessEndedError
from .errors import ReplyRefusedError
from .errors import StepFailedError
from .errors import UnknownTargetError
from .exchange import checks
from .exchange import reply
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
from .retention import REMEMBERED
from .retention import Retention
from .retention import Sweeper
from .step import Step
from .store.base import Store
from .store.transaction import Transaction
from .suspects import LIMIT
from .suspects import Suspects
from .timers import Plans
from .timers import Timers

logger = logging.getLogger("statefun_flask")

#: Between tries to write to a full disk, in milliseconds.
DISK_DELAY = 5_000


class Core:
    """Queues, states, delays and egress records of one engine.

    :param start: Makes a call and, now or later, has :meth:`finish` called with it.
    :param limit: How many calls there are at a time: to functions in this process in all, and to
        each endpoint over HTTP. 0 if :meth:`dispatch` returns with an answer.
    :param suspects: The addresses that were called when the last process ended.
    """

    def __init__(
        self,
        routes: Routes,
        store: Store,
        clock: Clock,
        start: cabc.Callable[[Call], None],
        retention: Retention,
        *,
        limit: int = 0,
        suspects: Suspects | None = None,
    ) -> None:
        self.routes = routes
        self.store = store
        self.clock = clock
        self.listeners: list[events.Listener] = []
        self.transaction = Transaction(store)
        self.states = RegisteredStates(self.transaction)
        self._limit = limit
        self._local_queue: EndpointQueue[Mailbox] = EndpointQueue(limit)
        self._queues: dict[object, EndpointQueue[Mailbox]] = {}
        suspects = suspects or Suspects()
        self.addresses = Addresses(
            store.parked(), self._queue_of, suspects=suspects, held=store.held()
        )
        self.timers = Timers(self.transaction, clock)
        self.plans = Plans(clock)
        self.sinks = Sinks(store, self.transaction)
        self.sweeper = Sweeper(retention, store, self.transaction, self.sinks, self.states, clock)
        #: How many steps there were since the last commit.
        self.steps = 0
        #: Why the store cannot be written to; None if it can.
        self.full: DiskFullError | None = None
        #: Whether the commit that found no space is to be repeated now.
        self.retry_due = False
        self._retry_planned = False
        #: Called after the next commit.
        self.committed: list[cabc.Callable[[], None]] = []
        self._events: list[events.Event] = []
        self._start = start
        self.addresses.put(self._quarantining(store.messages(), suspects))

    def _quarantining(
        self, messages: cabc.Iterable[Envelope], suspects: Suspects
    ) -> cabc.Iterator[Envelope]:
        """Yield the stored messages, and park the suspects with which the process ended."""
        for each in messages:
            address = each.target
            if suspects and address in suspects and suspects.ends(address) >= LIMIT:
                error = ProcessEndedError(address.type, address.id, suspects.ends(address))
                now = self.clock.now()
                parked = Parked(address, each.seq, each.trace, describe(error), now)
                self.addresses.quarantine(parked)
                self.transaction.park(parked)
                self._events.append(
                    events.Failed(
                        at=now,
                        trace=each.trace,
                        address=address,
                        batch=[each],
                        error=error,
                        parked=True,
                        waiting=self.store.queue_length(address) - 1,
                    )
                )
            yield each

    # -- messages -------------------------------------------------------------------------

    def accept(
        self,
        messages: cabc.Sequence[tuple[Address, Message]],
        positions: cabc.Mapping[str, str] | None = None,
    ) -> list[int]:
        """Queue messages from outside, all or none, and return their traces.

        :raises UnknownTargetError: No endpoint serves the function type of one.
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
        :raises KeyReusedError: The key was used for another message.
        :raises UnknownTargetError: No endpoint serves the function type.
        :raises ValueError: The message or the key cannot be stored.
        """
        now = self.clock.now()
        digest = hashlib.sha256(message.typename.encode() + b"\0" + message.value).digest()
        use = self.transaction.key_use((address, key))
        if use is not None and now - use.at < REMEMBERED:
            if use.digest != digest:
                raise KeyReusedError(str(address), key)
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
    def can_call(self) -> bool:
        """Whether an address waits whose endpoint may be called now."""
        return self.addresses.can_call

    @property
    def in_flight(self) -> int:
        """How many calls are in flight."""
        return self.addresses.in_flight

    def _queue_of(self, typename: str) -> EndpointQueue[Mailbox]:
        """Return the ready queue of a function type: each endpoint over HTTP has its own."""
        try:
            endpoint = self.routes.endpoint(typename)
        except Exception:  # the call fails of it, and parks the address
            return self._local_queue
        if not self._limit or not isinstance(endpoint, Remote):
            return self._local_queue
        limit = self._limit * endpoint.group_size
        return self._queues.setdefault(endpoint.group or endpoint, EndpointQueue(limit))

    def dispatch(self) -> None:
        """Call the first ready address that can be called, unless its endpoint is down."""
        mailbox = self.addresses.take()
        if mailbox is not None:
            self._call(mailbox)

    def _call(self, mailbox: Mailbox, settle: float = 0.0) -> None:
        address = mailbox.address
        try:
            endpoint = self.routes.endpoint(address.type)
        except UnknownTargetError as exc:  # it was served when the message came
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
        self._start(Call(address, endpoint, mailbox, batch, specs, body, self.clock, settle))

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

        if isinstance(outcome, EndpointDownError):
            self._pause(call, outcome)
            return
        if self.addresses.paused and self.addresses.is_paused(address.type):
            self._answered(call)
        if not isinstance(outcome, bytes):
            tries = outcome.tries if isinstance(outcome, EndpointError) else None
            self._fail(mailbox, call.batch, outcome, tries or call.endpoint.tries)
            return
        try:
            result = reply.read(address, outcome)
            if isinstance(result, reply.IncompleteContext):
                self._register(call, result)
                return
            step = self._read(call, outcome, result)
        except ReplyRefusedError as exc:
            self._fail(mailbox, call.batch, exc, call.endpoint.tries)
            return
        except Exception as exc:  # nothing of the step has happened yet
            self._fail(mailbox, call.batch, _step_failed(address, exc), call.endpoint.tries)
            return
        self._apply(mailbox, step)

    def _read(self, call: Call, body: bytes, result: reply.Result) -> Step:
        """Check an answer and return its step.

        :raises ReplyRefusedError: It breaks a rule.
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

    def _register(self, call: Call, missing: reply.IncompleteContext) -> None:
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

    def _pause(self, call: Call, exc: EndpointDownError) -> None:
        """Hold back a function type, since its endpoint is down; its messages stay as they are."""
        typename = call.address.type
        if exc.is_cut_off and (trial := self.addresses.trial(call.mailbox)) is not None:
            self._convict(call, exc, trial)
            return
        pause = self.addresses.pause(call.mailbox, cut_off=exc.is_cut_off)
        if pause is None:
            return
        self._plan_probe(typename, pause, pause.delay)
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

    def _convict(self, call: Call, exc: EndpointDownError, trial: Pause) -> None:
        """Park an address at whose message the endpoint ends, and go on with the others."""
        times = call.mailbox.cut_offs + 1
        error = MessageEndsWorkerError(call.endpoint.name, times, exc.reason)
        trial.failed()
        self._fail(call.mailbox, call.batch, error, tries=1)
        self._plan_probe(call.address.type, trial, trial.delay)

    def _plan_probe(self, typename: str, pause: Pause, delay: int) -> None:
        pause.plan += 1
        plan = pause.plan
        self.plans.add(delay, lambda: self._probe(typename, pause, plan))

    def _probe(self, typename: str, pause: Pause, plan: int) -> None:
        if plan != pause.plan:
            return
        mailbox = self.addresses.probe(typename, pause)
        if mailbox is None:
            return
        steps = self.steps
        self._call(mailbox, pause.settle)
        if mailbox.condition is not Condition.IN_FLIGHT and self.steps == steps:
            # No request could be made: try another address.
            self._plan_probe(typename, pause, pause.delay)

    def _answered(self, call: Call) -> None:
        """Resume a function type, unless an address is to probe that may be what ends it."""
        typename = call.address.type
        pause = self.addresses.answered(call.mailbox)
        if pause is not None:
            self._plan_probe(typename, pause, 0)
        elif not self.addresses.is_paused(typename):
            name = call.endpoint.name
            self.notify(events.Up(at=self.clock.now(), typename=typename, endpoint=name))

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

    # -- function types that a person holds back ------------------------------------------

    def hold(self, typename: str) -> None:
        """Make no call of a function type until it is released, also after a restart."""
        if self.addresses.hold(typename):
            self.transaction.hold(typename, True)
            waiting = self.addresses.waiting(typename)
            self.notify(events.Held(at=self.clock.now(), typename=typename, waiting=waiting))

    def release(self, typename: str) -> bool:
        """Call a held function type again. Return whether it was held."""
        waiting = self.addresses.waiting(typename)
        if not self.addresses.release(typename):
            return False
        self.transaction.hold(typename, False)
        self.notify(events.Released(at=self.clock.now(), typename=typename, waiting=waiting))
        return True

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

    def cancel_delay(self, seq: int) -> Delay | None:
        """Remove a delay; None if there is no delay with the number."""
        delay = self.transaction.delay(seq)
        if delay is not None:
            self.timers.remove(delay)
            self.transaction.remove_delay(delay)
            self.notify(events.Cancelled(at=self.clock.now(), trace=delay.trace, delay=delay))
        return delay

    def _fire(self, delay: Delay) -> None:
        self.transaction.remove_delay(delay)
        (sent,) = self._enqueue([delay.trace], delay.caller, [(delay.target, delay.message)])
        if self.listeners:
            now = self.clock.now()
            self.notify(events.Fired(at=now, trace=delay.trace, delay=delay, seq=sent.seq))

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

    def sweep(self) -> bool:
        """Delete some of what is not kept, and return whether more may be left.

        Everything must be committed.
        """
        return self.sweeper.sweep()

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
        except DiskFullError as exc:
            self._disk_full(exc)
            return False
        self.steps = 0
        if records:
            self.sinks.committed(records)
            self.sweeper.wrote(records)
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

    def _disk_full(self, exc: DiskFullError) -> None:
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


def _step_failed(address: Address, exc: Exception) -> StepFailedError:
    """Return why an address is parked by an exception that is not the function's."""
    failure = StepFailedError(address.type, address.id, f"{type(exc).__name__}: {text_of(exc)}")
    failure.__cause__ = exc
    return failure
