"""Random programs of functions, compared with models."""

from __future__ import annotations

import collections
import datetime as dt
import json
import tempfile
import typing as t

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import RequestHandler
from statefun_flask import ValueSpec
from statefun_flask.embedded import Control
from statefun_flask.embedded import Engine
from statefun_flask.embedded import events
from statefun_flask.embedded import InProcess
from statefun_flask.embedded import LocalRoutes
from statefun_flask.embedded import MemoryStore
from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded import VirtualClock
from statefun_flask.embedded.addresses.mailbox import Mailbox
from statefun_flask.embedded.records import Delay
from statefun_flask.embedded.records import Envelope
from statefun_flask.embedded.timers import DelayHeap
from statefun_flask.values.message import encode
from statefun_flask.values.message import Message

LOG = ValueSpec("log", str)
SUM = ValueSpec("sum", int)
FUNCTIONS = ("p/a", "p/b", "p/c")
IDS = ("1", "2")
ADDRESSES = [Address(type, id) for type in FUNCTIONS for id in IDS]


# A message is a program: a label and the steps of the function. Steps send programs, too.

labels = st.integers(0, 99)
tokens = st.sampled_from(["t", "u"])


def actions(programs: st.SearchStrategy[t.Any]) -> st.SearchStrategy[t.Any]:
    to = st.sampled_from(ADDRESSES).map(lambda at: [at.type, at.id])
    return st.one_of(
        st.tuples(st.just("add"), st.integers(-5, 5)),
        st.tuples(st.just("egress"), labels),
        st.tuples(st.just("send"), to, programs),
        st.tuples(st.just("later"), st.integers(0, 50), to, programs),
        st.tuples(st.just("cancel"), tokens),
        st.tuples(st.just("token"), tokens, st.integers(0, 50), to, programs),
    )


def program(action: st.SearchStrategy[t.Any]) -> st.SearchStrategy[t.Any]:
    return st.tuples(labels, st.lists(action, max_size=4))


programs = st.recursive(
    program(st.tuples(st.just("add"), st.integers(-5, 5))),
    lambda inner: program(actions(inner)),
    max_leaves=8,
)
inputs = st.lists(st.tuples(st.sampled_from(ADDRESSES), programs), max_size=8)

commuting = st.recursive(
    program(st.tuples(st.just("add"), st.integers(-5, 5))),
    lambda inner: program(
        st.one_of(
            st.tuples(st.just("add"), st.integers(-5, 5)),
            st.tuples(
                st.just("send"), st.sampled_from(ADDRESSES).map(lambda at: [at.type, at.id]), inner
            ),
        )
    ),
    max_leaves=8,
)


def interpret(context: Context, text: str) -> Effects:
    label, todo = json.loads(text)
    effects = Effects().update_state(LOG, (context.get_state(LOG) or "") + f"{label};")
    total = context.get_state(SUM) or 0
    for what, *rest in todo:
        if what == "add":
            total += rest[0]
        elif what == "egress":
            effects.egress("p/out", str(rest[0]))
        elif what == "send":
            effects.send(Address(*rest[0]), json.dumps(rest[1]))
        elif what == "later":
            effects.send_after(Address(*rest[1]), ms(rest[0]), json.dumps(rest[2]))
        elif what == "cancel":
            effects.cancel(rest[0])
        else:
            # Cancelled first, since a pending token must not be used twice.
            effects.cancel(rest[0])
            effects.send_after(
                Address(*rest[2]), ms(rest[1]), json.dumps(rest[3]), cancellation_token=rest[0]
            )
    return effects.update_state(SUM, total)


def ms(number: int) -> dt.timedelta:
    return dt.timedelta(milliseconds=number)


registry = FunctionRegistry()
for each in FUNCTIONS:
    registry.register(each, interpret, states=[LOG, SUM])
handle = RequestHandler(registry)


def body(value: t.Any) -> Message:
    return Message(*encode(json.dumps(value)))


class Run:
    """A run of an input on a virtual clock."""

    def __init__(self, given: t.Any, advances: tuple[int, ...] = (20, 100)) -> None:
        store = MemoryStore()
        self.engine = Engine(LocalRoutes(InProcess(handle), registry), store, VirtualClock())
        self.told: list[t.Any] = []
        self.engine.listeners.append(self.told.append)
        for address, value in given:
            self.engine.send(address, body(value))
        self.engine.run_until_idle()
        for milliseconds in advances:
            self.engine.advance(milliseconds)
        self.control = Control(self.engine)
        self.states = {at: self.control.state(at) for at in ADDRESSES}
        self.dump = {name: repr(value) for name, value in vars(store).items()}
        self.left = self.control.delays(1000)
        self.engine.close()

    @property
    def invocations(self) -> list[events.Invocation]:
        return [each for each in self.told if isinstance(each, events.Invocation)]


@given(inputs)
@settings(max_examples=60, deadline=None)
def test_history_replayed_message_by_message_gives_the_state_and_the_effects(given: t.Any) -> None:
    run = Run(given)
    states: dict[Address, dict[t.Any, t.Any]] = collections.defaultdict(dict)
    for invocation in run.invocations:
        expected: list[tuple[str, str]] = []
        records: list[str] = []
        for envelope in invocation.batch:
            text = envelope.message.as_type(str)
            label, todo = json.loads(text)
            mine = states[invocation.address]
            mine[LOG] = mine.get(LOG, "") + f"{label};"
            mine[SUM] = mine.get(SUM, 0) + sum(rest[0] for what, *rest in todo if what == "add")
            expected += [
                (f"{rest[0][0]}/{rest[0][1]}", json.dumps(rest[1]))
                for what, *rest in todo
                if what == "send"
            ]
            records += [str(rest[0]) for what, *rest in todo if what == "egress"]
        assert [(str(e.target), e.message.as_type(str)) for e in invocation.sends] == expected
        assert [
            Message(each.typename, each.value).as_type(str) for each in invocation.records
        ] == records
    for address, stored in run.states.items():
        values = {
            spec: stored[spec.name].as_type(spec.type) for spec in (LOG, SUM) if spec.name in stored
        }
        assert values == states.get(address, {})


@given(inputs)
@settings(max_examples=60, deadline=None)
def test_messages_of_one_sender_to_one_receiver_arrive_in_order(given: t.Any) -> None:
    run = Run(given)
    plain = [each.seq for invocation in run.invocations for each in invocation.sends]
    arrived: dict[tuple[t.Any, t.Any], list[int]] = collections.defaultdict(list)
    for invocation in run.invocations:
        for envelope in invocation.batch:
            if envelope.caller is None or envelope.seq in set(plain):
                arrived[envelope.caller, envelope.target].append(envelope.seq)
    for seqs in arrived.values():
        assert seqs == sorted(seqs)


@given(inputs)
@settings(max_examples=60, deadline=None)
def test_every_send_is_delivered_once_or_waits(given: t.Any) -> None:
    run = Run(given, advances=(20,))
    arrived = collections.Counter(
        envelope.seq for invocation in run.invocations for envelope in invocation.batch
    )
    assert set(arrived.values()) <= {1}
    plain = {each.seq for invocation in run.invocations for each in invocation.sends}
    assert plain <= set(arrived)
    assert len([seq for seq in arrived if seq not in plain]) == len(given) + len(
        [each for each in run.told if isinstance(each, events.Fired)]
    )
    scheduled = {each.seq for invocation in run.invocations for each in invocation.delays}
    cancelled = {each.seq for invocation in run.invocations for each in invocation.cancelled}
    fired = [each.delay.seq for each in run.told if isinstance(each, events.Fired)]
    assert sorted([*cancelled, *fired, *(each.seq for each in run.left)]) == sorted(scheduled)


@given(inputs)
@settings(max_examples=40, deadline=None)
def test_two_runs_are_equal_to_the_byte(given: t.Any) -> None:
    one, other = Run(given), Run(given)
    assert one.dump == other.dump
    assert list(map(repr, one.told)) == list(map(repr, other.told))


def sequential(given: t.Any) -> dict[Address, tuple[int, int]]:
    """The number of messages and the sum of each address, one message after the other."""
    model: dict[Address, tuple[int, int]] = {}
    todo = collections.deque(given)
    while todo:
        address, (_, acts) = todo.popleft()
        count, total = model.get(address, (0, 0))
        total += sum(rest[0] for what, *rest in acts if what == "add")
        model[address] = count + 1, total
        todo.extend((Address(*rest[0]), rest[1]) for what, *rest in acts if what == "send")
    return model


@given(
    st.lists(st.tuples(st.sampled_from(ADDRESSES), commuting), max_size=12),
    st.sampled_from([1, 2, 8]),
    st.lists(st.integers(0, 12), max_size=2),
)
@settings(max_examples=25, deadline=None)
def test_commuting_programs_end_as_the_sequential_model_at_any_concurrency_and_restart(
    given: t.Any, concurrency: int, crashes: list[int]
) -> None:
    """A crash is a copy of the log at a commit. Uncommitted messages are sent again."""
    with tempfile.TemporaryDirectory() as folder:
        sent = 0
        for stop in [*sorted(crashes), len(given)]:
            store = SqliteStore(f"{folder}/data")
            engine = Engine(
                LocalRoutes(InProcess(handle), registry), store, concurrency=concurrency
            )
            engine.start()
            part = given[sent:stop]
            if part:
                engine.submit([(address, body(value)) for address, value in part]).result()
                sent = stop
            if stop == len(given) and sent >= len(given):
                engine.wait_idle(10)
                control = Control(engine)
                found = {at: control.state(at) for at in ADDRESSES}
                engine.close()
            else:
                crash(engine)
    assert {
        at: (states["log"].as_type(str).count(";"), states["sum"].as_type(int))
        for at, states in found.items()
        if states
    } == sequential(given)


def crash(engine: Engine) -> None:
    """Close an engine and discard all uncommitted changes."""
    engine.store.commit = lambda changes: None  # type: ignore[method-assign]
    engine.close()


# -- the pure parts ---------------------------------------------------------------------------

moves = st.lists(st.sampled_from(["put", "take", "applied", "failed", "returned"]), max_size=60)


@given(moves, st.integers(0, 3))
def test_mailbox_keeps_the_order_and_loses_nothing(given: list[str], limit: int) -> None:
    mailbox = Mailbox(ADDRESSES[0])
    waiting: list[int] = []
    flight: list[int] = []
    again: list[int] = []
    number = 0
    for move in given:
        if move == "put":
            number += 1
            waiting.append(number)
            mailbox.put(Envelope(number, 1, ADDRESSES[0], None, Message("a/b")))
        elif move == "take" and waiting and not flight:
            flight = [each.seq for each in mailbox.take(limit)]
            assert flight == waiting[: len(flight)]
            assert not limit or len(flight) <= max(limit, 1)
            assert not again or flight == again
        elif flight and move == "applied":
            mailbox.applied()
            del waiting[: len(flight)]
            flight, again = [], []
        elif flight and move == "failed":
            assert mailbox.failed() is (len(flight) == 1)
            flight, again = [], flight[:1]
        elif flight and move == "returned":
            mailbox.returned()
            flight, again = [], flight
        assert [each.seq for each in mailbox.messages] == waiting


@given(
    st.lists(st.tuples(st.integers(0, 100), st.booleans()), max_size=30),
    st.integers(1, 100),
)
def test_timers_fire_each_delay_once_by_due_time_and_number(
    given: list[tuple[int, bool]], step: int
) -> None:
    stored = [
        Delay(seq, 1, due, ADDRESSES[0], ADDRESSES[1], Message("a/b"))
        for seq, (due, _) in enumerate(given)
    ]
    timers = DelayHeap(0)
    for delay in stored:
        timers.add(delay)  # beyond the horizon: stays in the store
    assert len(timers) == 0
    removed = {seq for seq, (_, keep) in enumerate(given) if not keep}
    fired: list[tuple[int, int]] = []
    for now in range(0, 100 + step, step):
        horizon = now + step
        timers.extend(horizon, [d for d in stored if timers.horizon <= d.due < horizon])
        for delay in stored:
            if delay.seq in removed:
                timers.remove(delay)
        while (delay := timers.pop(now)) is not None:
            assert delay.due <= now
            fired.append((delay.due, delay.seq))
    expected = sorted((d.due, d.seq) for d in stored if d.seq not in removed)
    assert fired == expected
