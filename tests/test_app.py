"""StateFunFlask under a server whose threads bring the first requests at the same time."""

from __future__ import annotations

import collections
import collections.abc as cabc
import concurrent.futures
import sys
import threading
import typing as t

import pytest

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import StateFunFlask

THREADS = 6


@pytest.fixture
def impatient() -> cabc.Iterator[None]:
    """Have the interpreter switch between threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("impatient")
def test_the_first_requests_may_come_at_the_same_time(request_bytes: t.Any) -> None:
    body = request_bytes("hello")
    statuses: collections.Counter[int] = collections.Counter()

    def echo(context: Context, text: str) -> Effects:
        return Effects()

    def first_request(app: StateFunFlask, barrier: threading.Barrier) -> int:
        client = app.test_client()
        barrier.wait(10)
        return client.post(
            "/statefun", data=body, content_type="application/octet-stream"
        ).status_code

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for _ in range(10):
            app = StateFunFlask("example")
            app.statefun("example/fn")(echo)
            barrier = threading.Barrier(THREADS)
            asked = [pool.submit(first_request, app, barrier) for _ in range(THREADS)]
            statuses.update(each.result() for each in asked)
    assert statuses == {200: 10 * THREADS}


def test_a_wrong_setting_is_told_at_every_request_until_it_is_right(request_bytes: t.Any) -> None:
    app = StateFunFlask("example")
    app.config["STATEFUN_URL"] = "functions"
    for _ in range(2):
        with pytest.raises(ValueError, match="The setting STATEFUN_URL is 'functions'"):
            app.test_client().post("/functions")
    app.config["STATEFUN_URL"] = "/functions"
    assert app.test_client().post("/functions").status_code == 415
