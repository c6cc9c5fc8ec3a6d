from __future__ import annotations

import inspect
import typing as t

import msgspec
import pytest
from flask import Blueprint
from flask import Flask

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import json_type
from statefun_flask import RegistrationError
from statefun_flask import StateFun
from statefun_flask import StateFunBlueprint
from statefun_flask import StateFunFlask
from statefun_flask import ValueSpec
from statefun_flask.core.registry import functions_of


def greet(context: Context, message: str) -> Effects:
    return Effects()


@pytest.fixture
def blueprint() -> StateFunBlueprint:
    blueprint = StateFunBlueprint("greetings", __name__, url_prefix="/greetings")

    @blueprint.statefun("test/fn", states=[ValueSpec("count", int)], egresses=["test/out"])
    def function(context: Context, message: str) -> Effects:
        return Effects().send(Address("test/sink", "a"), message)

    @blueprint.get("/page")
    def page() -> str:
        return "page"

    return blueprint


def test_its_functions_belong_to_each_app_that_has_it(blueprint: StateFunBlueprint) -> None:
    one, two, without = StateFunFlask("one"), StateFunFlask("two"), StateFunFlask("without")
    one.register_blueprint(blueprint)
    two.register_blueprint(blueprint, url_prefix="/other")

    for app in (one, two):
        (function,) = functions_of(app.statefun.registry, "test/fn")
        assert function.blueprint == "greetings"
        assert [spec.name for spec in function.states] == ["count"]
        assert function.egresses == ("test/out",)
    assert list(without.statefun.registry) == []
    assert one.test_client().get("/greetings/page").text == "page"


def test_nothing_is_registered_before_an_app_has_it(blueprint: StateFunBlueprint) -> None:
    app = StateFunFlask("app")
    assert list(app.statefun.registry) == []

    app.register_blueprint(blueprint)
    assert list(app.statefun.registry) == ["test/fn"]


def test_a_blueprint_registered_twice_has_its_functions_once(blueprint: StateFunBlueprint) -> None:
    app = StateFunFlask("app")
    app.register_blueprint(blueprint)
    app.register_blueprint(blueprint, name="again", url_prefix="/again")

    assert len(functions_of(app.statefun.registry, "test/fn")) == 1


def test_nested_blueprints_register_their_functions(blueprint: StateFunBlueprint) -> None:
    parent = Blueprint("parent", __name__)
    parent.register_blueprint(blueprint)
    app = StateFunFlask("app")
    app.register_blueprint(parent)

    assert list(app.statefun.registry) == ["test/fn"]


def test_it_serves_a_plain_app_with_the_extension(
    blueprint: StateFunBlueprint, request_body: t.Any, answered: t.Any
) -> None:
    app = Flask("app")
    StateFun(app)
    app.register_blueprint(blueprint)
    body = request_body("test/fn", "hello", states={"count": None})

    response = app.test_client().post(
        "/statefun", data=body, content_type="application/octet-stream"
    )

    assert answered(response.data).texts == ["hello"]


def test_an_app_without_the_extension_is_refused(blueprint: StateFunBlueprint) -> None:
    with pytest.raises(RuntimeError) as info:
        Flask("app").register_blueprint(blueprint)

    assert str(info.value) == (
        "The blueprint 'greetings' has stateful functions, but the app 'app' has no StateFun"
        " extension. Call 'StateFun().init_app(app)' before registering the blueprint."
    )


def test_a_wrong_declaration_is_refused_where_it_is_written() -> None:
    blueprint = StateFunBlueprint("greetings", __name__)

    with pytest.raises(RegistrationError, match="'nothing' is not a typename"):
        blueprint.statefun("nothing")(lambda context, message: Effects())


def test_the_decorator_without_a_typename_is_refused() -> None:
    blueprint = StateFunBlueprint("greetings", __name__)

    with pytest.raises(TypeError, match="The decorator was used without a typename"):
        blueprint.statefun(lambda context, message: Effects())  # type: ignore[arg-type]


def test_the_decorator_returns_the_function_unchanged() -> None:
    def function(context: Context, message: str) -> Effects:
        return Effects()

    assert StateFunBlueprint("b", __name__).statefun("test/fn")(function) is function


def test_a_namespace_precedes_names_without_one() -> None:
    blueprint = StateFunBlueprint("greetings", __name__, namespace="example")
    blueprint.statefun("greeter")(greet)
    blueprint.add_function("relay", greet)
    blueprint.statefun("other/greeter")(greet)
    app = StateFunFlask("app")
    app.register_blueprint(blueprint, url_prefix="/x")

    assert list(app.statefun.registry) == ["example/greeter", "example/relay", "other/greeter"]


@pytest.mark.parametrize("namespace", ["", "a/b", "/"])
def test_a_wrong_namespace_is_refused(namespace: t.Any) -> None:
    with pytest.raises(ValueError, match="is not a namespace") as info:
        StateFunBlueprint("greetings", __name__, namespace=namespace)

    assert str(info.value) == (
        f"{namespace!r} is not a namespace. Write the part of a typename that precedes the slash,"
        " such as 'example'."
    )


def test_add_function_registers_as_the_decorator_does() -> None:
    blueprint = StateFunBlueprint("greetings", __name__)
    blueprint.add_function("test/a", greet, states=["seen"], egresses=["test/out"])
    blueprint.statefun("test/b", states=["seen"], egresses=["test/out"])(greet)
    app = StateFunFlask("app")
    app.register_blueprint(blueprint)

    (added,), (decorated,) = (functions_of(app.statefun.registry, f"test/{name}") for name in "ab")
    assert added.is_same(decorated)
    assert added.blueprint == decorated.blueprint == "greetings"


def test_the_local_names_of_the_caller_count_for_annotations() -> None:
    blueprint = StateFunBlueprint("greetings", __name__)

    @json_type("test/Local")
    class Local(msgspec.Struct):
        x: int

    def take(context: Context, message: Local) -> Effects:
        return Effects()

    blueprint.add_function("test/a", take)
    blueprint.statefun("test/b")(take)


def test_registering_a_function_after_the_blueprint_names_the_method(
    blueprint: StateFunBlueprint,
) -> None:
    StateFunFlask("app").register_blueprint(blueprint)

    with pytest.raises(AssertionError, match="The setup method 'statefun' can no longer be called"):
        blueprint.statefun("test/late")
    with pytest.raises(AssertionError, match="The setup method 'add_function' can no longer"):
        blueprint.add_function("test/late", greet)


def test_its_parameters_are_those_of_a_flask_blueprint() -> None:
    own = dict(inspect.signature(StateFunBlueprint).parameters)
    of_flask = dict(inspect.signature(Blueprint).parameters)

    assert own.pop("namespace").kind is inspect.Parameter.KEYWORD_ONLY
    assert [*own.items()] == [*of_flask.items()]


def test_its_parameters_reach_flask() -> None:
    own = {
        "static_folder": "files",
        "static_url_path": "/files",
        "template_folder": "pages",
        "url_prefix": "/prefix",
        "subdomain": "sub",
        "url_defaults": {"a": 1},
        "root_path": "/root",
        "cli_group": "group",
    }
    given, expected = (
        kind("greetings", __name__, **own)  # type: ignore[arg-type]
        for kind in (StateFunBlueprint, Blueprint)
    )

    assert (given.static_folder, given.url_values_defaults) == (
        expected.static_folder,
        expected.url_values_defaults,
    )
    for name in own.keys() - {"static_folder", "url_defaults"}:
        assert getattr(given, name) == getattr(expected, name) == own[name]
    assert StateFunBlueprint("a", __name__).cli_group is Blueprint("a", __name__).cli_group
