"""Endpoints that are called over HTTP, as the runtime's clients do."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import urllib.parse
import zlib

from ..errors import EndpointDown
from ..errors import EndpointError
from .http_client import BadResponse
from .http_client import Connection
from .http_client import Response
from .http_client import TooLarge

_OCTETS = "application/octet-stream"
_HEADERS = {
    "Content-Type": _OCTETS,
    "Accept": _OCTETS,
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": "statefun",
}

# What stays as it is in a path and a query.
_IN_PATHS = "/?%:@!$&'()*+,;=~[]"

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
        self._connections: set[Connection] = set()
        self._socket: str | None = None
        path = self._url.path or "/"
        if self._url.scheme.endswith("+unix"):
            self._socket, path = _split_unix(path)
        if self._url.query:
            path += f"?{self._url.query}"
        self._head = _head(self._url, path)

    def __call__(self, body: bytes, /) -> bytes:
        """Answer a ToFunction.

        :raises EndpointDown: It cannot be reached, is too slow, or says that it is busy.
        :raises EndpointError: It answers otherwise than with a FromFunction.
        """
        try:
            answer = self._ask(body)
        except TooLarge:
            self._drop()
            raise EndpointError(
                f"{self.name} answered with more than {self._largest} bytes. Raise"
                " payload_max_bytes in module.yaml, or lower maxNumBatchRequests."
            ) from None
        except (BadResponse, OSError) as exc:
            self._drop()
            raise EndpointDown(self.name, _reason(exc)) from None
        if answer.status in _BUSY:
            raise EndpointDown(self.name, f"status {answer.status}")
        return self._content(answer)

    def close(self) -> None:
        """Close the connections of all threads, which make no calls meanwhile."""
        self._local = threading.local()
        while self._connections:
            self._connections.pop().close()

    def _ask(self, body: bytes) -> Response:
        kept: Connection | None = getattr(self._local, "connection", None)
        if kept is not None:
            try:
                return self._post(kept, body)
            except ConnectionError:
                self._drop()  # the server ended an idle connection; that is no trouble yet
        return self._post(self._open(), body)

    def _post(self, connection: Connection, body: bytes) -> Response:
        answer = connection.post(body, self._largest)
        if not connection.is_kept:
            self._drop()
        return answer

    def _open(self) -> Connection:
        connected = self._connected()
        connected.settimeout(self._timeout)
        connection = self._local.connection = Connection(connected, self._head)
        self._connections.add(connection)
        return connection

    def _connected(self) -> socket.socket:
        if self._socket is not None:
            connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connected.settimeout(self._connect)
                connected.connect(self._socket)
            except BaseException:
                connected.close()
                raise
            return connected
        host = self._url.hostname or "localhost"
        is_tls = self._url.scheme == "https"
        port = self._url.port or (443 if is_tls else 80)
        connected = socket.create_connection((host, port), self._connect)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not is_tls:
            return connected
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context.wrap_socket(connected, server_hostname=host)

    def _drop(self) -> None:
        connection = self._local.__dict__.pop("connection", None)
        if connection is not None:
            self._connections.discard(connection)
            connection.close()

    def _content(self, answer: Response) -> bytes:
        data = answer.body
        if not 200 <= answer.status < 300:
            text = data.decode(errors="replace").strip().partition("\n")[0][:300]
            raise EndpointError(
                f"{self.name} answered with the status {answer.status}: {text or 'no text'}."
                " The worker's log says more."
            )
        kind = answer.headers.get("content-type", "")
        if kind.lower() != _OCTETS:
            raise EndpointError(
                f"{self.name} answered with the content type {kind or 'not set'!r}. The runtime"
                f" takes only '{_OCTETS}', without a parameter: set it in the worker."
            )
        try:
            return _decoded(data, answer.headers.get("content-encoding", ""))
        except (OSError, EOFError, zlib.error) as exc:
            raise EndpointError(
                f"{self.name} answered with a body that cannot be decompressed: {exc}."
                " Correct its Content-Encoding, or send it uncompressed."
            ) from None


def _head(url: urllib.parse.SplitResult, path: str) -> bytes:
    """Return what all requests to a URL begin with."""
    host = url.netloc.rpartition("@")[2] if url.hostname else "localhost"
    if not host.isascii():
        host = host.encode("idna").decode()
    lines = [
        f"POST {urllib.parse.quote(path, _IN_PATHS)} HTTP/1.1",
        f"Host: {host}",
        *(f"{name}: {value}" for name, value in _HEADERS.items()),
    ]
    return "".join(f"{line}\r\n" for line in lines).encode()


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
    if isinstance(exc, ConnectionError):
        return "connection lost"
    return str(exc) or type(exc).__name__
