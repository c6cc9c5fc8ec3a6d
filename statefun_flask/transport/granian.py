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
from .direct import Servable
from .drain_signal import DrainSignal
from .listen import ListenAddress
from .listen import Started
from .scheduling import use_batch_scheduling
from .waitress import CONNECTIONS
from .waitress import DRAIN

if t.TYPE_CHECKING:
    import collections.abc as cabc

#: The app or registry of a worker, its import path ``"module:app"``, or a function that returns it.
Target: t.TypeAlias = "Servable | str | cabc.Callable[[], Servable]"


class GranianOptions(SettingsOptions, total=False):
    """The keyword options of the transports on granian."""

    workers: int
    threads: int
    skip_hooks: bool
    certificate: str | None
    key: str | None
    client_ca: str | None
    drain_seconds: float
    shutdown_delay: float


class GranianServer:
    """The base class of the transports on granian.

    :param listen: ``host:port`` (port 0 takes a free one) or ``unix:path``.
    :param workers: The number of processes; one per core is a good start.
    :param threads: The number of requests that each worker answers at a time. More than one help
        functions that wait, for a database or another service; they slow down all others.
    :param skip_hooks: Serve directly an app although it has hooks that are not called.
    :param certificate: The server's certificate, for TLS.
    :param key: Its private key.
    :param client_ca: The authority that must have signed the certificates of clients.
    :param drain_seconds: The time limit for requests in progress after SIGTERM.
    :param shutdown_delay: The time in seconds for which the workers continue to listen before that,
        and answer 503. It is for load balancers that poll for readiness.
    :param options: The settings of a registry, see :class:`~statefun_flask.config.Settings`.
    """

    _interface: t.ClassVar[str]

    def __init__(
        self,
        listen: str = "127.0.0.1:5000",
        *,
        workers: int = 1,
        threads: int = 8,
        skip_hooks: bool = False,
        certificate: str | None = None,
        key: str | None = None,
        client_ca: str | None = None,
        drain_seconds: float = DRAIN,
        shutdown_delay: float = 0,
        **options: t.Unpack[SettingsOptions],
    ) -> None:
        Settings.read(options)
        if (certificate is None) is not (key is None):
            raise ValueError("TLS needs a certificate and its key. Give both of them, or none.")
        if client_ca is not None and certificate is None:
            raise ValueError("client_ca was given without TLS. Give a certificate and its key too.")
        self.listen = listen
        self.workers = workers
        self.threads = threads
        self.skip_hooks = skip_hooks
        self.certificate, self.key, self.client_ca = map(_path, (certificate, key, client_ca))
        self.drain_seconds = drain_seconds
        self.shutdown_delay = shutdown_delay
        self.options = options

    def run(self, target: Target, *, started: Started | None = None) -> None:
        """Serve until SIGINT or SIGTERM, and answer the requests in progress before returning.

        :param target: ``"module:app"``, which every worker imports, or a function that returns the
            app or registry, which every worker calls. An app or a registry itself reaches the
            workers only where they are forked.
        :param started: Called with the server's address just before the workers start.
        :raises OSError: The address is taken, or does not belong to this machine.
        :raises RuntimeError: granian is missing, or the target cannot be served; the message gives
            the reason.
        """
        granian = _granian()
        _check_start_method(target)
        self._load(target)
        signal = DrainSignal(self.shutdown_delay)

        with ListenAddress.parse(self.listen).reserved() as listen:
            server = self._server(granian, listen)
            if started is not None:
                server.on_startup(functools.partial(started, listen))
            server.on_startup(functools.partial(signal.set_before, server.signal_handler_interrupt))
            load = functools.partial(self._load_in_worker, target, signal)
            server.serve(target_loader=load, wrap_loader=False)

    def _load_in_worker(self, target: Target, signal: DrainSignal) -> t.Any:
        use_batch_scheduling()
        application, endpoint = self._load(target)
        signal.drain_when_set(endpoint)
        return application

    def _load(self, target: Target) -> tuple[t.Any, Endpoint]:
        """Return the application that the server calls, and its endpoint."""
        raise NotImplementedError

    def _server(self, granian: t.Any, listen: ListenAddress) -> t.Any:
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
            # With 0 it would wait forever.
            workers_kill_timeout=max(self.drain_seconds, 0.001),
            # It warns of more threads than cores, which waiting functions need.
            log_level="error",
            ssl_cert=self.certificate,
            ssl_key=self.key,
            # Older runtimes run on Java 8, which has no newer version.
            ssl_protocol_min=SSLProtocols.tls12,
            ssl_ca=self.client_ca,
            ssl_client_verify=self.client_ca is not None,
        )

    @property
    def _blocking_threads(self) -> int:
        return self.threads


class GranianTransport(GranianServer):
    """Serves functions with worker processes of granian that speak WSGI::

        GranianTransport("0.0.0.0:5000", workers=4, direct=True).run("module:app")

    :param direct: Answer requests for functions without the app's request dispatch. A registry is
        always served so.
    :param options: See :class:`GranianServer`.
    """

    _interface = "wsgi"

    def __init__(
        self,
        listen: str = "127.0.0.1:5000",
        *,
        direct: bool = False,
        **options: t.Unpack[GranianOptions],
    ) -> None:
        super().__init__(listen, **options)
        self.direct = direct

    def _load(self, target: Target) -> tuple[t.Any, Endpoint]:
        return wsgi.application(
            resolve(target), direct=self.direct, skip_hooks=self.skip_hooks, **self.options
        )


def resolve(target: Target) -> Servable:
    """Return the app or registry of a target."""
    from flask import Flask

    servable: t.Any = pkgutil.resolve_name(target) if isinstance(target, str) else target
    if not isinstance(servable, Flask | FunctionRegistry) and callable(servable):
        servable = servable()
    if isinstance(servable, Flask | FunctionRegistry):
        return servable
    raise TypeError(
        f"{target!r} is {type(servable).__name__} {servable!r:.60}, which cannot be served."
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
