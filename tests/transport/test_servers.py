"""``flask statefun serve`` on each server, as in a deployment."""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time
import typing as t

import pytest
from server_paths import each_path
from server_paths import each_server
from server_paths import SERVERS

HERE = pathlib.Path(__file__).parent

Ask: t.TypeAlias = cabc.Callable[..., list[str]]
Serve: t.TypeAlias = cabc.Callable[..., t.Any]


def test_waitress_prints_the_url_and_the_functions(serve: Serve) -> None:
    server = serve()
    assert server.announced == (
        "Serving 8 functions (test/echo, test/pid, test/raises, test/raises_async, test/slow,"
        f" test/slow_async, test/thread, test/wait) at {server.url} on waitress with 8 threads\n"
    )
    assert server.terminate() == 0


@each_path
def test_async_functions_are_served(running: Serve, ask: Ask, options: tuple[str, ...]) -> None:
    loops = {ask(running(*options).url, "test/wait", "0")[0]}
    assert loops == {"MainThread" if "asgi" in options else "statefun-loop"}


EXITS = ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError", "BaseException"]


@each_path
@pytest.mark.parametrize("typename", ["test/raises", "test/raises_async"])
def test_a_function_that_exits_is_500_and_the_worker_continues(
    running: Serve,
    ask: Ask,
    connect: t.Any,
    encode: t.Any,
    options: tuple[str, ...],
    typename: str,
) -> None:
    url = running(*options).url
    (worker,) = ask(url, "test/pid", "")
    for name in EXITS:
        with contextlib.closing(connect(url)) as connection:
            headers = {"Content-Type": "application/octet-stream"}
            connection.request("POST", "/statefun", encode(typename, name), headers)
            assert connection.getresponse().status == 500, name
        assert ask(url, "test/wait", "0")
    assert ask(url, "test/pid", "") == [worker]


@each_server
def test_a_unix_socket_is_served_and_removed(
    serve: Serve, ask: Ask, tmp_path: pathlib.Path, options: tuple[str, ...]
) -> None:
    path = tmp_path / "socket"
    # A socket of a killed server does not prevent the start.
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    server = serve(*options, "--unix", str(path))
    assert server.url == f"http+unix://{path}/statefun"
    assert ask(server.url, "test/echo", "hello") == ["hello"]
    assert server.terminate() == 0
    assert not path.exists()


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="Linux alone has this policy")
@pytest.mark.parametrize("path", ["direct on waitress", "direct on granian", "asgi"])
def test_no_thread_interrupts_another(running: Serve, ask: Ask, path: str) -> None:
    worker = int(ask(running(*SERVERS[path]).url, "test/pid", "")[0])

    threads = [int(each.name) for each in pathlib.Path(f"/proc/{worker}/task").iterdir()]

    assert len(threads) > 1
    assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_BATCH}


@pytest.mark.parametrize("server", ["granian", "asgi"])
def test_granian_has_as_many_workers_as_are_asked_for(
    running: Serve, ask: Ask, wait_for: t.Any, server: str
) -> None:
    serving = running("--server", server, "--workers", "2", "--direct")
    pids: set[str] = set()

    def both_answered() -> bool:
        pids.update(ask(serving.url, "test/pid", ""))
        return len(pids) == 2

    wait_for(both_answered, "an answer of each worker")


@pytest.mark.parametrize("options", [(), ("--server", "asgi")], ids=["waitress", "asgi"])
def test_many_more_connections_than_threads_are_kept_open(
    running: Serve, ask: Ask, connect: t.Any, options: tuple[str, ...]
) -> None:
    url = running(*options).url
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            connection = connect(url)
            connection.connect()
            stack.callback(connection.close)
        assert ask(url, "test/echo", "hello") == ["hello"]


def test_async_functions_wait_together_on_asgi_without_a_thread(running: Serve, ask: Ask) -> None:
    url = running("--server", "asgi").url
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        start = time.monotonic()
        answers = list(pool.map(lambda _: ask(url, "test/wait", "0.3"), range(20)))
    assert answers == [["MainThread"]] * 20
    assert time.monotonic() - start < 3, "they waited one after the other, 6 s in all"


def test_sync_functions_run_in_threads_on_asgi(running: Serve, ask: Ask) -> None:
    assert ask(running("--server", "asgi").url, "test/thread", "")[0].startswith("statefun_")


def test_the_whole_app_is_served_by_wsgi(running: Serve, connect: t.Any) -> None:
    for options in ((), ("--server", "granian", "--direct")):
        with contextlib.closing(connect(running(*options).url)) as connection:
            connection.request("GET", "/other")
            assert connection.getresponse().read() == b"other"


@pytest.mark.parametrize(
    ("target", "transport"),
    [
        ("'served:app'", "GranianTransport"),
        ("'served:registry'", "GranianTransport"),
        ("served.registry", "AsgiTransport"),
        ("served.registry", "WaitressTransport"),
    ],
)
def test_transports_run_apps_and_registries(
    run_code: t.Any, ask: Ask, target: str, transport: str
) -> None:
    server = run_code(
        "import served\n"
        f"from statefun_flask import {transport}\n"
        f"{transport}('127.0.0.1:0').run({target}, started=lambda listen:"
        " print(listen.url('/statefun'), flush=True))"
    )
    assert ask(server.url, "test/echo", "hello") == ["hello"]
    assert server.terminate() == 0


def test_workers_that_are_not_forked_load_the_app_themselves(serve: Serve, ask: Ask) -> None:
    server = serve("--server", "granian", app="spawned.py")
    assert ask(server.url, "test/echo", "hello") == ["hello"]


def _fail(*options: str, app: str = "served.py") -> str:
    command = [sys.executable, "-m", "flask", "--app", app, "statefun", "serve", *options]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=20)
    assert done.returncode != 0
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("server", ["waitress", "granian"])
def test_a_taken_port_is_reported(server: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert _fail("--server", server, "--port", port) == (
            f"Error: Cannot listen on 127.0.0.1:{port}: Address already in use."
            " Choose another --host or --port."
        )


@pytest.mark.parametrize("server", ["waitress", "granian"])
def test_a_unix_socket_in_use_is_not_removed(
    serve: Serve, ask: Ask, tmp_path: pathlib.Path, server: str
) -> None:
    path = str(tmp_path / "socket")
    first = serve("--unix", path)
    assert _fail("--server", server, "--unix", path) == (
        f"Error: Cannot listen on unix:{path}: Address already in use. Choose another --unix path."
    )
    assert ask(first.url, "test/echo", "hello") == ["hello"]


def test_waitress_refuses_options_that_it_does_not_have() -> None:
    assert _fail("--workers", "2") == (
        "Error: waitress is one process, and --workers is 2. Use --server granian, or start several"
        " of them."
    )
    assert _fail("--cert", "served.py", "--key", "served.py") == (
        "Error: waitress speaks no TLS. Use --server granian, or a proxy."
    )


@pytest.mark.parametrize(
    "options", [("--direct",), ("--server", "granian", "--direct"), ("--server", "asgi")]
)
def test_the_direct_path_does_not_start_past_hooks(options: tuple[str, ...]) -> None:
    assert _fail("--port", "0", *options, app="guarded.py") == (
        "Error: The app 'guarded' has hooks before its endpoint that the direct path would not"
        " call: 'check_token' (before_request). Serve it through its view, or allow skipping them"
        " with skip_hooks=True (--skip-hooks)."
    )


def test_hooks_are_skipped_on_request(serve: Serve, ask: Ask) -> None:
    server = serve("--direct", "--skip-hooks", app="guarded.py")
    assert ask(server.url, "test/echo", "hello") == ["hello"]
