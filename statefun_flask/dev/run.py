"""The command at work: a session of the embedded engine with what it shows and how it ends."""

from __future__ import annotations

import gc
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
from flask.cli import ScriptInfo

from ..embedded import events
from ..embedded.addresses.failures import text_of
from ..embedded.errors import DataFolderError
from ..embedded.errors import UnknownTarget
from ..errors import FunctionNotFound
from ..module_yaml import ModuleError
from . import banner
from . import reload
from . import shutdown
from .file_input import LineParser
from .file_input import PositionMismatch
from .serializer import Serializer
from .session import Options
from .session import Session
from .text_log import TextLog

_PACKAGE = str(pathlib.Path(__file__).parent.parent) + os.sep


#: The exit status after an internal error of the engine, EX_SOFTWARE of sysexits.h.
BROKEN = 70


class Run:
    """One ``flask statefun dev``.

    :param given: The command's options by their name.
    """

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
                while session.engine.failure is None:
                    progress()
                    time.sleep(0.1)
        except KeyboardInterrupt:
            pass
        except BaseException:
            if session.engine.failure is not None:
                return self._close_broken(session)
            session.close()
            raise
        return self._close(session)

    def reloading(self) -> int:
        """Run, and again when a source file changes, and return the exit status."""
        given = self._given
        files = [given["module"]] if given["module"] else []
        try:
            status = reload.run(self._version, given["port"], given["data"], files)
        except OSError as exc:
            raise _port_taken(given["port"], exc) from None
        self._end(changed=status == reload.CHANGED)
        return status

    def _version(self) -> None:
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
        while session.engine.failure is None:
            time.sleep(0.1)
        # The reloader runs in the main thread and ends by a change of a file only.
        os._exit(self._close_broken(session))

    def _end(self, changed: bool) -> None:
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
            kafka=self._given["kafka"],
            concurrency=self._given["concurrency"],
            skipping=self._given["clock"] == "virtual",
            remote=self._given["remote"],
            finite=self._given["exit_when_idle"],
            temporary=self._given["data"] is None,
        )
        with app.app_context():
            try:
                return Session(app, options, listening)
            except (ModuleError, DataFolderError, UnknownTarget, RuntimeError, ValueError) as exc:
                raise click.ClickException(str(exc)) from None
            except OSError as exc:
                raise _port_taken(options.port, exc) from None

    # -- start and end --------------------------------------------------------------------

    def _start(self, session: Session) -> None:
        if self._is_json:
            serializer = Serializer(session.codec)
            session.engine.listeners.append(lambda event: self._write_objects(serializer, event))
        else:
            screen = TextLog(
                session.codec,
                self._write,
                quiet=self._given["quiet"],
                sampled=sys.stdout.isatty(),
                full_traceback=self._given["full_traceback"],
                package=_PACKAGE,
                reloads=self._given["reloads"],
            )
            session.engine.listeners.append(screen.show)
        self._announce(session)
        relax_collector()
        session.start()
        if self._given["input_"] is not None:
            self._read_input(session)

    def _read_input(self, session: Session) -> None:
        lines = LineParser(
            session.codec, self._target(session), self._given["id_field"], self._given["id_"]
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
        try:
            return shutdown.shut_down(session, lambda kind, text: self._say(kind, text, err=True))
        except RuntimeError:
            if session.engine.failure is None:
                raise
            return self._close_broken(session)

    def _close_broken(self, session: Session) -> int:
        """End a session whose engine has ended by itself, and say why."""
        cause = t.cast("BaseException", session.engine.failure)
        session.close()
        text = (
            "The engine has stopped after an internal error:"
            f" {type(cause).__name__}: {text_of(cause)}. See the traceback for the cause, and start"
            " the command again."
        )
        if not session.options.temporary:
            text += " All acknowledged messages are in the data folder."
        self._say("broken", text, err=True)
        return BROKEN

    # -- what is shown --------------------------------------------------------------------

    def _announce(self, session: Session) -> None:
        if self._is_json:
            self._write_object(
                {
                    "event": "ready",
                    "url": session.url,
                    "functions": list(session.registry),
                    "data": session.options.data,
                    "kafka": session.options.kafka,
                    "start_seconds": round(time.monotonic() - self._started, 3),
                }
            )
        elif not self._given["quiet"]:
            for line in banner.lines(session, self._data(session)):
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

    def _write_objects(self, serializer: Serializer, event: events.Event) -> None:
        for each in serializer.objects(event):
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


def relax_collector() -> None:
    """Have Python look for cycles less often, in a process that is an engine's.

    It makes many objects and no cycles; looking through them all was a sixth of its CPU time.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def _ignore_signals() -> None:
    """Let the end be reached: whoever asked for it may ask again meanwhile."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)


def _port_taken(port: int, exc: OSError) -> click.ClickException:
    return click.ClickException(
        f"Cannot listen on 127.0.0.1:{port}: {os.strerror(exc.errno or 0)}."
        " Stop what listens there, or choose another --port."
    )
