from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys

import pytest
from flask.testing import FlaskCliRunner

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import Message
from statefun_flask import StateFunFlask
from statefun_flask.flink.engines import ENGINES
from statefun_flask.flink.ports import free
from statefun_flask.flink.process import wait_until
from statefun_flask.flink.serving import Server

MODULE = """\
kind: io.statefun.endpoints.v2/http
spec:
  functions: example/*
  urlPathTemplate: {}
"""


@pytest.fixture
def runner() -> FlaskCliRunner:
    app = StateFunFlask(__name__)

    @app.statefun("example/greeter")
    def greet(context: Context, message: Message) -> Effects:
        return Effects()

    return app.test_cli_runner()


@pytest.fixture(autouse=True)
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Return the current folder, on a machine that has no Java."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return tmp_path


def write(folder: pathlib.Path, url: str) -> None:
    (folder / "module.yaml").write_text(MODULE.format(url))


def run(runner: FlaskCliRunner, *arguments: str) -> tuple[int, str]:
    result = runner.invoke(args=["statefun", "flink", *arguments])
    return result.exit_code, result.output


def test_a_missing_java_is_one_sentence(runner: FlaskCliRunner, folder: pathlib.Path) -> None:
    port = free(1)[0]
    write(folder, f"http://127.0.0.1:{port}/statefun")
    assert run(runner) == (
        1,
        (
            f"Serving example/greeter at http://127.0.0.1:{port}\n"
            "Starting StateFun 3.3.0 …\n"
            "Error: Java is not installed, or not on the PATH. The engine needs a Java of"
            " version 17 or later; set JAVA_HOME or PATH to it.\n"
        ),
    )


def test_a_missing_module_file_says_how_to_name_one(runner: FlaskCliRunner) -> None:
    assert run(runner, "--module", "other.yaml") == (
        1,
        (
            "Error: Cannot read 'other.yaml': No such file or directory. Name the app's module file"
            " with --module.\n"
        ),
    )


def test_a_url_of_another_machine_cannot_be_served(
    runner: FlaskCliRunner, folder: pathlib.Path
) -> None:
    write(folder, "http://worker:5000/statefun")
    assert run(runner) == (
        1,
        (
            "Error: 'module.yaml' names 'http://worker:5000/statefun', which is not an http URL of"
            " this machine's loopback interface, so the app cannot be served there. Write"
            " http://127.0.0.1:5000/… there, give --port to use such a one instead, or give"
            " --no-serve if the app runs already.\n"
        ),
    )


def test_a_taken_port_says_so(runner: FlaskCliRunner, folder: pathlib.Path) -> None:
    with Server(lambda environ, start_response: []) as server:
        write(folder, f"{server.url}/statefun")
        assert run(runner) == (
            1,
            (
                f"Error: Cannot serve the app at {server.url}: Address already in use. Stop what"
                " listens there, or choose another port.\n"
            ),
        )


def test_a_path_that_the_app_does_not_answer_is_told(
    runner: FlaskCliRunner, folder: pathlib.Path
) -> None:
    write(folder, "http://127.0.0.1:0/functions")
    assert run(runner, "--port", "0") == (
        1,
        (
            "Error: 'module.yaml' sends requests to '/functions', but the app answers at"
            " '/statefun'. Write the same in both; the app's is the setting STATEFUN_URL.\n"
        ),
    )


def test_the_old_format_needs_the_old_engine(runner: FlaskCliRunner, folder: pathlib.Path) -> None:
    (folder / "module.yaml").write_text('version: "2.0"\nmodule: {spec: {}}\n')
    code, output = run(runner)
    assert code == 1
    assert "Use --engine 2.2.2" in output


def test_options_that_exclude_each_other_are_refused(runner: FlaskCliRunner) -> None:
    assert "--kafka-port and --topic need --kafka" in run(runner, "--topic", "greetings")[1]
    assert "which --no-serve forbids" in run(runner, "--no-serve", "--port", "0")[1]


JAVA = """\
#!/bin/sh
test "$1" = -version && echo 'openjdk version "17.0.15"' >&2 && exit
echo "$$" >> "$STARTED"
exec sleep 1000
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_command_that_ends_while_the_engine_starts(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, signum: signal.Signals
) -> None:
    # The engine is a stand-in that never answers.
    (folder / "java").write_text(JAVA)
    (folder / "java").chmod(0o755)
    (folder / "app.py").write_text("import statefun_flask\napp = statefun_flask.StateFunFlask('a')")
    (folder / "cache" / ENGINES["3.3.0"].bundle.folder).mkdir(parents=True)
    (folder / "tmp").mkdir()
    write(folder, "http://127.0.0.1:0/statefun")
    started = folder / "started"
    env = {
        "PATH": f"{folder}{os.pathsep}{os.defpath}",
        "STATEFUN_FLINK_CACHE": os.fspath(folder / "cache"),
        "STARTED": os.fspath(started),
        "TMPDIR": os.fspath(folder / "tmp"),
    }
    arguments = ["--app", "app", "statefun", "flink", "--port", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", "flask", *arguments], env=env, stdout=subprocess.DEVNULL
    ) as process:
        wait_until(
            lambda: started.exists() and len(started.read_text().split()) == 2,
            "the JobManager and the TaskManager have been started",
            timeout=30,
        )
        process.send_signal(signum)
        assert process.wait(30) == (-signum if signum == signal.SIGKILL else 0)
    pids = [int(pid) for pid in started.read_text().split()]
    wait_until(
        lambda: not any(map(alive, pids)) and not list((folder / "tmp").iterdir()),
        "no process and no file is left",
        timeout=20,
    )


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
