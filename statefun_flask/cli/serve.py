"""``flask statefun serve``: the app on waitress, for deployments."""

from __future__ import annotations

import click
from flask import current_app
from flask.cli import with_appcontext

from ..transport.waitress import WaitressTransport


@click.command("serve", short_help="Serve the app with waitress.")
@click.option("--host", "-h", default="127.0.0.1", help="The interface to listen on.")
@click.option("--port", "-p", default=5000, help="The port to listen on; 0 takes a free one.")
@click.option(
    "--threads",
    default=8,
    type=click.IntRange(min=1),
    help="How many requests are answered at a time.",
)
@with_appcontext
def serve(host: str, port: int, threads: int) -> None:
    """Serve the whole app, its other routes included, until it is interrupted."""
    app = current_app._get_current_object()  # type: ignore[attr-defined,unused-ignore]
    statefun = app.extensions["statefun"]
    functions = list(statefun.registry)

    transport = WaitressTransport(f"{host}:{port}", threads=threads)
    try:
        server = transport.bind(app)
    except OSError as exc:
        raise click.ClickException(
            f"Cannot listen on {host}:{port}: {exc.strerror}. Choose another --host or --port."
        ) from None

    click.echo(
        f"Serving {len(functions)} function{'s' * (len(functions) != 1)}"
        f" ({', '.join(functions) or 'none registered'})"
        f" at http://{host}:{server.effective_port}{statefun.settings.url} with {threads} threads"
    )
    transport.serve(server)
