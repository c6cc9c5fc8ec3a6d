"""The meaning of an HTTP request to a worker, without a web framework.

:meth:`Endpoint.respond` decides everything: method, path, health, length, content type, limits,
status and headers of the reply. The view and the transports translate between it and their servers.

The status of a failure depends on where it happened, because the runtime acts on it: the runtime
tries a request again after 5xx, which a new deployment may cure. A body that is not a request is
answered with 4xx.
"""

from __future__ import annotations

import collections.abc as cabc
import concurrent.futures
import logging
import typing as t

import msgspec

from ..config import Settings
from ..errors import FunctionNotFoundError
from ..errors import ProtocolError
from .invocation import InvocationFailedError

logger = logging.getLogger("statefun_flask")

#: The runtime compares the whole content type of a reply, so it has no parameters.
CONTENT_TYPE = "application/octet-stream"
_ANSWER_TYPE = ("Content-Type", CONTENT_TYPE)

#: The length to which texts in a reply or in the log are shortened. Names in requests may be long.
_LONGEST = 2000

#: Headers by their names in lower case. The values of a repeated header are joined by commas.
Headers: t.TypeAlias = cabc.Mapping[str, str | None]
#: Returns at most that many bytes of a body, and b"" at its end.
Read: t.TypeAlias = cabc.Callable[[int], bytes]
#: The same in an event loop. It may return more bytes than it was asked for.
AsyncRead: t.TypeAlias = cabc.Callable[[int], cabc.Awaitable[bytes]]


class Reply(msgspec.Struct, frozen=True):
    """An HTTP response.

    :param error: The exception that caused the response.
    :param failure: The log message about the exception; empty when the worker did not fail.
    :param detail: The body under debug and testing, if it differs.
    """

    status: int
    body: bytes
    headers: list[tuple[str, str]]
    error: Exception | None = None
    failure: str = ""
    detail: str = ""

    def detailed(self) -> Reply:
        """Return the reply for a developer, with names and texts that clients must not see."""
        return error_reply(self.status, self.detail) if self.detail else self


class Handler(t.Protocol):
    """Bytes to bytes, such as a :class:`~statefun_flask.RequestHandler`."""

    def __call__(self, body: bytes, /) -> bytes:
        """Answer in the calling thread, and raise what a function raises."""

    def _invoke(self, body: bytes, /) -> bytes:
        """Answer in the calling thread.

        :raises InvocationFailedError: A function raised an exception.
        """

    async def _invoke_async(
        self, body: bytes, *, executor: concurrent.futures.Executor | None = None
    ) -> bytes:
        """Answer in the running event loop. Synchronous functions run in the executor."""


class Endpoint:
    """Answers the HTTP requests to a worker.

    Below the endpoint's URL are the health paths: ``…/health/live`` is 200 while the process
    answers; ``…/health/ready`` is 200 while the worker accepts requests, and 503 while it drains;
    ``…/health`` is the same as ``…/health/ready``.

    :param handler: Answers the requests of the runtime.
    """

    def __init__(self, handler: Handler, settings: Settings) -> None:
        self.handler = handler
        self.settings = settings
        #: Set while the server shuts down. Further requests of the runtime are refused.
        self.draining = False

        self._largest = settings.max_request_bytes
        self._largest_answer = settings.max_response_bytes
        base = settings.url.rstrip("/")
        #: Where the runtime posts its requests.
        self.path = base or "/"
        #: The path with and without a slash at its end.
        self.function_paths = frozenset({base, f"{base}/"})
        self.health_paths = frozenset(f"{base}/health{each}" for each in ("", "/live", "/ready"))
        #: Every path that is not answered with 404.
        self.paths = self.function_paths | self.health_paths

    def respond(
        self, method: str, path: str, headers: Headers, read: Read, *, delimited: bool = True
    ) -> Reply:
        """Answer a request.

        :param headers: ``content-type``, ``content-length`` and ``transfer-encoding``. Others have
            no meaning here.
        :param read: Reads the body.
        :param delimited: Whether reading ends at the end of a body of unknown length. If not, such
            a body is refused.
        """
        length = self._check_head(method, path, headers)
        if length is not None and not isinstance(length, int):
            return length
        try:
            data = b"" if length is None else read(length)
            if len(data) != length:
                if length is not None:
                    data = _read_rest(data, read, length)
                elif delimited:
                    data = _read_rest(data, read, self._largest + 1)
                refused = self._check_size(len(data), length)
                if refused is not None:
                    return refused
        except (OSError, EOFError, ValueError) as exc:
            return error_reply(400, f"The body cannot be read: {exc}. Send it as a whole.")
        try:
            answer = self.handler._invoke(data)
        except Exception as exc:
            return self._reply_to_error(exc)
        return self._reply(answer)

    async def respond_async(
        self,
        method: str,
        path: str,
        headers: Headers,
        read: AsyncRead,
        *,
        executor: concurrent.futures.Executor | None = None,
    ) -> Reply:
        """Answer a request in the running event loop.

        :param executor: Where the functions of a typename run when none of them is asynchronous.
        """
        length = self._check_head(method, path, headers)
        if length is not None and not isinstance(length, int):
            return length
        limit = self._largest + 1 if length is None else length
        data = await read(limit)
        if len(data) != length:
            data = await _read_rest_async(data, read, limit)
            refused = self._check_size(len(data), length)
            if refused is not None:
                return refused
        try:
            answer = await self.handler._invoke_async(data, executor=executor)
        except Exception as exc:
            return self._reply_to_error(exc)
        return self._reply(answer)

    def call(self, body: bytes) -> bytes:
        """Answer a request from the same process, and raise what a function raises.

        :raises ValueError: The request is refused, for instance for its size.
        """
        headers = {"content-type": CONTENT_TYPE, "content-length": str(len(body))}
        reply = self.respond("POST", self.path, headers, lambda size: body)
        if reply.error is not None:
            raise reply.error
        if reply.status != 200:
            raise ValueError(reply.body.decode().strip())
        return reply.body

    def _check_head(self, method: str, path: str, headers: Headers) -> Reply | int | None:
        """Return the length of the body (None if unknown), or a reply that refuses the request."""
        if method != "POST" or path not in self.function_paths:
            return self._reply_to_other(method, path)
        content_type = headers.get("content-type")
        if content_type != CONTENT_TYPE and not _is_octet_stream(content_type):
            return error_reply(
                415,
                f"The content type is {content_type or 'not set'!r}. Send the ToFunction as"
                f" '{CONTENT_TYPE}', as the runtime does.",
            )
        if self.draining:
            return error_reply(
                503, "This worker is shutting down. Send the request to another one."
            )
        given = headers.get("content-length")
        if not given or headers.get("transfer-encoding"):
            return None
        if not (given.isdecimal() and given.isascii()):
            return error_reply(
                400, f"The Content-Length is {given!r:.60}. Send the number of bytes of the body."
            )
        # int() refuses to read more than 4300 digits.
        if len(given) > 18 or (length := int(given)) > self._largest:
            return self._refuse_size()
        return length

    def _reply_to_other(self, method: str, path: str) -> Reply:
        """Answer a request that does not come from the runtime."""
        if path in self.function_paths:
            allowed = "POST"
        elif path not in self.health_paths:
            reply = error_reply(404, f"There is nothing at this path. Functions: '{self.path}'.")
            return _without_body(reply) if method == "HEAD" else reply
        elif method in ("GET", "HEAD"):
            reply = self._health(path)
            return _without_body(reply) if method == "HEAD" else reply
        else:
            allowed = "GET, HEAD"
        reply = error_reply(405, f"The method is {method!r:.60}. Allowed here: {allowed}.")
        reply.headers.append(("Allow", allowed))
        return _without_body(reply) if method == "HEAD" else reply

    def _health(self, path: str) -> Reply:
        ready = not self.draining
        body = b'{"live": true, "ready": %s}\n' % (b"true" if ready else b"false")
        status = 200 if ready or path.endswith("/live") else 503
        return Reply(status, body, _headers("application/json", body))

    def _check_size(self, size: int, length: int | None) -> Reply | None:
        """Return a reply that refuses a request for the size of its body, or None."""
        if size == length:
            return None
        if size > self._largest:
            return self._refuse_size()
        if length is None:
            if size:
                return None
            return error_reply(
                411, "The length of the body is unknown. Send a ToFunction with a Content-Length."
            )
        if size < length:
            return error_reply(
                400, f"The body ends after {size} of {length} bytes. Send it as a whole."
            )
        return error_reply(
            400, f"The body is longer than its Content-Length of {length}. Send its own length."
        )

    def _refuse_size(self) -> Reply:
        return error_reply(
            413,
            f"The body is larger than {self._largest} bytes. Raise"
            " STATEFUN_MAX_REQUEST_BYTES, or lower maxNumBatchRequests in module.yaml.",
        )

    def _reply_to_error(self, error: Exception) -> Reply:
        if isinstance(error, InvocationFailedError):
            cause = error.unwrap()
            return _failed("A stateful function failed", cause, f"{error.where}\n")
        if isinstance(error, ProtocolError):
            return error_reply(400, str(error), error)
        if isinstance(error, FunctionNotFoundError):
            return self._reply_to_unknown(error)
        return _failed("A batch was refused before its function was called", error)

    def _reply_to_unknown(self, error: FunctionNotFoundError) -> Reply:
        """Answer a request for a function that does not exist.

        Similar names of other functions are only in the log and in the reply for developers.
        """
        text = (
            f"No stateful function is registered for '{error.typename}'."
            " Run 'flask statefun routes' to list the registered functions."
        )
        logger.error("%s", printable(str(error)))
        status = self.settings.unknown_function_status
        return error_reply(status, text, error, detail=str(error))

    def _reply(self, answer: bytes) -> Reply:
        size = len(answer)
        if size > self._largest_answer:
            logger.error(
                "A reply of %d bytes is larger than STATEFUN_MAX_RESPONSE_BYTES (%d), and the"
                " runtime will refuse it. Raise payload_max_bytes in module.yaml and this setting,"
                " or lower maxNumBatchRequests.",
                size,
                self._largest_answer,
            )
        return Reply(200, answer, [_ANSWER_TYPE, ("Content-Length", str(size))])


def error_reply(
    status: int,
    text: str,
    error: Exception | None = None,
    failure: str = "",
    detail: str = "",
) -> Reply:
    """Return a reply with an error message."""
    lines = text[: 5 * _LONGEST].splitlines()
    body = "".join(f"{printable(line)}\n" for line in lines).encode()
    headers = _headers("text/plain; charset=utf-8", body)
    return Reply(status, body, headers, error, failure, detail)


def printable(text: str) -> str:
    """Return a text without line ends and control characters, and not too long."""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}…"
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def _failed(failure: str, error: Exception, where: str = "") -> Reply:
    again = "The runtime tries the batch again; the worker's log has the traceback."
    return error_reply(
        500, f"{failure}. {again}", error, failure, f"{_described(error)}\n{where}{again}"
    )


def _described(error: Exception) -> str:
    """Return an error as text, even if its class raises an exception."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def _headers(content_type: str, body: bytes) -> list[tuple[str, str]]:
    return [("Content-Type", content_type), ("Content-Length", str(len(body)))]


def _without_body(reply: Reply) -> Reply:
    """Return the reply to HEAD, whose headers are those of a GET."""
    return Reply(reply.status, b"", reply.headers)


def _read_rest(data: bytes, read: Read, size: int) -> bytes:
    """Return the bytes that were read and the bytes that follow, up to a size."""
    pieces = [data]
    missing = size - len(data)
    while missing > 0 and (piece := read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


async def _read_rest_async(data: bytes, read: AsyncRead, size: int) -> bytes:
    pieces = [data]
    missing = size - len(data)
    while missing > 0 and (piece := await read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def _is_octet_stream(content_type: str | None) -> bool:
    return (content_type or "").partition(";")[0].strip().lower() == CONTENT_TYPE
