"""The runtime's behaviour (docs/protocol.md, docs/engines.md), with a virtual clock."""

from __future__ import annotations

import typing as t

import pytest

from statefun_flask import Address
from statefun_flask.embedded.errors import UnknownTargetError
from statefun_flask.values.message import Message

SEEN = ("seen", "a/t")


def nothing(batch: t.Any) -> None:
    """Reply with an empty result."""


# -- batches -------------------------------------------------------------


def test_first_message_is_sent_alone(script: t.Any, bench: t.Any) -> None:
    script.add("ns/fn", nothing)
    bench().run("ns/fn", "1", b"a", b"b", b"c")
    assert [values for _, values, _ in script.calls] == [[b"a"], [b"b", b"c"]]


def test_whole_buffer_is_the_next_batch(script: t.Any, bench: t.Any, reply: t.Any) -> None:
    """Messages that arrive during a request form one batch, in order."""

    def send_to_self(batch: t.Any) -> t.Any:
        made.send("ns/fn", "1", b"x", b"y")
        return reply().send("ns/fn", "1", b"z") if batch.values == [b"a"] else None

    script.add("ns/fn", lambda batch: send_to_self(batch) if batch.values == [b"a"] else None)
    made = bench()
    made.run("ns/fn", "1", b"a")
    assert [values for _, values, _ in script.calls] == [[b"a"], [b"x", b"y", b"z"]]


def test_batch_is_at_most_as_large_as_the_endpoint_allows(script: t.Any, bench: t.Any) -> None:
    script.add("ns/fn", nothing)
    bench(batch=2).run("ns/fn", "1", *[b"%d" % n for n in range(6)])
    assert [len(values) for _, values, _ in script.calls] == [1, 2, 2, 1]


def test_batch_has_no_limit_when_it_is_zero(script: t.Any, bench: t.Any) -> None:
    script.add("ns/fn", nothing)
    bench(batch=0).run("ns/fn", "1", *[b""] * 2001)
    assert [len(values) for _, values, _ in script.calls] == [1, 2000]


def test_argument_is_copied_verbatim(script: t.Any, bench: t.Any) -> None:
    script.add("ns/fn", nothing)
    made = bench()
    made.engine.send(Address("ns/fn", "1"), Message("any thing", b"\0\xff", False))
    made.run()
    argument = script.batches[0].request.invocations[0].argument
    assert (argument.typename, argument.value, argument.has_value) == (
        "any thing",
        b"\0\xff",
        False,
    )


# -- callers ----------------------------------------------------------------------------------


def test_caller_is_the_sender_and_unset_from_outside(
    script: t.Any, bench: t.Any, reply: t.Any
) -> None:
    script.add("ns/a", lambda batch: reply().send("ns/b", "2").later(5, "ns/b", "2"))
    script.add("ns/b", nothing)
    made = bench()
    made.run("ns/a", "1")
    made.advance(5)
    assert [batch.callers for batch in script.batches] == [[None], ["ns/a/1"], ["ns/a/1"]]


def test_self_send_has_itself_as_caller(script: t.Any, bench: t.Any, reply: t.Any) -> None:
    script.add("ns/a", lambda b: reply().send("ns/a", "1", b"2") if b.values == [b"1"] else None)
    bench().run("ns/a", "1", b"1")
    assert script.batches[1].callers == ["ns/a/1"]


def test_empty_id_is_allowed(script: t.Any, bench: t.Any, reply: t.Any) -> None:
    script.add("ns/a", lambda batch: reply().put("seen", b"1"), SEEN)
    made = bench()
    made.run("ns/a", "")
    assert made.state("ns/a", "") == {"seen": b"1"}


def test_unknown_function_is_refused_on_the_senders_line(script: t.Any, bench: t.Any) -> None:
    script.add("example/greeter", nothing)
    with pytest.raises(UnknownTargetError) as info:
        bench().send("example/greter", "1")
    assert str(info.value) == (
        "No endpoint serves the function 'example/greter'. Did you mean 'example/greeter'?"
        " Correct the typename, or add it to the app or to module.yaml."
        " Functions with an endpoint: example/greeter."
    )


# -- the order within an answer (1.5) and between senders (6.3) -------------------------------


def test_messages_of_one_sender_arrive_in_the_order_of_sending(
    script: t.Any, bench: t.Any, reply: t.Any
) -> None:
    def send_two(batch: t.Any) -> t.Any:
        (value,) = batch.values
        return reply().send("ns/b", "1", value + b"1").send("ns/b", "1", value + b"2")

    script.add("ns/a", send_two)
    script.add("ns/b", nothing)
    made = bench()
    made.run("ns/a", "1", b"x")
    made.run("ns/a", "1", b"y")
    assert made.delivered("ns/b", "1") == [b"x1", b"x2", b"y1", b"y2"]


def test_delay_of_zero_comes_after_the_messages_that_are_queued(
    script: t.Any, bench: t.Any, reply: t.Any
) -> None:
    script.add(
        "ns/a", lambda batch: reply().later(0, "ns/b", "1", b"later").send("ns/b", "1", b"now")
    )
    script.add("ns/b", nothing)
    made = bench()
    made.run("ns/a", "1")
    assert made.delivered("ns/b", "1") == [b"now", b"later"]


def test_last_of_several_mutations_of_a_state_wins(
    script: t.Any, bench: t.Any, reply: t.Any
) -> None:
    script.add(
        "ns/a", lambda batch: reply().put("seen", b"1").delete("seen").put("seen", b"2"), SEEN
    )
    made = bench()
    made.run("ns/a", "1")
    assert made.state("ns/a", "1") == {"seen": b"2"}


def test_egress_records_are_numbered_in_their_order(
    script: t.Any, bench: t.Any, reply: t.Any
) -> None:
    script.add("ns/a", lambda batch: reply().egress("ns/x", b"1").egress("ns/y", b"2"))
    made = bench()
    made.run("ns/a", "1")
    made.run("ns/a", "2")
    records = made.engine.store.records(0, 10)
    assert [(each.seq, each.egress, each.value) for each in records] == [
        (1, "ns/x", b"1"),
        (2, "ns/y", b"2"),
        (3, "ns/x", b"1"),
        (4, "ns/y", b"2"),
    ]


# -- states -----------------------------------------------------


def test_write_is_seen_by_the_next_request(script: t.Any, bench: t.Any, reply: t.Any) -> None:
    script.add("ns/a", lambda batch: reply().put("seen", batch.values[-1]), SEEN)
    bench().run("ns/a", "1", b"x", b"y")
    assert [states for _, _, states in script.calls] == [{"seen": None}, {"seen": b"x"}]


def test_registered_state_without_a_value_is_attached_unset(script: t.Any, bench: t.Any) -> None:
    script.add("ns/a", nothing, SEEN)
    bench().run("ns/a", "1")
    (state,) = script.batches[0].request.state
    assert not state.HasField("state_value")


def test_state_is_attached_with_its_registered_type(
    script: t.Any, bench: t.Any, reply: t.Any
) -> None:
    script.add("ns/a", lambda batch: reply().put("seen", b""), SEEN)
    made = bench()
    made.run("ns/a", "1", b"", b"")
    value = script.batches[1].request.state[0].state_value
    assert (value.typename, value.has_value, value.value) == ("a/t", True, b"")


def test_incomplete_answer_sends_the_same_batch_again_with_old_and_new_states(
    script: t.Any, bench: t.Any, reply: t.Any
) -> None:
    def one(batch: t.Any) -> t.Any:
        if batch.values == [b"more"] and "more" not in batch.states:
            made.send("ns/a", "1", b"meanwhile")
            return reply().missing(("more", "a/t"))
        return reply().put("seen", b"1")

    script.add("ns/a", one, SEEN)
    made = bench()
    made.run("ns/a", "1", b"x")
    made.run("ns/a", "1", b"more")
    assert [(values, states) for _, values, states in script.calls] == [
        ([b"x"], {"seen": None}),
        ([b"more"], {"seen": b"1"}),
        ([b"more"], {"seen": b"1", "more": None}),
        ([b"meanwhile"], {"seen": b"1", "more": None}),
    ]


def test_second_id_sees_registered_states_at_once(script: t.Any, bench: t.Any) -> None:
    script.add("ns/a", nothing, SEEN)
    made = bench()
    made.run("ns/a", "1")
    requests: list[bytes] = []
    made.routes.endpoint("ns/a")._handle = lambda body: (requests.append(body), script(body))[1]
    made.run("ns/a", "2")
    assert len(requests) == 1


def test_deleted_state_stays_attached_unset(script: t.Any, bench: t.Any, reply: t.Any) -> None:
    actions = {b"put": lambda: reply().put("seen", b"1"), b"del": lambda: reply().delete("seen")}
    script.add("ns/a", lambda b: actions.get(b.values[0], reply)(), SEEN)
    made = bench()
    for value in (b"put", b"del", b"look"):
        made.run("ns/a", "1", value)
    assert [states for _, _, states in script.calls] == [
        {"seen": None},
        {"seen": b"1"},
        {"seen": None},
    ]


def test_function_without_states_gets_none(script: t.Any, bench: t.Any) -> None:
    script.add("ns/a", nothing)
    bench().run("ns/a", "1")
    assert script.calls[0][2] == {}


def test_states_belong_to_type_and_id(script: t.Any, bench: t.Any, reply: t.Any) -> None:
    script.add("ns/a", lambda batch: reply().put("seen", b"a" + batch.id.encode()), SEEN)
    script.add("ns/b", lambda batch: reply().put("seen", b"b" + batch.id.encode()), SEEN)
    made = bench()
    for type in ("ns/a", "ns/b"):
        for id in ("1", "2"):
            made.run(type, id)
    assert made.state("ns/a", "2") == {"seen": b"a2"}
    assert made.state("ns/b", "1") == {"seen": b"b1"}


# -- time to live (6.5) -----------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "second"), [(1, None), (2, b"1")])
def test_after_write_counts_from_writes_and_after_invoke_from_calls_too(
    script: t.Any, bench: t.Any, reply: t.Any, mode: int, second: bytes | None
) -> None:
    """A time to live of 1 s and a call every 0.6 s, as observed on StateFun."""
    script.add(
        "ns/a",
        lambda b: reply().put("seen", b"1") if b.values == [b"put"] else None,
        ("seen", "a/t", mode, 1000),
    )
    made = bench()
    made.run("ns/a", "1", b"put")
    made.advance(600)
    made.run("ns/a", "1", b"look")
    made.advance(600)
    made.run("ns/a", "1", b"look")
    made.advance(1300)
    made.run("ns/a", "1", b"look")
    assert [states["seen"] for _, _, states in script.calls] == [None, b"1", second, None]


def test_value_is_gone_at_the_very_instant(script: t.Any, bench: t.Any, reply: t.Any) -> None:
    script.add(
        "ns/a",
        lambda b: reply().put("seen", b"1") if b.values == [b"put"] else None,
        ("seen", "a/t", 1, 10),
    )
    made = bench()
    made.run("ns/a", "1", b"put")
    made.advance(9)
    made.run("ns/a", "1", b"look")
    made.advance(1)
    made.run("ns/a", "1", b"look")
    assert [states["seen"] for _, _, states in script.calls] == [None, b"1", None]


def test_write_restarts_the_time_to_live(script: t.Any, bench: t.Any, reply: t.Any) -> None:
    script.add("ns/a", lambda batch: reply().put("seen", b"1"), ("seen", "a/t", 1, 10))
    made = bench()
    for _ in range(5):
        made.run("ns/a", "1")
        made.advance(6)
    assert [states["seen"] for _, _, states in script.calls] == [None, *[b"1"] * 4]


def test_expired_values_leave_the_store_by_themselves(
    script: t.Any, bench: t.Any, reply: t.Any
) -> None:
    script.add("ns/a", lambda batch: reply().put("seen", b"1"), ("seen", "a/t", 1, 10))
    made = bench()
    made.run("ns/a", "1")
    assert made.engine.store.addresses("ns/a", "", 10) == [Address("ns/a", "1")]
    made.advance(10)
    assert made.engine.store.addresses("ns/a", "", 10) == []


# -- delays and tokens ---------------------------------------------------


def test_delays_fire_when_they_are_due_and_in_the_order_of_sending(
    script: t.Any, bench: t.Any, reply: t.Any
) -> None:
    script.add(
        "ns/a",
        lambda batch: (
            reply()
            .later(20, "ns/b", "1", b"3")
            .later(10, "ns/b", "1", b"1")
            .later(10, "ns/b", "1", b"2")
        ),
    )
    script.add("ns/b", nothing)
    made = bench()
    made.run("ns/a", "1")
    made.advance(9)
    assert made.delivered("ns/b", "1") == []
    made.advance(1)
    assert made.delivered("ns/b", "1") == [b"1", b"2"]
    made.advance(10)
    assert made.delivered("ns/b", "1") == [b"1", b"2", b"3"]


def test_chain_of_delays_sees_each_instant(script: t.Any, bench: t.Any, reply: t.Any) -> None:
    instants: list[int] = []

    def tick(batch: t.Any) -> t.Any:
        instants.append(made.clock.now())
        return reply().later(86_400_000, "ns/a", "1")

    script.add("ns/a", tick)
    made = bench()
    start = made.clock.now()
    made.run("ns/a", "1")
    made.advance(30 * 86_400_000)
    assert instants == [start + day * 86_400_000 for day in range(31)]


@pytest.mark.parametrize(
    ("canceller", "id", "arrives"),
    [("ns/a", "1", False), ("ns/b", "1", False), ("ns/a", "2", True), ("ns/c", "2", True)],
    ids=["the sender", "another type, same id", "same type, another id", "the target"],
)
def test_token_belongs_to_the_senders_id_whatever_its_type(
    script: t.Any, bench: t.Any, reply: t.Any, canceller: str, id: str, arrives: bool
) -> None:
    def act(batch: t.Any) -> t.Any:
        if batch.values == [b"send"]:
            return reply().later(10, "ns/c", "2", b"late", token="t")
        return reply().cancel("t") if batch.values == [b"cancel"] else None

    for name in ("ns/a", "ns/b", "ns/c"):
        script.add(name, act)
    made = bench()
    made.run("ns/a", "1", b"send")
    made.run(canceller, id, b"cancel")
    made.advance(10)
    assert (b"late" in made.delivered("ns/c", "2")) is arrives


def test_senders_of_equal_id_clash_on_a_token(script: t.Any, bench: t.Any, reply: t.Any) -> None:
    for name in ("ns/a", "ns/b"):
        script.add(name, lambda batch: reply().later(10, "ns/a", "9", token="t"))
    made = bench()
    made.run("ns/a", "1")
    made.run("ns/b", "1")
    assert "a message with that token is pending" in made.error()


def test_token_is_free_after_delivery_and_after_cancellation(
    script: t.Any, bench: t.Any, reply: t.Any
) -> None:
    script.add(
        "ns/a",
        lambda batch: (
            reply().cancel("t")
            if batch.values == [b"cancel"]
            else reply().later(10, "ns/b", "1", batch.values[0], token="t")
        ),
    )
    script.add("ns/b", nothing)
    made = bench()
    made.run("ns/a", "1", b"first")
    made.advance(10)
    made.run("ns/a", "1", b"second")
    made.run("ns/a", "1", b"cancel")
    made.run("ns/a", "1", b"third")
    made.advance(10)
    assert made.delivered("ns/b", "1") == [b"first", b"third"]


def test_unknown_token_may_be_cancelled(script: t.Any, bench: t.Any, reply: t.Any) -> None:
    script.add("ns/a", lambda batch: reply().cancel("none"))
    made = bench()
    made.run("ns/a", "1")
    assert made.control.parked() == []


def test_order_of_send_and_cancel_within_one_reply_counts(
    script: t.Any, bench: t.Any, reply: t.Any
) -> None:
    script.add(
        "ns/a",
        lambda batch: (
            reply().later(5, "ns/b", "1", token="t").cancel("t")
            if batch.values == [b"send first"]
            else reply().cancel("t").later(5, "ns/b", "1", b"stays", token="t")
        ),
    )
    script.add("ns/b", nothing)
    made = bench()
    made.run("ns/a", "1", b"send first")
    made.run("ns/a", "2", b"cancel first")
    made.advance(5)
    assert made.delivered("ns/b", "1") == [b"stays"]


# -- after a restart --------------------------------------------------------------


@pytest.fixture
def stores(tmp_path: t.Any) -> t.Any:
    from statefun_flask.embedded import SqliteStore

    return lambda: SqliteStore(tmp_path / "data")


def test_restart_registers_states_again_and_has_their_values(
    script: t.Any, bench: t.Any, reply: t.Any, stores: t.Any
) -> None:
    script.add("ns/a", lambda batch: reply().put("seen", batch.values[0]), SEEN)
    first = bench(stores())
    first.run("ns/a", "1", b"x")
    first.engine.close()

    bodies: list[t.Any] = []
    second = bench(stores())
    second.routes.endpoint("ns/a")._handle = lambda body: (bodies.append(body), script(body))[1]
    second.run("ns/a", "1", b"y")
    assert len(bodies) == 2  # without states, then with them
    assert script.calls[-1] == ("ns/a/1", [b"y"], {"seen": b"x"})


def test_type_of_a_stored_state_outlives_a_restart(
    script: t.Any, bench: t.Any, reply: t.Any, stores: t.Any
) -> None:
    script.add("ns/a", lambda batch: reply().put("seen", b"1"), SEEN)
    first = bench(stores())
    first.run("ns/a", "1")
    first.engine.close()
    script.add("ns/a", lambda batch: reply().put("seen", b"1", "a/u"), ("seen", "a/u"))
    second = bench(stores())
    second.run("ns/a", "1")
    assert second.error() == (
        "'ns/a' declares the state 'seen' as 'a/u', but values of type 'a/t' are stored, one of"
        " them for id '1'. Keep its type, give the state with the new type another name, or delete"
        " the values with 'flask statefun reset DATA ns/a seen'."
    )


def test_type_of_a_state_may_change_after_a_restart_when_no_value_is_left(
    script: t.Any, bench: t.Any, reply: t.Any, stores: t.Any
) -> None:
    def old(batch: t.Any) -> t.Any:
        return reply().delete("seen") if batch.values == [b"delete"] else reply().put("seen", b"1")

    script.add("ns/a", old, SEEN)
    made = bench(stores())
    made.run("ns/a", "1")
    made.run("ns/a", "2")
    made.run("ns/a", "1", b"delete")
    made.engine.close()

    script.add("ns/a", lambda batch: reply().put("seen", b"2", "a/u"), ("seen", "a/u"))
    made = bench(stores())
    made.run("ns/a", "1")
    assert "one of them for id '2'" in made.error()
    made.engine.close()
    script.add("ns/a", old, SEEN)
    made = bench(stores())
    made.run("ns/a", "2", b"delete")
    made.engine.close()

    script.add("ns/a", lambda batch: reply().put("seen", b"2", "a/u"), ("seen", "a/u"))
    made = bench(stores())
    made.control.retry_all()
    made.run("ns/a", "2")
    assert made.control.parked() == []
    assert made.control.state("ns/a/1")["seen"] == Message("a/u", b"2")


def test_overdue_delays_fire_after_a_restart_and_tokens_are_known(
    script: t.Any, bench: t.Any, reply: t.Any, stores: t.Any
) -> None:
    script.add(
        "ns/a",
        lambda batch: (
            reply().cancel("u")
            if batch.values == [b"cancel"]
            else reply()
            .later(10, "ns/b", "1", b"t", token="t")
            .later(10**9, "ns/b", "1", b"u", "u")
        ),
    )
    script.add("ns/b", nothing)
    first = bench(stores())
    first.run("ns/a", "1")
    first.engine.close()

    second = bench(stores())
    second.clock.move_to(second.clock.now() + 3_600_000)
    second.run("ns/a", "1", b"cancel")
    assert second.delivered("ns/b", "1") == [b"t"]
    second.advance(10**10)
    assert second.delivered("ns/b", "1") == [b"t"]


def test_queued_messages_are_there_after_a_restart(
    script: t.Any, bench: t.Any, stores: t.Any
) -> None:
    script.add("ns/a", nothing)
    first = bench(stores())
    first.send("ns/a", "1", b"x", b"y")
    first.engine.close()
    second = bench(stores())
    second.run()
    assert second.delivered("ns/a", "1") == [b"x", b"y"]
    second.engine.close()
    third = bench(stores())
    third.run()
    assert third.delivered("ns/a", "1") == [b"x", b"y"]


def test_number_of_waiting_messages_goes_up_and_down(script: t.Any, bench: t.Any) -> None:
    waiting: list[int] = []
    script.add("ns/fn", lambda batch: waiting.append(made.engine.queued))
    made = bench(batch=2)
    made.send("ns/fn", "1", *[b""] * 5)
    assert made.engine.status().queued == 5
    made.run()
    assert waiting == [5, 4, 2]
    assert made.engine.status().queued == 0
