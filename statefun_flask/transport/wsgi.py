"""The endpoint as a WSGI application, without a web framework."""

from __future__ import annotations

import http
import typing as t

from ..config import SettingsOptions
from ..core.endpoint import Endpoint
from ..core.endpoint import Reply
from ..core.registry import FunctionRegistry
from .direct import DirectEndpoint
from .direct import endpoint_of
from .direct import refuse_options
from .direct import Servable

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse
    from _typeshed.wsgi import WSGIApplication
    from _typeshed.wsgi import WSGIEnvironment

_STATUS = {status.value: f"{status.value} {status.phrase}" for status in http.HTTPStatus}


def wsgi_app(
    servable: Servable, *, skip_hooks: bool = False, **options: t.Unpack[SettingsOptions]
) -> WSGIApplication:
    """Return an application that answers at the endpoint's URL, without Flask's request dispatch.

    Requests for other paths go to the app; a registry answers them with 404.

    :param servable: A registry, or an app that has the extension.
    :param skip_hooks: Serve an app although it has hooks that are not called.
    :param options: The settings of a registry. An app has its own.
    """
    return _direct_application(DirectEndpoint(servable, skip_hooks=skip_hooks, **options))


def application(
    servable: Servable,
    *,
    direct: bool,
    skip_hooks: bool = False,
    **options: t.Unpack[SettingsOptions],
) -> tuple[WSGIApplication, Endpoint]:
    """Return the application for a WSGI server, and the endpoint that the server sets to draining.

    :param direct: Answer without the app's request dispatch. A registry has none.
    """
    if direct or isinstance(servable, FunctionRegistry):
        endpoint = DirectEndpoint(servable, skip_hooks=skip_hooks, **options)
        return _direct_application(endpoint), endpoint.endpoint
    refuse_options(options)
    return servable, endpoint_of(servable)


def respond(endpoint: Endpoint, environ: WSGIEnvironment) -> Reply:
    """Answer a WSGI request."""
    get = environ.get
    return endpoint.respond(
        environ["REQUEST_METHOD"],
        environ["PATH_INFO"],
        {
            "content-type": get("CONTENT_TYPE"),
            "content-length": get("CONTENT_LENGTH"),
            "transfer-encoding": get("HTTP_TRANSFER_ENCODING"),
        },
        environ["wsgi.input"].read,
        delimited=get("wsgi.input_terminated", False),
    )


def _direct_application(direct: DirectEndpoint) -> WSGIApplication:
    endpoint, context, fallback = direct.endpoint, direct.context, direct.app
    paths = endpoint.paths

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> t.Iterable[bytes]:
        if fallback is not None and environ["PATH_INFO"] not in paths:
            return fallback(environ, start_response)
        with context():
            reply = respond(endpoint, environ)
            if reply.error is not None:
                reply = direct.report(reply)
        start_response(_STATUS[reply.status], reply.headers)
        return [reply.body]

    return answer
