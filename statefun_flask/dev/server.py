"""The HTTP server of the API: waitress on one loopback port.

waitress parses requests strictly, and reads and writes all connections in one thread, so that a
connection that sends nothing costs a socket and no thread. A request gets a thread once it is
complete. Requests that take long would occupy all threads, so each kind has its own pool:

- PUT waits for a commit, which may take as long as the disk is full;
- PUT with ``?wait`` waits for the end of a trace;
- a stream of events lasts until its client goes away. Its thread writes whenever an event occurs;
  the number of streams is limited;
- all others are answered at once.

A pool starts its threads when they are needed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import typing as t

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.parser import ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask
from waitress.task import ThreadedTaskDispatcher
from waitress.utilities import BadRequest

from .application import Application
from .application import encoded
from .application import MAX_STREAMS
from .application import MAX_WAITS
from .application import Unavailable

#: The largest size of a body, in bytes.
MAX_BODY = 64 << 20

#: The largest size of the head of a request, in bytes.
MAX_HEAD = 64 << 10

#: The largest number of connections. A further one closes the one that has been idle for longest.
MAX_CONNECTIONS = 1000

#: The time after which an idle connection is closed, in seconds.
IDLE_TIMEOUT = 60

#: The number of threads that answer at once, and of threads that may wait for a commit.
QUICK_THREADS = 4
COMMIT_THREADS = 32


class ListenError(OSError):
    """The server cannot listen on its port."""


def bind(port: int) -> socket.socket:
    """Return a socket that listens on a loopback port; 0 takes a free port.

    :raises ListenError: The port is taken, or this user may not have it.
    """
    try:
        return socket.create_server(("127.0.0.1", port), backlog=1024)
    except OSError as exc:
        raise ListenError(
            f"Cannot listen on 127.0.0.1:{port}: {os.strerror(exc.errno or 0)}."
            " Stop the program that listens there, or choose another --port."
        ) from None


class Server:
    """Listens on a socket that a parent process bound, or binds one.

    :raises ListenError: The port is taken.
    """

    def __init__(
        self,
        application: Application | Unavailable,
        port: int,
        listening: socket.socket | None = None,
    ) -> None:
        bound = listening or bind(port)
        #: The port that it listens on.
        self.port: int = bound.getsockname()[1]
        self._application = application
        self._sockets: dict[int, t.Any] = {}
        self._stopping = threading.Event()
        self._stopped = False
        self._pools = _Pools()
        self._server = _Acceptor(application, self._sockets, self._pools, bound)
        self._thread = threading.Thread(target=self._serve, name="statefun-http", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """The address that it listens on."""
        return self._server.effective_host, int(self._server.effective_port)

    def start(self) -> None:
        """Answer requests."""
        self._thread.start()

    def drain(self) -> None:
        """Accept no connection and refuse new requests. Requests in progress continue."""
        self._application.closing = True
        if self._thread.ident is not None and not self._stopped:
            self._server.trigger.pull_trigger(self._server.stop_accepting)

    def stop(self, timeout: float = 1.0) -> None:
        """Write the responses that are ready, within so many seconds, and close all sockets."""
        if self._stopped:
            return
        self._stopped = True
        if self._thread.ident is not None:
            deadline = time.monotonic() + timeout
            while self._server.busy and time.monotonic() < deadline:
                time.sleep(0.005)
            self._stopping.set()
            self._server.pull_trigger()
            self._thread.join()
        wasyncore.close_all(self._sockets, ignore_all=True)
        self._pools.stop()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            # select() would be limited to 1024 descriptors.
            wasyncore.poll2(1.0, self._sockets)


class _Acceptor(TcpWSGIServer):  # type: ignore[misc,unused-ignore]
    """Accepts connections, and closes the longest idle one if there are too many."""

    def __init__(
        self,
        application: Application | Unavailable,
        sockets: dict[int, t.Any],
        pools: _Pools,
        bound: socket.socket,
    ) -> None:
        adjustments = Adjustments(
            sockets=[bound],
            ident=None,
            max_request_body_size=MAX_BODY + 1,  # waitress refuses a body of this size
            max_request_header_size=MAX_HEAD,
            outbuf_high_watermark=1 << 20,
            channel_timeout=IDLE_TIMEOUT,
            cleanup_interval=10,
            connection_limit=2**31,  # see handle_accept
            log_socket_errors=False,
            clear_untrusted_proxy_headers=False,
        )
        self.channel_class = _Connection
        self._limit = min(MAX_CONNECTIONS, _descriptors() // 2)
        super().__init__(
            application,
            sockets,
            _sock=bound,
            dispatcher=pools,
            adj=adjustments,
            sockinfo=(bound.family, bound.type, bound.proto, bound.getsockname()),
            bind_socket=False,
        )

    @property
    def busy(self) -> bool:
        """Whether a response is being made or written."""
        return any(
            each.requests or each.total_outbufs_len for each in list(self.active_channels.values())
        )

    def handle_accept(self) -> None:
        """Accept a connection."""
        if len(self.active_channels) >= self._limit:
            idle = [each for each in self.active_channels.values() if not each.requests]
            if idle:
                min(idle, key=lambda each: each.last_activity).handle_close()
        super().handle_accept()

    def pull_trigger(self) -> None:
        """Wake the server's thread, unless the server has been closed meanwhile."""
        with contextlib.suppress(OSError):
            super().pull_trigger()

    def stop_accepting(self) -> None:
        """Close the listening socket. Called in the server's thread."""
        wasyncore.dispatcher.close(self)


class _Parser(HTTPRequestParser):  # type: ignore[misc,unused-ignore]
    """Refuses requests that two parsers could read differently, or that would take too long."""

    def parse_header(self, header_plus: bytes) -> None:
        """Parse the head of a request."""
        try:
            super().parse_header(header_plus)
        except ValueError:
            raise ParsingError("Content-Length is invalid") from None
        if self.version not in ("1.0", "1.1"):
            raise ParsingError("The version is neither HTTP/1.0 nor HTTP/1.1")
        if "TRANSFER_ENCODING" in self.headers:
            raise ParsingError("HTTP/1.0 has no Transfer-Encoding")
        if self.chunked and "CONTENT_LENGTH" in self.headers:
            raise ParsingError("Content-Length and Transfer-Encoding exclude each other")

    def received(self, data: bytes) -> int:
        """Read data, and return how many bytes of it belong to the request."""
        consumed: int = super().received(data)
        receiver = self.body_rcv
        if (
            self.chunked
            and receiver is not None
            and (len(receiver.control_line) > 1024 or len(receiver.trailer) > MAX_HEAD)
        ):
            self.error = BadRequest("The size or the trailer of a chunk is too long")
            self.completed = True
        return consumed


class _Refusal(ErrorTask):  # type: ignore[misc,unused-ignore]
    """Answers an invalid request with JSON, and closes the connection."""

    def execute(self) -> None:
        """Write the response."""
        error = self.request.error
        text = f"{error.body}. Correct the request."
        if error.code == 413:
            text = f"The body is larger than {MAX_BODY} bytes. Send smaller messages."
        elif error.code == 431:
            text = f"The head is larger than {MAX_HEAD} bytes. Send shorter headers."
        body = encoded({"error": text}) + b"\n"
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Connection(HTTPChannel):  # type: ignore[misc,unused-ignore]
    """A connection."""

    parser_class = _Parser
    error_task_class = _Refusal

    def readable(self) -> bool:
        """Return whether to read now.

        waitress does not read during a request, so that a client may close its sending half. Only a
        read detects that a client has closed its connection, which matters for long requests.
        """
        if not self.requests or self.total_outbufs_len or self.will_close:
            return bool(super().readable())
        return len(self.requests) == 1 and _kind(self.requests[0]) in ("wait", "stream")


class _Pool(ThreadedTaskDispatcher):  # type: ignore[misc,unused-ignore]
    """Threads for one kind of requests, started when they are needed."""

    #: Requests often wait for a thread.
    queue_logger = logging.Logger("statefun-http", logging.CRITICAL)

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def add_task(self, task: t.Any) -> None:
        """Queue the next request of a connection."""
        with self.lock:
            count = len(self.threads)
            needed = self.active_count + len(self.queue) + 1
        if count < min(needed, self._limit):
            self.set_thread_count(count + 1)
        super().add_task(task)

    def stop(self) -> None:
        """End the threads, each after the request that it answers."""
        self.set_thread_count(0)
        with self.lock:
            self.queue.clear()


class _Pools:
    """Gives each request to the pool of its kind.

    The pools of streams and waits have one thread more than the application allows. That thread
    refuses requests.
    """

    def __init__(self) -> None:
        self._pools = {
            "quick": _Pool(QUICK_THREADS),
            "commit": _Pool(COMMIT_THREADS),
            "wait": _Pool(MAX_WAITS + 1),
            "stream": _Pool(MAX_STREAMS + 1),
        }

    def add_task(self, task: t.Any) -> None:
        """Queue the next request of a connection."""
        self._pools[_kind(task.requests[0])].add_task(task)

    def stop(self) -> None:
        """End the threads."""
        for pool in self._pools.values():
            pool.stop()


def _descriptors() -> int:
    """Return the number of files and sockets that this process may have open."""
    try:
        import resource
    except ImportError:  # only POSIX systems limit it
        return 2 * MAX_CONNECTIONS
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _kind(request: t.Any) -> str:
    """Return the name of the pool that answers a request."""
    if request.error is not None:
        return "quick"
    if request.command == "GET" and request.path in ("/-/events", "/-/backup"):
        return "stream"
    is_control = request.path.startswith("/-/")
    if request.command in ("PUT", "POST") and not is_control and "wait" in request.query:
        return "wait"
    # A GET of a topic removes a record.
    return "quick" if request.command == "GET" and is_control else "commit"
