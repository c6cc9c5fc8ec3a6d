from __future__ import annotations

import os
import pathlib
import shlex
import subprocess
import sys
import time

import pytest

from statefun_flask.flink import FlinkError
from statefun_flask.flink import ports
from statefun_flask.flink import supervisor
from statefun_flask.flink.errors import PortTakenError
from statefun_flask.flink.failure_reporter import Log
from statefun_flask.flink.process import Process
from statefun_flask.flink.process import wait_until


def test_the_output_of_a_process_is_in_its_log(tmp_path: pathlib.Path) -> None:
    process = Process("Greeter", ["sh", "-c", "echo hello; echo there >&2; exit 3"], tmp_path)
    assert process.wait() == 3
    assert process.log == tmp_path / "greeter.log"
    assert process.tail() == "hello\nthere"
    assert process.tail(1) == "there"


def test_a_process_has_no_input(tmp_path: pathlib.Path) -> None:
    assert Process("Reader", ["cat"], tmp_path).wait() == 0


def test_a_process_that_ended_is_an_error_with_the_end_of_its_log(tmp_path: pathlib.Path) -> None:
    process = Process("Greeter", ["sh", "-c", "echo out of names; exit 3"], tmp_path)
    with pytest.raises(FlinkError) as info:
        wait_until(lambda: False, "it greets", [process])
    assert str(info.value) == ("The Greeter ended with status 3. Its log ends with:\nout of names")
    process.stop()


@pytest.mark.parametrize(
    "line",
    [
        "java.net.BindException: Could not start rest endpoint on any port",
        "Caused by: java.net.BindException: Address already in use",
        "Caused by: a.netty4.unix.Errors$NativeIoException: bind(..): Address already in use",
    ],
)
def test_a_taken_port_is_an_error_of_its_own(tmp_path: pathlib.Path, line: str) -> None:
    process = Process("Greeter", ["sh", "-c", f"echo {shlex.quote(line)}; exit 1"], tmp_path)
    with pytest.raises(PortTakenError):
        wait_until(lambda: False, "it greets", [process])
    process.stop()


@pytest.mark.parametrize(
    "line",
    [
        "12:00 WARN example/greeter - the printer says: Address already in use",
        "Error: Address already in use",
    ],
)
def test_other_lines_about_a_taken_port_do_not_count(tmp_path: pathlib.Path, line: str) -> None:
    process = Process("Greeter", ["sh", "-c", f"echo {shlex.quote(line)}; exit 1"], tmp_path)
    process.wait()
    with pytest.raises(FlinkError) as info:
        process.check()
    assert not isinstance(info.value, PortTakenError)


def test_a_log_keeps_only_its_end(tmp_path: pathlib.Path) -> None:
    script = tmp_path / "supervisor.py"
    source = pathlib.Path(supervisor.__file__).read_text()
    source = source.replace("16 << 20", "1000").replace("1 << 20", "100").replace("2.0", "0.01")
    script.write_text(source)
    program = "while :; do echo a line; sleep 0.001; done"
    log = tmp_path / "out.log"
    with (
        log.open("ab+") as file,
        subprocess.Popen(
            [sys.executable, "-I", "-S", script, tmp_path / "folder", "sh", "-c", program],
            stdin=subprocess.PIPE,
            stdout=file,
        ) as process,
    ):
        sizes = [0]

        def was_truncated() -> bool:
            sizes.append(log.stat().st_size)
            return sizes[-1] < sizes[-2]

        wait_until(was_truncated, "the log is truncated", timeout=20)
        process.kill()
    assert max(sizes) < 100_000
    assert log.read_text().endswith("a line\n")


def test_reading_continues_after_a_log_was_truncated(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "MAX_LOG_BYTES", 60)
    monkeypatch.setattr(supervisor, "KEPT_LOG_BYTES", 20)
    path = tmp_path / "out.log"
    path.write_text("an old line\n" * 6)
    log = Log(path)
    assert len(log.lines()) == 6
    with path.open("ab+") as file:
        supervisor.truncate(file.fileno())
        file.write(b"a new line\n")
    assert log.lines() == ["a new line"]


def test_a_condition_that_never_holds_is_an_error_that_names_it(tmp_path: pathlib.Path) -> None:
    process = Process("Greeter", ["sh", "-c", "echo thinking; sleep 1000"], tmp_path)
    wait_until(lambda: process.tail() == "thinking", "it thinks", [process])
    with pytest.raises(FlinkError) as info:
        wait_until(lambda: False, "it greets", [process], timeout=0.1)
    process.kill()
    assert str(info.value) == (
        "Gave up after 0.1 seconds of waiting until it greets. The end of each log may say why:\n"
        "Greeter:\nthinking"
    )


def test_stop_ends_a_process_that_ignores_it(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("statefun_flask.flink.process.GRACE", 0.1)
    process = Process("Deaf", ["sh", "-c", "trap '' TERM; echo up; sleep 1000 & wait"], tmp_path)
    wait_until(lambda: process.tail() == "up", "it is up", [process])
    process.stop()
    assert not process.alive()


def test_a_missing_program_is_named_in_the_log(tmp_path: pathlib.Path) -> None:
    process = Process("Nothing", [str(tmp_path / "nothing")], tmp_path)
    assert process.wait() == 1
    assert process.tail() == f"{tmp_path}/nothing: No such file or directory"


def test_no_process_and_no_file_outlives_a_killed_parent(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    program = (
        "import pathlib, sys\n"
        "from statefun_flask.flink.process import Process\n"
        f"folder = pathlib.Path({str(folder)!r})\n"
        "one = Process('One', ['sleep', '1000'], folder)\n"
        "two = Process('Two', ['sleep', '1000'], folder)\n"
        "gone = Process('Gone', ['true'], folder)\n"
        "gone.wait()\n"
        "print(one.pid, two.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(alive, pids))
        parent.kill()
    wait_until(lambda: not any(map(alive, pids)) and not folder.exists(), "all is gone", timeout=20)


def test_the_watcher_of_a_stopped_process_ends_and_keeps_the_folder(
    tmp_path: pathlib.Path,
) -> None:
    process = Process("Sleeper", ["sh", "-c", "echo up; exec sleep 1000"], tmp_path)
    wait_until(lambda: process.tail() == "up", "it is up", [process])
    process.kill()
    wait_until(lambda: not group_alive(process.pid), "its watcher ends", timeout=20)
    assert process.log.exists()


def test_free_ports_differ_and_can_be_listened_on() -> None:
    import socket

    chosen = ports.free(5)
    assert len(set(chosen)) == 5
    for port in chosen:
        socket.create_server((ports.HOST, port)).close()


def test_a_start_is_tried_again_while_its_port_is_taken() -> None:
    starts = []

    def start() -> str:
        starts.append(time.monotonic())
        if len(starts) < 3:
            raise PortTakenError("taken")
        return "started"

    assert ports.retrying(start) == "started"
    starts.clear()
    with pytest.raises(PortTakenError):
        ports.retrying(start, attempts=2)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def group_alive(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True
