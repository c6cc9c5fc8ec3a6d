"""The endpoint as a plain WSGI application, with no framework around it."""

from __future__ import annotations

import http
import typing as t

from ..config import SettingsOptions
from ..core.endpoint import Endpoint
from ..core.endpoint import refuse
from ..core.endpoint import Reply
from ..core.health import Health
from ..core.registry import FunctionRegistry
from .direct import Direct
from .direct import refuse_options
from .direct import Served
from .direct import statefun

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse
    from _typeshed.wsgi import WSGIApplication
    from _typeshed.wsgi import WSGIEnvironment

_STATUS = {status.value: f"{status.value} {status.phrase}" for status in http.HTTPStatus}


def application(
    served: Served, *, direct: bool, skip_hooks: bool = False, **options: t.Unpack[SettingsOptions]
) -> tuple[WSGIApplication, Endpoint]:
    """Return what a WSGI server calls, an app as it is or past its request dispatch.

    With it comes the endpoint, which the server tells when it is about to stop.

    :param direct: Past the dispatch; a registry has none.
    """
    if direct or isinstance(served, FunctionRegistry):
        short = Direct(served, skip_hooks=skip_hooks, **options)
        return _past_dispatch(short), short.endpoint
    refuse_options(options)
    return served, statefun(served).endpoint


def wsgi_app(
    served: Served, *, skip_hooks: bool = False, **options: t.Unpack[SettingsOptions]
) -> WSGIApplication:
    """Return an application that answers at the endpoint's URL, past Flask's request dispatch.

    Requests for other paths are the app's; a registry answers them with 404.

    :param served: A registry, or an app that has the extension.
    :param skip_hooks: Serve an app although it has hooks that would not be called.
    :param options: Settings by name, for a registry; an app has its own.
    """
    return _past_dispatch(Direct(served, skip_hooks=skip_hooks, **options))


def _past_dispatch(direct: Direct) -> WSGIApplication:
    endpoint = direct.endpoint
    context = direct.context
    url = direct.url
    health = Health(endpoint)
    otherwise = direct.app or _nothing_here(url)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> t.Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path != url and path.rstrip("/") != url:
            if path in health.paths and environ["REQUEST_METHOD"] == "GET":
                return _send(start_response, health(path))
            return otherwise(environ, start_response)
        if environ["REQUEST_METHOD"] != "POST":
            refused = refuse(405, "Only POST is answered here, as the StateFun runtime sends it.")
            return _send(start_response, refused, [("Allow", "POST")])

        length = environ.get("CONTENT_LENGTH")
        with context():
            reply = endpoint(
                environ.get("CONTENT_TYPE"), int(length) if length else None, environ["wsgi.input"]
            )
            if reply.error is not None:
                direct.report(reply)
        body = reply.body
        headers = [("Content-Type", reply.content_type), ("Content-Length", str(len(body)))]
        start_response(_STATUS[reply.status], headers)
        return [body]

    return answer


def _nothing_here(url: str) -> WSGIApplication:
    refused = refuse(404, f"There is nothing here. The functions are at '{url or '/'}'.")

    def nothing_here(environ: WSGIEnvironment, start_response: StartResponse) -> t.Iterable[bytes]:
        return _send(start_response, refused)

    return nothing_here


def _send(
    start_response: StartResponse, reply: Reply, headers: t.Iterable[tuple[str, str]] = ()
) -> list[bytes]:
    start_response(
        _STATUS[reply.status],
        [
            ("Content-Type", reply.content_type),
            ("Content-Length", str(len(reply.body))),
            *headers,
        ],
    )
    return [reply.body]
