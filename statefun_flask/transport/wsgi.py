"""The endpoint as a plain WSGI application, with no framework around it."""

from __future__ import annotations

import http
import typing as t

from ..endpoint import Endpoint
from ..endpoint import logger
from ..endpoint import refuse

if t.TYPE_CHECKING:
    import collections.abc as cabc

    from _typeshed.wsgi import StartResponse
    from _typeshed.wsgi import WSGIEnvironment

_STATUS = {status.value: f"{status.value} {status.phrase}" for status in http.HTTPStatus}


def wsgi_app(
    endpoint: Endpoint,
) -> cabc.Callable[[WSGIEnvironment, StartResponse], cabc.Iterable[bytes]]:
    """Return an application that answers at the endpoint's URL."""
    url = endpoint.settings.url.rstrip("/")

    def application(
        environ: WSGIEnvironment, start_response: StartResponse
    ) -> cabc.Iterable[bytes]:
        headers = []
        if environ["PATH_INFO"].rstrip("/") != url:
            reply = refuse(404, f"There is nothing here. The functions are at '{url or '/'}'.")
        elif environ["REQUEST_METHOD"] != "POST":
            reply = refuse(405, "Only POST is answered here, as the StateFun runtime sends it.")
            headers = [("Allow", "POST")]
        else:
            length = environ.get("CONTENT_LENGTH")
            reply = endpoint(
                environ.get("CONTENT_TYPE"), int(length) if length else None, environ["wsgi.input"]
            )
        if reply.error is not None:
            logger.error("A stateful function failed", exc_info=reply.error)
        headers += [("Content-Type", reply.content_type), ("Content-Length", str(len(reply.body)))]
        start_response(_STATUS[reply.status], headers)
        return [reply.body]

    return application
