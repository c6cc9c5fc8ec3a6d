"""Addresses: each has one condition at a time, after any sequence of events."""

from __future__ import annotations

import collections

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant
from hypothesis.stateful import precondition
from hypothesis.stateful import rule
from hypothesis.stateful import RuleBasedStateMachine

from statefun_flask import Address
from statefun_flask.embedded.addresses.addresses import Addresses
from statefun_flask.embedded.addresses.backoff import Pause
from statefun_flask.embedded.addresses.mailbox import Condition
from statefun_flask.embedded.addresses.mailbox import Mailbox
from statefun_flask.embedded.records import Envelope
from statefun_flask.embedded.records import Parked
from statefun_flask.values.message import Message

TYPES = ("ns/a", "ns/b")
ADDRESSES = [Address(type, id) for type in TYPES for id in "12"]
TRIES = 3


class Life(RuleBasedStateMachine):
    """Every message is handled once and in order, or waits in its address's queue."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses = Addresses()
        self.number = 0
        #: All messages of each address that are not handled yet.
        self.waiting: dict[Address, list[int]] = {address: [] for address in ADDRESSES}
        self.in_flight: dict[Address, tuple[Mailbox, list[int]]] = {}
        self.backing_off: list[Mailbox] = []
        #: Pauses that have a planned probe.
        self.planned: dict[str, Pause] = {}
        #: Function types that a person holds back.
        self.held: set[str] = set()

    # -- what happens -------------------------------------------------------------------------

    @rule(address=st.sampled_from(ADDRESSES), outside=st.booleans(), count=st.integers(1, 3))
    def put(self, address: Address, outside: bool, count: int) -> None:
        numbers = range(self.number + 1, self.number + count + 1)
        self.number += count
        self.waiting[address] += numbers
        caller = None if outside else ADDRESSES[0]
        self.addresses.put(
            Envelope(n, n, address, caller, Message("x/y", bytes(n))) for n in numbers
        )

    @precondition(lambda self: self.addresses.ready)
    @rule(limit=st.integers(0, 2))
    def dispatch(self, limit: int) -> None:
        stopped = {*self.addresses.paused, *self.addresses.held}
        mailbox = self.addresses.take()
        if mailbox is not None:
            assert mailbox.address.type not in stopped
            self.begin(mailbox, limit)

    def begin(self, mailbox: Mailbox, limit: int) -> None:
        batch = [each.seq for each in self.addresses.begin(mailbox, limit)]
        assert batch == self.waiting[mailbox.address][: len(batch)]
        assert batch
        self.in_flight[mailbox.address] = mailbox, batch

    def end(self, draw: st.DataObject) -> tuple[Mailbox, list[int]]:
        return self.in_flight.pop(draw.draw(st.sampled_from(sorted(self.in_flight))))

    @precondition(lambda self: self.in_flight)
    @rule(draw=st.data())
    def applied(self, draw: st.DataObject) -> None:
        mailbox, batch = self.end(draw)
        self.answered(mailbox)
        del self.waiting[mailbox.address][: len(batch)]
        self.addresses.applied(mailbox)

    @precondition(lambda self: self.in_flight)
    @rule(draw=st.data())
    def repeat(self, draw: st.DataObject) -> None:
        mailbox, _ = self.end(draw)
        self.answered(mailbox)
        self.addresses.repeat(mailbox)

    @precondition(lambda self: self.in_flight)
    @rule(draw=st.data())
    def failed(self, draw: st.DataObject) -> None:
        mailbox, batch = self.end(draw)
        self.answered(mailbox)
        condition = self.addresses.failed(mailbox, TRIES, "error", 7)
        assert (condition is Condition.READY) == (len(batch) > 1)
        if condition is Condition.BACKING_OFF:
            self.backing_off.append(mailbox)
        if condition is Condition.PARKED:
            parked = Parked(mailbox.address, batch[0], batch[0], "error", 7)
            assert self.addresses.parked[mailbox.address] == parked

    @precondition(lambda self: self.backing_off)
    @rule()
    def retry(self) -> None:
        self.addresses.retry(self.backing_off.pop(0))

    @precondition(lambda self: self.addresses.parked)
    @rule(draw=st.data(), skip=st.integers(0, 1))
    def unpark(self, draw: st.DataObject, skip: int) -> None:
        address = draw.draw(st.sampled_from(sorted(self.addresses.parked)))
        del self.waiting[address][:skip]
        left = [
            Envelope(n, n, address, None, Message("x/y", bytes(n))) for n in self.waiting[address]
        ]
        assert self.addresses.unpark(address, left).address == address

    @precondition(lambda self: self.in_flight)
    @rule(draw=st.data(), cut_off=st.booleans())
    def down(self, draw: st.DataObject, cut_off: bool) -> None:
        mailbox, batch = self.end(draw)
        typename = mailbox.address.type
        trial = self.addresses.trial(mailbox)
        if cut_off and trial is not None:
            assert len(batch) == 1
            trial.failed()
            assert self.addresses.failed(mailbox, 1, "error", 7) is Condition.PARKED
            self.planned[typename] = trial
            return
        pause = self.addresses.pause(mailbox, cut_off=cut_off)
        if pause is not None:
            assert typename not in self.planned
            self.planned[typename] = pause

    @precondition(lambda self: self.planned)
    @rule(draw=st.data(), limit=st.integers(0, 2))
    def probe(self, draw: st.DataObject, limit: int) -> None:
        typename = draw.draw(st.sampled_from(sorted(self.planned)))
        mailbox = self.addresses.probe(typename, self.planned.pop(typename))
        assert mailbox is None or typename not in self.addresses.held
        if mailbox is not None:
            self.begin(mailbox, limit)

    @rule(typename=st.sampled_from(sorted({each.type for each in ADDRESSES})))
    def hold(self, typename: str) -> None:
        assert self.addresses.hold(typename) == (typename not in self.held)
        self.held.add(typename)

    @precondition(lambda self: self.held)
    @rule(draw=st.data())
    def release(self, draw: st.DataObject) -> None:
        typename = draw.draw(st.sampled_from(sorted(self.held)))
        self.held.discard(typename)
        assert self.addresses.release(typename)
        assert not self.addresses.release(typename)

    def answered(self, mailbox: Mailbox) -> None:
        typename = mailbox.address.type
        if self.addresses.is_paused(typename):
            pause = self.addresses.answered(mailbox)
            if pause is not None:
                self.planned[typename] = pause  # the plan of before is void
            elif not self.addresses.is_paused(typename):
                self.planned.pop(typename, None)

    # -- what is always so --------------------------------------------------------------------

    @invariant()
    def every_address_has_one_condition(self) -> None:
        conditions = {address: self.addresses.condition(address) for address in ADDRESSES}
        counts = collections.Counter(conditions.values())
        assert counts[Condition.READY] == self.addresses.ready
        assert counts[Condition.IN_FLIGHT] == self.addresses.in_flight == len(self.in_flight)
        assert counts[Condition.BACKING_OFF] == self.addresses.backing_off == len(self.backing_off)
        assert counts[Condition.PARKED] == len(self.addresses.parked)
        queued = 0
        for address, numbers in self.waiting.items():
            found = [each.seq for each in self.addresses.messages(address, 1000)]
            if conditions[address] is Condition.PARKED:
                assert found == []
                continue
            assert found == numbers
            assert (conditions[address] is Condition.IDLE) == (not numbers)
            if conditions[address] is Condition.PAUSED:
                assert self.addresses.is_paused(address.type)
            assert self.addresses.queue_length(address) == len(numbers)
            queued += len(numbers)
            if conditions[address] is Condition.HELD:
                assert address.type in self.held
                continue
            assert all(self.addresses.is_waiting(number) for number in numbers)
        assert self.addresses.queued == queued
        sizes = [len(x.message.value) for each in self.addresses for x in each.messages]
        assert self.addresses.queued_bytes == sum(sizes)

    def teardown(self) -> None:
        """All messages are handled once endpoints answer and no message fails."""
        for typename in self.held:
            self.addresses.release(typename)
        for _ in range(10_000):
            for mailbox, batch in list(self.in_flight.values()):
                self.in_flight.pop(mailbox.address)
                self.answered(mailbox)
                del self.waiting[mailbox.address][: len(batch)]
                self.addresses.applied(mailbox)
            while self.backing_off:
                self.retry()
            for typename in list(self.planned):
                probing = self.addresses.probe(typename, self.planned.pop(typename))
                if probing is not None:
                    self.begin(probing, 0)
            if self.addresses.ready:
                self.dispatch(0)
            elif not self.in_flight:
                break
        left = {address for address, numbers in self.waiting.items() if numbers}
        assert left <= set(self.addresses.parked)
        assert self.addresses.queued == self.addresses.in_flight == 0
        assert self.addresses.paused == ()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


@given(st.lists(st.sampled_from(ADDRESSES), max_size=20))
def test_addresses_that_start_parked_do_not_queue_messages(targets: list[Address]) -> None:
    addresses = Addresses([Parked(ADDRESSES[0], 1, 1, "error", 0)])
    addresses.put(
        Envelope(n, n, each, None, Message("x/y", bytes(n))) for n, each in enumerate(targets)
    )
    assert addresses.queued == len([each for each in targets if each != ADDRESSES[0]])
    assert addresses.condition(ADDRESSES[0]) is Condition.PARKED
