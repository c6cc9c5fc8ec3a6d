"""Servers for functions, with or without a Flask app. ``flask statefun serve`` uses them too."""

from __future__ import annotations

import typing as t

from .asgi import asgi_app as asgi_app
from .asgi import AsgiTransport as AsgiTransport
from .aws_lambda import lambda_handler as lambda_handler
from .direct import Servable as Servable
from .granian import GranianTransport as GranianTransport
from .waitress import WaitressServer as WaitressServer
from .waitress import WaitressTransport as WaitressTransport
from .wsgi import wsgi_app as wsgi_app


class Transport(t.Protocol):
    """Serves functions until it is stopped."""

    def run(self, servable: Servable, /) -> None:
        """Answer the runtime's requests with the functions of a registry or an app."""
