"""Processes that end although user code has left threads."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEGIN = (
    "import atexit, concurrent.futures, threading, time\n"
    "from statefun_flask.transport.left_threads import end_despite_threads\n"
)
CUT = "running, which the end of the process cuts off:"
ADVICE = "Make them daemon threads, or end them in time."


def run(program: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + program],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("left", "line"),
    [
        (
            "threading.Thread(target=time.sleep, args=(600,), name='poll').start()",
            f"User code has left 1 thread {CUT} 'poll'. {ADVICE}\n",
        ),
        (
            "concurrent.futures.ThreadPoolExecutor(2, 'job').map(time.sleep, (600, 600))",
            f"User code has left 2 threads {CUT} 'job_0', 'job_1'. {ADVICE}\n",
        ),
        (
            "atexit.register(time.sleep, 600)",
            (
                "A function that was registered with atexit has not returned in 0.1 s, and is cut"
                " off. Correct it.\n"
            ),
        ),
    ],
)
def test_what_is_left_is_named_and_cut_off(left: str, line: str) -> None:
    assert run(f"{left}\nend_despite_threads(3, grace=0.1)\nraise SystemExit(3)") == (3, line)


def test_threads_that_end_by_themselves_are_waited_for() -> None:
    program = (
        "threading.Thread(target=lambda: (time.sleep(0.2), print('done', file=__import__('sys')"
        ".stderr))).start()\nend_despite_threads(3, grace=20)"
    )
    assert run(program) == (0, "done\n")


def test_a_program_that_goes_on_is_not_ended() -> None:
    program = "end_despite_threads(3, grace=0.0)\ntime.sleep(0.5)"
    assert run(program) == (0, "")
