"""The greeter on the embedded engine beside StateFun 3.3.0: ``python -m benchmarks.engines``.

Both engines read the same names from Kafka, call the same functions twice per name, and write a
greeting to Kafka. The reader of the greetings counts names per second, from the first quarter on.
The engines take turns in one run; the table has medians, and their ratios to StateFun.

StateFun and the embedded engine over HTTP call the same worker in a process of its own, which is
ours on granian. In memory and durable the embedded engine calls the functions in its own process.
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import uuid

from statefun_flask.flink import Kafka

from . import engine
from .servers import CONTESTANTS
from .servers import cpu
from .servers import Server

WORKER = next(each for each in CONTESTANTS if each.key == "ours granian-direct")
CHILD = pathlib.Path(__file__).parent / "contestants" / "embedded.py"
TOPIC = "names"

#: The target of each way to run the embedded engine, × StateFun's names per second.
GOALS = {"memory": 3.0, "durable": 2.0, "over HTTP": 1.0}


def embedded(way: str, kafka: Kafka, names: int) -> tuple[float, float]:
    """Send all names, and return the names per second and the CPU microseconds per name."""
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url, options = "http://127.0.0.1:1/statefun", [str(folder / "data")]
        if way == "memory":
            options = ["-"]
        elif way == "over HTTP":
            server = stack.enter_context(contextlib.closing(Server(WORKER, None)))
            server.wait()
            url, options = server.url, ["-", "remote"]
        module = folder / "module.yaml"
        group = uuid.uuid4().hex
        module.write_text(
            engine.MODULE.format(url=url, address=kafka.bootstrap, topic=TOPIC, group=group)
        )
        reader = stack.enter_context(contextlib.closing(engine.reader(kafka)))
        command = [sys.executable, str(CHILD), str(module), kafka.bootstrap, *options]
        process = stack.enter_context(subprocess.Popen(command))
        stack.callback(process.terminate)
        engine.count(reader, names // 4)
        start, used = time.monotonic(), cpu(process.pid)
        engine.count(reader, names - names // 4)
        seconds, used = time.monotonic() - start, cpu(process.pid) - used
    counted = names - names // 4
    return counted / seconds, used / counted * 1e6


def main() -> None:
    """Measure the engines in turns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--names", type=int, default=80_000, help="how many there are")
    parser.add_argument("--different", type=int, default=1000, help="how many are different")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=["StateFun", *GOALS], help="engines")
    options = parser.parse_args()

    rates: dict[str, list[float]] = {name: [] for name in ("StateFun", *GOALS)}
    with Kafka() as kafka:
        engine.produce(kafka, TOPIC, options.names, options.different)
        for turn in range(options.rounds):
            for name, measured in rates.items():
                if name not in options.only:
                    continue
                if name == "StateFun":
                    rate, *_ = engine.greet(WORKER, kafka, TOPIC, options.names)
                    print(turn + 1, name, f"{rate:,.0f}/s", file=sys.stderr)
                else:
                    rate, micros = embedded(name, kafka, options.names)
                    shown = f"{rate:,.0f}/s, {micros:.0f} µs of CPU a name"
                    print(turn + 1, name, shown, file=sys.stderr)
                measured.append(rate)

    medians = {name: statistics.median(found) for name, found in rates.items() if found}
    print("| engine | names/s | × StateFun 3.3.0 | target |\n|---|---|---|---|")
    for name, rate in medians.items():
        ratio = f"{rate / medians['StateFun']:.2f}" if "StateFun" in medians else "–"
        asked = f"≥ {GOALS[name]:.0f}" if name in GOALS else "–"
        print(f"| {name} | {rate:,.0f} | {ratio} | {asked} |")


if __name__ == "__main__":
    main()
