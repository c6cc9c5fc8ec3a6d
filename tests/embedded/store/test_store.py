"""Both stores, read through a transaction before and after each commit."""

from __future__ import annotations

import collections.abc as cabc
import pathlib
import tempfile
import typing as t

import hypothesis
import pytest
from hypothesis import strategies as st

from statefun_flask import Address
from statefun_flask.embedded import MemoryStore
from statefun_flask.embedded import open_store
from statefun_flask.embedded import Store
from statefun_flask.embedded.records import Dead
from statefun_flask.embedded.records import Delay
from statefun_flask.embedded.records import EgressRecord
from statefun_flask.embedded.records import Envelope
from statefun_flask.embedded.records import KeyUse
from statefun_flask.embedded.records import Parked
from statefun_flask.embedded.records import StoredValue
from statefun_flask.embedded.store import base
from statefun_flask.embedded.store import transaction as transactions
from statefun_flask.embedded.store.transaction import Transaction
from statefun_flask.values.message import Message

BOB, EVE = Address("ns/fn", "bob"), Address("ns/fn", "eve")
A = Message("x/y", b"a")


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> cabc.Iterator[Store]:
    made = open_store(None if request.param == "memory" else tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
def transaction(store: Store) -> Transaction:
    return Transaction(store)


class Check:
    """Asserts the same before a commit and after it, and of a new transaction on the store."""

    def __init__(self, store: Store, transaction: Transaction) -> None:
        self._store = store
        self._transaction = transaction

    def __call__(self, read: cabc.Callable[[Transaction], t.Any], expected: object) -> None:
        assert read(self._transaction) == expected
        self._transaction.commit()
        assert not self._transaction
        assert read(self._transaction) == expected
        assert read(Transaction(self._store)) == expected


@pytest.fixture
def check(store: Store, transaction: Transaction) -> Check:
    return Check(store, transaction)


def message(seq: int, target: Address = BOB, body: Message = A) -> Envelope:
    return Envelope(seq, seq, target, None, body)


def delay(seq: int, due: int, token: str | None = None) -> Delay:
    return Delay(seq, 1, due, BOB, EVE, A, token)


def record(seq: int, topic: str, egress: str = "ns/out", body: bytes | None = None) -> EgressRecord:
    return EgressRecord(seq, 1, egress, topic, None, body or b"%d" % seq, "x/y")


# -- messages ---------------------------------------------------------------------------------


def test_the_queue_of_an_address_is_in_the_order_of_its_numbers(
    transaction: Transaction, check: Check
) -> None:
    transaction.enqueue([message(1), message(2, EVE), message(3)])
    check(lambda read: [each.seq for each in read.queue(BOB)], [1, 3])
    transaction.enqueue([message(4)])
    transaction.consume([message(1)])
    check(lambda read: [each.seq for each in read.queue(BOB)], [3, 4])
    transaction.consume([message(3)])
    check(lambda read: [each.seq for each in read.queue(BOB, 1)], [4])


def test_a_message_replaced_and_consumed_between_two_commits_does_not_come_back(
    transaction: Transaction, check: Check
) -> None:
    transaction.enqueue([message(1)])
    check(lambda read: read.queue(BOB), [message(1)])
    good = message(1, body=Message("x/y", b"good"))
    transaction.replace(good)
    assert transaction.queue(BOB) == [good]
    transaction.consume([good])
    check(lambda read: read.queue(BOB), [])


def test_messages_of_parked_addresses_are_not_yielded(
    store: Store, transaction: Transaction
) -> None:
    transaction.enqueue([message(1), message(2, EVE), message(3, EVE)])
    transaction.park(Parked(BOB, 1, 1, "error", 5))
    transaction.commit()
    assert list(store.messages()) == [message(2, EVE), message(3, EVE)]
    assert store.queue_length(EVE) == 2
    transaction.unpark(BOB)
    transaction.commit()
    assert [each.seq for each in store.messages()] == [1, 2, 3]


# -- states -----------------------------------------------------------------------------------


def test_values_are_set_and_deleted(transaction: Transaction, check: Check) -> None:
    one, two = StoredValue(b"1", 0), StoredValue(b"2", 3)
    transaction.set_state(BOB, "seen", one, None)
    transaction.set_state(BOB, "last", two, 9)
    transaction.set_state(EVE, "seen", one, None)
    check(lambda read: dict(read.state(BOB)), {"seen": one, "last": two})
    transaction.set_state(BOB, "seen", None)
    transaction.set_state(BOB, "last", one, None)
    check(lambda read: dict(read.state(BOB)), {"last": one})
    transaction.set_state(BOB, "last", None)
    check(lambda read: dict(read.state(BOB)), {})


def test_addresses_with_state_are_listed_by_id(transaction: Transaction, check: Check) -> None:
    for id in "dbca":
        transaction.set_state(Address("ns/fn", id), "seen", StoredValue(b"1", 0))
    transaction.set_state(Address("ns/other", "e"), "seen", StoredValue(b"1", 0))
    check(lambda read: [each.id for each in read.addresses("ns/fn", "a", 2)], ["b", "c"])
    transaction.set_state(Address("ns/fn", "b"), "seen", None)
    transaction.set_state(Address("ns/fn", "bb"), "seen", StoredValue(b"1", 0))
    check(lambda read: [each.id for each in read.addresses("ns/fn", "a", 2)], ["bb", "c"])


def test_an_address_with_a_value_of_a_state_is_found(
    transaction: Transaction, check: Check
) -> None:
    value = StoredValue(b"1", 0)
    check(lambda read: read.holder("ns/fn", "seen"), None)
    transaction.set_state(BOB, "seen", value)
    transaction.set_state(EVE, "last", value)
    check(lambda read: read.holder("ns/fn", "seen"), BOB)
    check(lambda read: read.holder("ns/fn", "last"), EVE)
    transaction.set_state(EVE, "seen", value)
    transaction.set_state(BOB, "seen", None)
    check(lambda read: read.holder("ns/fn", "seen"), EVE)
    transaction.set_state(EVE, "seen", None)
    check(lambda read: read.holder("ns/fn", "seen"), None)
    check(lambda read: read.holder("ns/other", "last"), None)


def test_expired_values_are_found_until_they_are_deleted(
    store: Store, transaction: Transaction
) -> None:
    value = StoredValue(b"1", 0)
    for id, expires in (("late", 30), ("soon", 10), ("next", 20), ("never", None)):
        transaction.set_state(Address("ns/fn", id), "seen", value, expires)
    transaction.commit()
    assert store.expired(9, 10) == []
    for _ in range(2):
        assert [address.id for address, _ in store.expired(25, 10)] == ["soon", "next"]
    assert [address.id for address, _ in store.expired(99, 2)] == ["soon", "next"]
    transaction.set_state(Address("ns/fn", "soon"), "seen", None)
    transaction.set_state(Address("ns/fn", "next"), "seen", value, 40)
    transaction.commit()
    assert [address.id for address, _ in store.expired(99, 10)] == ["late", "next"]


def test_state_types_are_stored(transaction: Transaction, check: Check) -> None:
    transaction.set_state_type("ns/fn", "seen", "a/t")
    check(lambda read: read.state_types, {("ns/fn", "seen"): "a/t"})


def test_a_value_that_left_the_memory_is_read_from_the_store(
    transaction: Transaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "CACHED", 4)
    for number in range(20):
        address = Address("ns/fn", str(number))
        transaction.set_state(address, "seen", StoredValue(b"%d" % number, 0))
        transaction.commit()
    assert len(vars(transaction)["_states"]) <= 5
    assert [
        transaction.state(Address("ns/fn", str(number)))["seen"].value for number in range(20)
    ] == [b"%d" % number for number in range(20)]


# -- delays -----------------------------------------------------------------------------------


def test_delays_are_found_by_number_time_and_token(transaction: Transaction, check: Check) -> None:
    one, two, three = delay(1, 30, "t"), delay(2, 10), delay(3, 20)
    for each in (one, two, three):
        transaction.add_delay(each)
    check(lambda read: read.next_delays(2), [two, three])
    check(lambda read: read.delays_between(20, 31), [three, one])
    check(lambda read: read.delay_of_token("eve", "t"), one)
    check(lambda read: read.delay_of_token("bob", "t"), None)
    transaction.remove_delay(two)
    again = delay(4, 5, "t")
    transaction.remove_delay(one)
    transaction.add_delay(again)
    check(lambda read: read.next_delays(5), [again, three])
    check(lambda read: [read.delay(seq) for seq in range(1, 5)], [None, None, three, again])
    check(lambda read: read.delay_of_token("eve", "t"), again)
    transaction.remove_delay(again)
    check(lambda read: read.delay_of_token("eve", "t"), None)


# -- egress -----------------------------------------------------------------------------------


def test_records_are_read_once_they_are_committed(store: Store, transaction: Transaction) -> None:
    records = [record(1, "a"), record(2, "b"), record(3, "a", "ns/other"), record(4, "a")]
    transaction.add_records(records)
    assert store.records(0, 9) == []
    assert transaction.commit() == records
    assert store.records(0, 9) == records
    assert [each.seq for each in store.records(0, 9, "a")] == [1, 3, 4]
    assert [each.seq for each in store.records(1, 1, "a")] == [3]
    assert [each.seq for each in store.records(0, 9, "ns/out")] == [1, 2, 4]
    assert [each.seq for each in store.records_of("ns/out", 1, 1)] == [2]
    assert store.records_of("a", 0, 9) == []
    assert [store.last_record(each) for each in ("ns/out", "ns/other", "ns/none")] == [4, 3, 0]


def test_a_topic_with_the_name_of_an_egress(store: Store, transaction: Transaction) -> None:
    transaction.add_records([record(1, "ns/out"), record(2, "ns/out", "x/y"), record(3, "c")])
    transaction.commit()
    assert [each.seq for each in store.records(0, 9, "ns/out")] == [1, 2, 3]
    assert [each.seq for each in store.records_of("ns/out", 0, 9)] == [1, 3]


def test_a_page_of_records_is_bounded_by_bytes(store: Store, transaction: Transaction) -> None:
    transaction.add_records([record(seq, "a", body=b"x" * 100) for seq in range(1, 8)])
    transaction.commit()
    for name, found in (("a", [3, 4, 5]), ("ns/out", [3, 4, 5]), (None, [3, 4, 5])):
        assert [each.seq for each in store.records(2, 9, name, 250)] == found
    assert [each.seq for each in store.records_of("ns/out", 2, 9, 250)] == [3, 4, 5]
    assert [each.seq for each in store.records(2, 9, "a", 1)] == [3]


def test_the_oldest_records_of_a_topic_are_deleted(store: Store, transaction: Transaction) -> None:
    transaction.add_records([record(seq, "a" if seq % 2 else "b") for seq in range(1, 11)])
    transaction.add_records([record(11, "a", "ns/other"), record(12, "ns/out")])
    transaction.commit()
    transaction.forget_records("a", 6)
    transaction.forget_records("none", 6)
    transaction.commit()
    assert [each.seq for each in store.records(0, 20)] == [2, 4, 6, 7, 8, 9, 10, 11, 12]
    assert [each.seq for each in store.records(0, 20, "a")] == [7, 9, 11]
    assert [each.seq for each in store.records(0, 20, "ns/out")] == [2, 4, 6, 7, 8, 9, 10, 12]
    assert [each.seq for each in store.records_of("ns/out", 5, 20)] == [6, 7, 8, 9, 10, 12]
    assert list(store.oldest_records("a")) == [
        (7, "ns/out", 1),
        (9, "ns/out", 1),
        (11, "ns/other", 2),
    ]
    assert store.topics("", 9) == [
        base.TopicSize("a", 3, 4, 7),
        base.TopicSize("b", 5, 6, 2),
        base.TopicSize("ns/out", 1, 2, 12),
    ]
    assert store.topics("a", 1) == [store.topic("b")]
    transaction.forget_records("a", 11)
    transaction.forget_records("ns/out", 12)
    transaction.commit()
    assert store.topic("a") is None
    assert store.records(0, 20, "ns/other") == []
    assert [store.last_record(each) for each in ("ns/out", "ns/other")] == [10, 0]


def test_records_are_deleted_in_the_commit_that_adds_others(
    store: Store, transaction: Transaction
) -> None:
    transaction.add_records([record(1, "a"), record(2, "a")])
    transaction.commit()
    transaction.forget_records("a", 2)
    transaction.add_records([record(3, "a")])
    transaction.commit()
    assert store.topics("", 9) == [base.TopicSize("a", 1, 1, 3)]


def test_a_topic_without_records_has_no_cursor(store: Store, transaction: Transaction) -> None:
    transaction.add_records([record(1, "a"), record(2, "b")])
    for topic in "ab":
        transaction.set_cursor(base.topic_reader(topic), 2)
    transaction.forget_records("a", 1)
    transaction.commit()
    assert store.cursors("topic:") == {"topic:b": 2}
    assert store.cursors("topi:") == {}


def test_cursors_are_stored(transaction: Transaction, check: Check) -> None:
    check(lambda read: read.cursor("reader"), 0)
    transaction.set_cursor("reader", 3)
    check(lambda read: read.cursor("reader"), 3)


# -- the rest ---------------------------------------------------------------------------------


def test_numbers_are_not_given_twice_even_if_nothing_else_changed(
    store: Store, transaction: Transaction
) -> None:
    assert list(transaction.numbers("message", 3)) == [1, 2, 3]
    assert list(transaction.numbers("trace", 1)) == [1]
    assert transaction
    transaction.commit()
    assert list(Transaction(store).numbers("message", 1)) == [4]


def test_dead_letters_can_be_taken_out_once(transaction: Transaction, check: Check) -> None:
    dead = [Dead(message(seq), "error", 5) for seq in (1, 2, 3)]
    transaction.enqueue([each.envelope for each in dead])
    for each in dead:
        transaction.bury(each)
    check(lambda read: read.dead(2), dead[:2])
    check(lambda read: read.queue(BOB), [])
    assert transaction.exhume(2) == dead[1]
    assert transaction.exhume(2) is None
    check(lambda read: read.dead(), [dead[0], dead[2]])
    assert transaction.exhume(2) is None


def test_the_oldest_dead_letters_are_found_by_age_and_by_number(
    store: Store, transaction: Transaction
) -> None:
    since = {1: 50, 2: 10, 3: 40, 4: 20, 5: 30}
    for seq, at in since.items():
        transaction.enqueue([message(seq)])
        transaction.bury(Dead(message(seq), "error", at))
    transaction.commit()
    assert store.old_dead(0, None, 9) == []
    assert sorted(store.old_dead(30, None, 9)) == [2, 4]
    assert sorted(store.old_dead(0, 2, 9)) == [2, 4, 5]
    assert sorted(store.old_dead(15, 4, 9)) == [2]
    assert len(store.old_dead(99, 0, 3)) == 3
    transaction.forget_dead([2, 4, 5])
    transaction.commit()
    assert [each.envelope.seq for each in store.dead()] == [1, 3]


def test_marks_are_stored(store: Store, transaction: Transaction) -> None:
    transaction.set_mark(20, 7)
    transaction.set_mark(10, 3)
    transaction.commit()
    assert list(store.marks().items()) == [(10, 3), (20, 7)]
    transaction.set_mark(10, None)
    transaction.commit()
    assert store.marks() == {20: 7}


def test_positions_and_keys_are_stored(
    store: Store, transaction: Transaction, check: Check
) -> None:
    use = KeyUse(b"digest", 7, 100)
    transaction.set_positions({"file": "42"})
    transaction.set_key_use((BOB, "k"), use)
    check(lambda read: (read.position("file"), read.position("none")), ("42", None))
    check(lambda read: (read.key_use((BOB, "k")), read.key_use((EVE, "k"))), (use, None))
    assert store.old_keys(100, 5) == []
    assert store.old_keys(101, 5) == [(BOB, "k")]
    transaction.set_key_use((BOB, "k"), None)
    check(lambda read: read.key_use((BOB, "k")), None)
    assert store.old_keys(101, 5) == []


def test_parked_addresses_are_listed_by_the_number_of_their_message(
    store: Store, transaction: Transaction
) -> None:
    parked = [Parked(EVE, 3, 1, "error", 5), Parked(BOB, 4, 1, "error", 5)]
    for each in reversed(parked):
        transaction.park(each)
    transaction.commit()
    assert store.parked() == parked


# -- against a model ----------------------------------------------------------------------------

addresses = st.sampled_from([BOB, EVE])
names = st.sampled_from(["one", "two"])
acts = st.one_of(
    st.tuples(st.just("enqueue"), addresses),
    st.tuples(st.just("consume"), st.integers(0, 9)),
    st.tuples(st.just("set"), addresses, names, st.integers(0, 9)),
    st.tuples(st.just("delete"), addresses, names),
    st.tuples(st.just("commit")),
    st.tuples(st.just("reopen")),
)


@hypothesis.given(st.lists(acts, max_size=40), st.booleans())
@hypothesis.settings(max_examples=60, deadline=None)
def test_a_transaction_reads_what_was_written_whenever_it_is_committed(
    given: list[t.Any], durable: bool
) -> None:
    queues: dict[Address, list[int]] = {BOB: [], EVE: []}
    states: dict[Address, dict[str, bytes]] = {BOB: {}, EVE: {}}
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder if durable else None)
        transaction = Transaction(store)
        for act, *rest in given:
            if act == "enqueue":
                (seq,) = transaction.numbers("message", 1)
                transaction.enqueue([message(seq, rest[0])])
                queues[rest[0]].append(seq)
            elif act == "consume":
                for address, seqs in queues.items():
                    if len(seqs) > rest[0]:
                        transaction.consume([message(seqs.pop(rest[0]), address)])
            elif act == "set":
                address, name, value = rest
                transaction.set_state(address, name, StoredValue(b"%d" % value, 0))
                states[address][name] = b"%d" % value
            elif act == "delete":
                transaction.set_state(*rest, None)
                states[rest[0]].pop(rest[1], None)
            else:
                transaction.commit()
            if act == "reopen" and not isinstance(store, MemoryStore):
                store.close()
                store = open_store(folder)
            if act == "reopen":
                transaction = Transaction(store)
            for address in (BOB, EVE):
                assert [each.seq for each in transaction.queue(address)] == queues[address]
                found = {name: each.value for name, each in transaction.state(address).items()}
                assert found == states[address]
        store.close()


# -- function types that a person holds back ----------------------------------------------------


def test_held_function_types(store: Store, transaction: Transaction) -> None:
    for typename in ("ns/fn", "ns/a", "ns/fn"):
        transaction.hold(typename, True)
    assert (bool(transaction), store.held()) == (True, [])
    transaction.commit()
    assert store.held() == ["ns/a", "ns/fn"]
    transaction.hold("ns/fn", False)
    transaction.hold("ns/none", False)
    transaction.commit()
    assert store.held() == ["ns/a"]


def test_the_length_of_a_queue(transaction: Transaction, check: Check) -> None:
    transaction.enqueue([message(1), message(2), message(3, EVE)])
    check(lambda read: (read.queue_length(BOB), read.queue_length(EVE)), (2, 1))
    transaction.consume([message(1)])
    transaction.enqueue([message(4)])
    check(lambda read: (read.queue_length(BOB), read.queue_length(EVE)), (2, 1))
