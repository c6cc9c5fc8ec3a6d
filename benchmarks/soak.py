"""A long run of ``flask statefun dev --data``: ``python -m benchmarks.soak [--minutes N]``.

Clients send messages of all kinds: with and without idempotency keys, delayed ones, and ones that
fail and are dropped, on connections that are kept and on new ones. One client pops records, one
looks, and one does not read its events. The memory, the database and the descriptors of the command
are printed from time to time. At the end each is compared with what it was after a third of the
time: the exit status is 1 if one still grows.
"""

from __future__ import annotations

import argparse
import collections.abc as cabc
import contextlib
import http.client
import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import typing as t

from .servers import memory

#: The app, written to a folder of its own.
APP = """
import datetime as dt

from statefun_flask import Address, Context, Effects, StateFunFlask, ValueSpec, kafka_record

app = StateFunFlask(__name__)
SEEN = ValueSpec("seen", int)
LAST = ValueSpec("last", str)


@app.statefun("soak/count", states=[SEEN, LAST])
def count(context: Context, text: str) -> Effects:
    seen = (context.get_state(SEEN) or 0) + 1
    to = Address("soak/relay", context.self_address.id)
    return Effects().update_state(SEEN, seen).update_state(LAST, text).send(to, text[:100])


@app.statefun("soak/relay")
def relay(context: Context, text: str) -> Effects:
    return Effects().egress("soak/out", kafka_record("out", value=text))


@app.statefun("soak/later")
def later(context: Context, text: str) -> Effects:
    delay = dt.timedelta(milliseconds=500)
    return Effects().send_after(Address("soak/relay", context.self_address.id), delay, text)


@app.statefun("soak/fail")
def fail(context: Context, text: str) -> Effects:
    raise ValueError("no " + text[:100])
"""

CLIENTS = 4
IDS = 500

#: What may still come after a third of the time, beside a tenth: megabytes, and connections.
MARGIN = {"memory": 8.0, "database": 1.0, "descriptors": 10.0}


class Sample(t.NamedTuple):
    """What the command uses.

    :param seconds: Since the start.
    :param memory: In megabytes.
    :param database: In megabytes, without SQLite's log, which is bounded.
    """

    seconds: float
    messages: int
    memory: float
    database: float
    descriptors: int


class Load:
    """The clients."""

    def __init__(self, port: int) -> None:
        self.messages = 0
        self._port = port
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        acts = [*[self._send] * CLIENTS, self._tidy, self._look]
        self._threads = [threading.Thread(target=self._repeat, args=(act,)) for act in acts]
        self._idle_reader = socket.create_connection(("127.0.0.1", port))
        self._idle_reader.sendall(b"GET /-/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._idle_reader.close()

    def _repeat(self, act: cabc.Callable[[http.client.HTTPConnection], None]) -> None:
        while not self._stopping.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            with contextlib.closing(connection):
                for _ in range(random.randint(1, 200)):
                    if not self._stopping.is_set():
                        act(connection)

    def _send(self, connection: http.client.HTTPConnection) -> None:
        function = random.choices(["count", "later", "fail"], [90, 8, 2])[0]
        body = "x" * random.choice([10, 100, 1000, 20_000])
        headers = {"Idempotency-Key": os.urandom(8).hex()} if random.random() < 0.2 else {}
        path = f"/soak/{function}/{random.randrange(IDS)}"
        ask(connection, "PUT", path, body.encode(), headers)
        with self._lock:
            self.messages += 1

    def _tidy(self, connection: http.client.HTTPConnection) -> None:
        """Pop records and drop what is parked."""
        for _ in range(100):
            ask(connection, "GET", "/out")
        for each in json.loads(ask(connection, "GET", "/-/parked")):
            ask(connection, "POST", f"/-/drop/{each['address']}")

    def _look(self, connection: http.client.HTTPConnection) -> None:
        for path in ("status", "delays", f"state/soak/count/{random.randrange(IDS)}", "trace/1"):
            ask(connection, "GET", f"/-/{path}")
        time.sleep(0.1)


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes = b"",
    headers: cabc.Mapping[str, str] | None = None,
) -> bytes:
    """Return the body of a response. A 404 and a 503 are no errors."""
    connection.request(method, path, body, dict(headers or {}))
    response = connection.getresponse()
    read = response.read()
    if response.status not in (200, 404, 503):
        raise RuntimeError(f"{method} {path} was answered with {response.status}: {read!r}")
    return read


@contextlib.contextmanager
def running(folder: pathlib.Path) -> cabc.Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the command; give its process and its port."""
    (folder / "soak_app.py").write_text(APP)
    command = ["-m", "flask", "--app", "soak_app", "statefun", "dev", "--port", "0", "--quiet"]
    process = subprocess.Popen(
        [sys.executable, *command, "--data", "data", "--format", "json"],
        cwd=folder,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        port = json.loads(process.stdout.readline())["url"].rpartition(":")[2]
        reader = threading.Thread(target=process.stdout.read)
        reader.start()
        yield process, int(port)
    finally:
        process.terminate()
        process.wait(60)
        reader.join()
        process.stdout.close()


def sample(process: subprocess.Popen[bytes], folder: pathlib.Path, began: float, n: int) -> Sample:
    size = (folder / "data" / "statefun.sqlite3").stat().st_size / (1 << 20)
    descriptors = sum(1 for _ in pathlib.Path(f"/proc/{process.pid}/fd").iterdir())
    return Sample(time.monotonic() - began, n, memory(process.pid), size, descriptors)


def still_growing(samples: list[Sample]) -> list[str]:
    """Return what is larger at the end than after a third of the time."""
    third, last = samples[len(samples) // 3], samples[-1]
    found = []
    for name, margin in MARGIN.items():
        before, after = getattr(third, name), getattr(last, name)
        if after > before * 1.1 + margin:
            found.append(f"{name}: {before:.1f} after a third, {after:.1f} at the end")
    return found


def soak(minutes: float, lines: int) -> list[Sample]:
    """Run, and print a line from time to time."""
    samples = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with running(folder) as (process, port), Load(port) as load:
            began = time.monotonic()
            print("seconds  messages  memory (MB)  database (MB)  descriptors")
            for line in range(1, lines + 1):
                time.sleep(max(0.0, began + minutes * 60 * line / lines - time.monotonic()))
                now = sample(process, folder, began, load.messages)
                samples.append(now)
                print(
                    f"{now.seconds:7.0f} {now.messages:9} {now.memory:12.1f} {now.database:14.1f}"
                    f" {now.descriptors:12}",
                    flush=True,
                )
    return samples


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--lines", type=int, default=30, help="How many samples are printed.")
    given = parser.parse_args()
    growing = still_growing(soak(given.minutes, given.lines))
    for each in growing:
        print(f"It still grows: {each}.")
    return 1 if growing else 0


if __name__ == "__main__":
    raise SystemExit(main())
