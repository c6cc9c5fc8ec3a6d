"""Serves an app to Flink in a thread of this process."""

from __future__ import annotations

import os
import socket
import threading
import types
import typing as t
import urllib.parse

from .errors import FlinkError

#: StateFun keeps up to 1024 connections open to each function type. A server that accepts fewer
#: leaves the rest waiting until they time out, which stalls the job.
CONNECTIONS = 10_000

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class WorkerServer:
    """waitress in a thread; it can be stopped and started again at the same port.

    ::

        with WorkerServer(app) as server:
            Cluster(module, endpoint=server.url)

    :param app: A WSGI application.
    :param url: The address to listen on: ``http://127.0.0.1:5000``. A path is ignored; port 0 takes
        a free one.
    :param threads: The number of requests that are answered at a time.
    """

    def __init__(self, app: t.Any, url: str = "http://127.0.0.1:0", *, threads: int = 8) -> None:
        parts = urllib.parse.urlsplit(url)
        self._app = app
        self._host = parts.hostname or "127.0.0.1"
        self._port = 80 if parts.port is None else parts.port
        self._threads = threads

    @property
    def url(self) -> str:
        """The address that it listens on, without a path."""
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
        """Listen and answer.

        :raises FlinkError: The port is taken.
        """
        import waitress

        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            listening = socket.create_server((self._host, self._port), family=family)
        except OSError as exc:
            raise FlinkError(
                f"Cannot serve the app at {self.url}: {os.strerror(exc.errno or 0)}. Stop the"
                " program that listens there, or choose another port."
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
        """Stop at once, as a crash would: open connections are closed without a response."""
        self._stopping = True
        self._thread.join()
        self._server.task_dispatcher.shutdown(cancel_pending=True, timeout=5)

    def _run(self) -> None:
        from waitress import wasyncore

        while not self._stopping:
            # waitress's default, select(), handles only 1024 connections.
            wasyncore.loop(timeout=0.1, use_poll=True, map=self._sockets, count=1)
        wasyncore.close_all(map=self._sockets, ignore_all=True)


def is_loopback(url: str) -> bool:
    """Return whether a URL is an http URL of this machine's loopback interface."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme == "http" and parts.hostname in _LOOPBACK
