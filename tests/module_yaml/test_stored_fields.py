"""The fields of stored values in the lock, and what a change of them means."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import datetime as dt
import decimal
import enum
import typing as t

import msgspec
import pydantic
import pytest
from google.protobuf.type_pb2 import Field

from statefun_flask import Context
from statefun_flask import custom_type
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import json_type
from statefun_flask import protobuf_type
from statefun_flask import RegistrationError
from statefun_flask import ValueSpec
from statefun_flask.module_yaml.lock import Lock
from statefun_flask.module_yaml.stored_fields import fields_of


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Line:
    sku: str
    count: int = 1
    parts: list[Line] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Cart:
    customer: str
    lines: list[Line]
    prices: dict[str, decimal.Decimal]
    colour: Colour
    note: str | None = None


class Model(pydantic.BaseModel):
    number: int
    user: str = pydantic.Field(alias="userName")
    at: dt.datetime | None = None


class Point(t.NamedTuple):
    x: int
    line: Line
    y: float = 0.0


class Discount(t.TypedDict):
    percent: int
    code: t.NotRequired[str]


class Item(msgspec.Struct):
    sku: str
    count: int


class Late(t.TypedDict):
    nowhere: Nowhere  # type: ignore[name-defined]  # noqa: F821


def locked(python: t.Any) -> Lock:
    """Return the lock of a state of a type, which is named 'shop/cart/cart'."""

    def shop(context: Context, text: str) -> Effects:
        return Effects()

    registry = FunctionRegistry()
    registry.register("shop/cart", shop, states=[ValueSpec("cart", python)])
    return Lock.of(registry)


def test_fields_of_a_dataclass() -> None:
    assert fields_of(json_type("shop/Cart", Cart)) == {
        "customer": "string",
        "lines": "array",
        "lines[]": "object",
        "lines[].sku": "string",
        "lines[].count": "optional integer",
        "lines[].parts": "optional array",
        "lines[].parts[]": "object",
        "prices": "object",
        "prices{}": "decimal",
        "colour": "blue | red",
        "note": "optional null | string",
    }


def test_fields_of_a_pydantic_model_have_their_aliases() -> None:
    assert fields_of(json_type("shop/Model", Model)) == {
        "number": "integer",
        "userName": "string",
        "at": "optional date-time | null",
    }


def test_fields_of_a_protobuf_message_are_named_by_their_numbers() -> None:
    found = fields_of(protobuf_type(Field))
    assert found["1"] == "optional google.protobuf.Field.Kind"
    assert found["4"] == "optional string"
    assert found["9"] == "optional repeated google.protobuf.Option"
    assert found["9.2.2"] == "optional bytes", "a field of the Any in an Option"


def test_other_types_have_no_fields() -> None:
    words = custom_type("shop/words", lambda value: b"", lambda data: [])
    assert fields_of(ValueSpec("n", int).type) == {}
    assert fields_of(words) == {}


@pytest.mark.parametrize(
    ("python", "fields"),
    [
        (
            dict[str, Line],
            {
                "{}": "object",
                "{}.sku": "string",
                "{}.count": "optional integer",
                "{}.parts": "optional array",
                "{}.parts[]": "object",
            },
        ),
        (list[Model], {"[]": "object", "[].number": "integer", "[].userName": "string"}),
        (Discount, {"percent": "integer", "code": "optional string"}),
        (cabc.Mapping[str, set[int]], {"{}": "array", "{}[]": "integer"}),
        (Point, {"[0]": "integer", "[1]": "object", "[1].sku": "string", "[2]": "optional number"}),
        (tuple[int, str], {"[0]": "integer", "[1]": "string"}),
        (dict, {}),
        (Colour, {}),
        (dt.datetime, {}),
        (decimal.Decimal, {}),
    ],
)
def test_fields_of_types_that_need_no_name(python: t.Any, fields: dict[str, str]) -> None:
    found = fields_of(ValueSpec("state", python).type)
    assert fields.items() <= found.items()
    assert bool(fields) == bool(found)


def test_the_lock_of_a_derived_type_has_its_fields_and_finds_a_change_of_them() -> None:
    lock = locked(dict[str, Line])
    assert '"{}.sku": "string"' in lock.text()
    assert Lock.parse(lock.text().encode()).check(lock) == []
    # The typename is that of every dict, so nothing but the fields shows the change.
    new = locked(dict[str, Item])
    assert lock.entries["shop/cart/cart"].type == new.entries["shop/cart/cart"].type
    (found,) = lock.check(new)
    assert (found.code, found.severity) == ("unreadable-field", "error")
    assert "The field '{}.count' of the state 'shop/cart/cart' is now required" in str(found)


def test_a_changed_item_of_a_tuple_is_an_error() -> None:
    (found,) = locked(tuple[int, str]).check(locked(tuple[int, bool]))
    assert "The field '[1]' of the state 'shop/cart/cart' was 'string'" in str(found)


def test_the_lock_of_a_type_with_an_undefined_class_names_the_function() -> None:
    with pytest.raises(RegistrationError, match=r"of '.*shop' cannot be read: name 'Nowhere'"):
        locked(Late)


def test_a_lock_keeps_the_fields() -> None:
    lock = locked(json_type("shop/Cart", Cart))
    assert Lock.parse(lock.text().encode()).check(lock) == []
    assert '"lines[].sku": "string"' in lock.text()


def make(**fields: t.Any) -> type:
    """Return a class with these fields: a type, or a type and a default."""
    return msgspec.defstruct(
        "Cart",
        [(name, *(each if isinstance(each, tuple) else (each,))) for name, each in fields.items()],
    )


OLD = make(name=str, count=int, note=(str, ""))
ACCEPT = "or run 'flask statefun lock --accept shop/cart/cart' if no value is stored."


@pytest.mark.parametrize(
    ("fields", "finding"),
    [
        (
            {"name": str, "count": int, "paid": bool, "note": (str, "")},
            (
                "The field 'paid' of the state 'shop/cart/cart' is new and required, and stored"
                f" values lack it: a function that reads one fails. Give it a default, {ACCEPT}"
            ),
        ),
        (
            {"name": str, "count": int, "note": str},
            (
                "The field 'note' of the state 'shop/cart/cart' is now required, and stored values"
                f" may lack it: a function that reads one fails. Give it a default, {ACCEPT}"
            ),
        ),
        (
            {"name": str, "count": str, "note": (str, "")},
            (
                "The field 'count' of the state 'shop/cart/cart' was 'integer' and is now"
                " 'string': a function that reads one fails. Keep what it was, or add a field of"
                f" another name with a default, {ACCEPT}"
            ),
        ),
    ],
)
def test_a_field_that_stored_values_do_not_fit_is_an_error(
    fields: dict[str, t.Any], finding: str
) -> None:
    new = make(**fields)
    (found,) = locked(OLD).check(locked(new))
    assert str(found) == f"statefun.lock: {finding}"
    (refused,) = locked(OLD).refused(locked(new), ())
    assert refused == found
    assert locked(OLD).refused(locked(new), ("shop/cart/cart",)) == []
    # The finding is true: such a value cannot be read.
    stored = msgspec.json.encode({"name": "bob", "count": 1})
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(stored, type=new)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": str, "count": int, "note": (str, ""), "paid": (bool, False)},
        {"name": str, "count": int},
        {"name": str, "count": float, "note": (str, "")},
        {"name": str, "count": int | None, "note": (str | None, None)},
    ],
)
def test_a_field_that_stored_values_fit_is_a_warning(fields: dict[str, t.Any]) -> None:
    new = make(**fields)
    (found,) = locked(OLD).check(locked(new))
    assert (found.code, found.severity) == ("changed-fields", "warning")
    assert locked(OLD).refused(locked(new), ()) == []
    msgspec.json.decode(b'{"name": "bob", "count": 1}', type=new)


def test_a_field_of_a_new_optional_object_is_no_error() -> None:
    inner = msgspec.defstruct("Item", [("sku", str)])
    new = make(name=str, count=int, note=(str, ""), item=(inner | None, None))
    (found,) = locked(OLD).check(locked(new))
    assert found.code == "changed-fields"


def test_a_lock_without_fields_asks_for_a_new_one() -> None:
    old = Lock.parse(b'{"version": 1, "states": {"shop/cart": {"cart": {"type": "shop/Cart"}}}}')
    (found,) = old.check(locked(json_type("shop/Cart", OLD)))
    assert (found.code, found.severity) == ("changed-fields", "warning")
