"""The context of an invocation, made by hand as in a user's test."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from google.protobuf import any_pb2
from google.protobuf import timestamp_pb2
from google.protobuf import wrappers_pb2

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import INT
from statefun_flask import json_type
from statefun_flask import Message
from statefun_flask import StateTypeError
from statefun_flask import STRING
from statefun_flask import Type
from statefun_flask import UnknownStateError
from statefun_flask import ValueSpec
from statefun_flask.values.batch_scope import BatchScope
from statefun_flask.values.batch_scope import default_logger
from statefun_flask.values.context import DebugContext
from statefun_flask.values.context import InvocationContext
from statefun_flask.values.state import StoredForm

BOB = Address("example/greeter", "bob")
SEEN = ValueSpec("seen", int)
UNTYPED = ValueSpec("anything")
SCOPE = BatchScope([(None, Message("example/text"))], None, default_logger)


@json_type("example/Basket")
@dataclasses.dataclass
class Basket:
    items: list[str]


BASKET = ValueSpec("basket", Basket)


def invoked(
    stored: dict[str, StoredForm], *specs: ValueSpec[t.Any], debug_checks: bool = False
) -> InvocationContext:
    """Return a context as the handler makes it."""
    declared = {spec.name: spec for spec in specs}
    make = DebugContext if debug_checks else InvocationContext
    return make(BOB, None, stored, declared, SCOPE, 0)


def test_a_context_is_made_by_hand() -> None:
    caller = Address("example/caller", "eve")
    context = Context(BOB, caller, states={SEEN: 3, "anything": "text"})

    assert (context.self_address, context.caller_address) == (BOB, caller)
    assert context.get_state(SEEN) == 3
    assert context.get_state("seen") == 3
    assert context.get_state("anything") == "text"
    assert repr(context) == "<Context of example/greeter/bob from example/caller/eve>"
    assert repr(Context(BOB)) == "<Context of example/greeter/bob>"


def test_a_state_that_a_test_does_not_list_has_no_value() -> None:
    assert Context(BOB).get_state(SEEN) is None
    assert Context(BOB).get_state("anything") is None
    assert Context(BOB).caller_address is None
    assert Context(BOB, states={SEEN: None}).get_state(SEEN) is None


def test_addresses_may_be_text() -> None:
    context = Context("example/greeter/bob", "example/caller/a/b")

    assert context.self_address == BOB
    assert context.caller_address == Address("example/caller", "a/b")


@pytest.mark.parametrize("args", [(7,), (BOB, 7)])
def test_a_context_needs_addresses(args: t.Any) -> None:
    with pytest.raises(TypeError) as caught:
        Context(*args)

    assert str(caught.value) == (
        "7 is not an address. Write Address('namespace/name', 'id'), or 'namespace/name/id'."
    )


def test_a_state_listed_by_name_is_read_through_a_handle() -> None:
    context = Context(BOB, states={"seen": 3, "basket": Basket(["apple"]), "gone": None})

    assert context.get_state(SEEN) == 3
    assert context.get_state("seen") == 3
    assert context.get_state(BASKET) == Basket(["apple"])
    assert context.get_state(ValueSpec("gone", int)) is None
    with pytest.raises(StateTypeError) as caught:
        context.get_state(ValueSpec("seen", str))
    assert str(caught.value) == (
        "The state 'seen' of type 'io.statefun.types/string' cannot hold 3. Expected str, got int"
        " 3. Convert it, or name another type."
    )


def test_a_state_listed_by_a_handle_is_read_through_a_handle_of_its_type() -> None:
    context = Context(BOB, states={SEEN: 3})

    assert context.get_state(ValueSpec("seen", int)) == 3
    with pytest.raises(StateTypeError, match="is declared as"):
        context.get_state(ValueSpec("seen", str))


def test_a_value_in_a_test_must_fit_its_type() -> None:
    with pytest.raises(StateTypeError, match="The state 'seen' of type"):
        Context(BOB, states={SEEN: "3"})


def test_zero_is_a_value() -> None:
    context = Context(BOB, states={SEEN: 0})

    assert context.get_state(SEEN) == 0


def test_a_value_is_decoded_afresh_at_each_read() -> None:
    context = Context(BOB, states={BASKET: Basket(["apple"])})

    basket: t.Any = context.get_state(BASKET)
    assert basket is not None
    basket.items.append("pear")
    assert context.get_state(BASKET) == Basket(["apple"])


# -- undeclared and differently typed ---------------------------------------------------------


def test_an_undeclared_state_is_refused() -> None:
    with pytest.raises(UnknownStateError) as caught:
        invoked({}, SEEN).get_state("sen")

    assert str(caught.value) == (
        "The function 'example/greeter' does not declare the state 'sen'. Did you mean 'seen'?"
        " Add it to the states=[…] of 'example/greeter'."
    )
    with pytest.raises(UnknownStateError) as caught:
        invoked({}).get_state(BASKET)
    assert str(caught.value) == (
        "The function 'example/greeter' does not declare the state 'basket'."
        " Add it to the states=[…] of 'example/greeter'."
    )


def test_a_handle_of_another_type_is_refused() -> None:
    with pytest.raises(StateTypeError) as caught:
        invoked({"seen": None}, SEEN).get_state(ValueSpec("seen", str))

    assert str(caught.value) == (
        "The state 'seen' is declared as 'io.statefun.types/long', not 'io.statefun.types/string'."
        " Use the handle that it was declared with."
    )


def test_a_typed_state_is_read_as_its_own_type_only() -> None:
    context = invoked({"seen": SEEN._encode(3)}, SEEN)

    assert context.get_state("seen", int) == 3
    with pytest.raises(StateTypeError) as caught:
        context.get_state("seen", INT)
    assert str(caught.value) == (
        "The state 'seen' is declared as 'io.statefun.types/long', not 'io.statefun.types/int'."
        " Use the handle that it was declared with."
    )


def test_a_stored_value_of_another_type_is_refused() -> None:
    context = invoked({"seen": ("io.statefun.types/string", STRING.serialize("7"))}, SEEN)

    with pytest.raises(StateTypeError) as caught:
        context.get_state(SEEN)
    assert str(caught.value) == (
        "The state 'seen' is declared as 'io.statefun.types/long', but its stored value is of type"
        " 'io.statefun.types/string'. Declare it with the type it was written with, or use a new"
        " name."
    )


# -- untyped states ---------------------------------------------------------------------------


def untyped(value: t.Any, type: Type[t.Any] | None = None) -> InvocationContext:
    return invoked({"anything": UNTYPED._encode(value, type)}, UNTYPED)


def test_an_untyped_state_gives_primitives_and_messages() -> None:
    stamp = timestamp_pb2.Timestamp(seconds=7)

    assert untyped(7).get_state("anything") == 7
    assert untyped(7, INT).get_state(UNTYPED) == 7
    assert untyped("text").get_state("anything") == "text"
    assert isinstance(untyped(stamp).get_state("anything"), Message)
    assert untyped(stamp).get_state("anything").as_type(timestamp_pb2.Timestamp) == stamp


def test_an_untyped_state_is_read_as_a_type() -> None:
    stamp = timestamp_pb2.Timestamp(seconds=7)

    assert untyped(stamp).get_state("anything", timestamp_pb2.Timestamp) == stamp
    assert untyped(Basket(["a"])).get_state("anything", Basket) == Basket(["a"])
    assert untyped(7, INT).get_state("anything", int) == 7
    assert invoked({"anything": None}, UNTYPED).get_state("anything", int) is None


def test_an_untyped_state_can_be_read_as_an_any() -> None:
    carrier = any_pb2.Any()
    carrier.Pack(wrappers_pb2.StringValue(value="hi"))

    assert untyped("hi").get_state("anything", any_pb2.Any) == carrier


def test_an_untyped_state_is_not_read_as_another_type() -> None:
    with pytest.raises(StateTypeError) as caught:
        untyped("text").get_state("anything", int)

    assert str(caught.value) == (
        "The state 'anything' cannot be read as 'io.statefun.types/long'. A message of type"
        " 'type.googleapis.com/google.protobuf.StringValue' cannot be read as"
        " 'io.statefun.types/long'. Check with 'is_type' first, or read the message as its own"
        " type."
    )


# -- values that are changed in place ---------------------------------------------------------


def checked(spec: ValueSpec[t.Any], value: t.Any) -> DebugContext:
    context = invoked({spec.name: spec._encode(value)}, spec, debug_checks=True)
    assert isinstance(context, DebugContext)
    return context


def test_a_value_that_was_changed_in_place_is_found() -> None:
    context = checked(BASKET, Basket(["apple"]))

    basket: t.Any = context.get_state(BASKET)
    assert list(context.changed_in_place()) == []
    basket.items.append("pear")
    assert list(context.changed_in_place()) == [BASKET]


def test_a_value_that_no_longer_fits_was_changed() -> None:
    context = checked(BASKET, Basket(["apple"]))

    basket: t.Any = context.get_state(BASKET)
    basket.items = object()
    assert list(context.changed_in_place()) == [BASKET]


def test_a_changed_value_of_an_untyped_state_is_found() -> None:
    context = checked(UNTYPED, timestamp_pb2.Timestamp(seconds=7))

    stamp: t.Any = context.get_state("anything", timestamp_pb2.Timestamp)
    assert list(context.changed_in_place()) == []
    stamp.seconds = 8
    assert list(context.changed_in_place()) == [UNTYPED]


def test_an_immutable_value_is_not_found() -> None:
    context = checked(UNTYPED, 7)

    assert context.get_state("anything") == 7
    assert context.get_state("anything", int) == 7
    assert list(context.changed_in_place()) == []
