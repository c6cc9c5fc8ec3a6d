"""A connection to an HTTP server that never blocks: it connects, sends a request, reads a response.

A connection has one deadline at a time, :attr:`Connection.alarm`; its owner calls
:meth:`Connection.ring` when it is over.
"""

from __future__ import annotations

import collections.abc as cabc
import errno
import os
import selectors
import socket
import ssl
import time
import typing as t

import msgspec

from ..reactor import Reactor
from .http_response import BadResponseError
from .http_response import Response
from .http_response import ResponseReader
from .http_response import TooLargeError
from .resolver import Found
from .resolver import Resolver
from .resolver import SocketAddress

_READ = selectors.EVENT_READ
_BOTH = selectors.EVENT_READ | selectors.EVENT_WRITE

#: How much is read at a time, in bytes.
_PIECE = 65_536

#: When connecting to a Unix socket whose queue is full is tried again, in seconds.
_QUEUE_FULL_DELAY = 0.01

_IN_PROGRESS = frozenset(
    {errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", 0)}
)
_WANTS_MORE = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Origin(msgspec.Struct, frozen=True, eq=False):
    """An HTTP server, and how it is asked.

    :param unix: The path of a Unix socket; None to connect to host and port.
    :param tls: For https.
    :param timeout: How long a call may take in all, in seconds.
    :param connect: How long connecting may take, TLS included, in seconds.
    :param largest: How large a body may be, in bytes.
    """

    host: str
    port: int
    unix: str | None
    tls: ssl.SSLContext | None
    timeout: float
    connect: float
    largest: int


class CallFailedError(Exception):
    """A call has no response; the text says why.

    :param is_cut_off: Whether the server, after it had got some of the request, ended the
        connection or answered in no HTTP: the request may be the cause.
    """

    def __init__(self, reason: str, *, is_cut_off: bool = False) -> None:
        super().__init__(reason)
        self.is_cut_off = is_cut_off


class HttpCall(msgspec.Struct, eq=False):
    """A request, and what became of it.

    :param data: The request with its head.
    :param settle: For how long a new connection must stay open before the request is sent, in
        seconds; 0 to send it at once.
    :param context: What the caller wants to remember.
    """

    origin: Origin
    data: bytes
    settle: float = 0.0
    context: t.Any = None
    outcome: Response | Exception | None = None
    started: float = 0.0
    #: In seconds.
    duration: float = 0.0
    deadline: float = 0.0


class Connection:
    """A connection that makes one call at a time.

    :param ended: Is called with the connection when its call has an outcome, or when it is closed
        while it has no call.
    :param scheduled: Is called with each :attr:`alarm`.
    """

    def __init__(
        self,
        origin: Origin,
        reactor: Reactor,
        resolver: Resolver,
        ended: cabc.Callable[[Connection, Response | Exception | None], None],
        scheduled: cabc.Callable[[float], None],
    ) -> None:
        self.origin = origin
        #: When to call :meth:`ring`, by the monotonic clock.
        self.alarm = 0.0
        self.call: HttpCall | None = None
        #: Whether it has made a call before.
        self.is_kept = False
        self._reactor = reactor
        self._resolver = resolver
        self._ended = ended
        self._scheduled = scheduled
        self._socket: socket.socket | None = None
        self._events = 0
        self._reader = ResponseReader(origin.largest)
        self._addresses: list[SocketAddress] = []
        self._connect_deadline = 0.0
        self._rest: memoryview | None = None
        self._is_sent = False
        self._on_ready: cabc.Callable[[int], None] = self._idle
        self._on_alarm: cabc.Callable[[], None] = self._time_out

    # -- for the owner --------------------------------------------------------------------

    def open(self, call: HttpCall) -> None:
        """Connect, and make a call."""
        self.call = call
        origin = self.origin
        self._connect_deadline = min(call.deadline, time.monotonic() + origin.connect)
        self._expect(self._connect_deadline, self._time_out)
        if origin.unix is not None:
            self._resolved(_unix(origin.unix))
        else:
            self._resolver.look_up(origin.host, origin.port, self._resolved)

    def make(self, call: HttpCall) -> None:
        """Make a call on an open connection."""
        self.call = call
        self.is_kept = True
        self._send()

    def ring(self) -> None:
        """Do what the alarm is for."""
        self._on_alarm()

    @property
    def has_begun(self) -> bool:
        """Whether anything of the response to its last request came."""
        return self._reader.has_begun

    def close(self) -> None:
        """Close the connection. A call that it makes has no outcome."""
        self.call = None
        closed, self._socket = self._socket, None
        if closed is not None:
            if self._events:
                self._events = 0
                self._reactor.forget(closed)
            closed.close()

    # -- what it waits for ----------------------------------------------------------------

    def _expect(self, instant: float, act: cabc.Callable[[], None]) -> None:
        self.alarm = instant
        self._on_alarm = act
        self._scheduled(instant)

    def _watch(self, events: int, on_ready: cabc.Callable[[int], None]) -> None:
        self._on_ready = on_ready
        watched = t.cast("socket.socket", self._socket)
        if not self._events:
            self._reactor.watch(watched, events, self._ready)
        elif events != self._events:
            self._reactor.change(watched, events, self._ready)
        self._events = events

    def _ready(self, events: int) -> None:
        if self._socket is None:  # it was closed after the wait that found it ready
            return
        try:
            self._on_ready(events)
        except OSError as exc:
            self._lost(exc)

    def _time_out(self) -> None:
        self._fail(CallFailedError("timeout"))

    def _fail(self, failure: Exception) -> None:
        """End the call without a response."""
        self._ended(self, failure)

    def _lost(self, exc: OSError | None = None) -> None:
        """Note that the connection has ended; with None in the usual way."""
        is_ended = exc is None or isinstance(exc, ConnectionError | ssl.SSLEOFError)
        reason = "connection lost" if is_ended else _reason(t.cast("OSError", exc))
        self._fail(CallFailedError(reason, is_cut_off=is_ended and self._is_sent))

    # -- connecting -----------------------------------------------------------------------

    def _resolved(self, found: Found) -> None:
        if self.call is None:  # it was too late
            return
        if isinstance(found, OSError):
            self._fail(CallFailedError(_reason(found)))
            return
        self._addresses = found
        self._connect()

    def _connect(self) -> None:
        """Connect to the next address, which has its share of the time that is left."""
        family, address = self._addresses.pop(0)
        now = time.monotonic()
        share = max(0.0, self._connect_deadline - now) / (len(self._addresses) + 1)
        self._expect(now + share, self._connect_late)
        try:
            self._socket = socket.socket(family, socket.SOCK_STREAM)
            self._socket.setblocking(False)
            if self.origin.unix is None:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number = self._socket.connect_ex(address)
        except OSError as exc:  # no descriptor is left; a path that is too long
            self._not_connected(exc)
            return
        if not number:
            self._connected()
        elif number in _IN_PROGRESS and (number == errno.EINPROGRESS or not self.origin.unix):
            self._watch(selectors.EVENT_WRITE, self._check_connected)
        elif number in _IN_PROGRESS:  # a Unix socket: its server is behind with its connections
            self._addresses.insert(0, (family, address))
            self._expect(min(now + _QUEUE_FULL_DELAY, self._connect_deadline), self._connect_again)
        else:
            self._not_connected(OSError(number, os.strerror(number)))

    def _check_connected(self, events: int) -> None:
        number = t.cast("socket.socket", self._socket).getsockopt(
            socket.SOL_SOCKET, socket.SO_ERROR
        )
        if number:
            self._not_connected(OSError(number, os.strerror(number)))
        else:
            self._connected()

    def _connect_again(self) -> None:
        self._close_attempt()
        if time.monotonic() >= self._connect_deadline:
            self._time_out()
        else:
            self._connect()

    def _connect_late(self) -> None:
        self._not_connected(TimeoutError())

    def _not_connected(self, exc: OSError) -> None:
        self._close_attempt()
        if self._addresses:
            self._connect()
        else:
            self._fail(CallFailedError(_reason(exc)))

    def _close_attempt(self) -> None:
        call = self.call
        self.close()
        self.call = call

    def _connected(self) -> None:
        self._expect(self._connect_deadline, self._time_out)
        tls = self.origin.tls
        if tls is None:
            self._settle()
            return
        plain = t.cast("socket.socket", self._socket)
        if self._events:
            self._reactor.forget(plain)
            self._events = 0
        try:
            self._socket = tls.wrap_socket(
                plain,
                server_hostname=self.origin.host,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
            )
        except OSError as exc:
            self._lost(exc)
            return
        self._shake_hands(0)

    def _shake_hands(self, events: int) -> None:
        try:
            t.cast("ssl.SSLSocket", self._socket).do_handshake()
        except ssl.SSLWantReadError:
            self._watch(_READ, self._shake_hands)
        except ssl.SSLWantWriteError:
            self._watch(selectors.EVENT_WRITE, self._shake_hands)
        except OSError as exc:
            self._lost(exc)
        else:
            self._settle()

    def _settle(self) -> None:
        """Send the request, if need be after a while in which the connection stays open."""
        call = t.cast("HttpCall", self.call)
        if call.settle:
            self._watch(_READ, self._settling)
            self._expect(min(time.monotonic() + call.settle, call.deadline), self._send)
        else:
            self._send()

    def _settling(self, events: int) -> None:
        if self._receive() is not None:
            self._lost()

    # -- a call ---------------------------------------------------------------------------

    def _send(self) -> None:
        call: HttpCall = self.call  # type: ignore[assignment]
        self._expect(call.deadline, self._time_out)
        self._reader.begin()
        self._is_sent = False
        self._on_ready = self._exchange
        try:
            self._send_rest(call.data)
        except OSError as exc:
            self._unsendable(exc)

    def _send_rest(self, rest: bytes | memoryview) -> None:
        """Send as much as can be sent now, and wait for the answer, if need be to send more."""
        try:
            sent = self._socket.send(rest)  # type: ignore[union-attr]
            self._is_sent = True
        except _WANTS_MORE:
            sent = 0
        if sent == len(rest):
            self._rest = None
            if self._events != _READ:
                self._watch(_READ, self._exchange)
        else:
            self._rest = memoryview(rest)[sent:]
            self._watch(_BOTH, self._exchange)

    def _exchange(self, events: int) -> None:
        if self._rest is not None:
            try:
                self._send_rest(self._rest)
            except OSError as exc:
                self._unsendable(exc)
                return
        while (data := self._receive()) is not None:
            if not self._read(data) or self.origin.tls is None:
                return

    def _unsendable(self, exc: OSError) -> None:
        """Read what the server may have said before it ended the connection, such as 413."""
        self._is_sent = True
        try:
            while (data := self._receive()) is not None:
                if not self._read(data):
                    return
        except OSError:
            pass
        self._lost(exc)

    def _receive(self) -> bytes | None:
        """Return what has come, empty at the end; None if nothing has."""
        try:
            return self._socket.recv(_PIECE)  # type: ignore[union-attr]
        except _WANTS_MORE:
            return None
        except ssl.SSLZeroReturnError:
            return b""

    def _read(self, data: bytes) -> bool:
        """Read a piece of the response. Return whether there is more to come."""
        try:
            response = self._reader.feed(data) if data else self._reader.end()
        except BadResponseError as exc:
            self._fail(CallFailedError(str(exc), is_cut_off=True))
            return False
        except TooLargeError as exc:
            self._fail(exc)
            return False
        if response is not None:
            if self._rest is not None:  # the server does not read the rest of the request
                response.is_kept = False
            self._on_ready = self._idle
            self._ended(self, response)
            return False
        if not data:
            self._lost()
            return False
        return True

    def _idle(self, events: int) -> None:
        """Close the connection if the server has ended it, or speaks without being asked."""
        try:
            data = self._receive()
        except OSError:
            data = b""
        if data is not None:
            self._ended(self, None)


def _unix(path: str) -> Found:
    family = getattr(socket, "AF_UNIX", None)
    if family is None:
        return OSError("this system has no Unix sockets")
    return [(family, path)]


def _reason(exc: OSError) -> str:
    if isinstance(exc, TimeoutError):
        return "timeout"
    if isinstance(exc, ConnectionRefusedError):
        return "connection refused"
    if isinstance(exc, ConnectionError):
        return "connection lost"
    return str(exc) or type(exc).__name__
