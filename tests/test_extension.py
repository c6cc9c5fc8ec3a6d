from __future__ import annotations

import typing as t

import msgspec
import pytest
from flask import Blueprint
from flask import Flask
from flask import url_for
from flask.cli import routes_command

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import DuplicateFunctionError
from statefun_flask import Effects
from statefun_flask import json_type
from statefun_flask import RegistrationError
from statefun_flask import StateFun
from statefun_flask import StateFunFlask
from statefun_flask import wsgi_app
from statefun_flask.core.registry import functions_of
from statefun_flask.extension import AppStateFun
from statefun_flask.values import json_types

TO = Address("test/sink", "a")


def echo(context: Context, message: str) -> Effects:
    return Effects().send(TO, message)


def number(context: Context, message: int) -> Effects:
    return Effects().send(TO, message)


@pytest.fixture
def post(request_body: t.Any) -> t.Any:
    """Return a function that calls an app's function: ``post(app, typename, message)``."""

    def send(app: Flask, typename: str, message: t.Any = "x", url: str = "/statefun") -> t.Any:
        body = request_body(typename, message)
        return app.test_client().post(url, data=body, content_type="application/octet-stream")

    return send


def urls(app: Flask) -> set[str]:
    """Return the path of the endpoint."""
    with app.test_request_context():
        return {
            rule.rule for rule in app.url_map.iter_rules() if rule.endpoint == "statefun.handle"
        }


# -- the decorator --------------------------------------------------------------------------------


def test_the_decorator_returns_the_function_unchanged() -> None:
    app = StateFunFlask("app")

    assert app.statefun("test/fn")(echo) is echo


def test_the_decorator_without_a_typename_is_refused() -> None:
    with pytest.raises(TypeError) as info:
        StateFunFlask("app").statefun(echo)  # type: ignore[arg-type]

    assert str(info.value) == (
        "The decorator was used without a typename."
        " Write @app.statefun('namespace/name'), with parentheses."
    )


def test_one_function_can_have_several_typenames(post: t.Any) -> None:
    app = StateFunFlask("app")
    app.statefun("test/a")(app.statefun("test/b")(echo))

    assert post(app, "test/a").status_code == post(app, "test/b").status_code == 200


@pytest.mark.parametrize("kind", [StateFun, StateFunFlask])
def test_add_function_registers_as_the_decorator_does(kind: t.Any) -> None:
    made = kind() if kind is StateFun else StateFunFlask("app").statefun

    class Local(msgspec.Struct):
        """The annotation below names it, which takes the local names of this function."""

    json_type("test/Local")(Local)

    def take(context: Context, message: Local) -> Effects:
        return Effects()

    made.add_function("test/fn", take, states=["seen"], egresses=["test/out"])

    (added,) = functions_of(made.registry, "test/fn")
    made("test/again", states=["seen"], egresses=["test/out"])(take)
    (decorated,) = functions_of(made.registry, "test/again")
    assert added.is_same(decorated)
    assert [each.typename for each in added.signature.types] == ["test/Local"]
    with pytest.raises(RegistrationError, match="is not a function"):
        made.add_function("test/fn", None)


# -- init_app -------------------------------------------------------------------------------------


def test_init_app_adds_the_endpoint_the_commands_and_the_functions(post: t.Any) -> None:
    app = Flask("app")
    extension = StateFun()
    extension("test/fn")(echo)
    extension.init_app(app)

    of_app = app.extensions["statefun"]
    assert app.statefun is of_app  # type: ignore[attr-defined]
    assert isinstance(of_app, AppStateFun)
    assert "statefun" in app.blueprints
    assert "statefun" in app.cli.commands
    assert urls(app) == {"/statefun"}
    assert post(app, "test/fn").status_code == 200


def test_the_constructor_takes_an_app_and_options(post: t.Any) -> None:
    app = Flask("app")
    StateFun(app, url="/functions", unknown_function_status=404)

    assert urls(app) == {"/functions"}
    assert post(app, "test/fn", url="/functions").status_code == 404


@pytest.mark.parametrize("make", [StateFun, lambda **given: StateFunFlask("a", **given)])
def test_a_wrong_option_is_refused_by_the_constructor(make: t.Any) -> None:
    def given(**options: t.Any) -> dict[str, t.Any]:
        return options if make is StateFun else {"statefun_options": options}

    with pytest.raises(TypeError, match=r"'uri' is not a StateFun option\. Did you mean 'url'\?"):
        make(**given(uri="/x"))
    with pytest.raises(ValueError, match="The option 'url' is 3"):
        make(**given(url=3))


def test_apps_share_only_the_functions_of_the_extension(post: t.Any) -> None:
    extension = StateFun()
    one, two = Flask("one"), Flask("two")
    extension.init_app(one)
    extension.init_app(two)
    extension("test/shared")(echo)
    one.statefun("test/own")(echo)  # type: ignore[attr-defined]

    assert post(one, "test/shared").status_code == post(two, "test/shared").status_code == 200
    assert post(one, "test/own").status_code == 200
    assert post(two, "test/own").status_code == 503


def test_a_factory_may_be_called_twice(post: t.Any) -> None:
    extension = StateFun()
    extension("test/fn")(echo)

    def create_app() -> Flask:
        app = Flask("app")
        extension.init_app(app)

        @app.statefun("test/local")  # type: ignore[attr-defined, untyped-decorator]
        def local(context: Context, message: str) -> Effects:
            return Effects()

        return app

    for app in (create_app(), create_app()):
        assert post(app, "test/fn").status_code == post(app, "test/local").status_code == 200


def test_a_factory_that_registers_on_the_extension_twice_is_an_error() -> None:
    extension = StateFun()

    def create_app() -> None:
        @extension("test/fn")
        def function(context: Context, message: str) -> Effects:
            return Effects()

    create_app()
    with pytest.raises(DuplicateFunctionError, match="has probably run twice"):
        create_app()


@pytest.mark.parametrize("kind", [StateFunFlask, Flask])
def test_a_second_extension_on_one_app_is_refused(kind: t.Any) -> None:
    app = kind("app")
    if kind is Flask:
        StateFun(app)

    with pytest.raises(RuntimeError) as info:
        StateFun(app)

    assert str(info.value) == (
        "The app 'app' has the StateFun extension already. Call 'init_app' once for each app, and"
        " not at all for a StateFunFlask."
    )


def test_an_app_with_a_blueprint_of_the_extensions_name_is_refused() -> None:
    app = Flask("app")
    app.register_blueprint(Blueprint("statefun", "app"))

    with pytest.raises(RuntimeError) as info:
        StateFun(app)

    assert str(info.value) == (
        "The app 'app' has a blueprint 'statefun', which is the name of the extension's own"
        " blueprint. Register yours under another name: register_blueprint(…, name='…')."
    )
    assert "statefun" not in app.extensions


@pytest.mark.parametrize("kind", [StateFunFlask, Flask])
def test_a_blueprint_of_the_extensions_name_is_refused_where_it_is_registered(
    kind: t.Any, post: t.Any
) -> None:
    app = kind("app")
    if kind is Flask:
        StateFun(app)
    app.statefun("test/fn")(echo)

    with pytest.raises(ValueError, match="The name 'statefun' is already registered"):
        app.register_blueprint(Blueprint("statefun", "app"))
    assert post(app, "test/fn").status_code == 200


# -- the object in hand ---------------------------------------------------------------------------


def test_the_object_that_made_the_extension_has_the_only_app() -> None:
    app = Flask("app")
    extension = StateFun(app, url="/functions")
    heard: list[str] = []

    @extension("test/fn")
    def function(context: Context, message: str) -> Effects:
        heard.append(message)
        return Effects()

    assert extension.settings.url == "/functions"
    assert extension.endpoint is app.extensions["statefun"].endpoint
    with extension.runtime() as rt:
        rt.send("test/fn/a", "hello")
        rt.run_until_idle()
    assert heard == ["hello"]


def test_an_app_context_says_which_app_is_meant() -> None:
    one, two = Flask("one"), Flask("two")
    one.config["STATEFUN_URL"] = "/one"
    two.config["STATEFUN_URL"] = "/two"
    extension = StateFun(one)
    extension.init_app(two)

    for app in (one, two):
        with app.app_context():
            assert extension.settings.url == f"/{app.name}"
            assert extension.endpoint is app.extensions["statefun"].endpoint
            assert extension.runtime()._registry is app.extensions["statefun"].registry


ACCESSORS: dict[str, t.Callable[[StateFun], object]] = {
    "settings": lambda extension: extension.settings,
    "endpoint": lambda extension: extension.endpoint,
    "runtime": lambda extension: extension.runtime(),
}


@pytest.mark.parametrize("access", ACCESSORS.values(), ids=ACCESSORS)
def test_without_an_app_the_accessors_say_so(access: t.Any) -> None:
    with pytest.raises(RuntimeError) as info:
        access(StateFun())

    assert str(info.value) == ("This StateFun object has no app. Call 'init_app' with one first.")


@pytest.mark.parametrize("access", ACCESSORS.values(), ids=ACCESSORS)
def test_with_several_apps_the_accessors_name_them(access: t.Any) -> None:
    one, two = Flask("one"), Flask("two")
    extension = StateFun(one)
    extension.init_app(two)

    with pytest.raises(RuntimeError) as info:
        access(extension)

    assert str(info.value) == (
        "This StateFun object has several apps ('one', 'two'). Use it in an app context, with"
        " 'with app.app_context():'."
    )


@pytest.mark.parametrize("access", ACCESSORS.values(), ids=ACCESSORS)
def test_in_the_context_of_a_foreign_app_the_accessors_say_so(access: t.Any) -> None:
    mine = Flask("mine")
    extension = StateFun(mine)

    with StateFunFlask("other").app_context(), pytest.raises(RuntimeError) as info:
        access(extension)

    assert str(info.value) == (
        "The current app 'other' does not have this StateFun object. Call 'init_app' with the app"
        " first."
    )


def test_the_objects_show_their_state() -> None:
    extension = StateFun()
    assert repr(extension) == "<StateFun: 0 functions>"

    app = Flask("app")
    extension.init_app(app)
    extension("test/fn")(echo)
    app.statefun("test/own")(echo)  # type: ignore[attr-defined]
    late = StateFunFlask("late")

    assert repr(extension) == "<StateFun of 'app': 1 function>"
    assert repr(app.extensions["statefun"]) == (
        "<AppStateFun of 'app': 2 functions, url '/statefun'>"
    )
    assert repr(late.statefun) == "<AppStateFun of 'late': 0 functions, settings not read>"


def test_an_app_has_no_functions_without_init_app(post: t.Any) -> None:
    assert post(Flask("app"), "test/fn").status_code == 404


# -- late registration ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [StateFunFlask, Flask])
def test_registering_after_the_first_request_is_an_error_per_app(kind: t.Any, post: t.Any) -> None:
    extension = StateFun()
    app, other = kind("app"), Flask("other")
    extension.init_app(other)
    if kind is Flask:
        extension.init_app(app)
    app.statefun("test/fn")(echo)
    post(app, "test/fn")

    app.statefun("test/fn")(echo)
    other.statefun("test/fn")(number)  # type: ignore[attr-defined]
    with pytest.raises(RegistrationError) as info:
        app.statefun("test/late")(number)

    assert str(info.value) == (
        "'number' is registered for 'test/late' after the first request was handled, so no request"
        " would reach it. Register all functions before the first request."
    )


# -- settings -------------------------------------------------------------------------------------


def test_init_app_reads_the_settings_at_that_moment() -> None:
    app = Flask("app")
    app.config["STATEFUN_URL"] = "/first"
    StateFun(app, url="/option")
    assert urls(app) == {"/first"}


def test_a_wrong_setting_is_refused_by_init_app() -> None:
    app = Flask("app")
    app.config["STATEFUN_PROTOCOL"] = "v4"

    with pytest.raises(ValueError, match="The setting STATEFUN_PROTOCOL is 'v4'"):
        StateFun(app)
    app.config["STATEFUN_PROTOCOL"] = "v3"
    StateFun(app)


def test_an_unknown_key_of_the_config_is_refused(post: t.Any) -> None:
    app, late = Flask("app"), StateFunFlask("late")
    for each in (app, late):
        each.config["STATEFUN_MAX_REQUEST_BYTE"] = 100
    late.testing = True

    for use in (lambda: StateFun(app), lambda: post(late, "test/fn")):
        with pytest.raises(ValueError, match="Did you mean 'STATEFUN_MAX_REQUEST_BYTES'"):
            use()


@pytest.mark.parametrize("kind", [StateFunFlask, Flask])
def test_options_of_commands_in_the_environment_are_skipped(
    kind: t.Any, monkeypatch: pytest.MonkeyPatch, post: t.Any
) -> None:
    monkeypatch.setenv("FLASK_STATEFUN_SERVE_PORT", "9000")
    app = kind("app")
    app.config.from_prefixed_env()
    if kind is Flask:
        StateFun(app)

    assert app.config["STATEFUN_SERVE_PORT"] == 9000
    assert post(app, "test/fn").status_code == 503


def test_the_settings_of_a_statefunflask_count_until_the_first_request(post: t.Any) -> None:
    app = StateFunFlask("app")
    app.statefun("test/fn")(echo)
    app.config["STATEFUN_URL"] = "/set/later"

    assert post(app, "test/fn", url="/set/later").status_code == 200
    assert post(app, "test/fn", url="/statefun").status_code == 404
    assert urls(app) == {"/set/later"}


def test_an_early_app_context_does_not_fix_the_settings(post: t.Any) -> None:
    app = StateFunFlask("app")
    app.statefun("test/fn")(echo)
    with app.app_context():
        assert app.statefun.settings.url == "/statefun"
    app.config["STATEFUN_URL"] = "/set/later"

    assert app.statefun.settings.url == "/set/later"
    assert post(app, "test/fn", url="/set/later").status_code == 200


def test_url_for_knows_the_endpoint_of_a_statefunflask() -> None:
    app = StateFunFlask("app")
    app.config.update(SERVER_NAME="localhost", STATEFUN_URL="/functions")

    with app.app_context():
        assert url_for("statefun.handle") == "http://localhost/functions"


def test_the_config_overrides_the_options_of_a_statefunflask() -> None:
    app = StateFunFlask("app", statefun_options={"url": "/option", "protocol": "v3"})
    app.config["STATEFUN_URL"] = "/config"

    assert (app.statefun.settings.url, app.statefun.settings.protocol) == ("/config", "v3")


def test_the_root_can_be_the_url(post: t.Any) -> None:
    app = StateFunFlask("app")
    app.statefun("test/fn")(echo)
    app.config["STATEFUN_URL"] = "/"

    assert post(app, "test/fn", url="/").status_code == 200


@pytest.mark.parametrize("kind", [StateFunFlask, Flask])
def test_settings_come_from_the_environment(kind: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_STATEFUN_URL", "/from/env")
    monkeypatch.setenv("FLASK_STATEFUN_UNKNOWN_FUNCTION_STATUS", "404")
    app = kind("app")
    app.config.from_prefixed_env()
    if kind is Flask:
        StateFun(app)

    assert urls(app) == {"/from/env"}
    assert app.statefun.settings.unknown_function_status == 404


def test_flask_routes_lists_the_configured_url() -> None:
    app = StateFunFlask("app")
    app.config["STATEFUN_URL"] = "/functions"

    assert "/functions" in app.test_cli_runner().invoke(routes_command).output


CHANGED = (
    "The setting STATEFUN_URL was changed to '/too/late' after it was read, which has no effect."
    " Set it before 'init_app', or before the first request of a StateFunFlask."
)


@pytest.mark.parametrize("kind", [StateFunFlask, Flask])
def test_a_key_that_changed_after_it_was_read_is_an_error(kind: t.Any, post: t.Any) -> None:
    app = kind("app")
    if kind is Flask:
        StateFun(app)
    urls(app)
    app.config["STATEFUN_URL"] = "/too/late"

    app.testing = True
    with pytest.raises(RuntimeError) as info:
        post(app, "test/fn")

    assert str(info.value) == CHANGED


@pytest.mark.parametrize("serve", [wsgi_app, lambda app: app.statefun.runtime()])
def test_a_changed_key_is_an_error_before_an_app_is_served(serve: t.Any) -> None:
    app = Flask("app")
    StateFun(app)
    app.config["STATEFUN_URL"] = "/too/late"

    with pytest.raises(RuntimeError) as info:
        serve(app)

    assert str(info.value) == CHANGED


@pytest.mark.parametrize("flag", ["DEBUG", "TESTING"])
@pytest.mark.parametrize("given", [True, False])
def test_debug_and_testing_count_as_they_are_at_the_first_request(
    flag: str, given: bool, post: t.Any, caplog: pytest.LogCaptureFixture
) -> None:
    app = Flask("app")
    StateFun(app)
    seen: list[bool] = []

    @app.statefun("test/fn")  # type: ignore[attr-defined, untyped-decorator]
    def function(context: Context, message: str) -> Effects:
        seen.append(json_types.verify.get())
        return Effects()

    app.config[flag] = given
    post(app, "test/fn")
    app.config[flag] = not given
    post(app, "test/fn")

    assert seen == [given, given]
