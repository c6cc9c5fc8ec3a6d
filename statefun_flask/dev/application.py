"""The WSGI application of the HTTP API: requests in, JSON out.

Pages in a browser must not reach the API. A foreign ``Host``, any ``Origin``, a ``Referer`` of
another site and a cross-site ``Sec-Fetch-Site`` are refused. A page can send a GET without an
``Origin``, for example as the address of an image, and a GET of a topic removes a record.
"""

from __future__ import annotations

import collections.abc as cabc
import http
import os
import re
import threading
import time
import typing as t
import urllib.parse

from ..embedded.errors import NotFoundError
from ..embedded.errors import SeveralParkedError
from ..embedded.errors import UnknownTargetError
from .api import Api
from .api import ApiResponse
from .api import Body
from .codec import RequestError
from .history import History
from .printable import printable_json

#: The number of clients that may read events at a time.
MAX_STREAMS = 32

#: The number of requests that may wait for the end of a trace at a time.
MAX_WAITS = 32

#: The time after which a stream without events sends a comment, in seconds.
HEARTBEAT = 15.0

_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)

Environ: t.TypeAlias = dict[str, t.Any]
StartResponse: t.TypeAlias = cabc.Callable[[str, list[tuple[str, str]]], object]


class Application:
    """Answers requests with the API's responses."""

    def __init__(self, api: Api, history: History) -> None:
        self._api = api
        self._history = history
        self._serializer = api.serializer
        self._streams = threading.BoundedSemaphore(MAX_STREAMS)
        self._backups = threading.BoundedSemaphore(1)
        self._waits = threading.BoundedSemaphore(MAX_WAITS)
        #: Refuse all further requests.
        self.closing = False

    def __call__(self, environ: Environ, start_response: StartResponse) -> cabc.Iterable[bytes]:
        """Answer a request."""
        try:
            if self.closing:
                raise RequestError(503, "The engine is closing. Send the request again later.")
            _refuse_foreign(environ)
            path, query = _path_and_query(environ)
            method = environ["REQUEST_METHOD"]
            if method == "GET" and path == ["-", "events"]:
                return self._stream(environ, start_response)
            if method == "GET" and path == ["-", "backup"]:
                return self._backup(environ, start_response)
            response = self._answer(method, path, query, environ)
        except RequestError as exc:
            response = ApiResponse(exc.status, {"error": str(exc)}, exc.headers)
        except (NotFoundError, UnknownTargetError) as exc:
            response = ApiResponse(404, {"error": str(exc)})
        except SeveralParkedError as exc:
            response = ApiResponse(409, {"error": str(exc), "addresses": exc.addresses})
        except (ValueError, TypeError, OverflowError) as exc:
            response = ApiResponse(400, {"error": str(exc)})
        except RuntimeError as exc:
            response = ApiResponse(503, {"error": str(exc)})
        return _respond(response, start_response)

    def _answer(
        self, method: str, path: list[str], query: dict[str, str], environ: Environ
    ) -> ApiResponse:
        content_type = environ.get("CONTENT_TYPE")
        if method == "GET":
            return self._api.get(path, query)
        if method not in ("PUT", "POST"):
            raise RequestError(405, f"The method {method} is not known. Use GET, PUT or POST.")
        body = Body(int(environ.get("CONTENT_LENGTH") or 0), environ["wsgi.input"].read)
        if path[0] == "-":
            return self._api.post(path[1:], body, content_type, query)
        key = environ.get("HTTP_IDEMPOTENCY_KEY")
        if "wait" not in query:
            return self._api.send(path, body, content_type, key)
        timeout = _seconds(query["timeout"]) if "timeout" in query else None
        with _one_of(self._waits, f"{MAX_WAITS} requests wait for the end of a trace."):
            is_gone = environ["waitress.client_disconnected"]
            return self._api.send(
                path, body, content_type, key, wait=True, timeout=timeout, is_gone=is_gone
            )

    def _backup(self, environ: Environ, start_response: StartResponse) -> cabc.Iterable[bytes]:
        with _one_of(self._backups, "Another backup is being made."):
            copy = self._api.backup()
        headers = [
            ("Content-Type", "application/vnd.sqlite3"),
            ("Content-Length", str(os.fstat(copy.fileno()).st_size)),
        ]
        start_response("200 OK", headers)
        wrapped: cabc.Iterable[bytes] = environ["wsgi.file_wrapper"](copy, 1 << 18)
        return wrapped

    def _stream(self, environ: Environ, start_response: StartResponse) -> cabc.Iterator[bytes]:
        if not self._streams.acquire(blocking=False):
            raise _too_many(f"{MAX_STREAMS} clients read events.")
        stream = self._events(environ["waitress.client_disconnected"])
        next(stream)  # subscribes, so that a client that has the headers misses no event
        headers = [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")]
        start_response("200 OK", headers)
        return stream

    def _events(self, is_gone: cabc.Callable[[], bool]) -> cabc.Generator[bytes]:
        """Yield events as they occur, until the client goes away or the engine is closed."""
        try:
            with self._history.subscribe() as subscription:
                yield b""
                yield b": events follow\n\n"
                written = time.monotonic()
                while not is_gone():
                    taken = subscription.take(timeout=1.0)
                    if taken.missed:
                        yield _event({"event": "missed", "events": taken.missed})
                    for event in taken.items:
                        for each in self._serializer.objects(event):
                            yield _event(each)
                    if taken.closed:
                        return
                    if taken.items:
                        written = time.monotonic()
                    elif time.monotonic() - written >= HEARTBEAT:
                        written = time.monotonic()
                        yield b": no event\n\n"
        finally:
            self._streams.release()


class Unavailable:
    """Answers each request with 503 and a reason, while there is no engine.

    :param reason: What is wrong, and what to do.
    """

    def __init__(self, reason: str) -> None:
        self._reason = reason
        self.closing = False

    def __call__(self, environ: Environ, start_response: StartResponse) -> cabc.Iterable[bytes]:
        """Answer a request."""
        try:
            _refuse_foreign(environ)
        except RequestError as exc:
            return _respond(ApiResponse(exc.status, {"error": str(exc)}), start_response)
        headers = (("Retry-After", "1"),)
        return _respond(ApiResponse(503, {"error": self._reason}, headers), start_response)


class _one_of:
    """Counts the requests of one kind, and refuses a request above the limit."""

    def __init__(self, semaphore: threading.BoundedSemaphore, text: str) -> None:
        self._semaphore = semaphore
        self._text = text

    def __enter__(self) -> None:
        if not self._semaphore.acquire(blocking=False):
            raise _too_many(self._text)

    def __exit__(self, *exc_info: object) -> None:
        self._semaphore.release()


def _too_many(text: str) -> RequestError:
    return RequestError(
        503, f"{text} Send the request again later.", headers=(("Retry-After", "1"),)
    )


def _refuse_foreign(environ: Environ) -> None:
    """Refuse pages of other sites, also those whose host name resolves to this machine."""
    referer = environ.get("HTTP_REFERER")
    if (
        not _HOST.fullmatch(environ.get("HTTP_HOST", ""))
        or "HTTP_ORIGIN" in environ
        or environ.get("HTTP_SEC_FETCH_SITE", "none") not in ("none", "same-origin")
        or (referer is not None and not _HOST.fullmatch(_netloc(referer)))
    ):
        raise RequestError(
            403,
            "Only programs on this machine may send requests. Use http://127.0.0.1 and no Origin"
            " header.",
        )


def _seconds(text: str) -> float:
    """Return the number of seconds that a query names."""
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII):
        raise RequestError(400, f"'timeout={text}' is not a time. Write seconds as timeout=10.")
    return float(text)


def _netloc(url: str) -> str:
    try:
        return urllib.parse.urlsplit(url).netloc
    except ValueError:
        return ""


def _path_and_query(environ: Environ) -> tuple[list[str], dict[str, str]]:
    """Return the decoded segments of a request's path, and its query."""
    path, _, query = environ["REQUEST_URI"].partition("?")
    if not path.startswith("/"):
        raise RequestError(400, f"'{path}' is not a path. Begin the path with '/'.")
    try:
        segments = [
            urllib.parse.unquote_to_bytes(each.encode("latin-1")).decode()
            for each in path[1:].split("/")
        ]
        pairs = urllib.parse.parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise RequestError(
            400, f"'{path}' is not UTF-8. Encode the id as UTF-8, and then each byte as %XX."
        ) from None
    return segments, dict(pairs)


def _respond(response: ApiResponse, start_response: StartResponse) -> list[bytes]:
    headers = list(response.headers)
    body = response.body
    if not isinstance(body, bytes):
        body = encoded(body) + b"\n"
        headers.append(("Content-Type", "application/json"))
    headers.append(("Content-Length", str(len(body))))
    start_response(f"{response.status} {http.HTTPStatus(response.status).phrase}", headers)
    return [body]


def _event(value: dict[str, t.Any]) -> bytes:
    return f"event: {value['event']}\ndata: ".encode() + encoded(value) + b"\n\n"


def encoded(value: t.Any) -> bytes:
    """Return a value as JSON in UTF-8."""
    return printable_json(value).encode()
