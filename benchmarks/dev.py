"""``flask statefun dev`` on the greeter: ``python -m benchmarks.dev [--seconds N]``.

Prints the time from the start of the process to the first greeting, the number of messages that the
HTTP API accepts per second from 8 connections, and the memory before the first message.
"""

from __future__ import annotations

import argparse
import collections.abc as cabc
import contextlib
import http.client
import json
import multiprocessing
import pathlib
import statistics
import subprocess
import sys
import time

from .servers import memory

GREETER = pathlib.Path(__file__).parent.parent / "examples" / "greeter"
CONNECTIONS = 8


@contextlib.contextmanager
def _running() -> cabc.Iterator[tuple[subprocess.Popen[bytes], int, float]]:
    """Run the command; yield its process, its port and the time of the start."""
    command = ["-m", "flask", "--app", "greeter_json", "statefun", "dev", "--port", "0"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command, "--format", "json"],
        cwd=GREETER,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["url"].rpartition(":")[2]
        yield process, int(port), began
    finally:
        process.terminate()
        process.communicate()


def first_greeting() -> tuple[float, float]:
    """Return the seconds to the first greeting, and the memory in megabytes at the start."""
    with _running() as (process, port, began):
        resident = memory(process.pid)
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("PUT", "/example/greeter/bob?wait=1", b'{"name": "bob"}')
        events = json.loads(connection.getresponse().read())["events"]
        took = time.perf_counter() - began
        connection.close()
        if events[-1]["event"] != "egress":
            raise RuntimeError(f"There was no greeting but {events[-1]}.")
        return took, resident


def _put(port: int, number: int, seconds: float) -> int:
    """Send messages on one connection for a time, and return their number."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    end, sent = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        connection.request("PUT", f"/example/greeter/{number}-{sent}", b'{"name": "bob"}')
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise RuntimeError(f"A PUT was answered with {response.status}.")
        sent += 1
    connection.close()
    return sent


def puts(seconds: float) -> float:
    """Return the messages per second from 8 connections, each in a process of its own."""
    with _running() as (process, port, _), multiprocessing.Pool(CONNECTIONS) as pool:
        reader = multiprocessing.get_context("fork").Process(target=_drain, args=(process,))
        reader.start()
        began = time.perf_counter()
        sent = pool.starmap(_put, [(port, each, seconds) for each in range(CONNECTIONS)])
        took = time.perf_counter() - began
        reader.terminate()
        reader.join()
        return sum(sent) / took


def _drain(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    while process.stdout.read1(1 << 20):
        """What it prints is not looked at."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()

    starts = [first_greeting() for _ in range(options.repeats)]
    rates = [puts(options.seconds) for _ in range(3)]
    print(f"start to first greeting  {statistics.median(took for took, _ in starts):8.2f} s")
    print(f"memory at start          {statistics.median(mb for _, mb in starts):8.1f} MB")
    print(f"PUTs, 8 connections      {statistics.median(rates):8.0f} /s")


if __name__ == "__main__":
    main()
