"""``flask statefun serve``: the app on a server for deployments."""

from __future__ import annotations

import os
import typing as t

import click
from flask import Flask
from flask.cli import ScriptInfo
from flask.cli import with_appcontext

from ..transport import AsgiTransport
from ..transport import GranianTransport
from ..transport import WaitressTransport
from ..transport.left_threads import end_despite_threads
from ..transport.listen import ListenAddress
from ..views import app_itself

_FILE = click.Path(exists=True, dir_okay=False)


@click.command(
    "serve",
    short_help="Serve the app with waitress or granian.",
    epilog="Example: flask --app greeter statefun serve --port 8000",
)
@click.option("--host", "-h", default="127.0.0.1", help="The interface to listen on.")
@click.option("--port", "-p", default=5000, help="The port to listen on; 0 takes a free one.")
@click.option("--unix", metavar="PATH", help="Listen on a Unix socket instead.")
@click.option(
    "--server",
    default="waitress",
    type=click.Choice(["waitress", "granian", "asgi"]),
    help="waitress: one process, pure Python. granian: several, in Rust. asgi: granian for async"
    " functions, always direct.",
)
@click.option(
    "--workers",
    default=1,
    type=click.IntRange(min=1),
    help="How many processes there are, with granian.",
)
@click.option(
    "--threads",
    default=8,
    type=click.IntRange(min=1),
    help="How many requests each process answers at a time.",
)
@click.option("--direct", is_flag=True, help="Answer for functions past Flask's dispatch: faster.")
@click.option("--skip-hooks", is_flag=True, help="Do so although before_request hooks are skipped.")
@click.option("--cert", type=_FILE, help="The certificate for TLS, with granian.")
@click.option("--key", type=_FILE, help="Its private key.")
@click.option("--client-ca", type=_FILE, help="Take only clients with a certificate of this one.")
@click.option(
    "--drain-seconds",
    default=30,
    type=click.IntRange(min=1),
    help="The time limit in seconds for requests in progress after SIGTERM.",
)
@click.option(
    "--shutdown-delay",
    default=0,
    type=click.IntRange(min=0),
    help="The time in seconds to listen after SIGTERM, for load balancers.",
)
@with_appcontext
def serve(
    host: str,
    port: int,
    unix: str | None,
    server: str,
    workers: int,
    threads: int,
    **options: t.Any,
) -> None:
    """Serve the whole app, its other routes included, until it is interrupted.

    With --server asgi it serves only the functions. After SIGTERM it finishes the requests in
    progress and answers 503 to all others.
    """
    app = app_itself()
    listen = f"unix:{unix}" if unix else f"{host}:{port}"

    def started(listen: ListenAddress) -> None:
        url = listen.url(app.extensions["statefun"].settings.url, tls=options["cert"] is not None)
        click.echo(_started(app, url, server, workers, threads))

    try:
        if server == "waitress":
            transport = _waitress(listen, workers, threads, **options)
            transport.run(app, started=started)
            end_despite_threads(0)
        else:
            granian = _granian(server, listen, workers, threads, **options)
            granian.run(_target(app), started=started)
    except OSError as exc:
        where = "another --unix path" if unix else "another --host or --port"
        raise click.ClickException(
            f"Cannot listen on {listen}: {os.strerror(exc.errno or 0)}. Choose {where}."
        ) from None
    except (RuntimeError, ValueError) as exc:
        raise click.ClickException(str(exc)) from None


def _waitress(
    listen: str,
    workers: int,
    threads: int,
    *,
    cert: str | None,
    key: str | None,
    client_ca: str | None,
    **others: t.Any,
) -> WaitressTransport:
    if workers > 1:
        raise click.UsageError(
            f"waitress is one process, and --workers is {workers}. Use --server granian, or start"
            " several of them."
        )
    if cert or key or client_ca:
        raise click.UsageError("waitress speaks no TLS. Use --server granian, or a proxy.")
    return WaitressTransport(listen, threads=threads, **others)


def _granian(
    server: str,
    listen: str,
    workers: int,
    threads: int,
    *,
    cert: str | None,
    direct: bool,
    **others: t.Any,
) -> GranianTransport | AsgiTransport:
    others |= {"workers": workers, "threads": threads, "certificate": cert}
    if server == "asgi":
        return AsgiTransport(listen, **others)
    return GranianTransport(listen, direct=direct, **others)


class _Load:
    """Loads the app in a worker as the ``flask`` command did, when workers are not forked."""

    def __init__(self, import_path: str | None) -> None:
        self.import_path = import_path

    def __call__(self) -> Flask:
        return ScriptInfo(app_import_path=self.import_path).load_app()


def _target(app: Flask) -> Flask | _Load:
    import multiprocessing

    info = click.get_current_context().ensure_object(ScriptInfo)
    if multiprocessing.get_start_method() == "fork" or info.create_app is not None:
        return app
    return _Load(info.app_import_path)


def _started(app: Flask, url: str, server: str, workers: int, threads: int) -> str:
    functions = list(app.extensions["statefun"].registry)
    processes = "" if workers == 1 else f"{workers} workers of "
    return (
        f"Serving {len(functions)} function{'s' * (len(functions) != 1)}"
        f" ({', '.join(functions) or 'none registered'})"
        f" at {url} on {server}"
        f" with {processes}{threads} thread{'s' * (threads != 1)}"
    )
