"""The endpoint as a plain WSGI application, with no framework around it."""

from __future__ import annotations

import http
import typing as t

from ..registry import FunctionRegistry
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
    served: Served, *, direct: bool, skip_hooks: bool = False, **options: t.Any
) -> WSGIApplication:
    """Return what a WSGI server calls: an app as it is, or past its request dispatch.

    :param direct: Past the dispatch; a registry has none.
    """
    if direct or isinstance(served, FunctionRegistry):
        return wsgi_app(served, skip_hooks=skip_hooks, **options)
    refuse_options(options)
    statefun(served)
    return served


def wsgi_app(served: Served, *, skip_hooks: bool = False, **options: t.Any) -> WSGIApplication:
    """Return an application that answers at the endpoint's URL, past Flask's request dispatch.

    Requests for other paths are the app's; a registry answers them with 404.

    :param served: A registry, or an app that has the extension.
    :param skip_hooks: Serve an app although it has hooks that would not be called.
    :param options: Settings by name, for a registry; an app has its own.
    """
    direct = Direct(served, skip_hooks=skip_hooks, **options)
    endpoint = direct.endpoint
    context = direct.context
    url = direct.url
    otherwise = direct.app or _nothing_here(url)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> t.Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path != url and path.rstrip("/") != url:
            return otherwise(environ, start_response)
        if environ["REQUEST_METHOD"] != "POST":
            text = "Only POST is answered here, as the StateFun runtime sends it.\n"
            return _say(start_response, 405, text, [("Allow", "POST")])

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
    def nothing_here(environ: WSGIEnvironment, start_response: StartResponse) -> t.Iterable[bytes]:
        text = f"There is nothing here. The functions are at '{url or '/'}'.\n"
        return _say(start_response, 404, text)

    return nothing_here


def _say(
    start_response: StartResponse, status: int, text: str, headers: t.Iterable[tuple[str, str]] = ()
) -> list[bytes]:
    body = text.encode()
    start_response(
        _STATUS[status],
        [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            *headers,
        ],
    )
    return [body]
