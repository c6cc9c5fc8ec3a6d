from __future__ import annotations

import collections.abc as cabc
import contextlib
import http.client
import pathlib
import re
import signal
import subprocess
import sys
import typing as t

import pytest

APP = """
from statefun_flask import Address, Effects, StateFunFlask

app = StateFunFlask(__name__)
app.config.from_prefixed_env()

@app.statefun("test/echo")
def echo(context, message: str):
    return Effects().send(Address("test/sink", "a"), message)

@app.get("/other")
def other():
    return "other"
"""


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "served.py").write_text(APP)
    return tmp_path


@pytest.fixture
def serve(folder: pathlib.Path) -> cabc.Iterator[cabc.Callable[..., t.Any]]:
    """Return a function that starts ``flask statefun serve``, until the test ends."""
    with contextlib.ExitStack() as stack:

        def start(*options: str) -> subprocess.Popen[str]:
            command = ["-m", "flask", "--app", "served.py", "statefun", "serve", *options]
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


def test_it_says_where_it_listens_serves_bad_input_too_and_stops_at_sigterm(
    serve: t.Any, request_body: t.Any, answered: t.Any
) -> None:
    process = serve("--port", "0", "--threads", "2")
    line = process.stdout.readline()

    found = re.fullmatch(
        r"Serving 1 function \(test/echo\) at http://127\.0\.0\.1:(\d+)/statefun on waitress"
        r" with 2 threads\n",
        line,
    )
    assert found, line
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
    ) as connection:

        def post(body: bytes) -> tuple[int, str | None, bytes]:
            headers = {"Content-Type": "application/octet-stream"}
            connection.request("POST", "/statefun", body, headers)
            response = connection.getresponse()
            return response.status, response.headers["Content-Type"], response.read()

        for bad in (b"", b"\xff", b"\0" * 1_000_000, b"\x0b" * 100_000):
            assert post(bad)[:2] == (400, "text/plain; charset=utf-8")
        status, content_type, body = post(request_body("test/echo", "hello"))
        assert (status, content_type) == (200, "application/octet-stream")
        assert answered(body).texts == ["hello"]

        connection.request("GET", "/other")
        assert connection.getresponse().read() == b"other"

    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0


def test_a_taken_port_is_one_clear_sentence(serve: t.Any) -> None:
    first = serve("--port", "0")
    port = re.search(r":(\d+)/", first.stdout.readline())
    assert port

    second = serve("--port", port[1])

    assert second.wait(15) == 1
    assert second.stdout.read() == (
        f"Error: Cannot listen on 127.0.0.1:{port[1]}: Address already in use."
        " Choose another --host or --port.\n"
    )
