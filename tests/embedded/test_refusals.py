"""Replies that end the job of the runtime (docs/protocol.md): each parks its address."""

from __future__ import annotations

import typing as t

import pytest

from statefun_flask.values.egress import KAFKA
from statefun_flask.values.egress import PLAYGROUND

STATE = ("seen", "a/t")


@pytest.fixture
def refusal(script: t.Any, bench: t.Any) -> t.Any:
    """Call a function with a given reply, and return the error of the parked address."""

    def refused(answered: t.Any, *states: t.Any, **options: t.Any) -> str:
        script.add("ns/fn", lambda batch: answered, *states)
        script.add("ns/other", lambda batch: None)
        made = bench(**options)
        made.run("ns/fn", "1")
        made.run("ns/other", "1")
        assert made.delivered("ns/other", "1") == [b""]  # other addresses continue
        assert made.state("ns/fn", "1") == {}  # and the reply had no effect
        assert made.control.egress("ns/out") == []
        return str(made.error())

    return refused


def test_write_to_a_state_that_was_never_registered(refusal: t.Any, reply: t.Any) -> None:
    assert refusal(reply().put("sen", b"1"), STATE) == (
        "'ns/fn' changes the state 'sen' of id '1', which is not registered. Did you mean"
        " 'seen'? Declare the state, so that the SDK registers it."
    )


def test_delete_of_a_state_that_was_never_registered(refusal: t.Any, reply: t.Any) -> None:
    assert "changes the state 'x' of id '1', which is not registered" in refusal(
        reply().delete("x")
    )


def test_write_of_another_type(refusal: t.Any, reply: t.Any) -> None:
    assert refusal(reply().put("seen", b"1", "a/u"), STATE) == (
        "'ns/fn' writes a value of type 'a/u' to the state 'seen' of id '1', which is registered"
        " as 'a/t'. Write the registered type, or use another state."
    )


def test_write_without_a_type(refusal: t.Any, reply: t.Any) -> None:
    assert "writes a value of type '' to the state 'seen'" in refusal(
        reply().put("seen", b"1", ""), STATE
    )


def test_unknown_kind_of_mutation(refusal: t.Any, reply: t.Any) -> None:
    assert refusal(reply().put("seen", b"1", kind=7), STATE) == (
        "'ns/fn' changes the state 'seen' of id '1' in the unknown way 7."
        " Use MODIFY (1) or DELETE (0)."
    )


def test_missing_states_that_the_request_had(
    refusal: t.Any, script: t.Any, reply: t.Any, bench: t.Any
) -> None:
    """The runtime would send the batch again at once, without a limit."""
    assert refusal(reply().missing(STATE), STATE) == (
        "'ns/fn' replies for id '1' that states are missing ('seen'), but the request had all of"
        " them. Reply with a result: a state without a value is in the request, with its value"
        " unset."
    )


def test_empty_list_of_missing_states(refusal: t.Any, reply: t.Any) -> None:
    assert "that states are missing (an empty list)" in refusal(reply().missing())


def test_missing_state_of_another_type(script: t.Any, bench: t.Any, reply: t.Any) -> None:
    script.add("ns/fn", lambda batch: reply().missing(("seen", "a/u"), ("more", "a/t")), STATE)
    made = bench()
    made.run("ns/fn", "1")
    assert made.error() == (
        "'ns/fn' declares the state 'seen' as 'a/u', but it is registered as 'a/t'. Keep its"
        " type, or give the state with the new type another name."
    )
    assert "more" not in script.batches[-1].states  # refused as a whole


@pytest.mark.parametrize("typename", ["plain", "a/b/c", "/a", "a/"])
def test_state_type_that_is_not_a_typename(refusal: t.Any, reply: t.Any, typename: str) -> None:
    assert refusal(reply().missing(("seen", typename))) == (
        f"'ns/fn' declares the state 'seen' with the type '{typename}'."
        " Write the type as 'namespace/name', with one slash."
    )


@pytest.mark.parametrize(("mode", "ttl"), [(1, 0), (2, 0), (1, -5)])
def test_expiration_that_is_not_positive(refusal: t.Any, reply: t.Any, mode: int, ttl: int) -> None:
    assert refusal(reply().missing(("seen", "a/t", mode, ttl))) == (
        f"'ns/fn' declares the state 'seen' with an expiration of {ttl} ms."
        " Use at least 1 ms, or no expiration."
    )


@pytest.mark.parametrize("name", ["batch", "request-state"])
def test_state_under_a_name_of_the_runtime(refusal: t.Any, reply: t.Any, name: str) -> None:
    assert refusal(reply().missing((name, "a/t"))) == (
        f"'ns/fn' declares the state '{name}', which is a name that the StateFun runtime uses"
        " itself. Give the state another name."
    )


def test_message_to_an_unknown_function(refusal: t.Any, reply: t.Any) -> None:
    assert refusal(reply().send("ns/othr", "1")) == (
        "'ns/fn' sends a message to a function for id '1'. No endpoint serves the function"
        " 'ns/othr'. Did you mean 'ns/other'? Correct the typename, or add it to the app or to"
        " module.yaml. Functions with an endpoint: ns/fn, ns/other."
    )


def test_delayed_message_to_an_unknown_function(refusal: t.Any, reply: t.Any) -> None:
    assert "No endpoint serves the function 'x/y'" in refusal(reply().later(5, "x/y", "1"))


def test_message_without_a_target(refusal: t.Any, reply: t.Any) -> None:
    assert "'ns/fn' sends a message without a target for id '1'." in refusal(reply().send("", ""))


def test_record_that_its_egress_cannot_write(refusal: t.Any, reply: t.Any) -> None:
    assert refusal(reply().egress("ns/out", b"\xff", KAFKA)) == (
        "'ns/fn' sends a record to an egress for id '1'. The egress 'ns/out' got 1 bytes that are"
        f" not a '{KAFKA}'. Make the record with 'kafka_record'."
    )


def test_negative_delay(refusal: t.Any, reply: t.Any) -> None:
    assert refusal(reply().later(-1, "ns/fn", "1")) == (
        "'ns/fn' sends a message for id '1' with a delay of -1 ms. Use a delay of zero or more."
    )


LONGEST = 86_399_999_999_999_999  # datetime.timedelta.max


@pytest.mark.parametrize("delay", [LONGEST + 1, 2**62, 2**63 - 1])
def test_delay_that_the_store_cannot_hold(refusal: t.Any, reply: t.Any, delay: int) -> None:
    assert refusal(reply().later(delay, "ns/fn", "1")) == (
        f"'ns/fn' sends a message for id '1' with a delay of {delay} ms."
        f" Use a delay of at most {LONGEST} ms."
    )


def test_longest_delay_is_kept(script: t.Any, bench: t.Any, reply: t.Any) -> None:
    script.add("ns/fn", lambda batch: reply().later(LONGEST, "ns/fn", "1"))
    made = bench()
    made.run("ns/fn", "1")
    (delay,) = made.control.delays()
    assert delay.due == made.clock.now() + LONGEST


@pytest.mark.parametrize("mode", [1, 2])
def test_expiration_that_the_store_cannot_hold(refusal: t.Any, reply: t.Any, mode: int) -> None:
    ttl = 2**63 - 1
    assert refusal(reply().put("long", b"1"), ("long", "a/t", mode, ttl)) == (
        f"'ns/fn' declares the state 'long' with an expiration of {ttl} ms."
        f" Use at most {LONGEST} ms, or no expiration."
    )


@pytest.mark.parametrize("mode", [1, 2])
def test_longest_expiration_is_kept(script: t.Any, bench: t.Any, reply: t.Any, mode: int) -> None:
    script.add("ns/fn", lambda batch: reply().put("n", b"1"), ("n", "a/t", mode, LONGEST))
    made = bench()
    made.run("ns/fn", "1")
    made.run("ns/fn", "1")
    assert made.state("ns/fn", "1") == {"n": b"1"}


@pytest.mark.parametrize(
    "record",
    [
        '{"topic": {}, "payload": "x"}',
        '{"topic": [1], "payload": "x"}',
        '{"topic": null, "payload": "x"}',
        '{"topic": 1, "payload": "x"}',
        '{"topic": "\\udcff", "payload": "x"}',
        '{"topic": "x", "payload": "\\udcff"}',
        '{"topic": "x", "payload": 1}',
        '{"topic": "x"}',
        "[1]",
        "[" * 100_000,
    ],
)
def test_playground_record_that_cannot_be_stored(refusal: t.Any, reply: t.Any, record: str) -> None:
    body = record.encode()
    assert refusal(reply().egress("ns/out", body, PLAYGROUND)) == (
        "'ns/fn' sends a record to an egress for id '1'. The egress 'ns/out' got"
        f" {body[:60]!r}, which is not a JSON object with the strings 'topic' and 'payload'."
        " Make it with 'playground_record'."
    )


@pytest.mark.parametrize("part", ["send", "later", "egress", "put"])
def test_part_of_a_reply_that_is_too_large_for_a_row(
    script: t.Any, bench: t.Any, reply: t.Any, part: str
) -> None:
    value = b"x" * 100_000

    def big(batch: t.Any) -> t.Any:
        answered = reply().put("seen", b"1")
        match part:
            case "send":
                return answered.send("ns/fn", "1", value)
            case "later":
                return answered.later(5, "ns/fn", "1", value)
            case "egress":
                return answered.egress("ns/out", value)
            case _:
                return answered.put("seen", value)

    script.add("ns/fn", big, STATE)
    made = bench()
    made.engine.store.largest = 34464
    made.run("ns/fn", "1")
    assert "can store 34464 bytes at most. Make it smaller" in made.error()
    assert made.state("ns/fn", "1") == {}


def test_large_reply_of_parts_that_rows_can_hold(script: t.Any, bench: t.Any, reply: t.Any) -> None:
    def many(batch: t.Any) -> t.Any:
        answered = reply().put("seen", b"x" * 30_000).later(5, "ns/other", "1", b"x" * 30_000)
        for _ in range(5):
            answered.egress("ns/out", b"x" * 30_000).send("ns/other", "1", b"x" * 30_000)
        return answered

    script.add("ns/fn", many, STATE)
    script.add("ns/other", lambda batch: None)
    made = bench()
    made.engine.store.largest = 34464
    made.run("ns/fn", "1")
    assert made.control.parked() == []
    assert len(made.control.egress("ns/out")) == 5


def test_cancellation_without_a_token(refusal: t.Any, reply: t.Any) -> None:
    assert refusal(reply().cancel("")) == (
        "'ns/fn' cancels a delayed message for id '1' without a cancellation token."
        " Cancel with the token that the message was sent with."
    )


def test_second_send_with_a_pending_token(refusal: t.Any, reply: t.Any) -> None:
    twice = reply().later(5, "ns/fn", "1", token="t").later(5, "ns/fn", "1", token="t")
    assert refusal(twice) == (
        "'ns/fn' sends a delayed message for id '1' with the cancellation token 't', but a message"
        " with that token is pending. Cancel that message first, or use another token: functions of"
        " different types with the same id share their tokens."
    )


def test_reply_that_is_not_a_from_function(refusal: t.Any) -> None:
    assert refusal(b"\xff\xff") == (
        "The reply of 'ns/fn' for id '1' (2 bytes) is not a FromFunction of StateFun 3.x."
        " Check what the endpoint serves under that URL."
    )


# -- what the runtime takes in silence --------------------------------------------------------


def test_value_without_has_value_is_stored(script: t.Any, bench: t.Any, reply: t.Any) -> None:
    def write(batch: t.Any) -> t.Any:
        answered = reply().put("seen", b"")
        answered.result.state_mutations[0].state_value.has_value = False
        return answered

    script.add("ns/fn", write, STATE)
    made = bench()
    made.run("ns/fn", "1")
    made.run("ns/fn", "1")
    assert script.batches[-1].request.state[0].state_value.has_value


def test_delete_ignores_its_value(script: t.Any, bench: t.Any, reply: t.Any) -> None:
    script.add("ns/fn", lambda batch: reply().put("seen", b"1", "wrong/type", kind=0), STATE)
    made = bench()
    made.run("ns/fn", "1")
    assert made.control.parked() == []
    assert made.state("ns/fn", "1") == {}


def test_mode_none_ignores_milliseconds(script: t.Any, bench: t.Any, reply: t.Any) -> None:
    script.add("ns/fn", lambda batch: reply().put("seen", b"1"), ("seen", "a/t", 0, 5))
    made = bench()
    made.run("ns/fn", "1")
    made.advance(1000)
    assert made.state("ns/fn", "1") == {"seen": b"1"}


def test_state_without_a_type_takes_values_without_one(
    script: t.Any, bench: t.Any, reply: t.Any
) -> None:
    script.add("ns/fn", lambda batch: reply().put("seen", batch.values[0], ""), ("seen", ""))
    made = bench()
    made.run("ns/fn", "1", b"1")
    assert made.state("ns/fn", "1") == {"seen": b"1"}


def test_second_registration_with_another_expiration_is_ignored(
    script: t.Any, bench: t.Any, reply: t.Any
) -> None:
    first = [True]

    def ask(batch: t.Any) -> t.Any:
        if first and first.pop():
            return reply().missing(("seen", "a/t", 1, 10), ("more", "a/t"))
        return reply().put("seen", b"1")

    script.add("ns/fn", ask, STATE)
    made = bench()
    made.run("ns/fn", "1")
    made.advance(1000)
    assert made.state("ns/fn", "1") == {"seen": b"1"}


@pytest.mark.parametrize("name", ["a-b", "a/b", "a.b", "a b"])
def test_state_names_that_only_sdks_restrict(
    script: t.Any, bench: t.Any, reply: t.Any, name: str
) -> None:
    script.add("ns/fn", lambda batch: reply().put(name, b"1"), (name, "a/t"))
    made = bench()
    made.run("ns/fn", "1")
    assert made.state("ns/fn", "1") == {name: b"1"}


def test_message_without_an_argument_is_forwarded(
    script: t.Any, bench: t.Any, reply: t.Any
) -> None:
    def forward(batch: t.Any) -> t.Any:
        answered = reply().send("ns/other", "1")
        answered.result.outgoing_messages[0].ClearField("argument")
        return answered

    script.add("ns/fn", forward)
    script.add("ns/other", lambda batch: None)
    made = bench()
    made.run("ns/fn", "1")
    argument = script.batches[-1].request.invocations[0].argument
    assert (argument.typename, argument.has_value) == ("", False)


@pytest.mark.parametrize("body", [b"", bytes.fromhex("a20600")])
def test_empty_answer_is_an_empty_result(script: t.Any, bench: t.Any, body: bytes) -> None:
    script.add("ns/fn", lambda batch: body)
    made = bench()
    made.run("ns/fn", "1")
    assert (made.engine.status().queued, made.control.parked()) == (0, [])


def test_unknown_fields_are_ignored(script: t.Any, bench: t.Any, reply: t.Any) -> None:
    script.add("ns/fn", lambda batch: bytes(reply().put("seen", b"1")) + b"\xfa\x7f\x01x", STATE)
    made = bench()
    made.run("ns/fn", "1")
    assert made.state("ns/fn", "1") == {"seen": b"1"}
