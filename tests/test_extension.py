from __future__ import annotations

import typing as t

import pytest
from flask import Flask
from flask.cli import routes_command

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import DuplicateFunctionError
from statefun_flask import Effects
from statefun_flask import RegistrationError
from statefun_flask import StateFun
from statefun_flask import StateFunFlask

TO = Address("test/sink", "a")


def echo(context: Context, message: str) -> Effects:
    return Effects().send(TO, message)


def number(context: Context, message: int) -> Effects:
    return Effects().send(TO, message)


@pytest.fixture
def post(request_body: t.Any) -> t.Any:
    """Return a function that has an app's function called: ``post(app, typename, message)``."""

    def send(app: Flask, typename: str, message: t.Any = "x", url: str = "/statefun") -> t.Any:
        body = request_body(typename, message)
        return app.test_client().post(url, data=body, content_type="application/octet-stream")

    return send


def urls(app: Flask) -> set[str]:
    """Return where the runtime's requests are answered."""
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


# -- init_app -------------------------------------------------------------------------------------


def test_init_app_gives_a_plain_app_all_there_is(post: t.Any) -> None:
    app = Flask("app")
    extension = StateFun()
    extension("test/fn")(echo)
    extension.init_app(app)

    view = app.extensions["statefun"]
    assert app.statefun is view  # type: ignore[attr-defined]
    assert isinstance(view, StateFun)
    assert view is not extension
    assert "statefun" in app.blueprints
    assert "statefun" in app.cli.commands
    assert urls(app) == {"/statefun"}
    assert post(app, "test/fn").status_code == 200


def test_the_constructor_takes_an_app_and_options(post: t.Any) -> None:
    app = Flask("app")
    StateFun(app, url="/functions", unknown_function_status=404)

    assert urls(app) == {"/functions"}
    assert post(app, "test/fn", url="/functions").status_code == 404


def test_apps_share_what_is_registered_on_the_extension_only(post: t.Any) -> None:
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


def test_a_factory_that_registers_on_the_extension_is_told_so() -> None:
    extension = StateFun()

    def create_app() -> None:
        @extension("test/fn")
        def function(context: Context, message: str) -> Effects:
            return Effects()

    create_app()
    with pytest.raises(DuplicateFunctionError, match="has probably run twice"):
        create_app()


@pytest.mark.parametrize("app", [StateFunFlask("app"), Flask("app")])
def test_a_second_extension_on_one_app_is_refused(app: Flask) -> None:
    if "statefun" not in app.extensions:
        StateFun(app)

    with pytest.raises(RuntimeError) as info:
        StateFun(app)

    assert str(info.value) == (
        "The app 'app' has a StateFun extension already."
        " Use one StateFun object per app, and call its 'init_app' once."
    )


@pytest.mark.parametrize("name", ["settings", "endpoint"])
def test_an_extension_is_no_app_before_init_app(name: str) -> None:
    extension = StateFun()
    extension.init_app(Flask("app"))

    with pytest.raises(RuntimeError) as info:
        getattr(extension, name)

    assert str(info.value) == (
        "This StateFun object is not an app's. Call 'init_app(app)' and use 'app.statefun', or"
        " 'current_app.extensions[\"statefun\"]'."
    )


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


def test_the_settings_of_a_statefunflask_count_until_the_first_request(post: t.Any) -> None:
    app = StateFunFlask("app")
    app.statefun("test/fn")(echo)
    app.config["STATEFUN_URL"] = "/set/later"

    assert post(app, "test/fn", url="/set/later").status_code == 200
    assert post(app, "test/fn", url="/statefun").status_code == 404
    assert urls(app) == {"/set/later"}


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

    assert str(info.value) == (
        "The setting STATEFUN_URL was changed to '/too/late' after it was read, which has no"
        " effect. Set it before 'init_app', or before the first request or command of a"
        " StateFunFlask."
    )
