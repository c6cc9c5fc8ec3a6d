"""JSON types: which classes can be marked, strict reading, and values that are refused."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import datetime as dt
import json
import math
import typing as t
import uuid

import attrs
import msgspec
import pydantic
import pytest

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import json_type
from statefun_flask import Message
from statefun_flask import MessageTypeError
from statefun_flask import RegistrationError
from statefun_flask import Type
from statefun_flask import ValueSpec
from statefun_flask.values.json_types import verify
from statefun_flask.values.message import encode


@json_type("example/Data")
@dataclasses.dataclass
class Data:
    name: str
    ratio: float | None = None


@json_type("example/Struct")
class Struct(msgspec.Struct):
    name: str
    ratio: float | None = None


@json_type("example/Attrs")
@attrs.define
class Attrs:
    name: str
    ratio: float | None = None


@json_type("example/Model")
class Model(pydantic.BaseModel):
    name: str
    ratio: float | None = None


@json_type("example/Aliased")
class Aliased(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True)

    name: str = pydantic.Field(alias="fullName")
    ratio: float | None = None


class Dict(t.TypedDict):
    name: str


DICT: Type[t.Any] = json_type("example/Dict", Dict)
ITEMS: Type[t.Any] = json_type("example/Items", list[Data])
ANYTHING: Type[t.Any] = json_type("example/Anything", t.Any)
CLASSES = [Data, Struct, Attrs, Model, Aliased]
#: The JSON names of fields that differ from the Python names.
ALIASES = {Aliased: {"name": "fullName"}}


def error(function: t.Any, *args: t.Any) -> str:
    with pytest.raises((TypeError, ValueError)) as caught:
        function(*args)
    return str(caught.value)


@pytest.mark.parametrize("cls", CLASSES)
def test_a_marked_class_is_sent_as_json_under_its_name(cls: t.Any) -> None:
    typename, payload = encode(cls(name="Bøb", ratio=0.5))

    assert typename == f"example/{cls.__name__}"
    name = ALIASES.get(cls, {}).get("name", "name")
    assert json.loads(payload.decode()) == {name: "Bøb", "ratio": 0.5}
    assert Message(typename, payload).as_type(cls) == cls(name="Bøb", ratio=0.5)


@pytest.mark.parametrize("cls", CLASSES)
def test_another_sdks_json_is_read(cls: t.Any) -> None:
    name = ALIASES.get(cls, {}).get("name", "name").encode()
    payload = b'{ "' + name + b'": "B\\u00f8b", "ratio": null, "other": [1, 2] }\n'

    assert Message(f"example/{cls.__name__}", payload).as_type(cls) == cls(name="Bøb")


@pytest.mark.parametrize(
    ("type", "value"),
    [
        (DICT, {"name": "Bob"}),
        (ITEMS, [Data("Bob"), Data("Eve", 0.5)]),
        (json_type("example/Pair", tuple[int, str]), (1, "a")),
        (json_type("example/Number", int), 2**70),
        (json_type("example/Id", uuid.UUID), uuid.UUID(int=7)),
        (json_type("example/Time", dt.datetime), dt.datetime(2026, 1, 2, tzinfo=dt.UTC)),
        (json_type("example/Union", Data | int), Data("Bob")),
        (json_type("example/Literal", t.Literal["a", "b"]), "b"),
    ],
    ids=lambda value: value.typename if isinstance(value, Type) else "",
)
def test_an_annotation_gets_a_type(type: Type[t.Any], value: t.Any) -> None:
    typename, payload = encode(value, type)

    assert typename == type.typename
    json.loads(payload)
    assert Message(typename, payload).as_type(type) == value


def test_marking_returns_the_class_unchanged() -> None:
    class Plain(msgspec.Struct):
        name: str

    assert json_type("example/Plain")(Plain) is Plain


def test_only_a_class_can_be_marked() -> None:
    assert error(json_type("example/X"), list[int]) == (
        "@json_type marks a class, not list[int]. Write json_type(typename, annotation)."
    )


def test_marking_comes_last() -> None:
    @attrs.define
    @json_type("example/Slotted")
    class Slotted:
        name: str

    def function(context: Context, message: t.Any) -> Effects:
        return Effects()

    function.__annotations__["message"] = Slotted
    message = (
        "'test_marking_comes_last.<locals>.Slotted' is not the class that @json_type marked, since"
        " a decorator above it makes a new class. Write @json_type above all other decorators."
    )
    assert error(encode, Slotted("Bob")) == message
    assert error(ValueSpec, "seen", Slotted) == message
    assert error(FunctionRegistry().register, "example/fn", function) == message


def test_a_dataclass_may_be_frozen_and_slotted() -> None:
    @json_type("example/Point")
    @dataclasses.dataclass(frozen=True, slots=True)
    class Point:
        x: int
        y: int = 0

    assert Message(*encode(Point(1))).as_type(Point) == Point(1)


def test_types_may_name_classes_that_are_defined_later() -> None:
    @json_type("example/Tree")
    class Tree(msgspec.Struct):
        leaves: list[Leaf]

    typename, payload = encode(Tree([Leaf(1)]))

    assert Message(typename, payload).as_type(Tree) == Tree([Leaf(1)])


class Leaf(msgspec.Struct):
    size: int


# -- another class is another type ------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES)
def test_a_subclass_is_not_that_type(cls: t.Any) -> None:
    class Sub(cls):  # type: ignore[misc]
        pass

    typename = f"example/{cls.__name__}"
    sub = attrs.define(Sub)(name="Bob") if cls is Attrs else Sub(name="Bob")

    assert error(encode, sub) == (
        f"'{Sub.__qualname__}' has no StateFun type: its base '{cls.__name__}' is marked with"
        " @json_type, and a subclass is another type. Write @json_type('namespace/Sub') above the"
        " class."
    )
    with pytest.raises(TypeError, match=f"Expected {cls.__name__}, got Sub"):
        encode(sub, cls)
    with pytest.raises(TypeError, match="has no StateFun type"):
        Message(typename).is_type(Sub)


def test_a_value_of_another_class_is_refused() -> None:
    assert error(encode, {"name": "Bob"}, Data) == (
        "Expected Data, got dict {'name': 'Bob'}. Convert it, or name another type."
    )


# -- what JSON cannot say ---------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused(cls: t.Any, number: float) -> None:
    assert error(encode, cls(name="Bob", ratio=number)) == (
        f"JSON cannot express {number}. Use None, or a text."
    )


@pytest.mark.parametrize(
    "value", [[math.nan], {"a": {"b": math.inf}}, [(1, math.nan)], [Data("Bob", math.nan)]]
)
def test_nan_is_found_however_deep(value: t.Any) -> None:
    with pytest.raises(ValueError, match="JSON cannot express"):
        encode(value, ANYTHING)


def test_none_and_the_text_null_are_not_nan() -> None:
    assert encode(Data("null", None))[1] == b'{"name":"null","ratio":null}'


@pytest.mark.parametrize("cls", [Data, Struct, Attrs])
def test_text_with_lone_surrogates_is_refused(cls: t.Any) -> None:
    assert error(encode, cls(name="a\ud800")) == (
        "Text with lone surrogates cannot be written as JSON. Remove the lone surrogates."
    )


def test_a_value_without_a_json_form_is_refused() -> None:
    assert error(encode, [object()], ANYTHING) == (
        "A value of the class 'object' has no JSON form. Use a dataclass, a pydantic model, or a"
        " class that msgspec encodes."
    )
    with pytest.raises(ValueError, match="surrogates not allowed"):
        encode(Model(name="a\ud800"))
    assert error(encode, Data("a\ud800")) == (
        "Text with lone surrogates cannot be written as JSON. Remove the lone surrogates."
    )


# -- reading is strict ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"{}", "Object missing required field `name`"),
        (b'{"name": 7}', "Expected `str`, got `int` - at `$.name`"),
        (b'{"name": "Bob", "ratio": "0.5"}', "Expected `float | null`, got `str` - at `$.ratio`"),
        (b"[]", "Expected `object`, got `array`"),
        (b"null", "Expected `object`, got `null`"),
        (b'{"name": "Bob"', "Input data was truncated"),
        (b"", "Input data was truncated"),
        (b"Bob", "JSON is malformed: invalid character (byte 0)"),
        (b'{"name": "Bob"} {}', "JSON is malformed: trailing characters (byte 17)"),
        (b'{"name": "Bob", "ratio": NaN}', "JSON is malformed: invalid character (byte 25)"),
    ],
)
@pytest.mark.parametrize("cls", [Data, Struct, Attrs])
def test_an_error_names_the_place_and_the_expected_type(
    cls: t.Any, payload: bytes, reason: str
) -> None:
    typename = f"example/{cls.__name__}"

    assert error(Message(typename, payload).as_type, cls) == (
        f"The message of type '{typename}' cannot be read: {reason}."
        " Check what its sender writes under that typename."
    )


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", '"nan"'])
@pytest.mark.parametrize("cls", CLASSES)
def test_nan_and_infinity_are_not_read_either(cls: t.Any, number: str) -> None:
    payload = f'{{"name": "Bob", "ratio": {number}}}'.encode()

    with pytest.raises(MessageTypeError, match="cannot be read"):
        Message(f"example/{cls.__name__}", payload).as_type(cls)


def test_an_exception_of_a_class_is_a_value_that_cannot_be_read() -> None:
    @json_type("example/Picky")
    @attrs.define
    class Picky:
        name: str

        def __attrs_post_init__(self) -> None:
            raise KeyError(self.name)

    @json_type("example/Picky")
    class Fussy(pydantic.BaseModel):
        name: str

        @pydantic.field_validator("name")
        @classmethod
        def check(cls, value: str) -> str:
            raise KeyError(value)

    for cls in (Picky, Fussy):
        assert error(Message("example/Picky", b'{"name": "Bob"}').as_type, cls) == (
            "The message of type 'example/Picky' cannot be read: its class raised KeyError: 'Bob'."
            " Check what its sender writes under that typename."
        )


def test_bytes_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(MessageTypeError, match="cannot be read"):
        Message("example/Data", b'{"name": "\xff"}').as_type(Data)


def test_json_nested_too_deep_is_refused() -> None:
    with pytest.raises(MessageTypeError, match="cannot be read"):
        Message("example/Anything", b"[" * 100_000).as_type(ANYTHING)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"{}", "Field required - at `$.name`"),
        (
            b'{"name": 7, "ratio": []}',
            (
                "Input should be a valid string - at `$.name`;"
                " Input should be a valid number - at `$.ratio`"
            ),
        ),
        (b"Bob", "Invalid JSON: expected value at line 1 column 1"),
    ],
)
def test_an_error_of_a_pydantic_model_names_the_place_and_the_expected_type(
    payload: bytes, reason: str
) -> None:
    assert error(Message("example/Model", payload).as_type, Model) == (
        f"The message of type 'example/Model' cannot be read: {reason}."
        " Check what its sender writes under that typename."
    )


def test_a_pydantic_model_is_read_strictly() -> None:
    @json_type("example/Count")
    class Count(pydantic.BaseModel):
        number: int

    @json_type("example/Count")
    class LaxCount(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(strict=False)

        number: int

    message = Message("example/Count", b'{"number": "12"}')
    assert error(message.as_type, Count) == (
        "The message of type 'example/Count' cannot be read: Input should be a valid integer - at"
        " `$.number`. Check what its sender writes under that typename."
    )
    assert message.as_type(LaxCount) == LaxCount(number=12)


# -- aliases of pydantic models ---------------------------------------------------------------


def test_a_state_of_a_model_with_aliases_reads_back() -> None:
    @json_type("example/User")
    class User(pydantic.BaseModel):
        user: int = pydantic.Field(alias="userName")

    spec = ValueSpec("user", User)
    stored = spec._encode(User(userName=3))

    assert stored == ("example/User", b'{"userName":3}')
    assert spec._decode(stored) == User(userName=3)


def test_a_field_with_two_different_aliases_is_refused() -> None:
    class User(pydantic.BaseModel):
        user: int = pydantic.Field(validation_alias="in", serialization_alias="out")

    with pytest.raises(RegistrationError) as caught:
        json_type("example/User")(User)
    assert str(caught.value) == (
        "The field 'user' of 'User' is written as 'out', but is not read by that name."
        " Give it one alias for both: Field(alias=…)."
    )


def test_a_field_may_have_several_names_to_be_read_by() -> None:
    @json_type("example/User")
    class User(pydantic.BaseModel):
        user: int = pydantic.Field(
            validation_alias=pydantic.AliasChoices("name", "user"), serialization_alias="user"
        )

    assert Message(*encode(User(name=3))).as_type(User) == User(name=3)


# -- abstract classes -------------------------------------------------------------------------


def test_a_value_of_an_abstract_class_is_an_instance_of_it() -> None:
    mapping: Type[t.Any] = json_type("example/Mapping", cabc.Mapping)

    assert Message(*encode({"a": 1}, mapping)).as_type(mapping) == {"a": 1}
    assert error(encode, [1], mapping) == (
        "Expected Mapping, got list [1]. Convert it, or name another type."
    )


# -- values that msgspec would encode without validation --------------------------------------


def test_a_value_whose_fields_do_not_fit_is_found_by_the_debug_checks() -> None:
    wrong = Data(7)  # type: ignore[arg-type]
    assert encode(wrong)[1] == b'{"name":7,"ratio":null}'  # without the debug checks

    token = verify.set(True)
    try:
        assert error(Effects().send, Address("a/b", "c"), wrong) == (
            "The value cannot be read back: Expected `str`, got `int` - at `$.name`. Correct its"
            " fields."
        )
        assert encode(Data("Bob"))[1] == b'{"name":"Bob","ratio":null}'
    finally:
        verify.reset(token)
