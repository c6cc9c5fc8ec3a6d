"""Types that need no name: which classes and annotations have one, and what their values are."""

from __future__ import annotations

import collections
import collections.abc as cabc
import dataclasses
import datetime as dt
import decimal
import enum
import json
import subprocess
import sys
import typing as t
import uuid

import attrs
import msgspec
import pydantic
import pytest
from to_function import invoke

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import INT
from statefun_flask import json_type
from statefun_flask import LONG
from statefun_flask import Message
from statefun_flask import MessageTypeError
from statefun_flask import RegistrationError
from statefun_flask import STRING
from statefun_flask import Type
from statefun_flask import ValueSpec
from statefun_flask.core.registry import compile_tables
from statefun_flask.values.derived import type_of
from statefun_flask.values.derived import type_of_value
from statefun_flask.values.json_types import verify
from statefun_flask.values.message import encode


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


class Size(enum.StrEnum):
    SMALL = "small"


class Model(pydantic.BaseModel):
    name: str
    at: dt.datetime | None = None
    price: decimal.Decimal = decimal.Decimal("1.50")


@dataclasses.dataclass
class Item:
    name: str
    model: Model | None = None
    models: dict[str, Model] = dataclasses.field(default_factory=dict)
    color: Color = Color.RED


class Struct(msgspec.Struct):
    models: list[Model]


@attrs.define
class Attrs:
    model: Model


class Pair(t.NamedTuple):
    left: int
    right: Model | None = None


class Order(t.TypedDict):
    name: str
    items: t.NotRequired[list[Item]]


class Tree(msgspec.Struct):
    children: list[Tree] = []
    value: int | None = None


UserId = t.NewType("UserId", str)
Tags = t.NewType("Tags", list[str])

MODEL = Model(name="Bøb", at=dt.datetime(2026, 1, 2, tzinfo=dt.UTC))
ITEM = Item("apple", MODEL, {"a": MODEL}, Color.BLUE)
UUID = uuid.UUID(int=7)
NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC)


def error(function: t.Any, *args: t.Any, **kwargs: t.Any) -> str:
    with pytest.raises((TypeError, ValueError)) as caught:
        function(*args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize(
    ("python", "name", "value", "payload"),
    [
        (dict, "dict", {"a": [1, None]}, {"a": [1, None]}),
        (dict[str, int], "dict", {"a": 1}, {"a": 1}),
        (dict[str, Item], "dict", {"a": Item("b")}, ...),
        (dict[int, UserId], "dict", {1: "bob"}, {"1": "bob"}),
        (dict[uuid.UUID, dt.date], "dict", {UUID: NOW.date()}, {str(UUID): "2026-01-02"}),
        (dict[Color, float | None], "dict", {Color.RED: None}, {"red": None}),
        (cabc.Mapping[str, int], "dict", {"a": 1}, {"a": 1}),
        (t.Mapping[str, int], "dict", {"a": 1}, {"a": 1}),
        (Order, "dict", {"name": "bob", "items": [ITEM]}, ...),
        (list, "list", [1, "a"], [1, "a"]),
        (list[int], "list", [1, 2], [1, 2]),
        (list[Item | None], "list", [ITEM, None], ...),
        (list[Model], "list", [MODEL], ...),
        (t.List[int], "list", [1], [1]),  # noqa: UP006
        (cabc.Sequence[int], "list", [1], [1]),
        (Tags, "list", ["a"], ["a"]),
        (t.Annotated[list[int], "text"], "list", [1], [1]),
        (tuple[int, str], "tuple", (1, "a"), [1, "a"]),
        (tuple[int, ...], "tuple", (1, 2), [1, 2]),
        (set[int], "set", {1}, [1]),
        (frozenset[str], "frozenset", frozenset({"a"}), ["a"]),
        (cabc.Set[int], "set", {1}, [1]),
        (dt.datetime, "datetime", NOW, "2026-01-02T03:04:05.000006Z"),
        (dt.date, "date", NOW.date(), "2026-01-02"),
        (dt.time, "time", dt.time(1, 2), "01:02:00"),
        (dt.timedelta, "timedelta", dt.timedelta(days=1, milliseconds=5), "P1DT0.005S"),
        (decimal.Decimal, "Decimal", decimal.Decimal("1.10"), "1.10"),
        (uuid.UUID, "UUID", UUID, str(UUID)),
        (Item, "Item", ITEM, ...),
        (Model, "Model", MODEL, {"name": "Bøb", "at": "2026-01-02T00:00:00Z", "price": "1.50"}),
        (Struct, "Struct", Struct([MODEL]), ...),
        (Attrs, "Attrs", Attrs(MODEL), ...),
        (Pair, "Pair", Pair(1, MODEL), ...),
        (Tree, "Tree", Tree([Tree(value=7)]), ...),
    ],
)
def test_a_type_follows_from_a_class_or_an_annotation(
    python: t.Any, name: str, value: t.Any, payload: t.Any
) -> None:
    spec = ValueSpec("state", python)
    stored = spec._encode(value)

    assert spec.typename == stored[0] == f"statefun_flask.json/{name}"
    assert payload is ... or json.loads(stored[1]) == payload
    assert spec._decode(stored) == value
    assert type(spec._decode(stored)) is type(value)
    assert type_of(python) is type_of(python)

    # A value has the same typename without the annotation.
    assert encode(value) == stored
    assert Message(*encode(value)).as_type(python) == value


@pytest.mark.parametrize(
    ("python", "type", "member", "value"),
    [
        (Color, STRING, Color.RED, "red"),
        (Level, LONG, Level.HIGH, 2),
        (Size, STRING, Size.SMALL, "small"),
    ],
)
def test_an_enum_travels_as_its_value(
    python: t.Any, type: Type[t.Any], member: enum.Enum, value: object
) -> None:
    spec = ValueSpec("state", python)

    assert spec._encode(member) == encode(member) == encode(value, type)
    assert spec._decode(encode(value)) is member
    assert "is not a valid" in error(Message(*encode(type.python())).as_type, python)
    assert error(spec._encode, value).endswith(
        f"Expected {python.__name__}, got {value.__class__.__name__} {value!r}. Convert it, or"
        " name another type."
    )


def test_an_enum_of_small_integers_reads_what_an_int_reads() -> None:
    assert Message(*encode(2, INT)).as_type(Level) is Level.HIGH


def test_an_exception_of_an_enum_is_a_value_that_cannot_be_read() -> None:
    class Odd(enum.Enum):
        A = "a"

        @classmethod
        def _missing_(cls, value: object) -> t.Any:
            raise KeyError(value)

    with pytest.raises(MessageTypeError, match="its class raised KeyError: 'b'"):
        Message(*encode("b")).as_type(Odd)


def test_a_typename_does_not_depend_on_the_process() -> None:
    code = (
        "import datetime, decimal; from statefun_flask import ValueSpec;"
        "print(*(ValueSpec('a', each).typename for each in"
        " [dict[str, decimal.Decimal | None], list[int], set[str], datetime.datetime]))"
    )

    for seed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout.split() == [
            f"statefun_flask.json/{name}" for name in ("dict", "list", "set", "datetime")
        ]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (collections.Counter("aab"), "dict"),
        (collections.OrderedDict(a=1), "dict"),
        (collections.defaultdict(int, a=1), "dict"),
        (type("Names", (list,), {})(["bob"]), "list"),
    ],
)
def test_subclasses_of_containers_go_as_their_base(value: t.Any, name: str) -> None:
    typename, payload = encode(value)

    assert typename == f"statefun_flask.json/{name}"
    assert ValueSpec("state", type_of_value(value))._encode(value) == (typename, payload)
    base: t.Any = dict if name == "dict" else list
    assert Message(typename, payload).as_type(base) == base(value)


@pytest.mark.parametrize(
    ("python", "value", "shown"),
    [
        (dict[str, int], [1], "dict[str, int], got list [1]"),
        (list[int], "ab", "list[int], got str 'ab'"),
        (dt.date, NOW, "date, got datetime"),
        (Order, Item("a"), "Order, got Item"),
        (Item, {"name": "a"}, "Item, got dict"),
        (set[int], [1], "set[int], got list"),
    ],
)
def test_a_value_of_another_class_is_refused(python: t.Any, value: t.Any, shown: str) -> None:
    assert f"Expected {shown}" in error(ValueSpec("state", python)._encode, value)


def test_a_wrong_part_is_refused_when_it_is_read_and_by_the_debug_checks() -> None:
    stored = ValueSpec("state", list[int])._encode(["a"])

    assert "Expected `int`, got `str` - at `$[0]`" in error(
        ValueSpec("state", list[int])._decode, stored
    )
    token = verify.set(True)
    try:
        assert "cannot be read back" in error(ValueSpec("state", list[int])._encode, ["a"])
    finally:
        verify.reset(token)


def test_a_marked_class_keeps_its_name() -> None:
    marked = json_type("shop/Items")(dataclasses.make_dataclass("Items", [("a", int)]))

    assert ValueSpec("state", marked).typename == "shop/Items"
    assert ValueSpec("state", list[marked]).typename == "statefun_flask.json/list"  # type: ignore[valid-type]


def test_a_class_that_is_marked_later_has_the_name_that_it_is_marked_with() -> None:
    late = dataclasses.make_dataclass("Late", [("a", int)])
    assert type_of(late).typename == "statefun_flask.json/Late"
    json_type("shop/Late")(late)

    assert type_of(late).typename == "shop/Late"


def test_an_annotation_may_name_the_type() -> None:
    names = json_type("shop/Names", list[str])

    assert ValueSpec("state", t.Annotated[list[str], names]).type is names


@pytest.mark.parametrize(
    ("python", "label"),
    [
        (dict[str, Item], "dict[str, Item]"),
        (dict[str, list[Item | None]], "dict[str, list[Item | None]]"),
        (t.Optional, None),
        (tuple[int, ...], "tuple[int, ...]"),
        (list[t.Literal["a", 1]], "list[Literal['a', 1]]"),
        (list[t.Any], "list[Any]"),
        (Item, "Item"),
        (Color, "Color"),
        (Order, "Order"),
        (dt.datetime, "datetime"),
    ],
)
def test_a_type_is_shown_as_it_is_written(python: t.Any, label: str | None) -> None:
    if label is None:
        assert "has no StateFun type" in error(type_of, python)
    else:
        assert type_of(python).label == label


# -- what is refused where it is declared -----------------------------------------------------


class Broken(msgspec.Struct):
    inner: dict[str, list[complex]]


@dataclasses.dataclass
class WithBroken:
    broken: Broken | None


class BadEnum(enum.Enum):
    A = 1
    B = "b"


@dataclasses.dataclass
class Point:
    x: int


class Odd(pydantic.BaseModel):
    name: str = pydantic.Field(serialization_alias="Name")


@dataclasses.dataclass
class WithOdd:
    odd: Odd


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        (dict[str, complex], "JSON cannot express a 'complex'."),
        (WithBroken, "JSON cannot express a 'complex'."),
        (list[object | type], "Type unions may not contain more than one custom type"),
        (dict[Point, int], "a key of an object in JSON is text, not a 'Point'."),
        (dict[tuple[int, str], int], "a key of an object in JSON is text, not a tuple."),
        (set[list[int]], "a set cannot hold a list, which is not hashable."),
        (set[Point], "a set cannot hold a 'Point', which is not hashable."),
        (list[Point | Item], "more than one"),
        (list[Point | Model], "a custom type may not contain"),
        (list[BadEnum], "Enums must contain either all str or all int values"),
        (list["Nowhere"], "Type ''Nowhere'' is not supported"),  # type: ignore[name-defined]  # noqa: F821
        (WithOdd, "The field 'name' of 'Odd' is written as 'Name', but is not read by that name."),
        (list[cabc.Callable[[], int]], "JSON cannot express a 'Callable'."),
        (complex, "'complex' has no StateFun type."),
        (BadEnum, "since its values are not all str, or all int. Give it such values"),
        (int | None, "Remove None: a state without a value is read as None, or as its default."),
        (int | str, "Write json_type('namespace/name', int | str)."),
        (json_type("a/b", list[complex]), "JSON cannot express a 'complex'."),
    ],
)
def test_what_cannot_travel_is_refused_where_it_is_declared(python: t.Any, reason: str) -> None:
    def function(context: Context, message: t.Any) -> Effects:
        return Effects()

    with pytest.raises(RegistrationError) as caught:
        ValueSpec("state", python)
    assert reason in str(caught.value)

    if t.get_args(python) == (int, str) or type(None) in t.get_args(python):
        return  # a union is several types to a function
    function.__annotations__["message"] = (
        t.Annotated[bytes, python] if isinstance(python, Type) else python
    )
    with pytest.raises(RegistrationError) as caught:
        FunctionRegistry().register("a/b", function)
    assert "is not allowed." in str(caught.value) or "cannot be resolved" in str(caught.value)


@dataclasses.dataclass
class Early:
    later: Later
    nowhere: list[Later]


EARLY = ValueSpec("early", Early)


@dataclasses.dataclass
class Later:
    number: int


@dataclasses.dataclass
class Never:
    nowhere: Nowhere  # type: ignore[name-defined]  # noqa: F821


def test_a_class_may_name_classes_that_are_defined_later() -> None:
    value = Early(Later(1), [])

    assert EARLY._decode(EARLY._encode(value)) == value


def test_a_class_that_is_never_defined_is_refused_at_the_first_request() -> None:
    def function(context: Context, message: Never) -> Effects:
        return Effects()

    registry = FunctionRegistry()
    registry.register("a/b", function)

    assert error(compile_tables, registry) == (
        f"The type 'Never' of '{function.__qualname__}' cannot be read: name 'Nowhere' is not"
        " defined. Define that class in the same module, outside of functions."
    )


def test_a_large_number_in_a_model_is_exact() -> None:
    class Number(pydantic.BaseModel):
        number: int

    holder = json_type("a/Holder", dict[str, Number])

    for number in (2**63, 2**70, -(2**70)):
        assert Message(*encode({"a": Number(number=number)}, holder)).as_type(holder) == {
            "a": Number(number=number)
        }


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_nan_is_found_in_a_model_in_a_dataclass(number: float) -> None:
    class Ratio(pydantic.BaseModel):
        ratio: float

    assert error(encode, [Ratio(ratio=number), None]) == (
        f"JSON cannot express {number}. Use None, or a text."
    )
    assert error(encode, {"a": number, "b": MODEL, "c": None}) == (
        f"JSON cannot express {number}. Use None, or a text."
    )


def test_an_error_of_a_model_in_a_dataclass_names_the_place() -> None:
    message = Message("statefun_flask.json/Item", b'{"name":"a","models":{"x":{"name":7}}}')

    assert error(message.as_type, Item) == (
        "The message of type 'statefun_flask.json/Item' cannot be read: name: Input should be a"
        " valid string - at `$.models[...]`. Check what its sender writes under that typename."
    )


# -- in functions -----------------------------------------------------------------------------


ITEMS = ValueSpec("items", dict[str, Item])


def test_messages_without_a_name_find_their_function() -> None:
    received: list[object] = []

    def several(
        context: Context, message: dict[str, int] | list[Item] | dt.timedelta | Color
    ) -> Effects:
        received.append(message)
        return Effects().update_state(ITEMS, {"a": ITEM}).send("a/b/c", message)

    values: list[t.Any] = [{"a": 1}, [ITEM], dt.timedelta(seconds=1), Color.RED]
    answer = invoke(several, *values, states={ITEMS: None})

    assert received == values
    assert [each.typename for each in answer.texts[:3]] == [
        f"statefun_flask.json/{name}" for name in ("dict", "list", "timedelta")
    ]
    assert answer.texts[3] == "red"


def test_two_annotations_of_one_class_cannot_be_told_apart() -> None:
    def function(context: Context, message: list[int] | list[str]) -> Effects:
        return Effects()

    with pytest.raises(RegistrationError, match="Give each type a typename of its own"):
        FunctionRegistry().register("a/b", function)
