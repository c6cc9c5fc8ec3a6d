"""Serving an app to the engine, in a thread of this process."""

from __future__ import annotations

import os
import socket
import threading
import types
import typing as t
import urllib.parse

from .errors import FlinkError

#: The engine keeps up to 1024 connections open to each function type. A server that takes fewer
#: leaves the rest waiting until they time out, which stalls the job.
CONNECTIONS = 10_000

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class WorkerServer:
    """waitress in a thread, which can be stopped and started again at the same port.

    ::

        with WorkerServer(app) as server:
            Cluster(module, endpoint=server.url)

    :param app: A WSGI application.
    :param url: Where to listen: ``http://127.0.0.1:5000``; a path is ignored, port 0 takes a free
        one.
    :param threads: How many requests are answered at a time.
    """

    def __init__(self, app: t.Any, url: str = "http://127.0.0.1:0", *, threads: int = 8) -> None:
        parts = urllib.parse.urlsplit(url)
        self._app = app
        self._host = parts.hostname or "127.0.0.1"
        self._port = 80 if parts.port is None else parts.port
        self._threads = threads

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def __enter__(self) -> t.Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, and answer.

        :raises FlinkError: The port is taken.
        """
        import waitress

        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            listening = socket.create_server((self._host, self._port), family=family)
        except OSError as exc:
            raise FlinkError(
                f"Cannot serve the app at {self.url}: {os.strerror(exc.errno or 0)}. Stop what"
                " listens there, or choose another port."
            ) from None
        self._port = listening.getsockname()[1]
        self._sockets: dict[int, t.Any] = {}
        self._server = waitress.create_server(
            self._app,
            map=self._sockets,
            sockets=[listening],
            threads=self._threads,
            connection_limit=CONNECTIONS,
        )
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="statefun-serving", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop at once, as a crash would: the connections are closed, answered or not."""
        self._stopping = True
        self._thread.join()
        self._server.task_dispatcher.shutdown(cancel_pending=True, timeout=5)

    def _run(self) -> None:
        from waitress import wasyncore

        while not self._stopping:
            # select(), which waitress uses if not told, knows 1024 connections at most.
            wasyncore.loop(timeout=0.1, use_poll=True, map=self._sockets, count=1)
        wasyncore.close_all(map=self._sockets, ignore_all=True)


def is_loopback(url: str) -> bool:
    """Return whether a URL can be served by this machine for itself alone."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme == "http" and parts.hostname in _LOOPBACK
