"""Endpoints that are called over HTTP, as the runtime's clients do (protocol 1.4)."""

from __future__ import annotations

import gzip
import http.client
import socket
import ssl
import threading
import typing as t
import urllib.parse
import zlib

from .errors import EndpointDown
from .errors import EndpointError

_OCTETS = "application/octet-stream"
_HEADERS = {
    "Content-Type": _OCTETS,
    "Accept": _OCTETS,
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": "statefun",
}

#: Statuses that say nothing about the message: come back later.
_BUSY = frozenset({408, 420, 429, 499, 502, 503, 504})


class Remote:
    """An endpoint behind a URL.

    Each thread that calls it keeps a connection of its own.

    :param url: ``http``, ``https``, or ``http+unix:///dir/x.sock/path``.
    :param batch: How many messages a request may have; 0 for any number.
    :param timeout: How long a call may take, in seconds.
    :param connect: How long connecting may take, in seconds.
    :param largest: How large an answer may be, in bytes.
    :param context: For https; by default the system's certificates are trusted.
    """

    tries = 3

    def __init__(
        self,
        url: str,
        *,
        batch: int = 1000,
        timeout: float = 120.0,
        connect: float = 20.0,
        largest: int = 32 << 20,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.name = url
        self.batch = batch
        self._url = urllib.parse.urlsplit(url)
        self._timeout = timeout
        self._connect = connect
        self._largest = largest
        self._context = context
        self._local = threading.local()
        self._connections: set[http.client.HTTPConnection] = set()
        self._path = self._url.path or "/"
        if self._url.scheme.endswith("+unix"):
            self._socket, self._path = _split_unix(self._url.path)
        if self._url.query:
            self._path += f"?{self._url.query}"

    def __call__(self, body: bytes, /) -> bytes:
        """Answer a ToFunction.

        :raises EndpointDown: It cannot be reached, is too slow, or says that it is busy.
        :raises EndpointError: It answers otherwise than with a FromFunction.
        """
        kept: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if kept is not None and kept.sock is None:
            self._drop()  # the server has said that it ends it
            kept = None
        try:
            if kept is not None:
                try:
                    return self._exchange(kept, body)
                except (http.client.RemoteDisconnected, ConnectionError):
                    self._drop()  # the server ended an idle connection; that is no trouble yet
            return self._exchange(self._open(), body)
        except (http.client.HTTPException, OSError) as exc:
            self._drop()
            raise EndpointDown(self.name, _reason(exc)) from None

    def close(self) -> None:
        """Close the connections of all threads, which make no calls meanwhile."""
        self._local = threading.local()
        while self._connections:
            self._connections.pop().close()

    def _open(self) -> http.client.HTTPConnection:
        host = self._url.hostname or "localhost"
        if self._url.scheme.endswith("+unix"):
            connection: http.client.HTTPConnection = _UnixConnection(self._socket)
        elif self._url.scheme == "https":
            connection = http.client.HTTPSConnection(
                host, self._url.port, timeout=self._connect, context=self._context
            )
        else:
            connection = http.client.HTTPConnection(host, self._url.port, timeout=self._connect)
        connection.timeout = self._connect
        connection.connect()
        connection.sock.settimeout(self._timeout)
        self._local.connection = connection
        self._connections.add(connection)
        return connection

    def _drop(self) -> None:
        connection = self._local.__dict__.pop("connection", None)
        if connection is not None:
            self._connections.discard(connection)
            connection.close()

    def _exchange(self, connection: http.client.HTTPConnection, body: bytes) -> bytes:
        connection.request("POST", self._path, body, _HEADERS)
        response = connection.getresponse()
        data = response.read(self._largest + 1)
        if len(data) > self._largest:
            self._drop()
            raise EndpointError(
                f"{self.name} answered with more than {self._largest} bytes. Raise"
                " payload_max_bytes in module.yaml, or lower maxNumBatchRequests."
            )
        if response.status in _BUSY:
            raise EndpointDown(self.name, f"status {response.status}")
        return self._content(response, data)

    def _content(self, response: http.client.HTTPResponse, data: bytes) -> bytes:
        if not 200 <= response.status < 300:
            text = data.decode(errors="replace").strip().partition("\n")[0][:300]
            raise EndpointError(
                f"{self.name} answered with the status {response.status}: {text or 'no text'}."
                " The worker's log says more."
            )
        kind = response.headers.get("Content-Type")
        if (kind or "").lower() != _OCTETS:
            raise EndpointError(
                f"{self.name} answered with the content type {kind or 'not set'!r}. The runtime"
                f" takes only '{_OCTETS}', without a parameter: set it in the worker."
            )
        try:
            return _decoded(data, response.headers.get("Content-Encoding", ""))
        except (OSError, EOFError, zlib.error) as exc:
            raise EndpointError(
                f"{self.name} answered with a body that cannot be decompressed: {exc}."
                " Correct its Content-Encoding, or send it uncompressed."
            ) from None


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(t.cast("float", self.timeout))
        self.sock.connect(self._path)


def _split_unix(path: str) -> tuple[str, str]:
    """Return the socket's path and the request's: ``/dir/x.sock/path``."""
    head, sock, tail = path.partition(".sock")
    return head + sock, tail or "/"


def _decoded(data: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(data)
    if encoding == "deflate":
        return zlib.decompress(data)
    return data


def _reason(exc: Exception) -> str:
    if isinstance(exc, TimeoutError):
        return "timeout"
    if isinstance(exc, ConnectionRefusedError):
        return "connection refused"
    if isinstance(exc, http.client.RemoteDisconnected | ConnectionError):
        return "connection lost"
    return str(exc) or type(exc).__name__
