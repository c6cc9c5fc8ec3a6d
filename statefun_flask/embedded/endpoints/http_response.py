"""Responses in HTTP/1.1, out of the bytes that a connection receives."""

from __future__ import annotations

import typing as t

import httptools
import msgspec

#: How long the head of a response may be, and what is not body between two pieces of the body, in
#: bytes. As much as is read at a time may come on top.
LARGEST_HEAD = 65_536

#: How many responses with a status below 200 may come before the response.
INTERIM_RESPONSES = 100


class BadResponseError(Exception):
    """What came is not a response in HTTP/1.1; the text says why, after the name of the server."""


class TooLargeError(Exception):
    """The body of a response is larger than it may be."""


class Response(msgspec.Struct, gc=False):
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
        self._failure: BadResponseError | TooLargeError | None = None
        # The parser puts headers and pieces of the body there without a call of Python.
        self._fields: dict[bytes, bytes] = {}
        self._pieces: list[bytes] = []
        self.on_header = self._fields.setdefault
        self.on_body = self._pieces.append
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] | None = None
        self._body = bytearray()
        self.begin()

    def begin(self) -> None:
        """Be ready for the response to another request."""
        #: Whether anything of the response came.
        self.has_begun = False
        self._response: Response | None = None
        self._headers = None
        self._fields.clear()
        self._interim = self._without_body = 0

    def feed(self, data: bytes) -> Response | None:
        """Read some bytes. Return the response if it is complete.

        :raises BadResponseError: They are not HTTP/1.1.
        :raises TooLargeError: The body is too large.

        After an error, and after a response that does not keep it, the connection must be closed.
        """
        self.has_begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise BadResponseError("it switches to another protocol") from None
        except httptools.HttpParserError as exc:
            if self._response is not None:  # more than the response came
                self._response.is_kept = False
                return self._response
            if self._failure is not None:
                raise self._failure from None
            raise BadResponseError(_fault(data, exc)) from None
        if self._response is None:
            self._gather(len(data))
        return self._response

    def end(self) -> Response | None:
        """Return the response that ends with the connection; None if it is cut off."""
        headers = self._headers
        if headers is None or b"content-length" in headers or b"transfer-encoding" in headers:
            return None
        return Response(self._parser.get_status_code(), headers, bytes(self._body), False)

    def _gather(self, size: int) -> None:
        """Join the pieces of the body that came, and bound what is not body."""
        pieces, body = self._pieces, self._body
        if not pieces:
            self._without_body += size
            if self._without_body > LARGEST_HEAD:
                raise BadResponseError(f"it answers with more than {LARGEST_HEAD} bytes of headers")
            return
        self._without_body = 0
        body += b"".join(pieces)
        pieces.clear()
        if len(body) > self._largest:
            raise TooLargeError

    # -- called by the parser -------------------------------------------------------------

    def on_headers_complete(self) -> None:
        """Check how the body is framed."""
        if self._response is not None:
            self._fail(BadResponseError("it answers twice"))
        headers = {name.lower(): value for name, value in reversed(self._fields.items())}
        self._headers = headers
        version, status = self._parser.get_http_version(), self._parser.get_status_code()
        if version not in ("1.1", "1.0"):
            self._fail(BadResponseError(f"it answers in HTTP/{version}, not in HTTP/1.1"))
        if status < 100:
            self._fail(BadResponseError(f"it answers with the status {status:03}"))
        length = headers.get(b"content-length")
        if length is not None:
            if int(length) > self._largest and status not in (204, 304):
                self._fail(TooLargeError())
            return
        encoding = headers.get(b"transfer-encoding")
        if encoding is not None and encoding.strip().lower() != b"chunked":
            text = encoding[:60].decode("latin-1")
            self._fail(BadResponseError(f"it answers with the transfer encoding {text!r}"))

    def on_message_complete(self) -> None:
        """Make the response. One with a status below 200 comes before the response."""
        parser, pieces = self._parser, self._pieces
        status = parser.get_status_code()
        if status < 200:
            self._interim += 1
            if self._interim > INTERIM_RESPONSES:
                self._fail(BadResponseError(f"it answers with the status {status} without end"))
            self._headers = None
            self._fields.clear()
            return
        if len(pieces) == 1 and not self._body:
            body = pieces[0]
        else:
            body = bytes(self._body) + b"".join(pieces)
            self._body.clear()
        pieces.clear()
        if len(body) > self._largest:
            self._fail(TooLargeError())
        headers = t.cast("dict[bytes, bytes]", self._headers)
        self._response = Response(status, headers, body, parser.should_keep_alive())

    def _fail(self, failure: BadResponseError | TooLargeError) -> t.NoReturn:
        self._failure = failure
        raise failure


def _fault(data: bytes, exc: Exception) -> str:
    start = data[:60].decode("latin-1").partition("\r\n")[0]
    return f"it does not answer in HTTP/1.1 ({exc}) near {start!r}"
