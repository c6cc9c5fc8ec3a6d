"""``flask statefun flink``: the app on Flink, on this machine and without Docker."""

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
from flask import current_app
from flask.cli import with_appcontext

from ..flink import Cluster
from ..flink import FlinkError
from ..flink import Kafka
from ..flink import process
from ..flink import reachable
from ..flink import supervisor
from ..flink.failure_reporter import FailureReporter
from ..flink.releases import RELEASES
from ..flink.repeats import Repeats
from ..flink.serving import is_loopback
from ..flink.serving import WorkerServer
from ..module_yaml import FormatError
from ..module_yaml import Module
from ..module_yaml import ModuleError
from ..module_yaml import read
from ..module_yaml.compare import accepted
from ..module_yaml.findings import printable
from ..views import app_itself


@click.command(
    "flink",
    short_help="Run the app on Flink, without Docker.",
    epilog="Example: flask --app greeter statefun flink --kafka",
)
@click.option(
    "--module",
    "-m",
    default="module.yaml",
    show_default=True,
    help="The module file, which names the endpoints, ingresses and egresses.",
)
@click.option(
    "--release",
    type=click.Choice(list(RELEASES)),
    default="3.3.0",
    show_default=True,
    help="The version of StateFun.",
)
@click.option(
    "--kafka",
    is_flag=True,
    help="Start a Kafka broker, and use it instead of the module file's.",
)
@click.option(
    "--kafka-port",
    default=0,
    type=click.IntRange(0, 65535),
    help="The port of that broker; a free one if not given.",
)
@click.option(
    "--topic",
    "topics",
    multiple=True,
    help="Create this Kafka topic, in addition to those that ingresses read. Repeatable.",
)
@click.option(
    "--no-serve",
    is_flag=True,
    help="Do not serve the app, which listens at the module file's endpoints already.",
)
@click.option(
    "--port",
    "-p",
    type=click.IntRange(0, 65535),
    help="Serve the app at this port instead of the module file's; 0 takes a free one.",
)
@click.option(
    "--threads",
    default=8,
    show_default=True,
    type=click.IntRange(min=1),
    help="The number of requests that the app answers at a time.",
)
@click.option(
    "--taskmanagers",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="The number of TaskManagers that run the job.",
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
    help="Run this program once the job runs, and exit when it ends. $KAFKA_BOOTSTRAP is the"
    " broker's address. No shell is used: write sh -c '…' for '&&', pipes and variables.",
)
@with_appcontext
def flink(
    module: str,
    release: str,
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

    The app is served at the loopback address that the module file names. A module file that 'flask
    statefun check' finds errors in is refused. Maven fetches Flink once, which needs Java 17 or
    later. All processes end with this command, and their files are removed.
    """
    if (kafka_port or topics) and not kafka:
        raise click.UsageError("--kafka-port and --topic need --kafka, which starts the broker.")
    if no_serve and port is not None:
        raise click.UsageError("--port serves the app, which --no-serve forbids. Choose one.")
    if command is not None:
        _words(command)

    try:
        with contextlib.ExitStack() as stack:
            stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, _stop))
            checked = _checked(module, release)
            cluster = Cluster(
                module,
                release=release,
                kafka=kafka and Kafka(port=kafka_port, topics=topics, report=click.echo),
                taskmanagers=taskmanagers,
                checkpoint_interval=datetime.timedelta(seconds=checkpoint_interval),
                report=click.echo,
            )
            cluster.prepare()
            if no_serve:
                reachable.require_endpoints(checked)
            else:
                cluster.endpoint = _serve(stack, checked, port, threads)
            click.echo(f"Starting StateFun {release}{' and Kafka' * kafka} …")
            stack.enter_context(cluster)
            if kafka:
                click.echo(
                    f"Kafka listens at {cluster.kafka.bootstrap}, which replaces the addresses in"
                    f" '{module}'."
                )
            click.echo(f"Flink's web page is at {cluster.rest_url}.")
            click.echo("The job runs. Press Ctrl-C to stop it.")
            companion = stack.enter_context(running(command, cluster, kafka)) if command else None
            reporter = FailureReporter(cluster)
            while companion is None or companion.poll() is None:
                for sentence in reporter.new_failures():
                    click.echo(printable(sentence), err=True)
                time.sleep(0.5)
            if companion.returncode:
                raise click.ClickException(
                    f"'{command}' ended with status {companion.returncode}. Its own output says"
                    " why."
                )
    except (FlinkError, FormatError, ModuleError) as exc:
        raise click.ClickException(printable(str(exc), keep="\n\t")) from None
    except KeyboardInterrupt:
        click.echo("\nStopped.")


def _checked(path: str, release: str) -> Module:
    """Return the module of a file that 'flask statefun check' finds no error in.

    :raises ModuleError: It finds one.
    :raises FlinkError: StateFun's release does not read the format.
    """
    module = read(path).module
    RELEASES[release].check_format(module)
    statefun = current_app.extensions["statefun"]
    for warning in accepted(path, statefun.registry, statefun.settings):
        click.echo(str(warning), err=True)
    return module


def _words(command: str) -> list[str]:
    """Return the words of a command."""
    try:
        return shlex.split(command)
    except ValueError as exc:
        raise click.UsageError(f"--run {command!r} cannot be split: {exc}. Close it.") from None


@contextlib.contextmanager
def running(command: str, cluster: Cluster, kafka: bool) -> cabc.Iterator[subprocess.Popen[bytes]]:
    """Run a program beside the cluster, which ends with this command, even with a killed one."""
    environ = {**os.environ, **({"KAFKA_BOOTSTRAP": cluster.kafka.bootstrap} if kafka else {})}
    with tempfile.TemporaryDirectory() as folder:
        supervised = [sys.executable, "-I", "-S", supervisor.__file__, folder, *_words(command)]
        with subprocess.Popen(supervised, stdin=subprocess.PIPE, env=environ) as companion:
            try:
                yield companion
            finally:
                companion.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    companion.wait(process.GRACE)
                companion.kill()


def _serve(
    stack: contextlib.ExitStack, module: Module, port: int | None, threads: int
) -> str | None:
    """Serve the app at the module's endpoints, or at a port; then return that address."""
    urls = [endpoint.url for endpoint in module.endpoints]
    origins = list(dict.fromkeys(map(_origin, urls)))
    for url in urls:
        if port is None and not is_loopback(url):
            raise FlinkError(
                f"The app cannot be served at '{url}', which '{module.file}' names: it is not an"
                " http URL of this machine's loopback interface. Write http://127.0.0.1:5000/…"
                " there, add --port to serve at such a URL instead, or add --no-serve if the app"
                " runs already."
            )
    if port is not None:
        origins = [f"http://127.0.0.1:{port}"]

    # waitress logs a line for each request that waits for a thread, and Flink sends many.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    app = app_itself()
    repeats = Repeats(time.monotonic)
    app.logger.addFilter(repeats)
    stack.callback(app.logger.removeFilter, repeats)
    statefun = app.extensions["statefun"]
    _check_paths(module, statefun.settings.url)
    for origin in origins:
        server = stack.enter_context(WorkerServer(app, origin, threads=threads))
        click.echo(f"Serving {', '.join(statefun.registry) or 'no function'} at {server.url}.")
    return server.url if port is not None else None


def _check_paths(module: Module, answered: str) -> None:
    """Raise if requests would go to a path that the app does not answer."""
    for endpoint in module.endpoints:
        path = urllib.parse.urlsplit(endpoint.url).path
        if "{" not in path and path.rstrip("/") != answered.rstrip("/"):
            raise FlinkError(
                f"'{module.file}' sends requests to '{path}', but the app answers at"
                f" '{answered}'. Write that path in the file, or change the setting STATEFUN_URL."
            )


def _origin(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _stop(*_: object) -> t.NoReturn:
    raise KeyboardInterrupt
