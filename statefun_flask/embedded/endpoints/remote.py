"""Endpoints that are called over HTTP, as the runtime's clients do."""

from __future__ import annotations

import functools
import ssl
import threading
import urllib.parse
import zlib

from ..errors import EndpointDownError
from ..errors import EndpointError
from ..errors import RequestTooLargeError
from .connection import CallFailedError
from .connection import HttpCall
from .connection import Origin
from .http_client import BlockingClient
from .http_response import Response
from .http_response import TooLargeError

_OCTETS = b"application/octet-stream"
_HEADERS = {
    "Content-Type": _OCTETS.decode(),
    "Accept": _OCTETS.decode(),
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": "statefun",
}

# What stays as it is in a path and a query.
_IN_PATHS = "/?%:@!$&'()*+,;=~[]"

#: What zlib is told to decompress each encoding.
_WINDOWS = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}

#: Statuses that say nothing about the message: come back later.
_BUSY = frozenset({408, 420, 429, 499, 502, 503, 504})


class Remote:
    """An endpoint behind a URL.

    An engine with a loop makes its calls there, many at a time: :meth:`request` and :meth:`read`
    are the two ends of one. Without a loop, the endpoint is called as a function, which waits.

    :param url: ``http``, ``https``, or ``http+unix:///dir/x.sock/path``.
    :param batch: How many messages a request may have; 0 for any number.
    :param timeout: How long a call may take in all, in seconds.
    :param connect: How long connecting may take, in seconds.
    :param largest: How large an answer may be, in bytes, as it is sent and when it is decompressed.
    :param context: For https; by default the system's certificates are trusted.
    """

    tries = 3

    #: What has one ready queue with this endpoint, and how many endpoints it stands for.
    group: object = None
    group_size = 1

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
        parts = urllib.parse.urlsplit(url)
        path, unix = parts.path or "/", None
        if parts.scheme.endswith("+unix"):
            unix, path = _split_unix(path)
        if parts.query:
            path += f"?{parts.query}"
        self._head = _head(parts, path) + b"Content-Length: "
        is_tls = parts.scheme == "https"
        self._origin = Origin(
            host=parts.hostname or "localhost",
            port=parts.port or (443 if is_tls else 80),
            unix=unix,
            tls=(context or _system_certificates()) if is_tls else None,
            timeout=timeout,
            connect=connect,
            largest=largest,
        )
        self._lock = threading.Lock()
        self._client: BlockingClient | None = None

    def __call__(self, body: bytes, /, *, settle: float = 0.0) -> bytes:
        """Answer a ToFunction. One call at a time is made in this way.

        :param settle: See :meth:`request`.
        :raises EndpointDownError: It cannot be reached, is too slow, or says that it is busy.
        :raises EndpointError: It answers otherwise than with a FromFunction.
        """
        call = self.request(body, settle=settle)
        with self._lock:
            if self._client is None:
                self._client = BlockingClient()
            self._client.make(call)
        return self.read(call)

    def request(self, body: bytes, *, settle: float = 0.0, context: object = None) -> HttpCall:
        """Return the call that asks for the answer to a ToFunction.

        :param settle: For how long the connection, a new one, must stay open first, in seconds.
        """
        data = b"%s%d\r\n\r\n%s" % (self._head, len(body), body)
        return HttpCall(self._origin, data, settle, context)

    def read(self, call: HttpCall) -> bytes:
        """Return the FromFunction that a call was answered with.

        :raises EndpointDownError: The endpoint cannot be reached, is too slow, or says that it is
            busy.
        :raises EndpointError: It answered otherwise than with a FromFunction.
        """
        outcome = call.outcome
        if isinstance(outcome, Response):
            headers = outcome.headers
            is_usual = outcome.status == 200 and headers.get(b"content-type") == _OCTETS
            if is_usual and b"content-encoding" not in headers:
                return outcome.body
            return self._content(outcome, len(call.data))
        if isinstance(outcome, TooLargeError):
            raise self._too_large()
        is_cut_off = isinstance(outcome, CallFailedError) and outcome.is_cut_off
        raise EndpointDownError(self.name, str(outcome), is_cut_off=is_cut_off)

    def close(self) -> None:
        """Close the connections of calls that were made one at a time."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _content(self, reply: Response, size: int) -> bytes:
        if reply.status in _BUSY:
            raise EndpointDownError(self.name, f"status {reply.status}")
        if reply.status == 413:
            raise RequestTooLargeError(self.name, size)
        data = reply.body
        if not 200 <= reply.status < 300:
            text = data.decode(errors="replace").strip().partition("\n")[0][:300]
            raise EndpointError(
                f"{self.name} answered with the status {reply.status}: {text or 'no text'}."
                " The worker's log says more."
            )
        kind = reply.headers.get(b"content-type", b"")
        if kind != _OCTETS and kind.lower() != _OCTETS:
            raise EndpointError(
                f"{self.name} answered with the content type"
                f" {kind.decode('latin-1') or 'not set'!r}. The runtime takes only"
                f" '{_OCTETS.decode()}', without a parameter: set it in the worker."
            )
        encoding = reply.headers.get(b"content-encoding")
        if encoding is None or encoding not in _WINDOWS:
            return data
        try:
            return _decompressed(data, _WINDOWS[encoding], self._origin.largest)
        except TooLargeError:
            raise self._too_large() from None
        except zlib.error as exc:
            raise EndpointError(
                f"{self.name} answered with a body that cannot be decompressed: {exc}."
                " Correct its Content-Encoding, or send it uncompressed."
            ) from None

    def _too_large(self) -> EndpointError:
        return EndpointError(
            f"{self.name} answered with more than {self._origin.largest} bytes. Raise"
            " payload_max_bytes in module.yaml, or lower maxNumBatchRequests."
        )


@functools.cache
def _system_certificates() -> ssl.SSLContext:
    return ssl.create_default_context()


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


def _decompressed(data: bytes, window: int, largest: int) -> bytes:
    """Return what was compressed, without making more of it than it may be.

    :raises TooLargeError: It is larger.
    :raises zlib.error: It is not compressed in this way, or cut off.
    """
    parts: list[bytes] = []
    left = largest
    while data:  # gzip's streams may follow each other
        stream = zlib.decompressobj(window)
        parts.append(stream.decompress(data, left + 1))
        left -= len(parts[-1])
        if left < 0:
            raise TooLargeError
        if not stream.eof:
            raise zlib.error("it is cut off")
        data = stream.unused_data
    return b"".join(parts)
