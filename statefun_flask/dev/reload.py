"""Running again when a source file changes, with the same data and the same listening socket.

A child process runs the app and watches its files with werkzeug's reloader. The parent process
keeps what outlives a version of the code: the data folder and the socket.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import types

import click

# Werkzeug's public client to its reloader serves a WSGI app, which this is not.
from werkzeug import _reloader

_SOCKET = "STATEFUN_DEV_SOCKET"
_DATA = "STATEFUN_DEV_DATA"
_CHILD = "WERKZEUG_RUN_MAIN"

#: The exit status with which the reloader asks for a new process.
CHANGED = 3


def run(
    main: cabc.Callable[[], None], port: int, folder: str | None, files: cabc.Iterable[str]
) -> int:
    """Call a function in a child process, and again in a new one after each change.

    :param main: Called in a thread of the child, which then is to end what it began.
    :param folder: The data folder; without one a temporary one is made.
    :param files: Further files to watch.
    :return: The exit status; in a child :data:`CHANGED` before the next one.
    :raises OSError: The port is taken.
    """
    if os.environ.get(_CHILD) == "true":
        threading.Thread(target=_end_with_parent, daemon=True).start()
        try:
            _reloader.run_with_reloader(main, extra_files=set(files))
        except SystemExit as exc:
            return CHANGED if exc.code == CHANGED else 0
        return 0

    with contextlib.ExitStack() as stack:
        bound = stack.enter_context(socket.create_server(("127.0.0.1", port)))
        bound.set_inheritable(True)
        if folder is None:
            folder = tempfile.mkdtemp(prefix="statefun-dev-")
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        environ = {
            **os.environ,
            _CHILD: "true",
            _SOCKET: str(bound.fileno()),
            _DATA: folder,
        }
        for each in (signal.SIGTERM, signal.SIGHUP):
            before = signal.signal(each, signal.default_int_handler)
            stack.callback(signal.signal, each, before)
        try:
            return _keep_running(environ, set(files))
        except KeyboardInterrupt:  # while it waits for broken code to be corrected
            return 0


def _keep_running(environ: dict[str, str], files: set[str]) -> int:
    """Start a child for each version of the code, until one ends by itself."""
    while True:
        child = subprocess.Popen(_reloader._get_args_for_reloading(), env=environ, close_fds=False)
        with _passing_signals_to(child):
            status = child.wait()
        if status == 1:
            # It could not load the app, so it is not there to watch.
            watching = _reloader.reloader_loops["stat"](extra_files=files)
            with contextlib.suppress(SystemExit), watching as watch:
                click.echo("The app cannot be loaded. Correct it, and it is tried again.", err=True)
                watch.run()
        elif status != CHANGED:
            return status


def _end_with_parent() -> None:
    """End as on SIGTERM when the parent was killed: nobody else would end this process."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def _passing_signals_to(child: subprocess.Popen[bytes]) -> cabc.Iterator[None]:
    """Let a child end by itself on Ctrl-C, which its terminal sends it too, and on SIGTERM."""

    def terminate(number: int, frame: types.FrameType | None) -> None:
        child.terminate()

    def interrupt(number: int, frame: types.FrameType | None) -> None:
        if not os.isatty(0):
            child.send_signal(number)

    ends = (signal.SIGTERM, signal.SIGHUP)
    before = [(each, signal.getsignal(each)) for each in (signal.SIGINT, *ends)]
    signal.signal(signal.SIGINT, interrupt)
    for each in ends:
        signal.signal(each, terminate)
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def inherited() -> tuple[socket.socket, str] | None:
    """Return the socket and the data folder that the parent handed down, in a child."""
    if os.environ.get(_CHILD) != "true":
        return None
    return socket.socket(fileno=int(os.environ[_SOCKET])), os.environ[_DATA]
