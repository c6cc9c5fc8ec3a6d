"""The app's functions in child processes, which the engine calls over Unix sockets.

A child runs this same command with a variable in its environment, and serves the app on a socket of
its own. A child that ends is started again. No child outlives this process, not even a killed one:
:mod:`statefun_flask.flink.supervisor` watches it.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import typing as t

# The arguments with which this process was started, as for --reload.
from werkzeug import _reloader

from ..embedded import InProcess
from ..embedded import Remote
from ..embedded.errors import EndpointDownError
from ..embedded.errors import EndpointError
from ..flink import supervisor
from ..transport import WaitressTransport

if t.TYPE_CHECKING:
    from flask import Flask

    from ..embedded.endpoints.connection import HttpCall
    from ..embedded.endpoints.routes import EgressFormat
    from ..embedded.endpoints.routes import FunctionEndpoint
    from ..embedded.endpoints.routes import Routes

logger = logging.getLogger("statefun_flask")

_SOCKET = "STATEFUN_DEV_CHILD_SOCKET"
_THREADS = "STATEFUN_DEV_CHILD_THREADS"

#: The time before a child that has ended is started again, in seconds: at first, and at most. A
#: child that has run for :data:`STEADY` seconds is started again after the first one.
FIRST_DELAY = 0.1
LONGEST_DELAY = 5.0
STEADY = 10.0

#: How long a child may take to load the app, and to end, in seconds.
LOAD_TIMEOUT = 60.0
END_TIMEOUT = 3.0

#: A path of a Unix socket may have about 100 bytes.
_LONGEST_FOLDER = 80

#: In place of no limit for a call, in seconds.
_YEAR = 365.0 * 24 * 3600


class ChildEndedError(EndpointError):
    """A child ended while it handled a message, or others of the same moment."""

    #: The message that ends the child is called alone at the end. Others of its moment are called
    #: again as often, hardly ever in the same child.
    tries = 4

    def __init__(self) -> None:
        super().__init__(
            "The child process ended while it handled this message. The message may crash it: see"
            " the output of the child, correct the function, or drop the message."
        )


class ChildTimeoutError(EndpointError):
    """A child did not answer in time."""

    tries = 1

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"The function did not return in {seconds:g} seconds, and its child process was ended."
            " Correct the function, or raise --call-timeout."
        )


# -- in a child -------------------------------------------------------------------------------


def is_child() -> bool:
    """Return whether this process is to serve the app for an engine in another one."""
    return _SOCKET in os.environ


def serve(app: Flask) -> None:
    """Serve the app's functions until SIGTERM, as the engine calls them in process: no hooks."""
    path, threads = os.environ.pop(_SOCKET), int(os.environ.pop(_THREADS))
    WaitressTransport(
        f"unix:{path}", threads=threads, direct=True, skip_hooks=True, drain_seconds=1.0
    ).run(app)


# -- in the engine's process ------------------------------------------------------------------


class Children:
    """Processes that serve the app, and are kept running until :meth:`close`.

    :param number: How many there are.
    :param threads: How many calls each answers at a time.
    :param path: The path of the functions in URLs.
    :raises RuntimeError: One of them cannot load the app.
    """

    def __init__(self, number: int, threads: int, path: str) -> None:
        self._folder = _folder()
        self._threads = threads
        self._closing = threading.Event()
        self._children = [_Child(f"{self._folder}/{each}.sock", self) for each in range(number)]
        #: Their URLs, in the form that module.yaml has.
        self.urls = [f"http+unix://{each.socket}{path}" for each in self._children]
        try:
            for child in self._children:
                child.start()
            for child in self._children:
                child.wait_until_ready()
            for child in self._children:
                child.keep.start()
        except BaseException:
            self.close()
            raise

    def end(self, url: str) -> None:
        """End a child with a function that does not return. Another one takes its place."""
        self._children[self.urls.index(url)].process.kill()

    @property
    def up(self) -> list[bool]:
        """Whether each child answers, as far as is known."""
        return [each.is_up for each in self._children]

    @property
    def pids(self) -> list[int]:
        """The process ids of the children."""
        return [each.process.pid for each in self._children]

    def close(self) -> None:
        """End all children."""
        self._closing.set()
        for child in self._children:
            child.terminate()
        deadline = time.monotonic() + END_TIMEOUT
        for child in self._children:
            child.end(deadline)
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- for a child ----------------------------------------------------------------------

    def popen(self, path: str) -> subprocess.Popen[bytes]:
        """Start a process that serves the app on a socket."""
        return subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", supervisor.__file__, self._folder),
                *_reloader._get_args_for_reloading(),
            ],
            env={**os.environ, _SOCKET: path, _THREADS: str(self._threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # In a session of its own it does not get the terminal's Ctrl-C.
            start_new_session=True,
        )

    def pause(self, seconds: float) -> bool:
        """Wait, but not longer than until the close. Returns whether to go on."""
        return not self._closing.wait(seconds)


class _Child:
    """One child: the process that runs now."""

    def __init__(self, path: str, parent: Children) -> None:
        self.socket = path
        self._parent = parent
        self.process: subprocess.Popen[bytes]
        self.keep = threading.Thread(target=self._keep, name="statefun-child", daemon=True)
        self._began = 0.0
        self.is_up = False

    def start(self) -> None:
        self._began = time.monotonic()
        self.process = self._parent.popen(self.socket)
        threading.Thread(target=_pass_on, args=(self.process,), daemon=True).start()

    def wait_until_ready(self) -> None:
        """Wait until the child answers on its socket.

        :raises RuntimeError: It has ended, or takes too long.
        """
        deadline = time.monotonic() + LOAD_TIMEOUT
        while not _is_answered(self.socket):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    "The app cannot be run in a child process, whose output says why. Correct the"
                    " app, or start without --isolate."
                )
            time.sleep(0.02)
        self.is_up = True

    def _await_socket(self) -> None:
        """Note that a child that was started again answers, unless it ends before."""
        while self.process.poll() is None and self._parent.pause(0.02):
            if _is_answered(self.socket):
                self.is_up = True
                return

    def _keep(self) -> None:
        """Start the child again whenever it ends."""
        delay = FIRST_DELAY
        while True:
            status = self.process.wait()
            self.is_up = False
            _release(self.process)
            if not self._parent.pause(0.0):
                return
            if time.monotonic() - self._began >= STEADY:
                delay = FIRST_DELAY
            logger.warning(
                "The child process %d of the app has ended %s. Another one starts in %g s.",
                self.process.pid,
                _manner(status),
                delay,
            )
            if not self._start_again(delay):
                return
            delay = min(2 * delay, LONGEST_DELAY)
            self._await_socket()

    def _start_again(self, delay: float) -> bool:
        """Start the child after a delay, and again until it works. Returns whether to go on."""
        while self._parent.pause(delay):
            try:
                self.start()
            except OSError as exc:
                delay = LONGEST_DELAY
                logger.warning(
                    "A child process cannot be started: %s. The next try is in %g s.",
                    exc.strerror or exc,
                    delay,
                )
            else:
                return True
        return False

    def terminate(self) -> None:
        if hasattr(self, "process"):
            self.process.terminate()

    def end(self, deadline: float) -> None:
        """Wait for the end, and kill the child if it takes too long."""
        if self.keep.ident is not None:
            self.keep.join(max(0.0, deadline - time.monotonic()))
        if not hasattr(self, "process"):
            return
        try:
            self.process.terminate()  # one that was started meanwhile
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        _release(self.process)


class ChildEndpoint(Remote):
    """The app in a child process. With no network, a message is to blame for a lost call."""

    tries = 1  # an exception is the function's, as in process

    def __init__(self, url: str, children: Children, batch: int, timeout: float | None) -> None:
        super().__init__(url, batch=batch, timeout=timeout or _YEAR)
        self.group = children
        self.group_size = len(children.urls)
        self._children = children
        self._seconds = timeout or _YEAR

    def read(self, call: HttpCall) -> bytes:
        """Return the FromFunction that a call was answered with.

        :raises ChildEndedError: The child ended during the call.
        :raises ChildTimeoutError: The function did not return in time.
        :raises EndpointDownError: The child does not run.
        """
        try:
            return super().read(call)
        except EndpointDownError as exc:
            if exc.is_cut_off:
                raise ChildEndedError from None
            if exc.reason == "timeout":
                self._children.end(self.name)
                raise ChildTimeoutError(self._seconds) from None
            raise


class IsolatedRoutes:
    """Routes with the app's own functions in child processes, any of them for a call.

    :param routes: Finds all other endpoints, and the egresses.
    :param children: The processes.
    :param timeout: How long a call may take, in seconds; None for any time.
    """

    def __init__(self, routes: Routes, children: Children, timeout: float | None) -> None:
        self._routes = routes
        self._children = children
        self._timeout = timeout
        self._endpoints: dict[int, list[ChildEndpoint]] = {}

    def endpoint(self, typename: str) -> FunctionEndpoint:
        """Return what serves a function type: for the app's own, one of the children that run.

        :raises UnknownTargetError: Nothing does.
        """
        found = self._routes.endpoint(typename)
        if not isinstance(found, InProcess):
            return found
        endpoints = self._endpoints.get(found.batch)
        if endpoints is None:
            endpoints = self._endpoints[found.batch] = [
                ChildEndpoint(url, self._children, found.batch, self._timeout)
                for url in self._children.urls
            ]
        up = list(itertools.compress(endpoints, self._children.up))
        # By chance, not in turns: endpoints are asked for to check targets, too.
        return random.choice(up or endpoints)

    def egress(self, identifier: str) -> EgressFormat:
        """Return an egress.

        :raises UnknownEgressError: There is none of that identifier.
        """
        return self._routes.egress(identifier)

    def close(self) -> None:
        """Close the connections to endpoints."""
        for endpoints in self._endpoints.values():
            for each in endpoints:
                each.close()
        self._routes.close()


def _folder() -> str:
    """Return a new folder for sockets, whose path is short."""
    folder = tempfile.mkdtemp(prefix="sf-")
    if len(folder) > _LONGEST_FOLDER:
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix="sf-", dir="/tmp")
    return folder


def _is_answered(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError:
            return False
        return True


def _pass_on(process: subprocess.Popen[bytes]) -> None:
    """Write the output of a child to standard error."""
    output = process.stdout
    if output is None:
        return
    with output, contextlib.suppress(OSError):
        while data := os.read(output.fileno(), 65536):
            os.write(2, data)


def _release(process: subprocess.Popen[bytes]) -> None:
    """Tell the watcher of a child that it has ended."""
    pipe = process.stdin
    if pipe is not None and not pipe.closed:
        with contextlib.suppress(OSError):
            os.write(pipe.fileno(), b".")
        with contextlib.suppress(OSError):
            pipe.close()


def _manner(status: int) -> str:
    if status >= 0:
        return f"with status {status}"
    try:
        return f"by {signal.Signals(-status).name}"
    except ValueError:
        return f"by signal {-status}"
