"""Responses in HTTP/1.1, out of the bytes that a connection receives."""

from __future__ import annotations

import typing as t

import httptools

#: How long the head of a response may be, or a piece of it in which there is nothing of its body,
#: in bytes, and how many headers it may have, those after the body included.
LARGEST_HEAD = 65_536
HEADERS = 100


class BadResponse(Exception):
    """What came is not a response in HTTP/1.1; the text says why, after the name of the server."""


class TooLarge(Exception):
    """The body of a response is larger than it may be."""


class Response(t.NamedTuple):
    """A response as it came.

    :param headers: By name in lower case; of several with one name, the first.
    :param is_kept: Whether the connection takes another request.
    """

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    is_kept: bool


class ResponseReader:
    """Reads the responses of one connection, each from the first byte to the last.

    llhttp, which is Node's parser, reads the bytes. It refuses what two readers may read in two
    ways: two lengths, a length beside chunks, a chunk that is longer than its size, a line without
    a carriage return. What it does not bound is bounded here.

    :param largest: How large a body may be, in bytes.
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._parser = httptools.HttpResponseParser(self)
        self._failure: BadResponse | TooLarge | None = None
        self.begin()

    def begin(self) -> None:
        """Be ready for the response to another request."""
        #: Whether anything of the response came.
        self.has_begun = False
        self._interim = 0
        self._response: Response | None = None
        self._start_message()

    def _start_message(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._number = 0
        self._parts: list[bytes] = []
        self._size = 0
        self._is_in_body = False
        self._is_sized = False
        self._without_body = 0

    def feed(self, data: bytes) -> Response | None:
        """Read some bytes. Return the response if it is complete.

        :raises BadResponse: They are not HTTP/1.1.
        :raises TooLarge: The body is too large.

        After an error, and after a response that does not keep it, the connection must be closed.
        """
        self.has_begun = True
        self._without_body += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise BadResponse("it switches to another protocol") from None
        except httptools.HttpParserError as exc:
            if self._response is not None:  # more than the response came
                return self._response._replace(is_kept=False)
            if self._failure is not None:
                raise self._failure from None
            raise BadResponse(_fault(data, exc)) from None
        if self._response is None and self._without_body > LARGEST_HEAD:
            raise BadResponse(f"it answers with a head of more than {LARGEST_HEAD} bytes")
        return self._response

    def end(self) -> Response | None:
        """Return the response that ends with the connection; None if it is cut off."""
        if self._is_in_body and not self._is_sized:
            return Response(
                self._parser.get_status_code(), self._headers, b"".join(self._parts), False
            )
        return None

    # -- called by the parser -------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Refuse another response than the one that was asked for."""
        if self._response is not None:
            raise BadResponse("it answers twice")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self._number += 1
        if self._number > HEADERS:
            self._fail(BadResponse(f"it answers with more than {HEADERS} headers"))
        if not self._is_in_body:
            self._headers.setdefault(name.lower(), value.strip())

    def on_headers_complete(self) -> None:
        """Check how the body is framed."""
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._fail(BadResponse(f"it answers in HTTP/{version}, not in HTTP/1.1"))
        status = self._parser.get_status_code()
        if status < 100:
            self._fail(BadResponse(f"it answers with the status {status:03}"))
        encoding = self._headers.get(b"transfer-encoding")
        length = self._headers.get(b"content-length")
        if encoding is not None and encoding.lower() != b"chunked":
            text = encoding[:60].decode("latin-1")
            self._fail(BadResponse(f"it answers with the transfer encoding {text!r}"))
        if length is not None and int(length) > self._largest and status not in (204, 304):
            self._fail(TooLarge())
        self._is_sized = encoding is not None or length is not None
        self._is_in_body = True
        self._without_body = 0

    def on_chunk_header(self) -> None:
        """Note that a chunk or the trailers begin."""
        self._without_body = 0

    def on_body(self, data: bytes) -> None:
        """Keep a part of the body."""
        self._without_body = 0
        self._size += len(data)
        if self._size > self._largest:
            self._fail(TooLarge())
        self._parts.append(data)

    def on_message_complete(self) -> None:
        """Make the response. One with a status below 200 comes before the response."""
        status = self._parser.get_status_code()
        if status < 200:
            self._interim += 1
            if self._interim > HEADERS:
                self._fail(BadResponse(f"it sends more than {HEADERS} responses before the last"))
            self._start_message()
            return
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self._response = Response(status, self._headers, body, self._parser.should_keep_alive())

    def _fail(self, failure: BadResponse | TooLarge) -> t.NoReturn:
        self._failure = failure
        raise failure


def _fault(data: bytes, exc: Exception) -> str:
    start = data[:60].decode("latin-1").partition("\r\n")[0]
    return f"it does not answer in HTTP/1.1 ({exc}) near {start!r}"
