"""``flask statefun flink``: the app on the real engine, on this machine and without Docker."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import datetime
import logging
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import typing as t
import urllib.parse

import click
from flask.cli import with_appcontext

from ..flink import Cluster
from ..flink import EngineError
from ..flink import Kafka
from ..flink import leash
from ..flink.engines import ENGINES
from ..flink.module import Module
from ..flink.repeats import Repeats
from ..flink.serving import is_loopback
from ..flink.serving import Server
from ..flink.watch import Watch
from ..views import app_itself


@click.command("flink", short_help="Run the app on Flink, without Docker.")
@click.option(
    "--module",
    "-m",
    default="module.yaml",
    show_default=True,
    help="The module file: which functions are where, and what goes in and out.",
)
@click.option(
    "--engine",
    type=click.Choice(list(ENGINES)),
    default="3.3.0",
    show_default=True,
    help="The version of StateFun.",
)
@click.option(
    "--kafka",
    is_flag=True,
    help="Start a Kafka broker, and use it instead of those in the module file.",
)
@click.option(
    "--kafka-port", default=0, help="Where that broker listens; a free port if it is not given."
)
@click.option(
    "--topic",
    "topics",
    multiple=True,
    help="Make this Kafka topic, beside those that the module file reads. Repeatable.",
)
@click.option(
    "--no-serve", is_flag=True, help="Do not serve the app: it runs where the module file says."
)
@click.option(
    "--port",
    "-p",
    type=int,
    help="Serve the app at this port instead of the module file's; 0 takes a free one.",
)
@click.option(
    "--threads",
    default=8,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many requests the app answers at a time.",
)
@click.option(
    "--taskmanagers",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many TaskManagers run the job.",
)
@click.option(
    "--checkpoint-interval",
    default=2.0,
    show_default=True,
    type=click.FloatRange(min=0.01),
    help="The seconds between checkpoints.",
)
@click.option(
    "--run",
    "command",
    metavar="COMMAND",
    help="Run this once the job runs, and end with it. It finds the broker in $KAFKA_BOOTSTRAP.",
)
@with_appcontext
def flink(
    module: str,
    engine: str,
    kafka: bool,
    kafka_port: int,
    topics: tuple[str, ...],
    no_serve: bool,
    port: int | None,
    threads: int,
    taskmanagers: int,
    checkpoint_interval: float,
    command: str | None,
) -> None:
    """Run the app's functions on Flink until Ctrl-C.

    The app is served on the loopback address that the module file names. The engine is fetched
    with Maven once, and needs Java 17. Everything ends with this command, and no files stay.
    """
    if (kafka_port or topics) and not kafka:
        raise click.UsageError("--kafka-port and --topic need --kafka, which starts the broker.")
    if no_serve and port is not None:
        raise click.UsageError("--port is where the app is served, which --no-serve forbids.")

    try:
        with contextlib.ExitStack() as stack:
            stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, _stop))
            parsed = Module(module)
            parsed.check(ENGINES[engine])
            endpoint = None if no_serve else _serve(stack, parsed, port, threads)
            click.echo(f"Starting StateFun {engine}{' and Kafka' * kafka} …")
            cluster = Cluster(
                module,
                engine=engine,
                kafka=kafka and Kafka(port=kafka_port, topics=topics, report=click.echo),
                endpoint=endpoint,
                taskmanagers=taskmanagers,
                checkpoint_interval=datetime.timedelta(seconds=checkpoint_interval),
                report=click.echo,
            )
            stack.enter_context(cluster)
            if kafka:
                click.echo(
                    f"Kafka is at {cluster.kafka.bootstrap}, which takes the place of the"
                    f" addresses in '{module}'"
                )
            click.echo(f"Flink's web page is at {cluster.rest_url}")
            click.echo("The job runs. Press Ctrl-C to stop it.")
            companion = stack.enter_context(_running(command, cluster, kafka)) if command else None
            watch = Watch(cluster)
            while companion is None or companion.poll() is None:
                for sentence in watch.news():
                    click.echo(sentence, err=True)
                time.sleep(0.5)
            if companion.returncode:
                raise click.ClickException(
                    f"'{command}' ended with status {companion.returncode}."
                    " Its own output says why."
                )
    except EngineError as exc:
        raise click.ClickException(str(exc)) from None
    except KeyboardInterrupt:
        click.echo("\nStopped.")


@contextlib.contextmanager
def _running(command: str, cluster: Cluster, kafka: bool) -> cabc.Iterator[subprocess.Popen[bytes]]:
    """Run a program beside the cluster; it is ended with this command, however that ends."""
    environ = {**os.environ, **({"KAFKA_BOOTSTRAP": cluster.kafka.bootstrap} if kafka else {})}
    with tempfile.TemporaryDirectory() as folder:
        leashed = [sys.executable, "-I", "-S", leash.__file__, folder, *shlex.split(command)]
        with subprocess.Popen(leashed, stdin=subprocess.PIPE, env=environ) as process:
            try:
                yield process
            finally:
                process.terminate()


def _serve(
    stack: contextlib.ExitStack, module: Module, port: int | None, threads: int
) -> str | None:
    """Serve the app where the module says, and return the address if the module must change."""
    origins = list(dict.fromkeys(map(_origin, module.urls)))
    for url in module.urls:
        if port is None and not is_loopback(url):
            raise EngineError(
                f"'{module.name}' names '{url}', which is not an http URL of this machine's"
                " loopback interface, so the app cannot be served there. Write"
                " http://127.0.0.1:5000/… there, give --port to use such a one instead, or give"
                " --no-serve if the app runs already."
            )
    if port is not None:
        origins = [f"http://127.0.0.1:{port}"]

    # One line for each request that waits for a thread is too much; the engine sends many.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    app = app_itself()
    repeats = Repeats(time.monotonic)
    app.logger.addFilter(repeats)
    stack.callback(app.logger.removeFilter, repeats)
    statefun = app.extensions["statefun"]
    _check_paths(module, statefun.settings.url)
    for origin in origins:
        server = stack.enter_context(Server(app, origin, threads=threads))
        click.echo(f"Serving {', '.join(statefun.registry) or 'no function'} at {server.url}")
    return server.url if port is not None else None


def _check_paths(module: Module, answered: str) -> None:
    """Raise if requests would go where the app does not answer."""
    for url in module.urls:
        path = urllib.parse.urlsplit(url).path
        if "{" not in path and path.rstrip("/") != answered.rstrip("/"):
            raise EngineError(
                f"'{module.name}' sends requests to '{path}', but the app answers at"
                f" '{answered}'. Write the same in both; the app's is the setting STATEFUN_URL."
            )


def _origin(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _stop(*_: object) -> t.NoReturn:
    raise KeyboardInterrupt
