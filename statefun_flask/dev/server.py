"""The HTTP server of the api, on one loopback port: it finds out what a request asks for.

Pages in a browser must not reach it: a foreign ``Host`` and any ``Origin`` are refused.
"""

from __future__ import annotations

import collections.abc as cabc
import http
import http.server
import json
import queue
import socket
import threading
import typing as t
import urllib.parse

from ..embedded.errors import NotParked
from ..embedded.errors import UnknownTarget
from ..values.address import Address
from .api import Answer
from .api import Api
from .codec import RequestError

#: How large a body may be, or a part of one that comes in parts, in bytes.
LARGEST = 64 << 20


class Server(http.server.ThreadingHTTPServer):
    """Listens on a socket that is bound already, or binds one.

    :param listening: A socket that a parent process handed down.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, api: Api, port: int, listening: socket.socket | None = None) -> None:
        super().__init__(("127.0.0.1", port), _Handler, bind_and_activate=False)
        self.api = api
        self._started = False
        if listening is None:
            try:
                self.server_bind()
                self.server_activate()
            except BaseException:
                self.server_close()
                raise
        else:
            self.socket.close()
            self.socket = listening
            self.server_address = listening.getsockname()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def start(self) -> None:
        """Answer requests in threads."""
        self._started = True
        threading.Thread(
            target=self.serve_forever, args=(0.05,), name="statefun-api", daemon=True
        ).start()

    def stop(self) -> None:
        """Stop answering, and close the socket."""
        if self._started:
            self.shutdown()
        self.server_close()

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        """Keep quiet about clients that went away."""


class _Handler(http.server.BaseHTTPRequestHandler):
    """Finds out what a request asks for."""

    server: Server
    protocol_version = "HTTP/1.1"
    # An answer leaves at once, and in one piece.
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        self._handle(self._get)

    def do_PUT(self) -> None:
        self._handle(self._put)

    do_POST = do_PUT

    def _handle(
        self, route: cabc.Callable[[list[str], dict[str, str], bytes], Answer | None]
    ) -> None:
        try:
            self._refuse_foreign()
            body = self._body()
            url = urllib.parse.urlsplit(self.path)
            path = [urllib.parse.unquote(part) for part in url.path.strip("/").split("/")]
            query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
            answer = route(path, query, body)
        except RequestError as exc:
            answer = exc.status, {"error": str(exc)}
        except (NotParked, UnknownTarget) as exc:
            answer = 404, {"error": str(exc)}
        except (ValueError, TypeError, OverflowError) as exc:
            answer = 400, {"error": str(exc)}
        except RuntimeError as exc:
            answer = 503, {"error": str(exc)}
        if answer is not None:
            self._answer(*answer)

    def _body(self) -> bytes:
        if "Transfer-Encoding" in self.headers:
            return b"".join(self._chunks())
        length = self.headers.get("Content-Length") or "0"
        if not length.isdecimal():
            self.close_connection = True
            raise RequestError(400, f"'{length}' is no length of a body. Correct Content-Length.")
        return self._read(int(length))

    def _chunks(self) -> cabc.Iterator[bytes]:
        while size := int(self.rfile.readline(32).partition(b";")[0], 16):
            yield self._read(size)
            self.rfile.readline(2)
        while self.rfile.readline(65536).strip():
            """Trailers say nothing here."""

    def _read(self, size: int) -> bytes:
        if size > LARGEST:
            self.close_connection = True
            raise RequestError(
                413, f"The body is larger than {LARGEST} bytes. Send smaller messages."
            )
        data = self.rfile.read(size) if size > 0 else b""
        if len(data) < size:
            self.close_connection = True
            raise RequestError(400, "The request ended before its body did. Send it again.")
        return data

    def _refuse_foreign(self) -> None:
        """Keep pages of other sites away, also those that resolve their name to this machine."""
        host = (self.headers.get("Host") or "").rpartition(":")[0] or self.headers.get("Host")
        if (
            host is None
            or host.lower() not in ("127.0.0.1", "localhost", "[::1]")
            or "Origin" in self.headers
        ):
            self.close_connection = True  # its body is not read
            raise RequestError(
                403,
                "Only programs on this machine may ask. Use http://127.0.0.1 and no Origin header.",
            )

    def _get(self, path: list[str], query: dict[str, str], body: bytes) -> Answer | None:
        api = self.server.api
        if path == ["-", "events"]:
            self._stream(query)
            return None
        if path[0] == "-":
            return api.get(path[1:], query)
        record = api.control.pop("/".join(path))
        if record is None:
            return 404, b""
        self._answer(200, record.value, {"Statefun-Egress-Seq": str(record.seq)})
        return None

    def _put(self, path: list[str], query: dict[str, str], body: bytes) -> Answer:
        api = self.server.api
        content_type = self.headers.get("Content-Type")
        if path[:2] == ["-", "topic"] and len(path) == 4:
            return api.feed(path[2], path[3], body)
        if path[0] == "-":
            return api.act(path[1:], body, content_type)
        if len(path) != 3:
            raise RequestError(
                404, f"'/{'/'.join(path)}' names no function. Use /namespace/name/id."
            )
        address = Address(f"{path[0]}/{path[1]}", path[2])
        key = self.headers.get("Idempotency-Key")
        return api.send(address, body, content_type, key, "wait" in query)

    def _answer(
        self, status: int, body: t.Any, headers: cabc.Mapping[str, str] | None = None
    ) -> None:
        if not isinstance(body, bytes):
            body = _encoded(body) + b"\n"
            headers = {"Content-Type": "application/json"}
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, query: dict[str, str]) -> None:
        """Send events as they come, until the client goes away or the engine ends."""
        serializer = self.server.api.serializer
        with self.server.api.history.follow() as follower:
            # Only now: who has read the headers misses nothing.
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Cache-Control", "no-store")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.flush()
            while True:
                try:
                    event = follower.get(timeout=15)
                except queue.Empty:
                    self.wfile.write(b": still here\n\n")
                    self.wfile.flush()
                    continue
                if event is None:
                    return
                for each in serializer.objects(event):
                    head = f"event: {each['event']}\ndata: ".encode()
                    self.wfile.write(head + _encoded(each) + b"\n\n")
                if follower.empty():
                    self.wfile.flush()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no request for a route."""
        if code == 501:
            code, message = 405, f"The method {self.command} is not known. Use GET, PUT or POST."
        self.close_connection = True
        self._answer(code, {"error": message or http.HTTPStatus(code).phrase})

    def log_message(self, *args: t.Any) -> None:
        """Keep requests out of the log, which tells what they led to."""


def _encoded(value: t.Any) -> bytes:
    """Return a value as JSON; a lone surrogate is an escape in it, since UTF-8 has none."""
    return json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace")
