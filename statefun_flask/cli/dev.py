"""``flask statefun dev``: the app on the embedded engine, with no Java."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import pathlib
import signal
import sys
import threading
import time
import traceback
import typing as t

import click
from flask import Flask
from flask.cli import pass_script_info
from flask.cli import ScriptInfo

from ..dev import reload
from ..dev import welcome
from ..dev.inputs import Lines
from ..dev.inputs import PositionMismatch
from ..dev.objects import Objects
from ..dev.screen import Screen
from ..dev.session import Options
from ..dev.session import Session
from ..errors import FunctionNotFound
from ..modules import ModuleError
from ..runtime import events
from ..runtime.errors import DataFolderError
from ..runtime.records import Delay
from ..state import readable

#: How many of the delays that are still pending are listed at the end.
LISTED = 20

_PACKAGE = str(pathlib.Path(__file__).parent.parent) + os.sep


@click.command("dev", short_help="Run the app on the embedded engine, for development.")
@click.option(
    "--port",
    "-p",
    default=8090,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Where its doors are; 0 for a free one.",
)
@click.option("--data", type=click.Path(file_okay=False), help="Keep everything in this folder.")
@click.option("--module", "-m", type=click.Path(), help="A module.yaml; else ./module.yaml if any.")
@click.option("--reload", "reloads", is_flag=True, help="Run again when a source file changes.")
@click.option("--input", "input_", metavar="FILE", help="Send the lines of a file; '-' for stdin.")
@click.option("--to", metavar="FUNCTION", help="The function that the lines are for.")
@click.option("--id-field", metavar="NAME", help="The field of each JSON line that is the id.")
@click.option("--id", "id_", metavar="ID", help="The id of lines that are plain text.")
@click.option("--from-start", is_flag=True, help="Read the file from its first line again.")
@click.option("--not-resumable", is_flag=True, help="Read standard input even with --data.")
@click.option("--exit-when-idle", is_flag=True, help="End when the file is read and all is done.")
@click.option(
    "--linger",
    default=10.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Wait for delays due in so many seconds.",
)
@click.option(
    "--clock",
    type=click.Choice(["real", "virtual"]),
    default="real",
    help="'virtual' jumps over the time in which nothing happens.",
)
@click.option(
    "--max-jumps",
    default=1000,
    show_default=True,
    type=click.IntRange(min=0),
    help="How often it may jump.",
)
@click.option(
    "--concurrency",
    default=8,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many calls at a time.",
)
@click.option("--remote", is_flag=True, help="Call the app's own functions by module.yaml's URL.")
@click.option("--quiet", "-q", is_flag=True, help="Show records that leave and errors, no more.")
@click.option("--full-traceback", is_flag=True, help="Show all frames of an exception.")
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    help="Lines for people, or an object a line; text on a terminal and with --quiet, else json.",
)
@pass_script_info
def dev(info: ScriptInfo, /, **given: t.Any) -> None:
    """Run the app's functions on the embedded engine until Ctrl-C.

    It behaves as Flink's runtime does, in one Python process, and tells what is wrong where that
    restarts for ever. In production Flink runs the same app: see 'flask statefun flink'.
    """
    _check(given)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # no value may end the engine
    run = Run(info, given)
    if not given["reloads"]:
        raise SystemExit(run.once())

    files = [given["module"]] if given["module"] else []
    try:
        status = reload.run(run.version, given["port"], given["data"], files)
    except OSError as exc:
        raise _port_taken(given["port"], exc) from None
    run.end(changed=status == reload.CHANGED)
    raise SystemExit(status)


def _check(given: dict[str, t.Any]) -> None:
    """Refuse options that do not go together."""
    if given["module"] is None and pathlib.Path("module.yaml").exists():
        given["module"] = "module.yaml"
    if given["exit_when_idle"] and given["input_"] is None:
        raise click.UsageError("--exit-when-idle needs --input: without one it has no end.")
    if given["exit_when_idle"] and given["reloads"]:
        raise click.UsageError("--exit-when-idle and --reload do not go together: choose one.")
    if given["clock"] == "virtual" and not given["exit_when_idle"]:
        raise click.UsageError(
            "--clock virtual needs --exit-when-idle: time ends when all is done."
        )
    if given["input_"] == "-" and given["data"] and not given["not_resumable"]:
        raise click.UsageError(
            "Standard input cannot be gone on with after a restart, as --data promises."
            " Give a file, or add --not-resumable."
        )
    if given["input_"] == "-" and given["reloads"] and not given["not_resumable"]:
        raise click.UsageError(
            "Standard input cannot be gone on with after a reload."
            " Give a file, or add --not-resumable."
        )
    if given["input_"] is None:
        for name in ("to", "id_field", "id_", "from_start", "not_resumable"):
            if given[name]:
                raise click.UsageError(f"--{name.strip('_').replace('_', '-')} needs --input.")
    elif given["input_"] != "-" and not os.path.isfile(given["input_"]):
        raise click.UsageError(f"There is no file '{given['input_']}'. Correct --input.")
    if given["id_field"] and given["id_"]:
        raise click.UsageError("--id-field and --id do not go together: choose one.")


class Run:
    """The command at work: a session with what it shows."""

    def __init__(self, info: ScriptInfo, given: dict[str, t.Any]) -> None:
        self._info = info
        self._given = given
        shown = given["output"] or ("text" if given["quiet"] or sys.stdout.isatty() else "json")
        self._is_json = shown == "json"
        self._lock = threading.Lock()
        self._running: Session | None = None
        self._started = time.monotonic()

    # -- ways to run ----------------------------------------------------------------------

    def once(self) -> int:
        """Run until it is done or interrupted, and return the exit status."""
        session = self._session(self._info.load_app(), self._given["data"], None)
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.default_int_handler)
        try:
            self._start(session)
            if self._given["exit_when_idle"]:
                session.wait_until_done(
                    self._given["linger"], self._given["max_jumps"], self._progress(session)
                )
            else:
                progress = self._progress(session)
                while True:
                    progress()
                    time.sleep(0.1)
        except KeyboardInterrupt:
            pass
        except BaseException:
            session.close()
            raise
        return self._close(session)

    def version(self) -> None:
        """Run one version of the code, in a thread; the reloader ends the process."""
        handed_down = reload.inherited()
        if handed_down is None:
            raise RuntimeError("This runs below the reloader only. Use --reload.")
        listening, folder = handed_down
        try:
            app = self._info.load_app()
            session = self._session(app, folder, listening)
            self._running = session
            parked = session.control.retry_all()
            self._start(session)
        except click.ClickException as exc:
            exc.show()
            self._wait_for_a_change()
            return
        except Exception:
            self._write(traceback.format_exc(), err=True)
            self._wait_for_a_change()
            return
        if parked:
            plural = "s" * (len(parked) != 1)
            self._say("reloaded", f"reloaded · retrying {len(parked)} parked message{plural}")

    def end(self, changed: bool) -> None:
        """End the version that runs here, if one does, with a last line unless a next one comes."""
        session = self._running
        if session is None:
            return
        if changed:
            _ignore_signals()
            session.close()
        else:
            self._close(session)

    def _wait_for_a_change(self) -> None:
        self._write("The app cannot be run. Correct it, and it is tried again.", err=True)

    def _session(self, app: Flask, data: str | None, listening: t.Any) -> Session:
        if "statefun" not in app.extensions:
            raise click.ClickException(
                f"The app '{app.name}' has no StateFun extension. Call 'StateFun().init_app(app)'."
            )
        options = Options(
            port=self._given["port"],
            data=data,
            module=self._given["module"],
            concurrency=self._given["concurrency"],
            skipping=self._given["clock"] == "virtual",
            remote=self._given["remote"],
        )
        with app.app_context():
            try:
                return Session(app, options, listening)
            except (ModuleError, DataFolderError, ValueError) as exc:
                raise click.ClickException(str(exc)) from None
            except OSError as exc:
                raise _port_taken(options.port, exc) from None

    # -- start and end --------------------------------------------------------------------

    def _start(self, session: Session) -> None:
        if self._is_json:
            objects = Objects(session.values)
            session.engine.listeners.append(lambda event: self._write_objects(objects, event))
        else:
            screen = Screen(
                session.values,
                self._write,
                quiet=self._given["quiet"],
                sampled=sys.stdout.isatty(),
                full_traceback=self._given["full_traceback"],
                package=_PACKAGE,
                reloads=self._given["reloads"],
            )
            session.engine.listeners.append(screen.show)
        self._announce(session)
        session.start()
        if self._given["input_"] is not None:
            self._read_input(session)

    def _read_input(self, session: Session) -> None:
        lines = Lines(
            session.values, self._target(session), self._given["id_field"], self._given["id_"]
        )
        try:
            session.add_input(
                lines,
                self._given["input_"],
                from_start=self._given["from_start"],
                report=lambda text: self._say("badline", text, err=True),
            )
        except PositionMismatch as exc:
            raise click.ClickException(str(exc)) from None

    def _target(self, session: Session) -> str:
        """Return the function that an input is for."""
        functions = list(session.registry)
        named = self._given["to"]
        if named is not None:
            try:
                session.registry.table(named)
            except FunctionNotFound as exc:
                raise click.BadParameter(str(exc), param_hint="--to") from None
            return str(named)
        targets = {target for _, found in session.topics().values() for target in found}
        candidates = sorted(targets & set(functions)) if len(functions) > 1 else functions
        if len(candidates) != 1:
            raise click.UsageError(
                "The input could be for several functions. Add --to with one of:"
                f" {', '.join(functions)}."
            )
        return candidates[0]

    def _close(self, session: Session) -> int:
        """End the session, say what is left, and return the exit status."""
        _ignore_signals()
        started = time.monotonic()
        for source in session.inputs:
            source.stop()
        status = session.engine.status()
        delays = session.control.delays(1_000_000)
        now = session.clock.now()
        session.close()

        bad = sum(source.bad for source in session.inputs)
        errors = [source.error for source in session.inputs if source.error is not None]
        left = [f"drained in {time.monotonic() - started:.1f} s"]
        if status.parked:
            left.append(f"{status.parked} address{'es' * (status.parked != 1)} parked")
        if bad:
            left.append(f"{bad} line{'s' * (bad != 1)} left out")
        if delays:
            due = dt.timedelta(milliseconds=max(0, delays[0].due - now))
            plural = "s" * (len(delays) != 1)
            left.append(f"{len(delays)} delay{plural} pending (next in {_roughly(due)})")
            if self._given["exit_when_idle"]:
                self._list_delays(session, delays, now)
        if self._given["data"] is None and (status.parked or delays or status.queued):
            left.append("lost with the temporary data; --data DIR keeps them")
        for error in errors:
            left.append(f"the input ended: {error}")
        self._say("end", " · ".join(left), err=True)
        return 1 if status.parked or status.down or bad or errors else 0

    def _list_delays(self, session: Session, delays: list[Delay], now: int) -> None:
        """Say which messages nobody waits for any more."""
        for delay in delays[:LISTED]:
            due = dt.timedelta(milliseconds=max(0, delay.due - now))
            value = session.values.show(delay.message)
            self._say("delay", f"  {delay.target} in {_roughly(due)}  <- {value}", err=True)
        if len(delays) > LISTED:
            self._say("delay", f"  and {len(delays) - LISTED} more", err=True)

    # -- what is shown --------------------------------------------------------------------

    def _announce(self, session: Session) -> None:
        if self._is_json:
            self._write_object(
                {
                    "event": "ready",
                    "url": session.url,
                    "functions": list(session.registry),
                    "data": session.options.data,
                    "start_seconds": round(time.monotonic() - self._started, 3),
                }
            )
        elif not self._given["quiet"]:
            for line in welcome.lines(session, self._data(session)):
                self._write(line)

    def _data(self, session: Session) -> str:
        if self._given["data"] is not None:
            return str(self._given["data"])
        if self._given["reloads"]:
            return "temporary, survives reloads (keep it: --data DIR)"
        return "in memory (keep it: --data DIR)"

    def _progress(self, session: Session) -> t.Callable[[], None]:
        """Return a function that says how far a long input is read, when a person watches."""
        last = time.monotonic()

        def progress() -> None:
            nonlocal last
            if self._is_json or not sys.stderr.isatty() or time.monotonic() - last < 2:
                return
            last = time.monotonic()
            for source in session.inputs:
                if not source.finished and source.size:
                    share = source.offset / source.size
                    self._write(f"{source.path}: line {source.line:,} ({share:.0%})", err=True)

        return progress

    def _say(self, kind: str, text: str, err: bool = False) -> None:
        if self._is_json:
            self._write_object({"event": kind, "text": text})
        else:
            self._write(text, err=err)

    def _write_objects(self, objects: Objects, event: events.Event) -> None:
        for each in objects.of(event):
            self._write_object(each)

    def _write_object(self, value: dict[str, t.Any]) -> None:
        self._write(json.dumps(value, ensure_ascii=False))

    def _write(self, text: str, err: bool = False) -> None:
        with self._lock:
            try:
                click.echo(text, err=err)
            except BrokenPipeError:
                # Whoever read this has gone, so the run ends as on Ctrl-C.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                os.kill(os.getpid(), signal.SIGINT)


def _roughly(span: dt.timedelta) -> str:
    """Return the two largest units of a span."""
    return " ".join(readable(span).split()[:4])


def _ignore_signals() -> None:
    """Let the end be reached: whoever asked for it may ask again meanwhile."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)


def _port_taken(port: int, exc: OSError) -> click.ClickException:
    return click.ClickException(
        f"Cannot listen on 127.0.0.1:{port}: {os.strerror(exc.errno or 0)}."
        " Stop what listens there, or choose another --port."
    )
