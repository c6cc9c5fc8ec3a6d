"""The embedded engine beside its parts: ``python -m benchmarks.embedded [--quick]``.

The first part compares the handler alone, the engine in memory and the engine with a data folder,
in short turns. A message goes to a counter with one state, which sends a message to a relay, which
writes an egress record. The second part compares the time and the memory of engines with few and
with very many stored addresses, each in a process of its own. An address never has more than one
message in flight.

For the handler and the engine in memory the table also shows the CPU time of the process, because
other work on the machine hardly changes it.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import random
import sqlite3
import subprocess
import sys
import tempfile
import time

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import kafka_record
from statefun_flask import RequestHandler
from statefun_flask import ValueSpec
from statefun_flask.embedded import Engine
from statefun_flask.embedded import InProcess
from statefun_flask.embedded import LocalRoutes
from statefun_flask.embedded import open_store
from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded.exchange import request
from statefun_flask.embedded.exchange.states import StateSpec
from statefun_flask.embedded.records import Envelope
from statefun_flask.embedded.records import StoredValue
from statefun_flask.values.message import encode
from statefun_flask.values.message import Message

SEEN = ValueSpec("seen", int)
HELLO = Message(*encode("hello"))
PART = 500

#: Microseconds of an invocation: wall-clock time, and CPU time of the process.
Times = tuple[float, float]

registry = FunctionRegistry()


def count(context: Context, text: str) -> Effects:
    id = context.self_address.id
    seen = (context.get_state(SEEN) or 0) + 1
    return Effects().update_state(SEEN, seen).send(Address("bench/relay", id), text)


def relay(context: Context, text: str) -> Effects:
    record = kafka_record("out", key=context.self_address.id, value=text)
    return Effects().egress("bench/out", record)


registry.register("bench/count", count, states=[SEEN])
registry.register("bench/relay", relay)
handle = RequestHandler(registry)


def bodies() -> list[bytes]:
    """Return the two requests that the engine makes for a message."""
    at, to = Address("bench/count", "12345"), Address("bench/relay", "12345")
    spec = StateSpec("seen", "io.statefun.types/long")
    cell = StoredValue(encode(41)[1], 0)
    return [
        request.write(at, {"seen": spec}, {"seen": cell}, [Envelope(1, 1, at, None, HELLO)]),
        request.write(to, {}, {}, [Envelope(2, 1, to, at, HELLO)]),
    ]


class Stopwatch:
    """Runs from its making."""

    def __init__(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    def read(self, messages: int) -> Times:
        """Return the microseconds of an invocation. Each message causes two invocations."""
        wall, cpu = self._started
        now, cpu_now = time.perf_counter(), time.process_time()
        return (now - wall) / messages / 2 * 1e6, (cpu_now - cpu) / messages / 2 * 1e6


def time_handler(messages: int) -> Times:
    """Return the microseconds of an invocation."""
    one, other = bodies()
    watch = Stopwatch()
    for _ in range(messages):
        handle(one)
        handle(other)
    return watch.read(messages)


def time_engine(engine: Engine, ids: list[str]) -> Times:
    """Return the microseconds of an invocation, one message to each id."""
    watch = Stopwatch()
    before = None
    for first in range(0, len(ids), PART):
        part = [(Address("bench/count", id), HELLO) for id in ids[first : first + PART]]
        future = engine.submit(part)
        if before is not None:
            before.result()
        before = future
    engine.wait_idle()
    return watch.read(len(ids))


def started(path: str | None) -> Engine:
    engine = Engine(LocalRoutes(InProcess(handle), registry), open_store(path), concurrency=1)
    engine.start()
    time_engine(engine, [str(number) for number in range(2000)])
    return engine


# -- many addresses: in a process of its own -------------------------------------------------


def resident() -> float:
    """Return the memory of this process in MB."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def prepare(folder: str, addresses: int) -> None:
    """Make a data folder with the states of many addresses, as the engine stores them."""
    SqliteStore(folder).close()
    connection = sqlite3.connect(f"{folder}/statefun.sqlite3")
    with connection:
        connection.execute(
            "insert into spec values ('bench/count', 'seen', ?)", (SEEN.type.typename,)
        )
        connection.executemany(
            "insert into state values ('bench/count', ?, 'seen', ?, 0, null)",
            ((id, encode(1)[1]) for id in sorted(str(number) for number in range(addresses))),
        )
    connection.close()


def child(folder: str, addresses: int, messages: int) -> None:
    """Print the time and the memory with the stored addresses of a folder."""
    with tempfile.TemporaryDirectory() as empty:
        Engine(LocalRoutes(InProcess(handle), registry), SqliteStore(empty)).close()
    idle = resident()
    engine = Engine(LocalRoutes(InProcess(handle), registry), SqliteStore(folder), concurrency=1)
    engine.start()
    draw = random.Random(7)
    # In parts without repetition, so that no address has two messages in flight.
    ids = [
        str(number)
        for _ in range(0, messages, PART)
        for number in draw.sample(range(addresses), PART)
    ]
    time_engine(engine, ids[: 4 * PART])
    result, _ = time_engine(engine, ids)
    print(json.dumps([result, resident() - idle]))
    engine.close()


def measure(folder: str, addresses: int, messages: int) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.embedded", "--child", folder]
    output = subprocess.check_output([*command, str(addresses), str(messages)], text=True)
    time_, memory = json.loads(output)
    return time_, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer messages, for a first look")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        folder, addresses, messages = options.child
        child(folder, int(addresses), int(messages))
        return

    messages, turns = (4_000, 3) if options.quick else (20_000, 5)
    with tempfile.TemporaryDirectory() as folder:
        ids = [str(number) for number in range(2000)]
        with started(None) as memory_engine, started(f"{folder}/data") as durable_engine:
            # The turns are short, so that other work on the machine affects all three.
            times = [
                (
                    time_handler(len(ids)),
                    time_engine(memory_engine, ids),
                    time_engine(durable_engine, ids),
                )
                for _ in range(messages // 200)
            ]
        columns = list(zip(*times, strict=True))
        handler, memory, durable = (min(wall for wall, _ in column) for column in columns)
        handler_cpu, memory_cpu, _ = (min(cpu for _, cpu in column) for column in columns)
        line("handler, microseconds an invocation", f"{handler:.1f}", "")
        line("memory mode: invocations a second, × the handler's", handler / memory, "≥ 0.35")
        line("durable: invocations a second, × memory mode", memory / durable, "≥ 0.7")
        line("own cost in memory mode, µs an invocation", memory - handler, "< 20")
        line("memory mode, × the handler's, by CPU time", handler_cpu / memory_cpu, "≥ 0.35")
        line("own cost in memory mode, µs of CPU time", memory_cpu - handler_cpu, "< 20")

        sizes = (1_000, 100_000, 1_000_000)
        for size in sizes:
            prepare(f"{folder}/size{size}", size)
        found = {size: [] for size in sizes}
        for _ in range(turns):
            for size in sizes:
                found[size].append(measure(f"{folder}/size{size}", size, messages))
        best = {size: min(each[0] for each in found[size]) for size in sizes}
        most = {size: max(each[1] for each in found[size]) for size in sizes}
        line(
            "durable, 1,000,000 addresses: µs, × those at 1,000",
            best[1_000_000] / best[1_000],
            "≤ 2",
        )
        line("memory above idle at 100,000 addresses, MB", most[100_000], "≤ 40")
        line("memory above idle at 1,000,000 addresses, MB", most[1_000_000], "≤ 60")


def line(what: str, figure: float | str, goal: str) -> None:
    number = figure if isinstance(figure, str) else f"{figure:.2f}"
    print(f"{what:<58}{number:>8}   {goal}", flush=True)


if __name__ == "__main__":
    main()
