"""Serving with waitress: pure Python, threads, no configuration."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import functools
import logging
import signal
import threading
import time
import typing as t

from ..config import Settings
from ..config import SettingsOptions
from ..core.endpoint import Endpoint
from ..core.registry import FunctionRegistry
from .direct import Served
from .listen import Listen
from .listen import Started
from .scheduling import let_threads_finish
from .wsgi import application

#: The runtime keeps up to 1024 connections open to each function type. A server that takes fewer
#: leaves the rest waiting until they time out, which stalls the job.
CONNECTIONS = 10_000

#: How long what was begun may take once the server was told to stop, in seconds.
DRAIN = 30.0


class WaitressTransport:
    """Serves functions, as the blog post's ``main`` does::

        WaitressTransport("0.0.0.0:5000").run(registry)

    :param listen: ``host:port`` (port 0 takes a free one) or ``unix:path``.
    :param threads: How many requests are answered at a time.
    :param direct: Answer the requests for an app's functions past Flask's dispatch. A registry is
        always served so.
    :param skip_hooks: Do so although the app has hooks that are then not called.
    :param drain_seconds: How long what was begun may take once SIGTERM came.
    :param notice_seconds: How long the door stays open after SIGTERM though nothing is in flight,
        for load balancers that find out by asking whether the worker is ready.
    :param options: Settings by name for a registry, see :class:`~statefun_flask.config.Settings`.
    """

    def __init__(
        self,
        listen: str = "127.0.0.1:5000",
        *,
        threads: int = 8,
        direct: bool = False,
        skip_hooks: bool = False,
        drain_seconds: float = DRAIN,
        notice_seconds: float = 0,
        **options: t.Unpack[SettingsOptions],
    ) -> None:
        Settings.read(options)
        self.listen = listen
        self.threads = threads
        self.direct = direct
        self.skip_hooks = skip_hooks
        self.drain_seconds = drain_seconds
        self.notice_seconds = notice_seconds
        self.options = options

    def run(self, served: Served, *, started: Started | None = None) -> None:
        """Serve until SIGINT or SIGTERM; what was begun is answered first.

        All other requests get 503 from then on. A second signal ends the process at once.

        :param started: Called with where it listens, as soon as it does.
        :raises OSError: The address is taken or not this machine's.
        :raises RuntimeError: The app cannot be served directly; the message says why.
        """
        if self.direct or isinstance(served, FunctionRegistry):
            # Not the view: its requests are longer, and took a tenth more when it was measured.
            let_threads_finish()
        self.bind(served).run(started=started)

    def bind(self, served: Served) -> Server:
        """Return a server that listens and does not answer yet.

        :raises OSError: The address is taken or not this machine's.
        :raises RuntimeError: The app cannot be served directly; the message says why.
        """
        called, endpoint = application(
            served, direct=self.direct, skip_hooks=self.skip_hooks, **self.options
        )
        return Server(
            called,
            endpoint,
            Listen.parse(self.listen),
            threads=self.threads,
            drain_seconds=self.drain_seconds,
            notice_seconds=self.notice_seconds,
        )


class Server:
    """A waitress server that finishes what it has begun when it is told to stop."""

    def __init__(
        self,
        application: t.Any,
        endpoint: Endpoint,
        listen: Listen,
        *,
        threads: int,
        drain_seconds: float,
        notice_seconds: float,
    ) -> None:
        import waitress
        from waitress import wasyncore

        from .lanes import Lanes

        # The runtime always asks for more at a time than there are threads.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        listen.clear()
        self._listen = listen
        self._sockets: dict[int, t.Any] = {}
        self._stopping = False
        self._drain_seconds = drain_seconds
        self._notice_seconds = notice_seconds
        self._notice = 0.0
        self._lanes = Lanes(endpoint, threads)
        # select(), which waitress uses if not told, knows 1024 connections at most.
        self._turn = functools.partial(wasyncore.poll2, map=self._sockets)
        self._server = waitress.create_server(
            application,
            map=self._sockets,
            _dispatcher=self._lanes,
            connection_limit=CONNECTIONS,
            **_where(listen),
        )
        self._listeners = [each for each in self._sockets.values() if each.accepting]

    @property
    def listen(self) -> Listen:
        """Where it listens, with the port that it got."""
        if self._listen.path is not None:
            return self._listen
        return self._listen._replace(port=int(self._listeners[0].effective_port))

    def run(self, *, started: Started | None = None) -> None:
        """Answer requests until :meth:`stop`, SIGINT or SIGTERM, then finish what was begun."""
        try:
            with self._told_by_signals():
                if started is not None:
                    started(self.listen)
                while not self._stopping:
                    # A signal that comes just before the turn waits does not end its wait.
                    self._turn(1)
            self._drain()
        finally:
            self._close()

    def stop(self) -> None:
        """Have :meth:`run` return once what was begun is answered; from any thread."""
        self._stopping = True
        self._listeners[0].pull_trigger()

    @contextlib.contextmanager
    def _told_by_signals(self) -> cabc.Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: object) -> None:
            # At a terminal nobody waits for a load balancer.
            self._notice = self._notice_seconds if number == signal.SIGTERM else 0.0
            self.stop()

        signals = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(each, stop) for each in signals]
        try:
            yield
        finally:
            # A second signal ends the process at once.
            for each, handler in zip(signals, before, strict=True):
                signal.signal(each, handler)

    def _drain(self) -> None:
        """Answer what was begun and refuse the rest; the door closes when all that is done."""
        from waitress import wasyncore

        noticed = time.monotonic() + self._notice
        deadline = noticed + self._drain_seconds
        self._lanes.drain()
        begun = self._busy()
        while time.monotonic() < noticed or (
            time.monotonic() < deadline and any(map(_is_busy, begun & self._channels()))
        ):
            self._turn(0.1)
        for listener in self._listeners:
            wasyncore.dispatcher.close(listener)
        while time.monotonic() < deadline:
            for channel in self._channels() - self._busy():
                channel.handle_close()
            if not self._busy():
                return
            self._turn(0.1)

    def _channels(self) -> set[t.Any]:
        """Return the connections that are open."""
        return {each for each in self._sockets.values() if hasattr(each, "requests")}

    def _busy(self) -> set[t.Any]:
        return set(filter(_is_busy, self._channels()))

    def _close(self) -> None:
        from waitress import wasyncore

        self._lanes.shutdown(timeout=0.1)
        wasyncore.close_all(map=self._sockets, ignore_all=True)
        if self._listen.path is not None:
            self._listen.path.unlink(missing_ok=True)


def _where(listen: Listen) -> dict[str, t.Any]:
    """Return the arguments by which waitress knows where to listen."""
    if listen.path is None:
        return {"listen": listen.netloc}
    return {"unix_socket": str(listen.path)}


def _is_busy(channel: t.Any) -> bool:
    """Whether a connection has a request that is being read, answered or written."""
    return bool(channel.requests or channel.request or channel.total_outbufs_len)
