"""Effects: their content, its order, and the errors on the line of the call."""

from __future__ import annotations

import datetime as dt
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask import Effects
from statefun_flask import EgressIdentifier
from statefun_flask import FLOAT
from statefun_flask import INT
from statefun_flask import kafka_record
from statefun_flask import LONG
from statefun_flask import Message
from statefun_flask import StateTypeError
from statefun_flask import ValueSpec
from statefun_flask.values.effects import Cancellation
from statefun_flask.values.effects import DelayedSend
from statefun_flask.values.effects import EgressMessage
from statefun_flask.values.effects import Send
from statefun_flask.values.effects import StateChange
from statefun_flask.values.message import encode

BOB = Address("example/greeter", "bob")
SEEN = ValueSpec("seen", int)
SECOND = dt.timedelta(seconds=1)


def error(function: t.Any, *args: t.Any, **kwargs: t.Any) -> str:
    with pytest.raises((TypeError, ValueError)) as caught:
        function(*args, **kwargs)
    return str(caught.value)


def test_every_method_returns_the_object_itself() -> None:
    effects = Effects()

    assert effects.send(BOB, 1) is effects
    assert effects.send_after(BOB, SECOND, 1) is effects
    assert effects.cancel("token") is effects
    assert effects.egress("example/greets", b"x") is effects
    assert effects.update_state(SEEN, 1) is effects
    assert effects.delete_state(SEEN) is effects
    assert effects.extend(Effects()) is effects


def test_the_order_of_the_calls_is_kept() -> None:
    effects = (
        Effects()
        .send(BOB, "a")
        .send_after(BOB, SECOND, "b", cancellation_token="t")
        .cancel("u")
        .send(BOB, "c")
        .send_after(BOB, 2 * SECOND, "d")
    )

    assert [each.message.as_type(str) for each in effects.sent] == ["a", "c"]
    assert effects.delayed == [
        DelayedSend(*encode("b"), BOB, 1000, "t"),
        Cancellation("u"),
        DelayedSend(*encode("d"), BOB, 2000),
    ]


def test_a_value_is_written_when_it_is_given() -> None:
    value = bytearray(b"before")
    effects = Effects().send(BOB, value, type=bytes)
    value[:] = b"after"

    assert effects == Effects().send(BOB, b"before")


def test_a_type_can_be_forced() -> None:
    effects = Effects().send(BOB, 1, type=INT).send(BOB, 1)

    as_int = ("io.statefun.types/int", INT.serialize(1))
    assert effects.sent == [
        Send(*as_int, BOB),
        Send("io.statefun.types/long", LONG.serialize(1), BOB),
    ]
    assert Effects().send_after(BOB, SECOND, 1, type=INT).delayed == [
        DelayedSend(*as_int, BOB, 1000)
    ]
    assert Effects().egress("a/b", 1, type=INT).records == [
        EgressMessage(*as_int, EgressIdentifier("a/b"))
    ]


def test_a_test_can_read_the_effects_of_a_function() -> None:
    effects = (
        Effects()
        .send(BOB, "hello")
        .send_after(BOB, dt.timedelta(minutes=1), 7, cancellation_token="t")
        .cancel("t")
        .egress("example/greets", kafka_record("greets", value="hi"))
        .update_state(SEEN, 1)
        .update_state("name", "Bob")
        .delete_state(SEEN)
        .delete_state("name")
    )

    (sent,) = effects.sent
    assert (sent.address, sent.message.as_type(str)) == (BOB, "hello")
    delayed, cancellation = effects.delayed
    assert isinstance(delayed, DelayedSend)
    assert (delayed.address, delayed.delay) == (BOB, dt.timedelta(minutes=1))
    assert delayed.message.as_type(int) == 7
    assert delayed.cancellation_token == cancellation.cancellation_token == "t"
    (record,) = effects.records
    assert record.egress == "example/greets"
    assert record.message == kafka_record("greets", value="hi")
    assert [(change.name, change.value) for change in effects.changes] == [
        ("seen", 1),
        ("name", "Bob"),
        ("seen", None),
        ("name", None),
    ]


def test_an_address_may_be_text() -> None:
    assert Effects().send("example/greeter/bob", 1) == Effects().send(BOB, 1)
    assert Effects().send_after("example/greeter/a/b", SECOND, 1) == (
        Effects().send_after(Address("example/greeter", "a/b"), SECOND, 1)
    )
    with pytest.raises(ValueError, match="Write it as 'namespace/name/id'"):
        Effects().send("example/greeter", 1)


def test_changes_are_equal_by_name_and_value() -> None:
    change = Effects().update_state(SEEN, 1).changes[0]

    assert change == StateChange("seen", SEEN._encode(1))
    assert hash(change) == hash(StateChange("seen", SEEN._encode(1)))
    assert change != StateChange("seen", None)
    assert (change == "seen") is False


# -- delays and tokens ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delay", "milliseconds"),
    [
        (dt.timedelta(0), 0),
        (dt.timedelta(microseconds=1), 1),
        (dt.timedelta(milliseconds=1), 1),
        (dt.timedelta(microseconds=1001), 2),
        (dt.timedelta(hours=1), 3_600_000),
        (dt.timedelta.max, 86_399_999_999_999_999 + 1),
    ],
)
def test_a_delay_is_rounded_up_to_milliseconds(delay: dt.timedelta, milliseconds: int) -> None:
    assert Effects().send_after(BOB, delay, 1).delayed[0].milliseconds == milliseconds


def test_a_negative_delay_is_refused() -> None:
    assert error(Effects().send_after, BOB, -SECOND, 1) == (
        "The delay -1 day, 23:59:59 is negative. Use at least timedelta(0)."
    )


@pytest.mark.parametrize("delay", [10, 1.5, "10s", None])
def test_a_delay_is_a_timedelta(delay: t.Any) -> None:
    assert error(Effects().send_after, BOB, delay, 1) == (
        f"A delay must be a timedelta, not {delay!r}. Write for example timedelta(seconds=10)."
    )


def test_no_token_means_none() -> None:
    assert Effects().send_after(BOB, SECOND, 1, cancellation_token=None) == (
        Effects().send_after(BOB, SECOND, 1)
    )


@pytest.mark.parametrize(
    "use", [lambda t: Effects().send_after(BOB, SECOND, 1, cancellation_token=t), Effects().cancel]
)
def test_an_empty_token_is_refused(use: t.Any) -> None:
    assert error(use, "") == (
        "A cancellation token cannot be empty, since the runtime would end the job."
        " Leave it out for a message that is never cancelled."
    )
    assert error(use, 7) == (
        "A cancellation token must be a string, not 7. Write it as text, for example '7'."
    )
    assert error(use, "\ud800") == (
        "'\\ud800' cannot be written as UTF-8, so it cannot be the cancellation token."
        " Remove the lone surrogates."
    )


def test_a_cancellation_needs_a_token() -> None:
    assert error(Effects().cancel, None) == (
        "A cancellation token must be a string, not None. Write it as text, for example 'None'."
    )


# -- targets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [7, None, ("example/greeter", "bob")])
def test_a_target_is_an_address(target: t.Any) -> None:
    message = (
        f"{target!r} is not an address. Write Address('namespace/name', 'id'), or"
        " 'namespace/name/id'."
    )

    assert error(Effects().send, target, 1) == message
    assert error(Effects().send_after, target, SECOND, 1) == message


@pytest.mark.parametrize("identifier", ["greets", "a/b/c", ""])
def test_an_egress_has_a_typename(identifier: str) -> None:
    assert error(Effects().egress, identifier, b"x") == (
        f"'{identifier}' is not a typename. Write it as 'namespace/name', with one slash."
    )


# -- values -----------------------------------------------------------------------------------


def test_a_value_that_does_not_fit_is_refused_on_the_users_line() -> None:
    effects = Effects()

    assert error(effects.send, BOB, 2**63) == (
        "9223372036854775808 does not fit in 64 bits. Send it as str or bytes."
    )
    assert "'NoneType' has no StateFun type." in error(effects.send, BOB, None)
    assert error(effects.send, BOB, "1", type=INT) == (
        "Expected int, got str '1'. Convert it, or name another type."
    )
    assert error(effects.update_state, SEEN, "1") == (
        "The state 'seen' of type 'io.statefun.types/long' cannot hold '1'."
        " Expected int, got str '1'. Convert it, or name another type."
    )
    assert not effects


def test_a_state_cannot_hold_none() -> None:
    assert error(Effects().update_state, SEEN, None) == (
        "A state cannot hold None. Use 'delete_state' to delete its value."
    )
    assert error(Effects().update_state, "seen", None) == (
        "A state cannot hold None. Use 'delete_state' to delete its value."
    )


def test_a_state_is_a_spec_or_a_name() -> None:
    assert error(Effects().update_state, 7, 1) == (
        "7 is not a state. Declare it as ValueSpec('name', type) or as a bare 'name'."
    )
    assert error(Effects().delete_state, None) == (
        "None is not a state. Declare it as ValueSpec('name', type) or as a bare 'name'."
    )


def test_the_type_for_a_typed_state_must_be_its_own() -> None:
    assert Effects().update_state(SEEN, 1, type=int) == Effects().update_state(SEEN, 1)
    with pytest.raises(StateTypeError) as caught:
        Effects().update_state(SEEN, 1, type=INT)
    assert str(caught.value) == (
        "The state 'seen' is declared as 'io.statefun.types/long', not 'io.statefun.types/int'."
        " Use the handle that it was declared with."
    )


def test_the_value_of_an_untyped_state_is_stored_as_the_given_type() -> None:
    untyped = ValueSpec("seen")

    (change,) = Effects().update_state(untyped, 1, type=FLOAT).changes
    assert change.value == 1.0
    assert change.stored is not None
    assert b"FloatValue" in change.stored[1]


# -- as a value -------------------------------------------------------------------------------


def test_effects_are_equal_by_content() -> None:
    assert Effects().send(BOB, 1) == Effects().send(Address("example/greeter", "bob"), 1)
    assert Effects().send(BOB, 1) != Effects().send(BOB, 2)
    assert Effects().send(BOB, 1) != Effects().send_after(BOB, SECOND, 1)
    assert Effects() != "Effects()"
    assert Effects().update_state(SEEN, 1) == Effects().update_state("seen", 1)
    assert Effects().delete_state(SEEN) == Effects().delete_state("seen")
    with pytest.raises(TypeError, match="unhashable"):
        hash(Effects())


def test_effects_are_true_when_something_should_happen() -> None:
    assert not Effects()
    assert Effects().send(BOB, 1)
    assert Effects().cancel("t")
    assert Effects().egress("a/b", b"")
    assert Effects().delete_state(SEEN)


def test_two_effects_are_joined_in_order() -> None:
    first = Effects().send(BOB, 1).update_state(SEEN, 1)
    second = Effects().send(BOB, 2).delete_state(SEEN).cancel("t").egress("a/b", b"x")

    joined = first + second
    assert joined == (
        Effects()
        .send(BOB, 1)
        .update_state(SEEN, 1)
        .send(BOB, 2)
        .delete_state(SEEN)
        .cancel("t")
        .egress("a/b", b"x")
    )
    assert first == Effects().send(BOB, 1).update_state(SEEN, 1)
    assert first.extend(second) == joined


def test_only_effects_are_joined() -> None:
    assert error(Effects().extend, "text") == (
        "'text' is not an Effects object. Extend with the Effects of another function."
    )
    with pytest.raises(TypeError, match="unsupported operand"):
        Effects() + "text"  # type: ignore[operator]


def test_the_repr_of_effects_shows_the_calls() -> None:
    effects = (
        Effects()
        .send(BOB, "hi")
        .send_after(BOB, SECOND, 7, cancellation_token="t")
        .send_after(BOB, SECOND, True)
        .cancel("t")
        .egress("example/greets", Message("example/raw", b"\xff"))
        .update_state(SEEN, 1)
        .delete_state("seen")
    )

    assert repr(Effects()) == "Effects()"
    assert repr(effects).splitlines() == [
        "Effects()",
        "  .send(example/greeter/bob, 'hi')",
        "  .send_after(example/greeter/bob, 1000 ms, 7, cancellation_token='t')",
        "  .send_after(example/greeter/bob, 1000 ms, True)",
        "  .cancel('t')",
        "  .egress(example/greets, example/raw <1 bytes>)",
        "  .update_state(seen, 1)",
        "  .delete_state(seen)",
    ]
    assert "KafkaProducerRecord" in repr(Effects().egress("a/b", kafka_record("t", value="x")))


def test_sealed_effects_cannot_be_extended() -> None:
    effects = Effects().send(BOB, 1)
    effects._sealed = True

    adds: list[t.Callable[[], Effects]] = [
        lambda: effects.send(BOB, 1),
        lambda: effects.send_after(BOB, SECOND, 1),
        lambda: effects.cancel("t"),
        lambda: effects.egress("a/b", b"x"),
        lambda: effects.update_state(SEEN, 1),
        lambda: effects.delete_state(SEEN),
        lambda: effects.extend(Effects()),
    ]
    for add in adds:
        with pytest.raises(RuntimeError) as caught:
            add()
        assert str(caught.value) == (
            "A function has returned these Effects already, so nothing can be added to them."
            " Make a new Effects() for each message."
        )
    assert effects + Effects().send(BOB, 2) == Effects().send(BOB, 1).send(BOB, 2)
