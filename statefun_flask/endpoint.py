"""What an HTTP request to the endpoint means, without a web framework.

The status follows the phase that failed, since the runtime acts on it (protocol 1.4): what a new
deployment can cure is 5xx and is tried again; a body that is no request is 4xx.
"""

from __future__ import annotations

import collections.abc as cabc
import logging
import typing as t

from .config import Settings
from .errors import FunctionNotFound
from .errors import ProtocolError

logger = logging.getLogger("statefun_flask")

#: The runtime compares the content type of an answer as a whole: no parameter may follow.
CONTENT_TYPE = "application/octet-stream"


class Reply(t.NamedTuple):
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


class Endpoint:
    """Checks a request, has it handled, and says what to answer.

    :param handle: Bytes to bytes, such as a :class:`~statefun_flask.handler.RequestHandler`.
    """

    def __init__(self, handle: cabc.Callable[[bytes], bytes], settings: Settings) -> None:
        self.handle = handle
        self.settings = settings
        #: Set while the server is about to stop: further requests are sent elsewhere.
        self.draining = False

    def __call__(self, content_type: str | None, length: int | None, body: Body) -> Reply:
        """Answer a request.

        :param length: The value of Content-Length, or None when the body ends with the stream.
        """
        if content_type != CONTENT_TYPE and not _is_octet_stream(content_type):
            return refuse(
                415,
                f"The content type is {content_type or 'not set'!r}. Send the ToFunction as"
                f" '{CONTENT_TYPE}', as the runtime does.",
            )
        if self.draining:
            return refuse(503, "This worker is shutting down. Send the request to another one.")

        limit = self.settings.max_request_bytes
        data = body.read(min(limit + 1, limit + 1 if length is None else length))
        if len(data) > limit or (length or 0) > limit:
            return refuse(
                413,
                f"The body is larger than {limit} bytes. Raise STATEFUN_MAX_REQUEST_BYTES, or"
                " lower maxNumBatchRequests in module.yaml.",
            )
        if length is not None and len(data) < length:
            return refuse(
                400,
                f"The body ends after {len(data)} of {length} bytes. Send it as a whole.",
            )
        return self._answer(data)

    def _answer(self, data: bytes) -> Reply:
        try:
            answer = self.handle(data)
        except ProtocolError as exc:
            return refuse(400, str(exc))
        except FunctionNotFound as exc:
            logger.error("%s", exc)
            return refuse(self.settings.unknown_function_status, str(exc))
        except Exception as exc:
            notes = " ".join(getattr(exc, "__notes__", ()))
            return refuse(
                500,
                f"{type(exc).__name__}: {exc}\n{notes}\nThe runtime tries the batch again; the"
                " worker's log has the traceback.",
                exc,
            )

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
    return Reply(status, text.encode() + b"\n", "text/plain; charset=utf-8", error)


def _is_octet_stream(content_type: str | None) -> bool:
    return (content_type or "").partition(";")[0].strip().lower() == CONTENT_TYPE
