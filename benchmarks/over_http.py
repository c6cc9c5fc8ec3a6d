"""Requests over HTTP, one core for the server: ``python -m benchmarks.over_http [--quick]``."""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import statistics
import sys
import tempfile

from . import load
from . import report
from .cases import CASES
from .load import Load
from .servers import Contestant
from .servers import CONTESTANTS
from .servers import cores
from .servers import Server

#: Requests per second of each round, by contestant and case.
Figures = dict[tuple[str, str], list[float]]


def measure(contestants: list[Contestant], cases: str, rounds: int, seconds: int) -> Figures:
    """Start all contestants, and measure them in turns in each round."""
    figures: Figures = {}
    server_core, load_core = cores()
    with contextlib.ExitStack() as stack:
        folder = tempfile.TemporaryDirectory()
        stack.enter_context(folder)
        loads = load.loads([CASES[name] for name in cases], folder)
        servers = []
        for contestant in contestants:
            server = Server(contestant, server_core)
            stack.callback(server.close)
            server.wait()
            servers.append(server)
        for server in servers:
            _verify(server, cases)

        for turn in range(rounds + 1):
            for name in cases:
                for server in servers:
                    if name not in server.contestant.cases:
                        continue
                    warming = turn == 0
                    # Case e has no response in the first 50 ms, which matters in a short turn.
                    length = 1 if warming else 2 * seconds if name == "e" else seconds
                    rate = _rate(server, loads[name], length, load_core)
                    if not warming:
                        figures.setdefault((server.contestant.key, name), []).append(rate)
                print(f"round {turn} of {rounds}, case {name}", file=sys.stderr)
    return figures


def _rate(server: Server, load: Load, seconds: int, core: int | None) -> float:
    """Return the requests per second of CPU time, or of wall-clock time for case e.

    Other processes on the same core hardly change the CPU time of a server. In case e, functions
    wait, so the wall-clock time counts.
    """
    before = server.cpu()
    requests, elapsed = load.run(server.url, seconds, core)
    after = server.cpu()
    if load.case.name == "e" or before is None or after is None:
        return requests / elapsed
    return requests / (after - before)


def _verify(server: Server, cases: str) -> None:
    """Refuse a contestant with wrong replies. Constant responses are not checked."""
    for name in cases:
        if name in server.contestant.cases and server.contestant.group != "constant":
            try:
                CASES[name].check(server.ask(CASES[name]))
            except AssertionError as exc:
                raise RuntimeError(
                    f"{server.contestant.key} answers {name} wrongly: {exc}"
                ) from None


def main() -> None:
    """Measure all contestants."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer contestants, one short round")
    parser.add_argument("--only", nargs="*", help="contestants to run, by the start of their key")
    parser.add_argument("--cases", default="abcde", help="the cases to run")
    parser.add_argument("--rounds", type=int, help="how many rounds there are")
    parser.add_argument("--seconds", type=int, help="how long each turn is")
    parser.add_argument("--write", type=pathlib.Path, help="the folder for table and plot")
    options = parser.parse_args()

    lacking = load.missing()
    if lacking:
        sys.exit(lacking)
    contestants = []
    for contestant in CONTESTANTS:
        chosen = contestant.quick if options.quick else True
        if options.only is not None:
            chosen = contestant.key.startswith(tuple(options.only))
        tools = contestant.missing() if chosen else []
        if tools:
            print(f"{contestant.title} is left out: no {' and no '.join(tools)}.", file=sys.stderr)
        elif chosen:
            contestants.append(contestant)

    rounds = options.rounds or (1 if options.quick else 3)
    seconds = options.seconds or (1 if options.quick else 2)
    figures = measure(contestants, options.cases, rounds, seconds)
    medians = {key: statistics.median(rates) for key, rates in figures.items()}
    print(report.table(contestants, options.cases, medians))
    print(report.ratios(medians))
    if options.write is not None:
        report.write(options.write, contestants, options.cases, figures)


if __name__ == "__main__":
    main()
