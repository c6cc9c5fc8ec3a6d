"""Names and addresses."""

from __future__ import annotations

import copy
import pickle
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask import EgressIdentifier
from statefun_flask import FunctionType


@pytest.mark.parametrize("cls", [FunctionType, EgressIdentifier])
def test_a_name_is_a_string_with_two_halves(cls: t.Any) -> None:
    name = cls("example/greeter")

    assert name == "example/greeter"
    assert (name.namespace, name.name) == ("example", "greeter")
    assert cls("example", "greeter") == name
    assert hash(name) == hash("example/greeter")
    assert type(str(name)) is str
    assert f"{name}" == "example/greeter"
    assert repr(name) == f"{cls.__name__}('example/greeter')"


@pytest.mark.parametrize("cls", [FunctionType, EgressIdentifier])
def test_a_name_survives_copying_and_pickling(cls: t.Any) -> None:
    for twin in (copy.deepcopy(cls("a/b")), pickle.loads(pickle.dumps(cls("a/b")))):
        assert type(twin) is cls
        assert (twin, twin.namespace, twin.name) == ("a/b", "a", "b")


@pytest.mark.parametrize("text", ["", "/", "greeter", "/greeter", "example/", "a/b/c", "a//b"])
@pytest.mark.parametrize("make", [FunctionType, EgressIdentifier, lambda text: Address(text, "x")])
def test_a_typename_has_exactly_one_slash(make: t.Any, text: str) -> None:
    with pytest.raises(ValueError, match="is not a typename") as caught:
        make(text)

    assert str(caught.value) == (
        f"'{text}' is not a typename. Write it as 'namespace/name', with one slash."
    )


@pytest.mark.parametrize("make", [FunctionType, EgressIdentifier, lambda text: Address(text, "x")])
def test_a_typename_is_text(make: t.Any) -> None:
    with pytest.raises(TypeError, match="typename") as caught:
        make(7)

    assert str(caught.value) == "A typename must be a string, not 7. Write it as 'namespace/name'."


def test_a_typename_encodes_to_utf8() -> None:
    with pytest.raises(ValueError, match="UTF-8") as caught:
        FunctionType("a/\ud800")

    assert str(caught.value) == (
        "'a/\\ud800' cannot be written as UTF-8, so it cannot be the typename."
        " Remove the lone surrogates."
    )


def test_the_typename_of_an_address_is_text_or_a_function_type() -> None:
    address = Address("example/greeter", "bob")

    assert address == Address(FunctionType("example", "greeter"), "bob")
    assert type(address.type) is FunctionType
    assert address.type.namespace == "example"
    assert address.id == "bob"
    assert str(address) == "example/greeter/bob"


def test_addresses_are_frozen_hashable_and_ordered() -> None:
    bob = Address("example/greeter", "bob")

    with pytest.raises(AttributeError):
        bob.id = "eve"  # type: ignore[misc]
    assert {bob: 1}[Address("example/greeter", "bob")] == 1
    assert sorted([Address("b/b", "1"), Address("a/a", "2"), Address("a/a", "1")]) == [
        Address("a/a", "1"),
        Address("a/a", "2"),
        Address("b/b", "1"),
    ]
    assert pickle.loads(pickle.dumps(bob)) == bob


@pytest.mark.parametrize("identifier", ["", "bøb", "a/b", "\0", "x" * 5000])
def test_an_id_is_any_text(identifier: str) -> None:
    assert Address("a/b", identifier).id == identifier


def test_an_id_of_a_subclass_of_str_becomes_plain() -> None:
    class Key(str):
        __slots__ = ()

    assert type(Address("a/b", Key("x")).id) is str


def test_an_id_is_not_a_number() -> None:
    with pytest.raises(TypeError, match="id of an address") as caught:
        Address("a/b", 7)  # type: ignore[arg-type]

    assert str(caught.value) == (
        "The id of an address must be a string, not 7. Write it as text, for example '7'."
    )


def test_an_id_with_a_lone_surrogate_is_refused_on_the_users_line() -> None:
    with pytest.raises(ValueError, match="UTF-8") as caught:
        Address("a/b", "bob\ud800")

    assert str(caught.value) == (
        "'bob\\ud800' cannot be written as UTF-8, so it cannot be the id of an address."
        " Remove the lone surrogates."
    )
