from __future__ import annotations

import collections.abc as cabc
import dataclasses
import functools
import sys
import typing as t

import pytest
from google.protobuf import any_pb2
from google.protobuf import wrappers_pb2

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import INT
from statefun_flask import json_type
from statefun_flask import Message
from statefun_flask import RegistrationError
from statefun_flask import StateFun
from statefun_flask import utf8_type
from statefun_flask.core.registry import functions_of
from statefun_flask.core.signature import read
from statefun_flask.values.derived import WAYS

NAMES = json_type("test/names", list[str])
TEXT = utf8_type("test/text")
LONG = "io.statefun.types/long"
STRING = "io.statefun.types/string"


@json_type("test/Greeting")
@dataclasses.dataclass
class Greeting:
    text: str


class Plain:
    pass


class Dictionary(t.TypedDict):
    name: str


Aliased: t.TypeAlias = "Greeting"


def typenames(function: t.Any) -> list[str]:
    return [type.typename for type in read(function).types]


def annotated(annotation: t.Any) -> t.Any:
    def function(context: Context, message: t.Any) -> Effects:
        return Effects()

    function.__annotations__["message"] = annotation
    return function


# -- what an annotation accepts -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "typename"),
    [
        (bool, "io.statefun.types/bool"),
        (int, LONG),
        (float, "io.statefun.types/double"),
        (str, STRING),
        (bytes, "type.googleapis.com/google.protobuf.BytesValue"),
        (wrappers_pb2.Int32Value, "type.googleapis.com/google.protobuf.Int32Value"),
        (Greeting, "test/Greeting"),
        ("Greeting", "test/Greeting"),
        ("Aliased", "test/Greeting"),
        (t.ForwardRef("Greeting"), "test/Greeting"),
        (t.Annotated[int, INT], "io.statefun.types/int"),
        (t.Annotated[list[str], NAMES], "test/names"),
        (t.Annotated[str, "a note", TEXT], "test/text"),
        (t.Annotated[str, "only a note"], STRING),
        ("t.Annotated[list[str], NAMES]", "test/names"),
    ],
)
def test_an_annotation_stands_for_a_type(annotation: t.Any, typename: str) -> None:
    assert typenames(annotated(annotation)) == [typename]


@pytest.mark.parametrize(
    "annotation",
    [t.Union[int, str], int | str, "int | str", t.Union["int", "str"]],  # noqa: UP007
)
def test_a_union_accepts_each_member_in_order(annotation: t.Any) -> None:
    assert typenames(annotated(annotation)) == [LONG, STRING]


@pytest.mark.parametrize("annotation", [Message, "Message", Message | int])
def test_message_accepts_all_other_types(annotation: t.Any) -> None:
    signature = read(annotated(annotation))

    message = Message("a/b", b"c")
    assert signature.catch_all is not None
    assert signature.catch_all(message) is message
    assert len(signature.types) == (annotation == Message | int)


def test_no_annotation_accepts_every_message() -> None:
    assert read(lambda context, message: Effects()).catch_all is not None


def test_protobufs_any_accepts_every_message() -> None:
    signature = read(annotated(any_pb2.Any))

    assert signature.catch_all is not None
    carrier = signature.catch_all(Message("a/b", b"c"))
    assert carrier == any_pb2.Any(type_url="a/b", value=b"c")


# -- kinds of callables ---------------------------------------------------------------------------


class Greeter:
    def method(self, context: Context, message: Greeting) -> Effects:
        return Effects()

    @classmethod
    def class_method(cls, context: Context, message: Greeting) -> Effects:
        return Effects()

    @staticmethod
    def static_method(context: Context, message: Greeting) -> Effects:
        return Effects()

    def __call__(self, context: Context, message: Greeting) -> Effects:
        return Effects()


class AsyncGreeter:
    async def __call__(self, context: Context, message: Greeting) -> Effects:
        return Effects()


async def coroutine(context: Context, message: Greeting) -> Effects:
    return Effects()


def generator(context: Context, message: Greeting) -> cabc.Iterator[Effects]:
    yield Effects()


async def async_generator(context: Context, message: Greeting) -> cabc.AsyncIterator[Effects]:
    yield Effects()


def with_defaults(context: Context, message: Greeting, retries: int = 3, *rest: str) -> Effects:
    return Effects()


def with_option(context: Context, message: Greeting, *, extra: Plain | None = None) -> Effects:
    return Effects()


@functools.wraps(coroutine)
def wrapper(*args: t.Any, **kwargs: t.Any) -> t.Any:
    return coroutine(*args, **kwargs)


def three(prefix: str, context: Context, message: Greeting) -> Effects:
    return Effects()


@pytest.mark.parametrize(
    "function",
    [
        Greeter().method,
        Greeter.class_method,
        Greeter.static_method,
        Greeter(),
        AsyncGreeter(),
        coroutine,
        generator,
        async_generator,
        with_defaults,
        with_option,
        wrapper,
        functools.partial(three, "prefix"),
    ],
)
def test_every_kind_of_callable_is_read(function: t.Any) -> None:
    assert typenames(function) == ["test/Greeting"]


def test_arbitrary_arguments_take_every_message() -> None:
    def function(*args: t.Any) -> Effects:
        return Effects()

    assert read(function).catch_all is not None


@pytest.mark.parametrize(
    "function",
    [
        lambda: None,
        lambda context: None,
        lambda a, b, c: None,
        lambda a, *, message: None,
        Greeter.method,
    ],
)
def test_a_function_without_two_parameters_is_refused(function: t.Any) -> None:
    with pytest.raises(RegistrationError) as info:
        read(function)

    assert str(info.value) == (
        f"'{function.__qualname__}' cannot be called with two arguments."
        " A stateful function takes (context, message)."
    )


def test_an_object_that_is_not_a_function_is_refused() -> None:
    with pytest.raises(RegistrationError) as info:
        read(3)

    assert str(info.value) == "3 is not a function. Register a callable of (context, message)."


@pytest.mark.parametrize(
    ("annotation", "included"),
    [
        (None, True),
        ("None", True),
        (Effects | None, True),
        ("Effects | None", True),
        (t.Optional[Effects], True),  # noqa: UP045
        (Effects, False),
        (t.Any, False),
    ],
)
def test_the_return_annotation_decides_whether_none_is_allowed(
    annotation: t.Any, included: bool
) -> None:
    function = annotated(str)
    function.__annotations__["return"] = annotation

    assert read(function).returns_none is included


# -- where names are looked up --------------------------------------------------------------------


def test_names_of_the_closure_and_of_the_decorating_frame_are_known() -> None:
    statefun = StateFun()

    def make() -> None:
        @json_type("test/Local")
        @dataclasses.dataclass
        class Local:
            name: str

        @statefun("test/fn")
        def function(context: Context, message: Local) -> Effects:
            return Effects()

    make()

    (registered,) = functions_of(statefun.registry, "test/fn")
    assert [type.typename for type in registered.signature.types] == ["test/Local"]


def test_a_local_class_shadows_a_global_one_of_its_name() -> None:
    statefun = StateFun()

    @json_type("test/LocalGreeting")
    @dataclasses.dataclass
    class Greeting:
        text: str

    @statefun("test/fn")
    def function(context: Context, message: Greeting) -> Effects:
        return Effects()

    (registered,) = functions_of(statefun.registry, "test/fn")
    assert [type.typename for type in registered.signature.types] == ["test/LocalGreeting"]


def test_a_class_of_the_closure_is_known_without_the_frame() -> None:
    def make() -> t.Any:
        @json_type("test/Enclosed")
        @dataclasses.dataclass
        class Enclosed:
            name: str

        def function(context: Context, message: Enclosed) -> Effects:
            return Effects().send(Address("a/b", "c"), Enclosed("x"))

        return function

    assert typenames(make()) == ["test/Enclosed"]


def test_names_of_other_parameters_need_not_resolve() -> None:
    function = with_option
    function.__annotations__["extra"] = "Nowhere"

    assert typenames(function) == ["test/Greeting"]


# -- annotations that are refused -----------------------------------------------------------------

SPOT = "the parameter 'message' of 'annotated.<locals>.function'"
NOT_ALLOWED = f"The annotation of {SPOT} is not allowed."


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (
            "Decimal",
            (
                f"The annotation 'Decimal' of {SPOT} cannot be resolved:"
                " name 'Decimal' is not defined."
                " Import what it names outside of 'if TYPE_CHECKING'."
            ),
        ),
        (
            None,
            (
                f"The annotation of {SPOT} includes None, but a message always has a value."
                " Remove 'None' or 'Optional'."
            ),
        ),
        (
            str | None,
            (
                f"The annotation of {SPOT} includes None, but a message always has a value."
                " Remove 'None' or 'Optional'."
            ),
        ),
        (Plain, f"{NOT_ALLOWED} 'Plain' has no StateFun type. {WAYS}"),
        (
            t.Literal["a"],
            (
                f"{NOT_ALLOWED} Literal['a'] has no StateFun type, since"
                " no typename follows from it. Write json_type('namespace/name', Literal['a'])."
            ),
        ),
        (
            dict[str, complex],
            (
                f"{NOT_ALLOWED} A value of 'dict[str, complex]' cannot"
                " travel as JSON: JSON cannot express a 'complex'. Use types that JSON can express"
                " for its parts, or give it a type of its own with"
                " custom_type('namespace/name', …)."
            ),
        ),
        (
            complex,
            f"The annotation of {SPOT} is not allowed. 'complex' has no StateFun type. {WAYS}",
        ),
    ],
)
def test_the_error_for_an_annotation_without_a_type(annotation: t.Any, message: str) -> None:
    with pytest.raises(RegistrationError) as info:
        read(annotated(annotation))

    assert str(info.value) == message


def test_a_subclass_of_a_marked_class_is_not_that_type() -> None:
    class Louder(Greeting):
        pass

    with pytest.raises(RegistrationError, match="has no StateFun type"):
        read(annotated(Louder))


def test_an_unresolvable_return_annotation_is_refused() -> None:
    function = annotated(str)
    function.__annotations__["return"] = "Decimal"

    with pytest.raises(RegistrationError) as info:
        read(function)

    assert str(info.value) == (
        "The annotation 'Decimal' of the return value of 'annotated.<locals>.function' cannot be"
        " resolved: name 'Decimal' is not defined."
        " Import what it names outside of 'if TYPE_CHECKING'."
    )


@pytest.mark.parametrize("annotation", [t.Any, "t.Any", object])
def test_any_and_object_do_not_say_how_to_read_a_message(annotation: t.Any) -> None:
    with pytest.raises(RegistrationError) as info:
        read(annotated(annotation))

    name = "object" if annotation is object else "Any"
    assert str(info.value) == (
        f"The annotation '{name}' of {SPOT} does not name a type. Write a type, or Message for"
        " messages of every type."
    )


def test_two_types_of_one_typename_are_refused() -> None:
    @json_type("test/Greeting")
    @dataclasses.dataclass
    class Other:
        text: str

    with pytest.raises(RegistrationError) as info:
        read(annotated(Greeting | Other))

    assert str(info.value) == (
        f"Two types of {SPOT} have the typename 'test/Greeting', so their messages"
        " cannot be distinguished. Give each type a typename of its own."
    )
    assert typenames(annotated(t.Annotated[str, TEXT] | t.Annotated[str, TEXT])) == ["test/text"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type statements came with Python 3.12")
def test_an_alias_made_by_a_type_statement_is_followed() -> None:
    names: dict[str, t.Any] = {"Greeting": Greeting}
    exec("type Either = Greeting | int", names)

    assert typenames(annotated(names["Either"])) == ["test/Greeting", LONG]
