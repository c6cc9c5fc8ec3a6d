"""What an HTTP request to the endpoint means, without a web framework.

The status follows the phase that failed, since the runtime acts on it (docs/protocol.md): an
error that a new deployment can cure is a 5xx, and is tried again; a body that is not a request is a
4xx.
"""

from __future__ import annotations

import concurrent.futures
import logging
import typing as t

import msgspec

from ..config import Settings
from ..errors import FunctionNotFoundError
from ..errors import ProtocolError

logger = logging.getLogger("statefun_flask")

#: The runtime compares the content type of an answer as a whole: no parameter may follow.
CONTENT_TYPE = "application/octet-stream"


class Reply(msgspec.Struct, frozen=True):
    """An HTTP answer.

    :param error: The exception that a function raised, or that broke a rule of the SDK.
    """

    status: int
    body: bytes
    content_type: str = CONTENT_TYPE
    error: Exception | None = None


class Body(t.Protocol):
    """Where a request's body is read from."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most that many bytes."""


class Handle(t.Protocol):
    """Bytes to bytes, such as a :class:`~statefun_flask.core.handler.RequestHandler`."""

    def __call__(self, body: bytes, /) -> bytes:
        """Answer in the calling thread."""

    async def handle_async(
        self, body: bytes, *, executor: concurrent.futures.Executor | None = None
    ) -> bytes:
        """Answer in the running event loop; what is synchronous runs in the executor."""


class Endpoint:
    """Checks a request, has it handled, and says what to answer."""

    def __init__(self, handle: Handle, settings: Settings) -> None:
        self.handle = handle
        self.settings = settings
        #: Set while the server is about to stop: further requests are sent elsewhere.
        self.draining = False

    def __call__(self, content_type: str | None, length: int | None, body: Body) -> Reply:
        """Answer a request.

        :param length: The value of Content-Length, or None when the body ends with the stream.
        """
        refused = self.check(content_type, length)
        if refused is not None:
            return refused
        data = body.read(self.settings.max_request_bytes + 1 if length is None else length)
        if len(data) != length:
            refused = self.check_body(data, length)
            if refused is not None:
                return refused
        try:
            answer = self.handle(data)
        except Exception as exc:
            return self._refuse_error(exc)
        return self._reply(answer)

    async def answer_async(
        self, data: bytes, *, executor: concurrent.futures.Executor | None = None
    ) -> Reply:
        """Answer a request whose head and body were checked, in the running event loop.

        :param executor: Where the functions of a typename run when none of them is async.
        """
        try:
            answer = await self.handle.handle_async(data, executor=executor)
        except Exception as exc:
            return self._refuse_error(exc)
        return self._reply(answer)

    def check(self, content_type: str | None, length: int | None) -> Reply | None:
        """Return how a request is refused for what its head says, or None."""
        if content_type != CONTENT_TYPE and not _is_octet_stream(content_type):
            return refuse(
                415,
                f"The content type is {content_type or 'not set'!r}. Send the ToFunction as"
                f" '{CONTENT_TYPE}', as the runtime does.",
            )
        if self.draining:
            return refuse(503, "This worker is shutting down. Send the request to another one.")
        if length is not None and length > self.settings.max_request_bytes:
            return self._refuse_size()
        return None

    def check_body(self, data: bytes, length: int | None) -> Reply | None:
        """Return how a request is refused for the size of its body, or None."""
        if len(data) == length:
            return None
        if len(data) > self.settings.max_request_bytes:
            return self._refuse_size()
        if length is not None:
            return refuse(
                400,
                f"The body ends after {len(data)} of {length} bytes. Send it as a whole.",
            )
        return None

    def _refuse_size(self) -> Reply:
        return refuse(
            413,
            f"The body is larger than {self.settings.max_request_bytes} bytes. Raise"
            " STATEFUN_MAX_REQUEST_BYTES, or lower maxNumBatchRequests in module.yaml.",
        )

    def _refuse_error(self, error: Exception) -> Reply:
        notes = " ".join(getattr(error, "__notes__", ()))
        # What a function raised has a note, and is its own error whatever its class.
        if isinstance(error, ProtocolError) and not notes:
            return refuse(400, str(error))
        if isinstance(error, FunctionNotFoundError) and not notes:
            logger.error("%s", error)
            return refuse(self.settings.unknown_function_status, str(error))
        return refuse(
            500,
            f"{_told(error)}\n{notes}\nThe runtime tries the batch again; the"
            " worker's log has the traceback.",
            error,
        )

    def _reply(self, answer: bytes) -> Reply:
        if len(answer) > self.settings.max_response_bytes:
            logger.error(
                "An answer of %d bytes is larger than STATEFUN_MAX_RESPONSE_BYTES (%d), and the"
                " runtime will refuse it. Raise payload_max_bytes in module.yaml and this setting,"
                " or lower maxNumBatchRequests.",
                len(answer),
                self.settings.max_response_bytes,
            )
        return Reply(200, answer)


def refuse(status: int, text: str, error: Exception | None = None) -> Reply:
    """Return an answer that says in words what is wrong."""
    body = text.encode(errors="backslashreplace") + b"\n"
    return Reply(status, body, "text/plain; charset=utf-8", error)


def _told(error: Exception) -> str:
    """Return an error as text, whatever a user's class makes of it."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def _is_octet_stream(content_type: str | None) -> bool:
    return (content_type or "").partition(";")[0].strip().lower() == CONTENT_TYPE
