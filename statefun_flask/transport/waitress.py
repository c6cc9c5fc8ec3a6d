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
from .direct import Servable
from .listen import ListenAddress
from .listen import Started
from .scheduling import batch_scheduling
from .wsgi import application

#: The runtime keeps up to 1024 connections open to each function type. A server that accepts fewer
#: leaves the rest waiting until they time out, which stalls the job.
CONNECTIONS = 10_000

#: The time limit for requests in progress after SIGTERM, in seconds.
DRAIN = 30.0


class WaitressTransport:
    """Serves functions in one process::

        WaitressTransport("0.0.0.0:5000").run(registry)

    :param listen: ``host:port`` (port 0 takes a free one) or ``unix:path``.
    :param threads: The number of requests that are answered at a time.
    :param direct: Answer requests for functions without the app's request dispatch. A registry is
        always served so.
    :param skip_hooks: Serve directly an app although it has hooks that are not called.
    :param drain_seconds: The time limit for requests in progress after SIGTERM.
    :param shutdown_delay: The time in seconds for which the server continues to listen after
        SIGTERM although no request is in progress. It is for load balancers that poll for
        readiness.
    :param options: The settings of a registry, see :class:`~statefun_flask.config.Settings`.
    """

    def __init__(
        self,
        listen: str = "127.0.0.1:5000",
        *,
        threads: int = 8,
        direct: bool = False,
        skip_hooks: bool = False,
        drain_seconds: float = DRAIN,
        shutdown_delay: float = 0,
        **options: t.Unpack[SettingsOptions],
    ) -> None:
        Settings.read(options)
        self.listen = listen
        self.threads = threads
        self.direct = direct
        self.skip_hooks = skip_hooks
        self.drain_seconds = drain_seconds
        self.shutdown_delay = shutdown_delay
        self.options = options

    def run(self, servable: Servable, *, started: Started | None = None) -> None:
        """Serve until SIGINT or SIGTERM, and answer the requests in progress before returning.

        All other requests get 503 from the signal on. A second signal ends the process at once.

        :param started: Called with the server's address as soon as it listens.
        :raises OSError: The address is taken, or does not belong to this machine.
        :raises RuntimeError: The app cannot be served directly; the message gives the reason.
        """
        direct = self.direct or isinstance(servable, FunctionRegistry)
        # Not for the view: its requests are longer, and took a tenth more when it was measured.
        with batch_scheduling() if direct else contextlib.nullcontext():
            self._bind(servable).run(started=started)

    def _bind(self, servable: Servable) -> WaitressServer:
        """Return a server that listens and does not answer yet.

        :raises OSError: The address is taken, or does not belong to this machine.
        :raises RuntimeError: The app cannot be served directly; the message gives the reason.
        """
        called, endpoint = application(
            servable, direct=self.direct, skip_hooks=self.skip_hooks, **self.options
        )
        return WaitressServer(
            called,
            endpoint,
            ListenAddress.parse(self.listen),
            threads=self.threads,
            drain_seconds=self.drain_seconds,
            shutdown_delay=self.shutdown_delay,
            # Other routes of an app may accept larger bodies.
            largest=endpoint.settings.max_request_bytes
            if isinstance(servable, FunctionRegistry)
            else None,
        )


class WaitressServer:
    """A waitress server that finishes the requests in progress when it is stopped.

    :param largest: The largest body in bytes, or None for the default of waitress, 1 GiB.
    """

    def __init__(
        self,
        application: t.Any,
        endpoint: Endpoint,
        listen: ListenAddress,
        *,
        threads: int,
        drain_seconds: float,
        shutdown_delay: float,
        largest: int | None = None,
    ) -> None:
        import waitress
        from waitress import wasyncore

        listen.clear()
        self._listen = listen
        self._sockets: dict[int, t.Any] = {}
        self._stopping = False
        self._drain_seconds = drain_seconds
        self._shutdown_delay = shutdown_delay
        self._delay = 0.0
        self._dispatcher = _Dispatcher(endpoint, threads)
        # waitress uses select() by default, which supports 1024 connections.
        self._poll = functools.partial(wasyncore.poll2, map=self._sockets)
        self._server = waitress.create_server(
            application,
            map=self._sockets,
            _dispatcher=self._dispatcher,
            connection_limit=CONNECTIONS,
            # Checked before the body is read, which waitress does completely.
            **({} if largest is None else {"max_request_body_size": largest}),
            **_where(listen),
        )
        self._listeners = [each for each in self._sockets.values() if each.accepting]

    @property
    def listen(self) -> ListenAddress:
        """The address, with the port that the server got."""
        if self._listen.path is not None:
            return self._listen
        return self._listen._replace(port=int(self._listeners[0].effective_port))

    def run(self, *, started: Started | None = None) -> None:
        """Answer requests until :meth:`stop`, SIGINT or SIGTERM, then finish those in progress."""
        try:
            with self._stopped_by_signals():
                if started is not None:
                    started(self.listen)
                while not self._stopping:
                    # A signal just before the poll does not interrupt it.
                    self._poll(1)
            self._drain()
        finally:
            self._close()

    def stop(self) -> None:
        """Have :meth:`run` finish the requests in progress and return; from any thread."""
        self._stopping = True
        self._listeners[0].pull_trigger()

    @contextlib.contextmanager
    def _stopped_by_signals(self) -> cabc.Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: object) -> None:
            # At a terminal no load balancer needs a delay.
            self._delay = self._shutdown_delay if number == signal.SIGTERM else 0.0
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
        """Answer the requests in progress and refuse all others, then stop listening."""
        from waitress import wasyncore

        delayed = time.monotonic() + self._delay
        deadline = delayed + self._drain_seconds
        self._dispatcher.drain()
        in_progress = self._busy()
        while time.monotonic() < delayed or (
            time.monotonic() < deadline and any(map(_is_busy, in_progress & self._channels()))
        ):
            self._poll(0.1)
        for listener in self._listeners:
            wasyncore.dispatcher.close(listener)
        while time.monotonic() < deadline:
            for channel in self._channels() - self._busy():
                channel.handle_close()
            if not self._busy():
                return
            self._poll(0.1)

    def _channels(self) -> set[t.Any]:
        """Return the open connections."""
        return {each for each in self._sockets.values() if hasattr(each, "requests")}

    def _busy(self) -> set[t.Any]:
        return set(filter(_is_busy, self._channels()))

    def _close(self) -> None:
        from waitress import wasyncore

        self._dispatcher.shutdown(timeout=0.1)
        wasyncore.close_all(map=self._sockets, ignore_all=True)
        if self._listen.path is not None:
            self._listen.path.unlink(missing_ok=True)


class _Dispatcher:
    """Two thread pools of waitress: one of them has a single thread for requests that take no time.

    Health checks, and refusals while draining, therefore do not wait for slow functions.

    :param threads: The number of threads for all other requests.
    """

    def __init__(self, endpoint: Endpoint, threads: int) -> None:
        from waitress.task import ThreadedTaskDispatcher

        self._endpoint = endpoint
        self._main, self._quick = ThreadedTaskDispatcher(), ThreadedTaskDispatcher()
        # The runtime always sends more requests at a time than there are threads. waitress warns of
        # each one that waits.
        self._main.queue_logger = _SILENT
        self._main.set_thread_count(threads)
        self._quick.set_thread_count(1)

    def add_task(self, task: t.Any) -> None:
        """Queue the next request of a connection."""
        path = getattr(task.requests[0], "path", "")
        endpoint = self._endpoint
        if path in endpoint.health_paths or (endpoint.draining and path in endpoint.function_paths):
            self._quick.add_task(task)
        else:
            self._main.add_task(task)

    def drain(self) -> None:
        """Answer the queued requests with 503. Running ones continue."""
        self._endpoint.draining = True
        with self._main.lock:
            waiting = list(self._main.queue)
            self._main.queue.clear()
        for task in waiting:
            self.add_task(task)

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> bool:
        """End the threads."""
        self._quick.shutdown(cancel_pending, timeout)
        return bool(self._main.shutdown(cancel_pending, timeout))


_SILENT = logging.Logger("statefun_flask.waitress", logging.ERROR)


def _where(listen: ListenAddress) -> dict[str, t.Any]:
    """Return the arguments for waitress that name the address."""
    if listen.path is None:
        return {"listen": listen.netloc}
    return {"unix_socket": str(listen.path)}


def _is_busy(channel: t.Any) -> bool:
    """Return whether a connection has a request that is being read, answered or written."""
    return bool(channel.requests or channel.request or channel.total_outbufs_len)
