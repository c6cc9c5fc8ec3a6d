"""HTTP/1.1 as the engine needs it: POSTs over one connection, each answer read to its end.

The standard library's client takes five times as long, most of it because it reads headers as those
of an e-mail, and sends head and body apart, for which a worker wakes twice.
"""

from __future__ import annotations

import collections.abc as cabc
import re
import socket
import typing as t

#: How long a line of an answer's head may be, in bytes, and how many lines it may have.
LINE = 65_536
HEADERS = 100

_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")


class BadResponse(Exception):
    """What came is no answer in HTTP/1.1; the text says why."""


class TooLarge(Exception):
    """The body of an answer is larger than it may be."""


class Response(t.NamedTuple):
    """An answer as it came.

    :param headers: By name in lower case; of several with one name, the first.
    """

    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """A connection to a server.

    :param connected: Its timeout is that of each wait.
    :param head: The first line and the headers of each request, but for the length.
    """

    def __init__(self, connected: socket.socket, head: bytes) -> None:
        #: Whether it can be asked again: the server did not say that it ends it.
        self.is_kept = True
        self._socket = connected
        self._head = head + b"Content-Length: "
        self._file = connected.makefile("rb")

    def post(self, body: bytes, largest: int) -> Response:
        """Send a body, and return the answer.

        :param largest: How large it may be, in bytes.
        :raises ConnectionError: The server has ended the connection.
        :raises BadResponse: It answers in another protocol.
        :raises TooLarge: It answers with more.

        After an error the connection must be closed.
        """
        self._socket.sendall(b"%s%d\r\n\r\n%s" % (self._head, len(body), body))
        status = 100
        while status < 200:  # what comes before the answer
            version, status = self._status_line()
            headers = self._headers()
        said = headers.get("connection", "").lower()
        self.is_kept = "close" not in said if version == b"HTTP/1.1" else "keep-alive" in said
        return Response(status, headers, self._body(status, headers, largest))

    def close(self) -> None:
        """End the connection."""
        self._file.close()
        self._socket.close()

    # -- reading --------------------------------------------------------------------------

    def _line(self) -> bytes:
        line = self._file.readline(LINE)
        if line.endswith(b"\n"):
            return line
        if len(line) == LINE:
            raise BadResponse(f"it answers with a line of more than {LINE} bytes")
        raise ConnectionResetError("The connection was ended before the answer.")

    def _status_line(self) -> tuple[bytes, int]:
        line = self._line()
        version, _, rest = line.partition(b" ")
        status = rest[:3]
        if version not in (b"HTTP/1.1", b"HTTP/1.0") or not (len(status) == 3 and status.isdigit()):
            raise BadResponse(f"it answers {line.strip()[:60]!r}, which is no HTTP/1.1")
        return version, int(status)

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for _ in range(HEADERS):
            line = self._line()
            if line in (b"\r\n", b"\n"):
                return headers
            name, colon, value = line.partition(b":")
            if not colon:
                raise BadResponse(
                    f"it answers with the header {line.strip()[:60]!r}, which is none"
                )
            headers.setdefault(name.lower().decode("latin-1"), value.strip().decode("latin-1"))
        raise BadResponse(f"it answers with more than {HEADERS} headers")

    def _body(self, status: int, headers: cabc.Mapping[str, str], largest: int) -> bytes:
        if status in (204, 304):
            return b""
        encoding = headers.get("transfer-encoding")
        if encoding is not None:
            if encoding.lower() != "chunked":
                raise BadResponse(f"it answers with the transfer encoding {encoding!r}")
            return self._chunks(largest)
        length = headers.get("content-length")
        if length is None:
            self.is_kept = False
            body = self._file.read(largest + 1)
            if len(body) > largest:
                raise TooLarge
            return body
        if not (length.isascii() and length.isdigit()):
            raise BadResponse(f"it answers with the length {length!r}, which is no number")
        if int(length) > largest:
            raise TooLarge
        return self._exactly(int(length))

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise ConnectionResetError("The connection was ended within the answer.")
        return data

    def _chunks(self, largest: int) -> bytes:
        chunks: list[bytes] = []
        total = 0
        while size := self._chunk_size():
            total += size
            if total > largest:
                raise TooLarge
            chunks.append(self._exactly(size))
            self._line()
        while self._line().strip():  # headers after the body
            pass
        return b"".join(chunks)

    def _chunk_size(self) -> int:
        size = self._line().partition(b";")[0].strip()
        if _CHUNK_SIZE.fullmatch(size) is None:
            raise BadResponse(f"it answers with the chunk size {size[:60]!r}, which is no number")
        return int(size, 16)
