"""What an HTTP call costs the embedded engine: ``python -m benchmarks.http_calls [--names N]``.

The engine is in memory, and the worker is ours on granian in a process of its own. Each name makes
two calls. The figure is the CPU time of the engine's process per call, with the client in the
engine's loop beside a client that blocks on eight threads, in turns in one run.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import statistics
import threading
import time
import typing as t
import urllib.parse

from statefun_flask import Address
from statefun_flask.dev.run import relax_collector
from statefun_flask.embedded import Engine
from statefun_flask.embedded import LocalRoutes
from statefun_flask.embedded import Remote
from statefun_flask.embedded.endpoints.routes import FunctionEndpoint
from statefun_flask.values.message import encode
from statefun_flask.values.message import Message

from .engines import WORKER
from .servers import Server

PART = 500


class BlockingRemote:
    """An endpoint over HTTP as simple as it can be: each thread blocks on a connection."""

    name, batch, tries = "blocking", 1000, 3

    def __init__(self, url: str) -> None:
        self._url = urllib.parse.urlsplit(url)
        self._local = threading.local()

    def __call__(self, body: bytes) -> bytes:
        """Answer a ToFunction."""
        connected, file = self._connection()
        connected.sendall(
            b"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/octet-stream\r\n"
            b"Content-Length: %d\r\n\r\n%s"
            % (self._url.path.encode(), self._url.netloc.encode(), len(body), body)
        )
        assert b" 200 " in file.readline()
        length = 0
        while (line := file.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return file.read(length)

    def _connection(self) -> tuple[socket.socket, t.Any]:
        found = getattr(self._local, "connection", None)
        if found is None:
            connected = socket.create_connection((self._url.hostname, self._url.port))
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            found = self._local.connection = connected, connected.makefile("rb")
        return found


def measure(endpoint: FunctionEndpoint, names: int) -> tuple[float, float]:
    """Return the microseconds of a call: of the process's CPU time, and that passed."""
    # Different names, so that no address has two messages, and all calls carry one.
    messages = [(Address("example/greeter", str(n)), Message(*encode("bob"))) for n in range(names)]
    with Engine(LocalRoutes(endpoint, ["example/greeter", "example/teller"])) as engine:
        engine.start()
        engine.submit(messages[:PART]).result()
        engine.wait_idle()
        cpu, wall = time.process_time(), time.perf_counter()
        for first in range(PART, names, PART):
            while engine.queued > 4000:
                time.sleep(0.002)
            engine.submit(messages[first : first + PART])
        engine.wait_idle()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    calls = 2 * (names - PART)
    return cpu / calls * 1e6, wall / calls * 1e6


def main() -> None:
    """Measure both clients in turns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--names", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    relax_collector()
    makers = {"loop": Remote, "threads": BlockingRemote}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in makers}
    with contextlib.closing(Server(WORKER, None)) as server:
        server.wait()
        for _ in range(options.rounds):
            for name, make in makers.items():
                found[name].append(measure(make(server.url), options.names))
    print("| client | µs of CPU a call | calls/s |\n|---|---|---|")
    medians = {}
    for name, measured in found.items():
        medians[name], wall = map(statistics.median, zip(*measured, strict=True))
        print(f"| {name} | {medians[name]:.0f} | {1e6 / wall:,.0f} |")
    print(f"\nloop / threads, by CPU time: {medians['loop'] / medians['threads']:.2f}   ≤ 0.45")


if __name__ == "__main__":
    main()
