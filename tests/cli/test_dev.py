"""The command in a terminal, over pipes, killed, and beside a second one."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import http.client
import json
import os
import pathlib
import pty
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import typing as t

import pytest

from statefun_flask.embedded import SqliteStore

APP = '''
import datetime as dt

from statefun_flask import Address, Context, Effects, StateFunFlask, ValueSpec, kafka_record

app = StateFunFlask(__name__)
SEEN = ValueSpec("seen", int)


@app.statefun("example/greeter", states=[SEEN])
def greet(context: Context, name: str) -> Effects:
    """Greet."""
    if name == "bad":
        raise ValueError("no greeting for bad")
    if name == "later":
        return Effects().send_after(Address("example/relay", name), dt.timedelta(days=9), name)
    seen = (context.get_state(SEEN) or 0) + 1
    return Effects().update_state(SEEN, seen).send(Address("example/relay", name), f"{name} {seen}")


@app.statefun("example/relay", egresses=["example/out"])
def relay(context: Context, text: str) -> Effects:
    return Effects().egress("example/out", kafka_record("greetings", key="k", value=text))
'''

#: A function after which the engine's next commit fails.
BREAKING = """
from statefun_flask.embedded import MemoryStore
from statefun_flask.embedded import SqliteStore


def broken(self, changes):
    raise LookupError("the disk is gone")


@app.statefun("example/break")
def stop(context: Context, text: str) -> Effects:
    MemoryStore.commit = SqliteStore.commit = broken
    return Effects()
"""

ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with ``hello.py``."""
    (tmp_path / "hello.py").write_text(APP)
    return tmp_path


def command(*options: str) -> list[str]:
    flask = "import sys; from flask.cli import main; sys.argv[0] = 'flask'; main()"
    if options[:1] == ("dev",) and "--format" not in options:
        options = (*options, "--format", "text")
    return [sys.executable, "-c", flask, "--app", "hello", "statefun", *options]


#: Makes standard input the terminal that sends Ctrl-C, and runs the rest of the command.
CONTROLLED = (
    sys.executable,
    "-c",
    (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
        " os.execv(sys.argv[1], sys.argv[1:])"
    ),
)


class Run:
    """The running command in a folder. Its output is read while it runs."""

    def __init__(
        self, folder: pathlib.Path, *options: str, terminal: bool = False, plain: bool = False
    ) -> None:
        arguments = command("dev", *options)
        environ = {**os.environ, "TMPDIR": str(folder), "TERM": "xterm"}
        self.text = ""
        if terminal:
            master, child_end = pty.openpty()
            out = err = stdin = child_end
        else:
            master, out = os.pipe()
            stdin, err = subprocess.DEVNULL, out
        self.process = subprocess.Popen(
            [*(CONTROLLED if terminal else ()), *(arguments[:-2] if plain else arguments)],
            cwd=folder,
            env=environ,
            stdin=stdin,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        os.close(out)
        self.end = master
        self._more = threading.Condition()
        self._open = True
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        data = b"-"
        while data:
            try:
                data = os.read(self.end, 65536)
            except OSError:  # the other end of a terminal is closed
                data = b""
            with self._more:
                self._open = bool(data)
                self.text += ANSI.sub("", data.decode(errors="replace")).replace("\r\n", "\n")
                self._more.notify_all()

    def until(self, pattern: str, timeout: float = 20.0) -> re.Match[str]:
        """Wait until the output has something, and return the match."""
        with self._more:
            self._more.wait_for(
                lambda: re.search(pattern, self.text, re.MULTILINE) or not self._open, timeout
            )
            found = re.search(pattern, self.text, re.MULTILINE)
            assert found, f"{pattern} did not come:\n{self.text}"
        return found

    def rest(self, timeout: float = 20.0) -> int:
        """Wait for the end, and return the exit status."""
        self._reader.join(timeout)
        assert not self._open, f"it did not end:\n{self.text}"
        return self.process.wait(timeout)

    @property
    def port(self) -> int:
        return int(self.until(r"http://127\.0\.0\.1:(\d+)").group(1))

    def ask(self, method: str, path: str, body: str = "") -> t.Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body.encode())
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def objects(self) -> list[dict[str, t.Any]]:
        return [json.loads(line) for line in self.text.splitlines() if line.startswith("{")]

    def close(self) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._reader.join(5)
        os.close(self.end)


@pytest.fixture
def run(folder: pathlib.Path) -> cabc.Iterator[cabc.Callable[..., Run]]:
    """Start the command. It is killed if it still runs after the test."""
    started: list[Run] = []

    def start(*options: str, terminal: bool = False, plain: bool = False, port: str = "0") -> Run:
        started.append(Run(folder, "--port", port, *options, terminal=terminal, plain=plain))
        return started[-1]

    yield start
    for each in started:
        each.close()


def fails(folder: pathlib.Path, *options: str) -> tuple[int, str]:
    """Run the command to its end, which is an error, and return its status and output."""
    done = subprocess.run(
        command("dev", *options),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


# -- a terminal -----------------------------------------------------------------------------


def test_a_day_in_a_terminal(run: cabc.Callable[..., Run], folder: pathlib.Path) -> None:
    dev = run("--reload", terminal=True)
    dev.until(r"^ Try +curl -X PUT http://127\.0\.0\.1:\d+/example/greeter/bob -d 'hello'")
    assert " Data        temporary, survives reloads (keep it: --data DIR)" in dev.text

    dev.ask("PUT", "/example/greeter/bob", "bob")
    dev.until(
        r'^[\d:.]+ #1 example/greeter/bob  <- str "bob"  [\d.]+ ms  seen: none -> 1'
        r"  -> example/relay/bob$"
    )
    dev.until(r"=> greetings k: bob 1$")

    dev.ask("PUT", "/example/greeter/bob", "bad")
    dev.until(
        r'#2 example/greeter/bob  <- str "bad"  FAILED  ValueError: no greeting for bad'
        r"\n    hello\.py:14 in greet\n"
        r'        raise ValueError\("no greeting for bad"\)'
    )
    dev.until(r"drop     flask statefun parked drop example/greeter/bob$")

    file = folder / "hello.py"
    file.write_text(APP.replace('name == "bad"', 'name == "worse"'))
    dev.until(r"reloaded · retrying 1 parked message$")
    dev.until(r"=> greetings k: bad 2$")

    dev.ask("PUT", "/example/greeter/eve", "later")
    dev.until(r"-> example/relay/later in 9 d")
    os.write(dev.end, b"\x03")
    assert dev.rest() == 0
    assert re.search(
        r"drained in [\d.]+ s · 1 delay pending \(next in 8 d 23 h\)"
        r" · lost with the temporary data; --data DIR keeps them$",
        dev.text,
        re.MULTILINE,
    ), dev.text
    assert dev.text.count("drained in") == 1


def test_broken_code_is_waited_for_and_loses_nothing(
    run: cabc.Callable[..., Run], folder: pathlib.Path
) -> None:
    dev = run("--reload")
    dev.ask("PUT", "/example/greeter/bob", "bob")
    dev.until(r"=> greetings k: bob 1$")
    (folder / "hello.py").write_text("this is no Python")
    # Without the plugin's entry point the flask command loads the app, and ends.
    dev.until(r"The app cannot be (loaded|run)\. Correct the code")
    assert "SyntaxError" in dev.text
    for method, path in (("PUT", "/example/greeter/bob"), ("GET", "/-/status")):
        refused = dev.ask(method, path, "bob")["error"]
        assert re.fullmatch(
            r"The app cannot be loaded: .*hello\.py:1: SyntaxError: invalid syntax\. Correct the"
            r" code to load it again\.",
            refused,
        ), refused
    (folder / "hello.py").write_text(APP + "\n# corrected\n")
    end = time.monotonic() + 20
    while (state := dev.ask("GET", "/-/state/example/greeter/bob")) != {"seen": 1}:
        assert time.monotonic() < end, state
        time.sleep(0.05)
    dev.process.send_signal(signal.SIGTERM)
    assert dev.rest() == 0


def test_a_reload_with_messages_in_flight_loses_none(
    run: cabc.Callable[..., Run], folder: pathlib.Path
) -> None:
    slow = APP.replace('    """Greet."""', "    import time\n    time.sleep(0.05)\n")
    (folder / "hello.py").write_text(slow)
    dev = run("--reload", "--format", "json", "--concurrency", "2")
    for number in range(60):
        dev.ask("PUT", f"/example/greeter/{number}", f"n{number}")
    (folder / "hello.py").write_text(slow + "\n# changed\n")
    dev.until(r'(?s)"event": "ready".*"event": "ready"')
    assert dev.ask("GET", "/-/status")["parked"] == 0
    records: list[t.Any] = []
    end = time.monotonic() + 20
    while len(records) < 60 and time.monotonic() < end:
        time.sleep(0.05)
        records = dev.ask("GET", "/-/egress/greetings")
    assert sorted(each["value"] for each in records) == sorted(f"n{i} 1" for i in range(60))
    assert [each["seq"] for each in records] == list(range(1, 61))
    assert len(list(folder.glob("statefun-dev-*"))) == 1
    dev.process.send_signal(signal.SIGINT)
    assert dev.rest() == 0
    assert re.search(r"drained in", dev.text)
    assert not list(folder.glob("statefun-dev-*")), "the temporary data is removed"


def test_a_killed_parent_takes_the_child_along(
    run: cabc.Callable[..., Run], folder: pathlib.Path
) -> None:
    dev = run("--reload", "--data", str(folder / "data"))
    dev.until("Listening")
    dev.process.kill()
    dev.rest()  # the child had the other end of the pipe


def test_a_killed_parent_leaves_no_temporary_data(
    run: cabc.Callable[..., Run], folder: pathlib.Path
) -> None:
    dev = run("--reload")
    dev.until("Listening")
    (data,) = folder.glob("statefun-dev-*")
    assert data.stat().st_mode & 0o777 == 0o700
    dev.process.kill()
    dev.rest()
    assert not list(folder.glob("statefun-dev-*"))


# -- pipes ----------------------------------------------------------------------------------


def test_json_lines(run: cabc.Callable[..., Run]) -> None:
    dev = run("--format", "json")
    dev.ask("PUT", "/example/greeter/bob", "bob")
    dev.ask("PUT", "/example/greeter/bob", "bad")
    dev.until('"event": "error"')
    dev.process.send_signal(signal.SIGINT)
    assert dev.rest() == 1, "something is parked"

    found = {each["event"]: each for each in reversed(dev.objects())}
    ready = found["ready"]
    assert ready["url"] == f"http://127.0.0.1:{dev.port}"
    assert ready["functions"] == ["example/greeter", "example/relay"]
    assert found["invocation"]["address"] == "example/greeter/bob"
    assert {key: found["egress"][key] for key in ("egress", "topic", "key", "value")} == {
        "egress": "example/out",
        "topic": "greetings",
        "key": "k",
        "value": "bob 1",
    }
    assert found["error"]["error"] == "ValueError: no greeting for bad"
    assert "1 address parked" in found["end"]["text"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_last_line(
    run: cabc.Callable[..., Run], number: signal.Signals
) -> None:
    dev = run()
    dev.ask("PUT", "/example/greeter/bob?wait", "bob")
    dev.process.send_signal(number)
    assert dev.rest() == 0
    assert re.search(r"^drained in \d+\.\d s$", dev.text, re.MULTILINE)
    assert "Traceback" not in dev.text


@pytest.mark.parametrize("options", [(), ("--reload",)])
def test_an_engine_that_has_stopped_ends_the_process_with_the_reason(
    run: cabc.Callable[..., Run], folder: pathlib.Path, options: tuple[str, ...]
) -> None:
    (folder / "hello.py").write_text(APP + BREAKING)
    dev = run(*options, "--data", str(folder / "data"))
    dev.ask("PUT", "/example/break/x", "now")
    assert dev.rest() == 70
    assert re.search(
        r"^The engine has stopped after an internal error: LookupError: the disk is gone\. See the"
        r" traceback for the cause, and start the command again\. All acknowledged messages are in"
        r" the data folder\.$",
        dev.text,
        re.MULTILINE,
    ), dev.text
    assert "in broken\n" in dev.text
    assert dev.text.count("Traceback") == 1
    SqliteStore(str(folder / "data")).close()


def test_an_engine_that_stops_ends_a_finite_run_with_the_reason(
    run: cabc.Callable[..., Run], folder: pathlib.Path
) -> None:
    (folder / "hello.py").write_text(APP + BREAKING)
    (folder / "names.txt").write_text("bob\n")
    options = ("--input", "names.txt", "--to", "example/break", "--exit-when-idle")
    dev = run(*options, "--format", "json")
    assert dev.rest() == 70
    (told,) = [each for each in dev.objects() if each["event"] == "broken"]
    assert told["text"] == (
        "The engine has stopped after an internal error: LookupError: the disk is gone. See the"
        " traceback for the cause, and start the command again."
    )


def test_an_error_without_valid_text_is_shown_and_parked_in_every_start(
    run: cabc.Callable[..., Run], folder: pathlib.Path
) -> None:
    (folder / "hello.py").write_text(APP.replace('"no greeting for bad"', r'"bad \udcff name"'))
    for attempt in range(2):
        for shown in ("text", "json"):
            dev = run("--data", str(folder / "data"), "--format", shown)
            if not attempt and shown == "text":
                dev.ask("PUT", "/example/greeter/bob", "bad")
            else:
                dev.until("Listening|ready")
                assert dev.ask("POST", "/-/retry/1") == {"retried": ["example/greeter/bob"]}
            dev.until(r"bad \\udcff name")
            dev.ask("PUT", "/example/greeter/eve", "eve")
            (parked,) = dev.ask("GET", "/-/parked")
            assert parked["error"].startswith(r"ValueError: bad \udcff name while invoking")
            assert dev.ask("GET", "/-/trace/1")
            dev.process.send_signal(signal.SIGTERM)
            assert dev.rest() == 1
            assert "Traceback" not in dev.text.replace('"traceback": "Traceback', "")


def test_a_reader_that_goes_away_ends_it(folder: pathlib.Path) -> None:
    with (
        subprocess.Popen(
            command("dev", "--port", "0", "--format", "json"),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as dev,
    ):
        assert dev.stdout is not None
        assert dev.stderr is not None
        port = json.loads(dev.stdout.readline())["url"].rpartition(":")[2]
        dev.stdout.close()
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
        connection.request("PUT", "/example/greeter/bob", "bob")
        connection.getresponse().read()
        connection.close()
        errors = dev.stderr.read()
        assert dev.wait(10) == 0, errors
        assert "Traceback" not in errors


class Unread:
    """The command with a pipe as its standard output that is read on demand."""

    def __init__(self, folder: pathlib.Path, *options: str) -> None:
        arguments = command("dev", "--port", "0", "--format", "json", *options)
        self.process = subprocess.Popen(
            arguments, cwd=folder, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        assert self.process.stdout is not None
        self.output = self.process.stdout
        self.port = int(json.loads(self.output.readline())["url"].rpartition(":")[2])

    def ask(self, method: str, path: str, body: bytes = b"") -> t.Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def until_idle(self, condition: cabc.Callable[[], t.Any]) -> None:
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.02)

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.output.close()
        self.process.wait()


LARGE = b"x" * 200_000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_unread_output_does_not_stop_the_engine(
    folder: pathlib.Path, number: signal.Signals
) -> None:
    with Unread(folder) as dev:
        for name in range(40):
            dev.ask("PUT", f"/example/greeter/{name}", LARGE)
        dev.until_idle(lambda: len(dev.ask("GET", "/-/addresses/example/greeter")) == 40)
        dev.process.send_signal(number)
        assert dev.process.wait(20) == 0


def test_an_output_that_is_read_again_says_how_many_lines_are_missing(folder: pathlib.Path) -> None:
    with Unread(folder) as dev:
        for name in range(40):
            dev.ask("PUT", f"/example/greeter/{name}", LARGE)
        dev.until_idle(lambda: len(dev.ask("GET", "/-/addresses/example/greeter")) == 40)
        found = [json.loads(dev.output.readline())]
        while found[-1]["event"] != "missed":
            found.append(json.loads(dev.output.readline()))
        assert found[-1]["lines"] > 10


def test_a_finite_run_waits_for_its_reader_and_loses_no_line(folder: pathlib.Path) -> None:
    (folder / "names").write_bytes(b"".join(b"%d\t%s\n" % (x, LARGE) for x in range(40)))
    options = ("--input", "names", "--to", "example/greeter", "--exit-when-idle")
    with Unread(folder, *options) as dev:
        # A line is as large as the pipe, so the engine waits at the first lines.
        found = [json.loads(line)["event"] for line in dev.output]
        assert dev.process.wait(20) == 0
    assert [found.count(each) for each in ("egress", "missed", "end")] == [40, 0, 1]


def test_a_signal_ends_a_finite_run_whose_output_nobody_reads(folder: pathlib.Path) -> None:
    (folder / "names").write_bytes(b"".join(b"%d\t%s\n" % (x, LARGE) for x in range(60)))
    options = ("--input", "names", "--to", "example/greeter", "--exit-when-idle")
    with Unread(folder, *options) as dev:
        with pytest.raises(subprocess.TimeoutExpired):
            dev.process.wait(2)
        dev.process.send_signal(signal.SIGTERM)
        assert dev.process.wait(20) == 0


def test_an_output_that_cannot_hold_a_value_shows_it_escaped(
    run: cabc.Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    dev = run("--format", "json")
    dev.ask("PUT", "/example/greeter/bob", "名")
    dev.until(r'"value": "\\u540d 1"')
    dev.process.send_signal(signal.SIGTERM)
    assert dev.rest() == 0


# -- functions in child processes, and threads that are left ---------------------------------

#: A function that says in which process it runs, and one that ends its process.
WHERE = """
import os


@app.statefun("example/where")
def where(context: Context, text: str) -> Effects:
    print(f"printed by {os.getpid()}", flush=True)
    return Effects().egress("example/out", kafka_record("pids", key="k", value=str(os.getpid())))
"""


def pids(dev: Run, number: int) -> set[int]:
    """Send messages until so many processes have answered, and return them."""
    found: set[int] = set()
    end = time.monotonic() + 20
    while len(found) < number:
        assert time.monotonic() < end, found
        dev.ask("PUT", "/example/where/x?wait=1", "hello")
        found = {int(each["value"]) for each in dev.ask("GET", "/-/egress/pids")}
    return found


def has_ended(pid: int) -> bool:
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def test_functions_in_child_processes(run: cabc.Callable[..., Run], folder: pathlib.Path) -> None:
    (folder / "hello.py").write_text(APP + WHERE)
    dev = run("--isolate=2", "--data", str(folder / "data"))
    dev.until(r"^ Isolated +in 2 child processes$")
    first = pids(dev, 2)
    assert dev.process.pid not in first
    for pid in first:
        dev.until(f"^printed by {pid}$")

    victim = min(first)
    os.kill(victim, signal.SIGKILL)
    dev.until(
        rf"^The child process {victim} of the app has ended by SIGKILL\. Another one starts in"
        r" 0\.1 s\.$"
    )
    found = pids(dev, 3)
    assert dev.ask("GET", "/-/status")["parked"] == 0

    dev.process.kill()
    dev.rest()
    end = time.monotonic() + 20
    while not all(map(has_ended, found)):
        assert time.monotonic() < end, "children outlive their killed parent"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_reload_starts_the_children_again(
    run: cabc.Callable[..., Run], folder: pathlib.Path, number: signal.Signals
) -> None:
    (folder / "hello.py").write_text(APP + WHERE)
    dev = run("--isolate=2", "--reload")
    first = pids(dev, 2)
    (folder / "hello.py").write_text(APP + WHERE.replace("printed by", "now printed by"))
    end = time.monotonic() + 20
    dev.until(r"(?s)Isolated.*Isolated")
    second = pids(dev, 4) - first
    dev.until("now printed by")
    assert all(map(has_ended, first))
    dev.process.send_signal(number)
    assert dev.rest() == 0
    while not all(map(has_ended, second)):
        assert time.monotonic() < end, "children outlive their parent"
        time.sleep(0.02)


def test_an_app_that_only_a_child_cannot_load(
    folder: pathlib.Path,
) -> None:
    broken = (
        "\nimport os\nif 'STATEFUN_DEV_CHILD_SOCKET' in os.environ:\n    raise LookupError('x')\n"
    )
    (folder / "hello.py").write_text(APP + broken)
    done = subprocess.run(
        command("dev", "--port", "0", "--isolate=1"),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 1
    assert "LookupError: x" in done.stderr
    assert done.stderr.endswith(
        "Error: The app cannot be run in a child process, whose output says why. Correct the app,"
        " or start without --isolate.\n"
    )


#: A function that ends its process, does not return, or says that it was called.
ODD = """
import os
import time


@app.statefun("example/odd")
def odd(context: Context, text: str) -> Effects:
    if text == "exit":
        os._exit(9)
    if text == "hang":
        print("does not return", flush=True)
        time.sleep(1000)
    return Effects().egress("example/out", kafka_record("odd", key="k", value=text))
"""


@pytest.mark.slow
def test_a_message_that_ends_or_blocks_a_child_holds_up_no_other(
    run: cabc.Callable[..., Run], folder: pathlib.Path
) -> None:
    (folder / "hello.py").write_text(APP + ODD)
    dev = run("--isolate=2", "--call-timeout", "1")
    dev.until("Listening")
    dev.ask("PUT", "/example/odd/killer", "exit")
    dev.ask("PUT", "/example/odd/blocker", "hang")
    for number in range(20):
        dev.ask("PUT", f"/example/odd/{number}", f"fine {number}")
    end = time.monotonic() + 60
    while len(records := dev.ask("GET", "/-/egress/odd")) < 20:
        assert time.monotonic() < end, records
        time.sleep(0.05)
    while len(parked := dev.ask("GET", "/-/parked")) < 2:
        assert time.monotonic() < end, parked
        time.sleep(0.05)
    errors = {each["address"]: each["error"] for each in parked}
    assert "The child process ended while it handled this message." in errors["example/odd/killer"]
    assert "The function did not return in 1 seconds" in errors["example/odd/blocker"]
    assert sorted(each["value"] for each in records) == sorted(f"fine {n}" for n in range(20))
    dev.process.send_signal(signal.SIGTERM)
    assert dev.rest() == 1


@pytest.mark.slow
def test_a_function_in_the_engine_s_own_thread_does_not_hold_up_the_end(
    run: cabc.Callable[..., Run], folder: pathlib.Path
) -> None:
    (folder / "hello.py").write_text(APP + ODD)
    dev = run("--concurrency", "1", "--data", str(folder / "data"))
    dev.until("Listening")
    body = b"PUT /example/odd/x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n\r\nhang"
    with socket.create_connection(("127.0.0.1", dev.port)) as sender:  # which hears of nothing
        sender.sendall(body)
        dev.until("^does not return$")
        dev.process.send_signal(signal.SIGTERM)
        assert dev.rest() == 1
    dev.until("ended while a function did not return; its call is repeated at the next start")


@pytest.mark.slow
def test_threads_that_user_code_has_left_do_not_hold_up_the_end(
    run: cabc.Callable[..., Run], folder: pathlib.Path
) -> None:
    left = "\nimport threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()\n"
    (folder / "hello.py").write_text(APP + left)
    dev = run("--data", str(folder / "data"))
    dev.until("Listening")
    dev.process.send_signal(signal.SIGTERM)
    assert dev.rest() == 0
    dev.until(r"^User code has left 1 thread running, which the end of the process cuts off: '")
    SqliteStore(folder / "data").close()


# -- a file ---------------------------------------------------------------------------------


def test_a_file_is_read_and_its_messages_are_handled(
    run: cabc.Callable[..., Run], folder: pathlib.Path
) -> None:
    (folder / "names").write_text("a\tann\nb\tbob\n")
    dev = run("--input", "names", "--to", "example/greeter", "--exit-when-idle", "--quiet")
    assert dev.rest() == 0
    assert "greetings k: ann 1\n" in dev.text
    assert "greetings k: bob 1\n" in dev.text


def test_the_first_command_of_the_readme_greets_all_its_names() -> None:
    root = pathlib.Path(__file__).parents[2]
    readme = (root / "README.md").read_text()
    (line,) = re.findall(r"^python3 -m venv .* statefun dev .*$", readme, re.MULTILINE)
    flask, *options = shlex.split(line.rpartition("&&")[2])
    assert flask == ".venv/bin/flask"
    done = subprocess.run(
        [*command()[:3], *options, "--port", "0"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names = (root / "examples" / "greeter" / "names.jsonl").read_text().splitlines()
    said = {json.loads(name)["name"] for name in names}
    assert len(said) == len(names) == 100
    assert sorted(done.stdout.splitlines()) == sorted(
        f"greetings {name}: Say hello to {name} from Flask. I've seen them 1 times now."
        for name in said
    )


@pytest.mark.parametrize(
    ("content", "status", "told"),
    [
        (b"ann\n\xff\tbob\n", 1, "names, line 2 is skipped: 'utf-8' codec can't decode"),
        (b"ann\nbad\n", 1, "1 address parked"),
        (b"later\n", 0, "1 delay pending (next in 8 d 23 h) · lost with the temporary data"),
        (b"later\n", 0, " in 8 d 23 h  <- "),
        (b"", 0, "drained in"),
    ],
)
def test_the_exit_status_reports_failures(
    run: cabc.Callable[..., Run], folder: pathlib.Path, content: bytes, status: int, told: str
) -> None:
    (folder / "names").write_bytes(content)
    dev = run("--input", "names", "--to", "example/greeter", "--exit-when-idle")
    assert dev.rest() == status
    assert told in dev.text


def test_the_clock_jumps_to_delays(run: cabc.Callable[..., Run], folder: pathlib.Path) -> None:
    (folder / "names").write_text("later\n")
    dev = run(
        *("--input", "names", "--to", "example/greeter", "--exit-when-idle", "--clock", "virtual")
    )
    assert dev.rest() == 0
    assert "=> greetings k: later" in dev.text


STDIN = ("--input", "-", "--exit-when-idle", "--quiet")


@pytest.mark.parametrize("content", [b"ann\nbob\n", b"\n", b"", b"\xff\n"])
def test_standard_input_is_read(folder: pathlib.Path, content: bytes) -> None:
    done = subprocess.run(
        command("dev", "--port", "0", "--to", "example/greeter", *STDIN),
        cwd=folder,
        input=content,
        capture_output=True,
        timeout=30,
        check=False,
    )
    names = [] if content != b"ann\nbob\n" else ["ann", "bob"]
    assert sorted(done.stdout.decode().split("\n")[:-1]) == [f"greetings k: {x} 1" for x in names]
    assert done.returncode == (content == b"\xff\n")


# -- Kafka ----------------------------------------------------------------------------------


def test_a_broker_that_does_not_answer_is_reported_with_the_waiting_records(
    run: cabc.Callable[..., Run], folder: pathlib.Path
) -> None:
    (folder / "module.yaml").write_text(
        'kind: io.statefun.endpoints.v2/http\nspec: {functions: example/*, urlPathTemplate: "http://'
        '127.0.0.1:1/"}\n---\nkind: io.statefun.kafka.v1/egress\nspec: {id: example/out, address:'
        ' "nowhere:9092"}\n---\nkind: io.statefun.kafka.v1/ingress\nspec: {id: example/in, address:'
        ' "nowhere:9092", consumerGroupId: g, topics: [{topic: names, valueType:'
        " io.statefun.types/string, targets: [example/greeter]}]}\n"
    )
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        nowhere = f"127.0.0.1:{bound.getsockname()[1]}"
        dev = run("--kafka", nowhere)
        dev.until(rf"^ Kafka +{nowhere} \(names -> example/greeter\)$")
        dev.ask("PUT", "/example/greeter/bob", "bob")
        dev.until(
            rf"Kafka at {nowhere} does not answer \(Connection refused\): its topics"
            " continue when it answers$"
        )
        dev.process.send_signal(signal.SIGINT)
        assert dev.rest() == 0
    assert re.search(
        r"drained in [\d.]+ s · records wait for Kafka · lost with the temporary data; --data DIR"
        r" keeps them$",
        dev.text,
        re.MULTILINE,
    ), dev.text
    assert "%3|" not in dev.text, "the client keeps quiet"


# -- wrong use ------------------------------------------------------------------------------

EXISTS = ("--input", "hello.py")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ["--exit-when-idle"],
            "--exit-when-idle needs an input that ends. Add --input or --kafka.",
        ),
        (
            ["--kafka", "127.0.0.1:9092"],
            "--kafka needs --module, which names the topics. Add it.",
        ),
        (
            ["--kafka", "9092", "--module", "m.yaml"],
            (
                "'9092' is not the address of a broker. Write --kafka HOST:PORT, or --kafka module"
                " for those that module.yaml names."
            ),
        ),
        (
            [*EXISTS, "--exit-when-idle", "--reload"],
            "--exit-when-idle and --reload exclude each other. Choose one.",
        ),
        (
            ["--clock", "virtual"],
            "--clock virtual needs a run that ends. Add --exit-when-idle.",
        ),
        (
            ["--input", "-", "--data", "x"],
            (
                "Standard input cannot be resumed after a restart, as --data promises. Name a"
                " file, or add --not-resumable."
            ),
        ),
        (
            ["--input", "-", "--reload"],
            (
                "Standard input cannot be resumed after a reload."
                " Name a file, or add --not-resumable."
            ),
        ),
        (
            ["--isolate", "--remote"],
            (
                "--isolate runs the functions in processes of this command, and --remote calls"
                " them elsewhere. Choose one."
            ),
        ),
        (["--group", "x"], "--group needs --kafka, which connects the topics. Add it."),
        (["--to", "x"], "--to needs --input."),
        (["--id-field", "x"], "--id-field needs --input."),
        (["--id", "x"], "--id needs --input."),
        (["--from-start"], "--from-start needs --input."),
        (["--not-resumable"], "--not-resumable needs --input."),
        (["--input", "none"], "The file 'none' does not exist. Correct --input."),
        (
            [*EXISTS, "--id-field", "x", "--id", "y"],
            "--id-field and --id exclude each other. Choose one.",
        ),
    ],
)
def test_wrong_options_together(folder: pathlib.Path, options: list[str], told: str) -> None:
    import click

    from statefun_flask.cli import dev as module

    given = module.dev.make_context("dev", options).params
    with contextlib.chdir(folder), pytest.raises(click.UsageError) as caught:
        module._check(given)
    assert caught.value.message == told


def test_a_usage_error_ends_with_2(folder: pathlib.Path) -> None:
    status, told = fails(folder, "--exit-when-idle")
    assert status == 2
    assert "Error: --exit-when-idle needs an input that ends. Add --input or --kafka." in told


def test_an_input_for_an_unknown_or_ambiguous_function(folder: pathlib.Path) -> None:
    (folder / "names").write_text("ann\n")
    status, told = fails(folder, "--port", "0", "--input", "names", "--to", "example/greter")
    assert status == 2
    assert "for 'example/greter'. Did you mean 'example/greeter' or" in told
    status, told = fails(folder, "--port", "0", "--input", "names")
    assert status == 2
    assert "Add --to with one of: example/greeter, example/relay." in told


def test_two_on_one_port(run: cabc.Callable[..., Run], folder: pathlib.Path) -> None:
    port = run().port
    for options in ((), ("--reload",)):
        status, told = fails(folder, "--port", str(port), *options)
        assert status == 1
        assert told == (
            f"Error: Cannot listen on 127.0.0.1:{port}: Address already in use."
            " Stop the program that listens there, or choose another --port.\n"
        )


def test_a_data_folder_that_cannot_be_used_is_named(folder: pathlib.Path) -> None:
    (folder / "kept" / "lock").mkdir(parents=True)
    status, told = fails(folder, "--port", "0", "--data", "kept")
    assert status == 1
    assert told == (
        "Error: 'kept' cannot be used as a data folder: Is a directory. Give a folder that this"
        " user can write to.\n"
    )


def test_two_on_one_folder(run: cabc.Callable[..., Run], folder: pathlib.Path) -> None:
    first = run("--data", "kept")
    first.until("Listening")
    status, told = fails(folder, "--port", "0", "--data", "kept")
    assert status == 1
    assert str(first.process.pid) in told
    assert "kept" in told


def test_a_module_file_with_an_error_is_reported_with_its_place(folder: pathlib.Path) -> None:
    (folder / "module.yaml").write_text(
        textwrap.dedent(
            """\
            kind: io.statefun.endpoints.v2/http
            spec:
              functions: example/*
              urlPathTemplat: http://127.0.0.1:5000/statefun
            """
        )
    )
    status, told = fails(folder, "--port", "0")
    assert status == 1
    assert told.startswith("Error: module.yaml:3:3: spec: 'urlPathTemplate' is missing.")


def test_a_module_file_that_check_refuses_is_refused_with_the_same_sentence(
    folder: pathlib.Path,
) -> None:
    (folder / "module.yaml").write_text(
        textwrap.dedent(
            """\
            kind: io.statefun.endpoints.v2/http
            spec: {functions: example/*, urlPathTemplate: "http://127.0.0.1:1/"}
            ---
            kind: io.statefun.kafka.v1/ingress
            spec:
              id: example/in
              address: nowhere:9092
              consumerGroupId: g
              topics: [{topic: names, valueType: example/Wrong, targets: [example/greeter]}]
            ---
            kind: io.statefun.kafka.v1/egress
            spec: {id: example/out, address: "nowhere:9092"}
            """
        )
    )
    sentence = (
        "module.yaml:9:38: [1].spec.topics[0].valueType: 'example/greeter' does not accept messages"
        " of type 'example/Wrong', only 'io.statefun.types/string'. Correct the type, or annotate a"
        " function with it."
    )
    checked = subprocess.run(
        command("check"), cwd=folder, capture_output=True, text=True, check=False
    )
    assert sentence in checked.stdout
    status, printed = fails(folder, "--port", "0")
    assert status == 1
    assert sentence in printed


# -- killed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terminal", "options", "shown"),
    [
        (False, [], '"event": "egress"'),
        (False, ["--quiet"], "^greetings k: ann 1$"),
        (True, [], "=> greetings k: ann 1"),
    ],
)
def test_a_pipe_gets_objects_and_a_terminal_lines(
    folder: pathlib.Path,
    run: cabc.Callable[..., Run],
    terminal: bool,
    options: list[str],
    shown: str,
) -> None:
    """Without --format; --quiet is for people as well."""
    (folder / "names").write_text("k\tann\n")
    asked = ("--input", "names", "--to", "example/greeter", "--exit-when-idle", *options)
    dev = run(*asked, terminal=terminal, plain=True)
    dev.until(shown)
    assert ('"event"' in dev.text) is ("event" in shown)


@pytest.mark.slow
def test_ten_thousand_names_survive_five_kills(
    run: cabc.Callable[..., Run], folder: pathlib.Path
) -> None:
    names = [f"name{number}" for number in range(1000)]
    (folder / "names").write_text("".join(f"{x}\t{x}\n" for _ in range(10) for x in names))
    options = ("--input", "names", "--to", "example/greeter", "--data", "kept", "--format", "json")
    for _ in range(5):
        dev = run(*options, "--exit-when-idle")
        dev.until('"event": "ready"')
        time.sleep(random.uniform(0.0, 0.3))
        dev.process.kill()
        dev.process.wait()
    last = run(*options)
    port, after, records = last.port, 0, []
    end = time.monotonic() + 30
    while len(records) < 10_000 and time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", f"/-/egress/greetings?after={after}")
        page = json.loads(connection.getresponse().read())
        connection.close()
        records += page
        after = records[-1]["seq"] if records else 0
        if not page:
            time.sleep(0.05)
    last.process.terminate()
    assert last.rest() == 0
    assert [each["seq"] for each in records] == list(range(1, 10_001))
    greetings = sorted(each["value"] for each in records)
    assert greetings == sorted(f"{x} {seen}" for x in names for seen in range(1, 11))
