from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import pathlib
import threading
import time
import typing as t

import pytest

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import StateFunFlask
from statefun_flask.dev.session import Options
from statefun_flask.dev.session import Session
from statefun_flask.dev.skipping_clock import SkippingClock
from statefun_flask.embedded.errors import DataFolderError


def nothing() -> None:
    """Called while the session waits."""


def lines(client: t.Any) -> list[str]:
    return [each["value"] for each in client.get("/-/egress/lines")]


# -- the clock ------------------------------------------------------------------------------


def test_the_clock_skips_forward_and_never_back() -> None:
    clock = SkippingClock()
    real = int(time.time() * 1000)
    assert 0 <= clock.now() - real < 5_000
    clock.skip_to(real + 3_600_000)
    assert 0 <= clock.now() - real - 3_600_000 < 5_000
    before = clock.now()
    clock.skip_to(real)
    assert clock.now() >= before


# -- until it is done -----------------------------------------------------------------------


def test_it_is_done_when_nothing_waits(client: t.Any) -> None:
    for _ in range(20):
        client.put("/dev/words/bob", "x")
    client.session.wait_until_done(0, 0, nothing)
    assert len(lines(client)) == 20


def test_it_is_not_done_while_a_function_runs(
    start: cabc.Callable[..., t.Any], eventually: cabc.Callable[..., t.Any]
) -> None:
    app = StateFunFlask("held")
    held = threading.Event()

    @app.statefun("dev/held")
    def hold(context: Context, message: str) -> Effects:
        held.wait(10)
        return Effects()

    client = start(app)
    client.put("/dev/held/x", "x")
    eventually(lambda: client.session.engine.status().in_flight)
    assert not client.session.is_idle()
    held.set()
    client.session.wait_until_done(0, 0, nothing)
    assert client.session.is_idle()


def test_it_lingers_for_a_delay_that_is_due_soon(client: t.Any) -> None:
    client.put("/dev/later/x", "150")
    client.session.wait_until_done(10, 0, nothing)
    assert lines(client) == ["after 150"]


def test_it_leaves_a_delay_that_is_due_later(client: t.Any) -> None:
    client.put("/dev/later/x", "3600000")
    ticks: list[int] = []
    client.session.wait_until_done(1, 0, lambda: ticks.append(1))
    assert (lines(client), len(client.get("/-/delays"))) == ([], 1)
    assert ticks


def test_a_skipping_clock_goes_to_each_delay_in_turn(start: cabc.Callable[..., t.Any]) -> None:
    client = start(skipping=True)
    began = client.session.clock.now()
    for hours in (3, 1, 2):
        client.put(f"/dev/later/{hours}", str(hours * 3_600_000))
    client.session.wait_until_done(0, 100, nothing)
    assert lines(client) == ["after 3600000", "after 7200000", "after 10800000"]
    assert 10_800_000 <= client.session.clock.now() - began < 10_860_000


def test_a_skipping_clock_stops_after_so_many_jumps(start: cabc.Callable[..., t.Any]) -> None:
    app = StateFunFlask("forever")

    @app.statefun("dev/again")
    def again(context: Context, message: int) -> Effects:
        return Effects().send_after(context.self_address, dt.timedelta(days=1), message + 1)

    client = start(app, skipping=True)
    client.put("/dev/again/x", "0")
    client.session.wait_until_done(0, 5, nothing)
    assert [each["value"] for each in client.get("/-/delays")] == [6]
    assert client.session.skip()


def test_there_is_nothing_to_skip_to(client: t.Any) -> None:
    assert client.session.next_due() is None
    assert not client.session.skip()


def test_a_parked_address_does_not_keep_it_from_being_done(client: t.Any) -> None:
    client.put("/dev/words/bob", "bad")
    client.put("/dev/words/bob", "good")
    client.session.wait_until_done(0, 0, nothing)
    assert client.get("/-/status")["parked"] == 1


# -- refused --------------------------------------------------------------------------------


def test_an_app_of_2_x_is_refused() -> None:
    app = StateFunFlask("old")
    app.config["STATEFUN_PROTOCOL"] = "v2"
    with app.app_context(), pytest.raises(ValueError, match="STATEFUN_PROTOCOL is 'v2'") as caught:
        Session(app, Options(port=0))
    assert str(caught.value) == (
        "The embedded engine speaks 3.x, and STATEFUN_PROTOCOL is 'v2'. Set it to 'auto',"
        " or run the app with 'flask statefun flink --release 2.2.2'."
    )


def test_a_folder_is_used_once(
    start: cabc.Callable[..., t.Any], app: StateFunFlask, tmp_path: pathlib.Path
) -> None:
    start(data=str(tmp_path))
    with app.app_context(), pytest.raises(DataFolderError):
        Session(app, Options(port=0, data=str(tmp_path)))


def test_a_taken_port_leaves_the_folder_free(
    start: cabc.Callable[..., t.Any], app: StateFunFlask, tmp_path: pathlib.Path
) -> None:
    port = start().session.server.port
    with app.app_context(), pytest.raises(OSError, match="in use"):
        Session(app, Options(port=port, data=str(tmp_path)))
    start(data=str(tmp_path)).put("/dev/words/bob", "x")


def test_a_session_that_was_never_started_can_be_closed(app: StateFunFlask) -> None:
    with app.app_context():
        session = Session(app, Options(port=0))
    session.close()


def test_functions_run_with_an_app_context_and_no_request(
    start: cabc.Callable[..., t.Any],
) -> None:
    import flask

    app = StateFunFlask("contexts")
    found: list[tuple[str, bool]] = []
    ended: list[t.Any] = []
    app.teardown_appcontext(ended.append)

    @app.statefun("dev/where")
    def where(context: Context, message: str) -> Effects:
        found.append((flask.current_app.name, flask.has_request_context()))
        return Effects()

    client = start(app)
    before = len(ended)
    client.put("/dev/where/x", "x")
    client.idle()
    assert found == [("contexts", False)]
    assert len(ended) == before + 1
