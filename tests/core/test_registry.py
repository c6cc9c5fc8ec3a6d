from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import typing as t

import pytest
from google.protobuf import wrappers_pb2

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import DuplicateFunctionError
from statefun_flask import Effects
from statefun_flask import FunctionNotFoundError
from statefun_flask import FunctionRegistry
from statefun_flask import FunctionType
from statefun_flask import INT
from statefun_flask import json_type
from statefun_flask import Message
from statefun_flask import protobuf_type
from statefun_flask import RegistrationError
from statefun_flask import RequestHandler
from statefun_flask import ValueSpec
from statefun_flask.core.registry import compile_tables
from statefun_flask.core.registry import functions_of
from statefun_flask.core.registry import table_of

HOUR = dt.timedelta(hours=1)
COUNT = ValueSpec("count", int)


def take_text(context: Context, message: str) -> Effects:
    return Effects()


def take_text_too(context: Context, message: str) -> Effects:
    return Effects()


def take_number(context: Context, message: int) -> Effects:
    return Effects()


def take_all(context: Context, message: Message) -> Effects:
    return Effects()


def take_all_too(context, message):  # type: ignore[no-untyped-def]
    return Effects()


def take_int(context: Context, message: t.Annotated[int, INT]) -> Effects:
    return Effects()


def take_wrapper(context: Context, message: wrappers_pb2.StringValue) -> Effects:
    return Effects()


@pytest.fixture
def registry() -> FunctionRegistry:
    return FunctionRegistry()


# -- several functions under one typename ---------------------------------------------------------


def test_functions_of_one_typename_differ_in_their_message_types(
    registry: FunctionRegistry,
) -> None:
    for function in (take_text, take_number, take_all):
        registry.register("test/fn", function)

    table = table_of(registry, "test/fn")
    assert table.route(Message("io.statefun.types/string")).function.function is take_text
    assert table.route(Message("io.statefun.types/int")).function.function is take_number
    assert table.route(Message("other/prefix/google.protobuf.Int64Value")).function.function is (
        take_number
    )
    assert table.route(Message("a/b")).function.function is take_all
    assert table.accepted() == "'io.statefun.types/string', 'io.statefun.types/long' and any other"


@pytest.mark.parametrize(
    ("first", "second", "accepted"),
    [
        (take_text, take_text_too, "type 'io.statefun.types/string'"),
        (take_number, take_int, "type 'io.statefun.types/int'"),
        (take_text, take_wrapper, "type 'type.googleapis.com/google.protobuf.StringValue'"),
        (take_all, take_all_too, "any other type"),
    ],
)
def test_two_that_accept_the_same_messages_are_refused(
    registry: FunctionRegistry, first: t.Any, second: t.Any, accepted: str
) -> None:
    module = first.__module__
    registry.register("test/fn", first)

    with pytest.raises(DuplicateFunctionError) as info:
        registry.register("test/fn", second)

    assert str(info.value) == (
        f"'test/fn' is already registered to '{module}:{first.__name__}' for messages of"
        f" {accepted}. Give '{module}:{second.__name__}' another typename, or another message type."
    )
    assert [each.function for each in functions_of(registry, "test/fn")] == [first]


def test_an_equal_function_is_registered_once(registry: FunctionRegistry) -> None:
    class Greeter:
        def greet(self, context: Context, message: str) -> Effects:
            return Effects()

    greeter = Greeter()
    registry.register("test/fn", take_number, states=[COUNT])
    registry.register("test/fn", take_number, states=[ValueSpec("count", int)])
    registry.register("test/fn", greeter.greet)
    registry.register("test/fn", greeter.greet)

    assert len(functions_of(registry, "test/fn")) == 2


def test_the_same_function_with_other_states_is_refused(registry: FunctionRegistry) -> None:
    registry.register("test/fn", take_text)

    with pytest.raises(DuplicateFunctionError) as info:
        registry.register("test/fn", take_text, states=[COUNT])

    assert str(info.value) == (
        f"'{__name__}:take_text' is already registered to 'test/fn' with other states or egresses."
        " Register it once."
    )


def test_two_lambdas_of_one_module_are_two_functions(registry: FunctionRegistry) -> None:
    name = f"{__name__}:test_two_lambdas_of_one_module_are_two_functions.<locals>.<lambda>"
    registry.register("test/fn", lambda context, message: Effects())

    with pytest.raises(DuplicateFunctionError) as info:
        registry.register("test/fn", lambda context, message: Effects())

    assert str(info.value) == (
        f"'test/fn' is already registered to '{name}' for messages of any other type. Give '{name}'"
        " another typename, or another message type."
    )


def test_a_factory_that_ran_twice_is_named(registry: FunctionRegistry) -> None:
    def factory() -> None:
        def function(context: Context, message: str) -> Effects:
            return Effects()

        registry.register("test/fn", function)

    factory()
    with pytest.raises(DuplicateFunctionError) as info:
        factory()

    name = f"{__name__}:test_a_factory_that_ran_twice_is_named.<locals>.factory.<locals>.function"
    assert str(info.value) == (
        f"'test/fn' is already registered to another '{name}', so the factory that defines it has"
        " probably run twice. Register it on the app that the factory makes, or define it outside"
        " of the factory."
    )


def test_one_function_may_answer_several_typenames(registry: FunctionRegistry) -> None:
    registry.register("test/b", take_text)
    registry.register("test/a", take_text)

    assert list(registry) == ["test/a", "test/b"]
    assert len(registry) == 2
    assert "test/a" in registry
    assert "test/c" not in registry
    assert 3 not in registry


# -- states ---------------------------------------------------------------------------------------


def test_states_are_the_union_in_order_of_declaration(registry: FunctionRegistry) -> None:
    registry.register("test/fn", take_text, states=["b", COUNT])
    registry.register("test/fn", take_number, states=[COUNT, "a"])

    assert list(table_of(registry, "test/fn").specs) == ["b", "count", "a"]


@pytest.mark.parametrize(
    ("other", "shown"),
    [
        (ValueSpec("count", str), "count: str"),
        (ValueSpec("count"), "count"),
        (
            ValueSpec("count", int, expire_after_write=HOUR),
            "count: int (long) (expires 1 h after write)",
        ),
        (
            ValueSpec("count", int, expire_after_call=HOUR),
            "count: int (long) (expires 1 h after call)",
        ),
    ],
)
def test_one_name_with_two_declarations_is_refused(
    registry: FunctionRegistry, other: ValueSpec[t.Any], shown: str
) -> None:
    registry.register("test/fn", take_text, states=[COUNT])

    with pytest.raises(RegistrationError) as info:
        registry.register("test/fn", take_number, states=[other])

    assert str(info.value) == (
        "Functions of 'test/fn' declare the state 'count' differently: 'count: int (long)' and"
        f" '{shown}'. Use one ValueSpec for both."
    )


def test_a_state_declared_twice_is_refused(registry: FunctionRegistry) -> None:
    with pytest.raises(RegistrationError) as info:
        registry.register("test/fn", take_text, states=[COUNT, COUNT])

    assert str(info.value) == (
        "'take_text' declares the state 'count' twice. Remove one of them from its states=[…]."
    )


@pytest.mark.parametrize("states", ["count", COUNT])
def test_states_must_be_a_list(registry: FunctionRegistry, states: t.Any) -> None:
    with pytest.raises(RegistrationError) as info:
        registry.register("test/fn", take_text, states=states)

    assert str(info.value) == f"states={states!r} must be a list. Write states=[{states!r}]."


@pytest.mark.parametrize("states", [None, 3, {"count": int}])
def test_states_that_are_not_a_list_are_refused(registry: FunctionRegistry, states: t.Any) -> None:
    with pytest.raises(RegistrationError) as info:
        registry.register("test/fn", take_text, states=states)

    assert str(info.value) == f"states={states!r} must be a list. Write states=[…]."


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            3,
            "3 is not a state. Declare it as ValueSpec('name', type) or as a bare 'name'.",
        ),
        (
            "batch",
            (
                "'batch' cannot name a state, because the runtime uses that name for a state of its"
                " own. Choose another name."
            ),
        ),
        (
            "request-state",
            (
                "'request-state' cannot name a state, because the runtime uses that name for a"
                " state of its own. Choose another name."
            ),
        ),
        (
            "a b",
            "'a b' cannot name a state. Use letters, digits and '_', not starting with a digit.",
        ),
    ],
)
def test_a_state_that_the_runtime_would_not_accept_is_refused(
    registry: FunctionRegistry, state: t.Any, message: str
) -> None:
    with pytest.raises(RegistrationError) as info:
        registry.register("test/fn", take_text, states=[state])

    assert str(info.value) == message


# -- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("typename", ["greeter", "/greeter", "example/", "a/b/c", ""])
def test_a_typename_is_checked_at_once(registry: FunctionRegistry, typename: str) -> None:
    with pytest.raises(RegistrationError) as info:
        registry.register(typename, take_text)

    assert str(info.value) == (
        f"'{typename}' is not a typename. Write it as 'namespace/name', with one slash."
    )


def test_a_typename_may_be_a_function_type(registry: FunctionRegistry) -> None:
    registry.register(FunctionType("test", "fn"), take_text)

    assert list(registry) == [FunctionType("test/fn")]


def test_egresses_are_checked(registry: FunctionRegistry) -> None:
    registry.register("test/fn", take_text, egresses=["a/b"])

    assert functions_of(registry, "test/fn")[0].egresses == ("a/b",)
    with pytest.raises(RegistrationError, match="'b' is not a typename"):
        registry.register("test/other", take_text, egresses=["b"])
    with pytest.raises(RegistrationError, match="must be a list"):
        registry.register("test/other", take_text, egresses="a/b")


def test_the_handler_is_named_by_module_and_qualified_name(registry: FunctionRegistry) -> None:
    class Greeter:
        def __call__(self, context: Context, message: str) -> Effects:
            return Effects()

    registry.register("test/a", take_text)
    registry.register("test/b", Greeter())
    registry.register("test/c", functools.partial(take_text))

    handlers = [functions_of(registry, name)[0].handler for name in registry]
    assert handlers[0] == f"{__name__}:take_text"
    assert handlers[1] == (
        f"{__name__}:test_the_handler_is_named_by_module_and_qualified_name.<locals>.Greeter"
    )
    assert handlers[2] == f"{__name__}:take_text"


# -- parents and freezing -------------------------------------------------------------------------


def test_a_child_has_its_parents_functions_and_its_own() -> None:
    parent = FunctionRegistry()
    one, two = FunctionRegistry(parent), FunctionRegistry(parent)
    one.register("test/one", take_text)
    parent.register("test/fn", take_text)
    one.register("test/fn", take_number)

    assert list(one) == ["test/fn", "test/one"]
    assert [each.function for each in functions_of(one, "test/fn")] == [take_text, take_number]
    assert list(two) == ["test/fn"]
    assert [each.function for each in functions_of(two, "test/fn")] == [take_text]


def test_a_child_cannot_accept_the_messages_of_its_parent() -> None:
    parent = FunctionRegistry()
    child = FunctionRegistry(parent)
    parent.register("test/fn", take_text)

    with pytest.raises(DuplicateFunctionError):
        child.register("test/fn", take_text_too)


def test_a_parent_that_accepts_the_messages_of_a_child_is_refused_at_the_first_request() -> None:
    parent = FunctionRegistry()
    child = FunctionRegistry(parent)
    child.register("test/fn", take_text)
    parent.register("test/fn", take_text_too)

    with pytest.raises(DuplicateFunctionError):
        compile_tables(child)


def test_after_the_first_request_registering_is_an_error(
    registry: FunctionRegistry, request_body: t.Any
) -> None:
    registry.register("test/fn", take_text)
    RequestHandler(registry)(request_body("test/fn", "x"))

    registry.register("test/fn", take_text)
    with pytest.raises(RegistrationError) as info:
        registry.register("test/late", take_number)

    assert str(info.value) == (
        "'take_number' is registered for 'test/late' after the first request was handled, so no"
        " request would reach it. Register all functions before the first request."
    )


def test_a_parent_is_frozen_with_its_child_and_a_sibling_is_not() -> None:
    parent = FunctionRegistry()
    one, two = FunctionRegistry(parent), FunctionRegistry(parent)
    compile_tables(one)

    two.register("test/fn", take_text)
    with pytest.raises(RegistrationError, match="after the first request"):
        parent.register("test/fn", take_number)


def test_an_unknown_typename_has_no_table(registry: FunctionRegistry) -> None:
    registry.register("test/greeter", take_text)

    with pytest.raises(FunctionNotFoundError) as info:
        table_of(registry, "test/greeters")

    assert info.value.typename == "test/greeters"
    assert info.value.suggestions == ["test/greeter"]


# -- types by prefix ------------------------------------------------------------------------------


def test_a_protobuf_message_is_accepted_under_any_prefix(registry: FunctionRegistry) -> None:
    registry.register("test/fn", take_wrapper)
    table = table_of(registry, "test/fn")

    for prefix in ("type.googleapis.com/", "my.company/x/", "com.example/"):
        assert table.route(Message(f"{prefix}google.protobuf.StringValue")).function


def test_a_given_typename_is_used_unchanged(registry: FunctionRegistry) -> None:
    kind = protobuf_type(wrappers_pb2.StringValue, typename="test/Text")

    def function(context: Context, message: t.Annotated[t.Any, kind]) -> Effects:
        return Effects()

    function.__annotations__["message"] = t.Annotated[t.Any, kind]
    registry.register("test/fn", function)
    table = table_of(registry, "test/fn")

    assert table.route(Message("test/Text")).function.function is function
    assert table.catch_all is None
    with pytest.raises(TypeError, match="does not accept messages of type 'other/Text'"):
        table.route(Message("other/Text"))


def test_a_function_stays_callable_in_a_test() -> None:
    @json_type("test/Greeting")
    @dataclasses.dataclass
    class Greeting:
        text: str

    def greet(context: Context, message: Greeting) -> Effects:
        seen = (context.get_state(COUNT) or 0) + 1
        return Effects().update_state(COUNT, seen)

    registry = FunctionRegistry()
    registry.register("test/fn", greet, states=[COUNT])

    context = Context(Address("test/fn", "bob"), states={COUNT: 2})
    assert greet(context, Greeting("hi")) == Effects().update_state(COUNT, 3)
