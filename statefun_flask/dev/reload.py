"""Restarts the app when a source file changes, with the same data and the same listening socket.

A child process runs the app and watches its files with werkzeug's reloader. The parent process
keeps the data folder and the socket, which all versions of the code use.
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

# Werkzeug's public function for its reloader serves a WSGI app, which this command does not.
from werkzeug import _reloader

from ..embedded.errors import DataFolderError
from .server import bind

_SOCKET = "STATEFUN_DEV_SOCKET"
_DATA = "STATEFUN_DEV_DATA"
_TEMPORARY = "STATEFUN_DEV_TEMPORARY"
_PARENT = "STATEFUN_DEV_PARENT"
_CHILD = "WERKZEUG_RUN_MAIN"

#: The exit status with which the reloader asks for a new process.
CHANGED = 3


def run(
    main: cabc.Callable[[], None], port: int, folder: str | None, files: cabc.Iterable[str]
) -> int:
    """Call a function in a child process, and again in a new one after each change.

    :param main: Called in a thread of the child. The caller ends the child.
    :param folder: The data folder. Without one a temporary folder is made.
    :param files: Further files to watch.
    :return: The exit status; in a child :data:`CHANGED` before the next child starts.
    :raises ListenError: The port is taken.
    :raises DataFolderError: No temporary folder can be made.
    """
    if os.environ.get(_CHILD) == "true":
        threading.Thread(target=_end_with_parent, daemon=True).start()
        try:
            _reloader.run_with_reloader(main, extra_files=set(files))
        except SystemExit as exc:
            return CHANGED if exc.code == CHANGED else 0
        return 0

    with contextlib.ExitStack() as stack:
        bound = stack.enter_context(bind(port))
        bound.set_inheritable(True)
        temporary = folder is None
        if folder is None:
            folder = _temporary_folder()
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        environ = {
            **os.environ,
            _CHILD: "true",
            _SOCKET: str(bound.fileno()),
            _DATA: folder,
            _TEMPORARY: str(int(temporary)),
            _PARENT: str(os.getpid()),
        }
        for each in (signal.SIGTERM, signal.SIGHUP):
            before = signal.signal(each, signal.default_int_handler)
            stack.callback(signal.signal, each, before)
        try:
            return _keep_running(environ, set(files))
        except KeyboardInterrupt:  # while the parent waits for corrected code
            return 0


def _temporary_folder() -> str:
    """Return a new folder that only this user can read."""
    try:
        return tempfile.mkdtemp(prefix="statefun-dev-")
    except OSError as exc:
        raise DataFolderError(
            f"No temporary folder can be made: {exc.strerror or exc}. Name a folder with --data."
        ) from None


def remove_orphaned_data() -> None:
    """Remove the temporary folder in a child whose parent was killed."""
    if os.environ.get(_TEMPORARY) == "1" and os.environ[_PARENT] != str(os.getppid()):
        shutil.rmtree(os.environ[_DATA], ignore_errors=True)


def _keep_running(environ: dict[str, str], files: set[str]) -> int:
    """Start a child for each version of the code, until a child exits without a change."""
    while True:
        child = subprocess.Popen(_reloader._get_args_for_reloading(), env=environ, close_fds=False)
        with _passing_signals_to(child):
            status = child.wait()
        if status == 1:
            # The child could not load the app and has ended, so that nothing watches the files.
            watching = _reloader.reloader_loops["stat"](extra_files=files)
            with contextlib.suppress(SystemExit), watching as watch:
                text = "The app cannot be loaded. Correct the code to load it again."
                click.echo(text, err=True)
                watch.run()
        elif status != CHANGED:
            return status


def _end_with_parent() -> None:
    """End as after SIGTERM if the parent was killed."""
    while str(os.getppid()) == os.environ[_PARENT]:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def _passing_signals_to(child: subprocess.Popen[bytes]) -> cabc.Iterator[None]:
    """Pass SIGTERM to a child, and Ctrl-C if the terminal does not send it to the child."""

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
    """Return the socket and the data folder of the parent, in a child."""
    if os.environ.get(_CHILD) != "true":
        return None
    return socket.socket(fileno=int(os.environ[_SOCKET])), os.environ[_DATA]
