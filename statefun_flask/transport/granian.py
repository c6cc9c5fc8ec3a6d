"""Serving with granian: HTTP in Rust, several processes. It needs the extra ``fast``."""

from __future__ import annotations

import functools
import pathlib
import pkgutil
import typing as t

from ..config import Settings
from ..config import SettingsOptions
from ..core.endpoint import Endpoint
from ..core.registry import FunctionRegistry
from . import wsgi
from .direct import Served
from .listen import Listen
from .listen import Started
from .notice import Notice
from .scheduling import let_threads_finish
from .waitress import CONNECTIONS
from .waitress import DRAIN

if t.TYPE_CHECKING:
    import collections.abc as cabc

#: What a worker serves, or how it gets it: ``"module:app"``, or a function without arguments.
Target: t.TypeAlias = "Served | str | cabc.Callable[[], Served]"


class GranianTransport:
    """Serves functions with worker processes of granian::

        GranianTransport("0.0.0.0:5000", workers=4, direct=True).run("module:app")

    :param listen: ``host:port`` (port 0 takes a free one) or ``unix:path``.
    :param workers: How many processes there are; one per core is a good start.
    :param threads: How many requests each of them answers at a time. More than one are of use to
        functions that wait, for a database or another service; to the others they are a burden.
    :param direct: Answer the requests for an app's functions past Flask's dispatch. A registry is
        always served so.
    :param skip_hooks: Do so although the app has hooks that are then not called.
    :param certificate: The server's certificate, for TLS.
    :param key: Its private key.
    :param client_ca: The authority of the certificates that clients must then have.
    :param drain_seconds: How long what was begun may take once SIGTERM came.
    :param notice_seconds: How long the workers go on listening before, and answer 503, for load
        balancers that find out by asking whether they are ready.
    :param options: Settings by name for a registry, see :class:`~statefun_flask.config.Settings`.
    """

    _interface = "wsgi"

    def __init__(
        self,
        listen: str = "127.0.0.1:5000",
        *,
        workers: int = 1,
        threads: int = 8,
        direct: bool = False,
        skip_hooks: bool = False,
        certificate: str | None = None,
        key: str | None = None,
        client_ca: str | None = None,
        drain_seconds: float = DRAIN,
        notice_seconds: float = 0,
        **options: t.Unpack[SettingsOptions],
    ) -> None:
        Settings.read(options)
        if (certificate is None) is not (key is None):
            raise ValueError("TLS takes a certificate and its key. Give both of them, or none.")
        if client_ca is not None and certificate is None:
            raise ValueError("client_ca was given without TLS. Give a certificate and its key too.")
        self.listen = listen
        self.workers = workers
        self.threads = threads
        self.direct = direct
        self.skip_hooks = skip_hooks
        self.certificate, self.key, self.client_ca = map(_path, (certificate, key, client_ca))
        self.drain_seconds = drain_seconds
        self.notice_seconds = notice_seconds
        self.options = options

    def run(self, target: Target, *, started: Started | None = None) -> None:
        """Serve until SIGINT or SIGTERM; what was begun is answered first.

        :param target: ``"module:app"``, which every worker imports, or a function that returns the
            app or registry, which every worker calls. An app or a registry itself reaches the
            workers only where they are forked.
        :param started: Called with where it listens, just before the workers start.
        :raises OSError: The address is taken or not this machine's.
        :raises RuntimeError: granian is missing, or the target cannot be served; the message says
            why.
        """
        granian = _granian()
        _check_start_method(target)
        self._load(target)
        notice = Notice(self.notice_seconds)

        with Listen.parse(self.listen).reserved() as listen:
            server = self._server(granian, listen)
            if started is not None:
                server.on_startup(functools.partial(started, listen))
            server.on_startup(functools.partial(notice.precede, server.signal_handler_interrupt))
            load = functools.partial(self._load_in_worker, target, notice)
            server.serve(target_loader=load, wrap_loader=False)

    def _load_in_worker(self, target: Target, notice: Notice) -> t.Any:
        let_threads_finish()
        application, endpoint = self._load(target)
        notice.watch(endpoint)
        return application

    def _load(self, target: Target) -> tuple[t.Any, Endpoint]:
        """Return what the server calls, and its endpoint."""
        return wsgi.application(
            resolve(target), direct=self.direct, skip_hooks=self.skip_hooks, **self.options
        )

    def _server(self, granian: t.Any, listen: Listen) -> t.Any:
        from granian.constants import HTTPModes
        from granian.constants import Interfaces
        from granian.constants import SSLProtocols

        return granian(
            "statefun_flask",
            address=listen.host,
            port=listen.port,
            uds=listen.path,
            interface=Interfaces(self._interface),
            workers=self.workers,
            blocking_threads=self._blocking_threads,
            # The runtime speaks HTTP/1.1 only.
            http=HTTPModes.http1,
            websockets=False,
            backpressure=CONNECTIONS,
            respawn_failed_workers=True,
            # With 0 it would wait for ever.
            workers_kill_timeout=max(self.drain_seconds, 0.001),
            # It warns of more threads than cores, which functions that wait need.
            log_level="error",
            ssl_cert=self.certificate,
            ssl_key=self.key,
            # Java 8, on which older runtimes run, knows no newer one.
            ssl_protocol_min=SSLProtocols.tls12,
            ssl_ca=self.client_ca,
            ssl_client_verify=self.client_ca is not None,
        )

    @property
    def _blocking_threads(self) -> int:
        return self.threads


def resolve(target: Target) -> Served:
    """Return the app or registry that a target stands for."""
    from flask import Flask

    served: t.Any = pkgutil.resolve_name(target) if isinstance(target, str) else target
    if not isinstance(served, Flask | FunctionRegistry) and callable(served):
        served = served()
    if isinstance(served, Flask | FunctionRegistry):
        return served
    raise TypeError(
        f"{target!r} is {type(served).__name__} {served!r:.60}, which cannot be served."
        " Name an app or a FunctionRegistry, or a function that returns one."
    )


def _granian() -> t.Any:
    try:
        from granian import Granian
    except ImportError:
        raise RuntimeError(
            "granian is not installed. Install it with 'pip install statefun-flask[fast]', or serve"
            " with waitress."
        ) from None
    return Granian


def _check_start_method(target: Target) -> None:
    """Refuse an object that would not reach the workers.

    :raises RuntimeError: Processes are not forked.
    """
    import multiprocessing

    from flask import Flask

    method = multiprocessing.get_start_method()
    if isinstance(target, Flask | FunctionRegistry) and method != "fork":
        raise RuntimeError(
            f"GranianTransport was given {type(target).__name__} {target!r:.60}, which reaches only"
            f" forked workers, and this process starts them by '{method}'. Pass its import path,"
            " 'module:app', or call multiprocessing.set_start_method('fork') before."
        )


def _path(text: str | None) -> pathlib.Path | None:
    return None if text is None else pathlib.Path(text)
