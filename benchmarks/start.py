"""The cost of an app compared with a bare Flask app: ``python -m benchmarks.start``.

The table has the time of the import in addition to Flask's own, and the memory (RSS) of a worker
that has answered some requests."""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time

from .cases import CASES
from .servers import Contestant
from .servers import family
from .servers import memory
from .servers import Server

REQUESTS = 200


def imports(rounds: int) -> tuple[float, float]:
    """Return the shortest times in which Python starts and imports Flask, and both, in ms."""
    modules = ("import flask", "import flask, statefun_flask")
    times: dict[str, list[float]] = {each: [] for each in modules}
    for _ in range(rounds):
        for each in modules:
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", each], check=True)
            times[each].append(1000 * (time.perf_counter() - started))
    flask, both = (min(times[each]) for each in modules)
    return flask, both


def worker(app: str, server: str) -> float:
    """Return the RSS of a worker, which is its largest process, in MB."""
    contestant = Contestant(app, app, app, "ours", ("small.py", app, server))
    with contextlib.closing(Server(contestant, None)) as running:
        running.wait()
        for _ in range(REQUESTS):
            running.ask(CASES["a"])
        return max(map(memory, family(running.process.pid)))


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    flask, both = imports(options.rounds)
    print("| | bare Flask | with statefun_flask | |\n|---|---|---|---|")
    print(f"| start and import | {flask:.0f} ms | {both:.0f} ms | + {both - flask:.0f} ms |")
    for server in ("waitress", "granian"):
        bare, ours = worker("bare", server), worker("statefun", server)
        ratio = f"{ours / bare:.2f} ×"
        print(f"| worker on {server}, RSS | {bare:.1f} MB | {ours:.1f} MB | {ratio} |")


if __name__ == "__main__":
    main()
