"""Serving with waitress: pure Python, threads, no configuration."""

from __future__ import annotations

import signal
import threading
import typing as t

from ..config import Settings
from ..endpoint import Endpoint
from ..handler import RequestHandler
from ..registry import FunctionRegistry
from .wsgi import wsgi_app


class WaitressTransport:
    """Serves a registry, as the blog post's ``main`` does::

        WaitressTransport("0.0.0.0:5000").run(registry)

    :param listen: ``host:port``; port 0 takes a free one.
    :param threads: How many requests are answered at a time.
    :param options: Settings by name, see :class:`~statefun_flask.config.Settings`.
    """

    def __init__(
        self, listen: str = "127.0.0.1:5000", *, threads: int = 8, **options: t.Any
    ) -> None:
        self.listen = listen
        self.threads = threads
        self.settings = Settings(**options)

    def run(self, registry: FunctionRegistry) -> None:
        """Serve until SIGINT or SIGTERM; requests in flight are answered first."""
        handler = RequestHandler(registry, protocol=self.settings.protocol)
        endpoint = Endpoint(handler, self.settings)
        self.serve(self.bind(wsgi_app(endpoint)))

    def bind(self, application: t.Any) -> t.Any:
        """Return a server that listens and does not answer yet; ``effective_port`` is its port.

        :raises OSError: The address is taken or not this machine's.
        """
        import waitress

        return waitress.create_server(application, listen=self.listen, threads=self.threads)

    def serve(self, server: t.Any) -> None:
        """Answer requests until SIGINT or SIGTERM."""
        if threading.current_thread() is threading.main_thread():
            # waitress finishes what is in flight on SystemExit, but does not listen to SIGTERM.
            signal.signal(signal.SIGTERM, _stop)
        try:
            server.run()
        finally:
            server.close()


def _stop(*_: object) -> t.NoReturn:
    raise SystemExit
