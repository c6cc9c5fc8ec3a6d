"""A run of ``flask statefun dev``: once, or again for each version of the code."""

from __future__ import annotations

import gc
import os
import pathlib
import signal
import sys
import time
import traceback
import typing as t

import click
from flask import Flask
from flask.cli import ScriptInfo

from ..core.registry import table_of
from ..embedded.error_text import text_of
from ..embedded.errors import DataFolderError
from ..embedded.errors import UnknownTargetError
from ..embedded.retention import Retention
from ..errors import FunctionNotFoundError
from ..module_yaml import ModuleError
from ..module_yaml.compare import accepted
from . import reload
from . import shutdown
from .app_log import show_info
from .broken import answer_unavailable
from .broken import reason_of
from .file_input import LineParser
from .file_input import PositionMismatchError
from .output import Output
from .reporter import JsonReporter
from .reporter import Reporter
from .reporter import TextReporter
from .server import ListenError
from .session import Options
from .session import Session

#: The exit status after an internal error of the engine, EX_SOFTWARE of sysexits.h.
BROKEN = 70

#: How long the end waits for a reader of the output, in seconds.
_FLUSH_TIMEOUT = 1.0


class Run:
    """One ``flask statefun dev``.

    :param given: The command's options by their names.
    """

    def __init__(self, info: ScriptInfo, given: dict[str, t.Any]) -> None:
        self._info = info
        self._given = given
        self._running: Session | None = None
        self._started = time.monotonic()
        text = given["output"] == "text" or (
            given["output"] is None and (given["quiet"] or sys.stdout.isatty())
        )
        missed = _missed_text if text else _missed_json
        # A finite run is a part of a pipeline: its reader gets all of the output.
        complete = given["exit_when_idle"]
        self._out = Output(sys.stdout, complete=complete, missed=missed, gone=_end)
        self._err = Output(sys.stderr, missed=_missed_text)
        self._reporter: Reporter = JsonReporter(self._out)
        if text:
            self._reporter = TextReporter(
                self._out,
                self._err,
                quiet=given["quiet"],
                full_traceback=given["full_traceback"],
                reloads=given["reloads"],
            )

    # -- ways to run ----------------------------------------------------------------------

    def once(self) -> int:
        """Run until everything is done or a signal arrives, and return the exit status."""
        try:
            return self._once()
        finally:
            self._close_outputs()

    def _once(self) -> int:
        session = self._session(self._info.load_app(), self._given["data"], None)
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.default_int_handler)
        try:
            self._start(session)
            self._work(session)
            if self._given["exit_when_idle"]:
                self._out.flush()
        except KeyboardInterrupt:
            pass
        except BaseException:
            if session.engine.failure is not None:
                return self._close_broken(session)
            self._out.release()
            session.close()
            raise
        return self._close(session)

    def _work(self, session: Session) -> None:
        """Return when the run is done, or its engine has ended by itself."""

        def progress() -> None:
            self._reporter.progress(session)

        if self._given["exit_when_idle"]:
            session.wait_until_done(self._given["linger"], self._given["max_jumps"], progress)
            return
        while session.engine.failure is None:
            progress()
            time.sleep(0.1)

    def reloading(self) -> int:
        """Run, and again when a source file changes, and return the exit status."""
        given = self._given
        # The reloader looks into no folder of the virtual environment, where this one may be.
        files = [str(each) for each in pathlib.Path.cwd().glob("*.py")]
        if given["module"]:
            files.append(given["module"])
        try:
            status = reload.run(self._version, given["port"], given["data"], files)
            self._end(changed=status == reload.CHANGED)
        except (ListenError, DataFolderError) as exc:
            raise click.ClickException(str(exc)) from None
        finally:
            self._close_outputs()
            reload.remove_orphaned_data()
        return status

    def _version(self) -> None:
        """Run one version of the code, in a thread; the reloader ends the process."""
        handed_down = reload.inherited()
        if handed_down is None:
            raise RuntimeError("This function runs in a child of the reloader. Use --reload.")
        listening, folder = handed_down
        try:
            app = self._info.load_app()
            session = self._session(app, folder, listening)
            self._running = session
            parked = session.control.retry_all()
            self._start(session)
        except click.ClickException as exc:
            self._wait_for_a_change(f"Error: {exc.format_message()}")
            answer_unavailable(listening, f"The app cannot be run: {exc.format_message()}")
            return
        except Exception as exc:
            self._wait_for_a_change(traceback.format_exc().rstrip())
            answer_unavailable(listening, reason_of(exc))
            return
        if parked:
            plural = "s" * (len(parked) != 1)
            self._reporter.say(
                "reloaded", f"reloaded · retrying {len(parked)} parked message{plural}"
            )
        while session.engine.failure is None:
            time.sleep(0.1)
        # The reloader runs in the main thread and ends by a change of a file only.
        status = self._close_broken(session)
        self._close_outputs()
        os._exit(status)

    def _wait_for_a_change(self, error: str) -> None:
        for line in error.splitlines():
            self._err.write(line)
        self._err.write("The app cannot be run. Correct the code, and it runs again.")

    def _end(self, changed: bool) -> None:
        """End the version that runs here, if one does, with a last line unless a next one comes."""
        session = self._running
        if session is None:
            return
        if changed:
            self._begin_end()
            session.close()
        else:
            self._close(session)

    # -- start and end --------------------------------------------------------------------

    def _session(self, app: Flask, data: str | None, listening: t.Any) -> Session:
        if "statefun" not in app.extensions:
            raise click.ClickException(
                f"The app '{app.name}' has no StateFun extension. Call 'StateFun().init_app(app)'."
            )
        show_info(app)
        options = Options(
            port=self._given["port"],
            data=data,
            module=self._given["module"],
            kafka=self._given["kafka"],
            group=self._given["group"],
            concurrency=self._given["concurrency"],
            skipping=self._given["clock"] == "virtual",
            remote=self._given["remote"],
            finite=self._given["exit_when_idle"],
            temporary=self._given["data"] is None,
            retention=Retention.of(self._given["keep_records"], self._given["keep_days"]),
            call_timeout=self._given["call_timeout"] or None,
            isolate=self._given["isolate"] or 0,
        )
        with app.app_context():
            try:
                self._check(app, options.module)
                return Session(app, options, listening)
            except (
                ModuleError,
                DataFolderError,
                ListenError,
                UnknownTargetError,
                RuntimeError,
                ValueError,
            ) as exc:
                raise click.ClickException(str(exc)) from None

    def _check(self, app: Flask, module: str | None) -> None:
        """Refuse a module file in which 'flask statefun check' finds an error; show its warnings.

        :raises ModuleError: It finds an error.
        """
        if module is not None:
            statefun = app.extensions["statefun"]
            for warning in accepted(module, statefun.registry, statefun.settings):
                self._err.write(str(warning))

    def _start(self, session: Session) -> None:
        session.engine.listeners.append(self._reporter.listener(session))
        self._reporter.started(session, self._data(), time.monotonic() - self._started)
        relax_collector()
        session.start()
        if self._given["input_"] is not None:
            self._read_input(session)

    def _data(self) -> str:
        if self._given["data"] is not None:
            return str(self._given["data"])
        if self._given["reloads"]:
            return "temporary, survives reloads (keep it: --data DIR)"
        return "in memory (keep it: --data DIR)"

    def _read_input(self, session: Session) -> None:
        parser = LineParser(
            session.codec, self._target(session), self._given["id_field"], self._given["id_"]
        )
        try:
            session.add_input(
                parser,
                self._given["input_"],
                from_start=self._given["from_start"],
                report=lambda text: self._reporter.say("badline", text, error=True),
            )
        except PositionMismatchError as exc:
            raise click.ClickException(str(exc)) from None

    def _target(self, session: Session) -> str:
        """Return the function that an input is for."""
        functions = list(session.registry)
        named = self._given["to"]
        if named is not None:
            try:
                table_of(session.registry, named)
            except FunctionNotFoundError as exc:
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

    def _begin_end(self) -> None:
        """Let the end be reached: neither a second signal nor a reader stops it."""
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        self._out.release()

    def _close(self, session: Session) -> int:
        """End the session, say what is left, and return the exit status."""
        self._begin_end()
        try:
            return shutdown.shut_down(
                session, lambda kind, text: self._reporter.say(kind, text, error=True)
            )
        except RuntimeError:
            if session.engine.failure is None:
                raise
            return self._close_broken(session)

    def _close_broken(self, session: Session) -> int:
        """End a session whose engine has ended by itself, and say why."""
        cause = t.cast("BaseException", session.engine.failure)
        self._out.release()
        session.close()
        text = (
            "The engine has stopped after an internal error:"
            f" {type(cause).__name__}: {text_of(cause)}. See the traceback for the cause, and start"
            " the command again."
        )
        if not session.options.temporary:
            text += " All acknowledged messages are in the data folder."
        self._reporter.say("broken", text, error=True)
        return BROKEN

    def _close_outputs(self) -> None:
        for output in (self._out, self._err):
            output.close(_FLUSH_TIMEOUT)


def _missed_text(count: int) -> str:
    return f"… {count} lines are missing here: the output was not read"


def _missed_json(count: int) -> str:
    return f'{{"event": "missed", "lines": {count}}}'


def _end() -> None:
    """End the process as on Ctrl-C: whoever read standard output has gone."""
    os.kill(os.getpid(), signal.SIGINT)


def relax_collector() -> None:
    """Have Python look for reference cycles less often.

    The engine makes many objects and no cycles. Looking for cycles was a sixth of its CPU time.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
