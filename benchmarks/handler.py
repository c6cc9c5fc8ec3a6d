"""Bytes to bytes in one process: ``python -m benchmarks.handler [--quick]``."""

from __future__ import annotations

import argparse
import pathlib
import statistics
import subprocess
import typing as t

from statefun_flask.protocol.schema.request_reply_v3 import FromFunction
from statefun_flask.protocol.schema.request_reply_v3 import ToFunction
from statefun_flask.protocol.schema.types import IntWrapper
from statefun_flask.protocol.schema.types import StringWrapper

from . import peers

HERE = pathlib.Path(__file__).parent
NAMES = {
    "ours": "statefun_flask",
    "apache": "apache-flink-statefun 3.3.0",
    "fork": "flink-statefun 3.5.0",
    "floor": "typed floor",
}


def request(messages: int) -> bytes:
    """Return a request for one person with a state and some messages."""
    to_function = ToFunction()
    batch = to_function.invocation
    batch.target.namespace, batch.target.type, batch.target.id = "example", "person", "bob"
    state = batch.state.add(state_name="seen").state_value
    state.typename, state.has_value = "io.statefun.types/int", True
    state.value = IntWrapper(value=41).SerializeToString()
    for number in range(messages):
        argument = batch.invocations.add().argument
        argument.typename, argument.has_value = "io.statefun.types/string", True
        argument.value = StringWrapper(value=f"person {number}").SerializeToString()
    return to_function.SerializeToString()


class Contestant:
    """One contestant in a process of its own."""

    def __init__(self, name: str) -> None:
        self.process = subprocess.Popen(
            [peers.python(name), HERE / "contestant.py", HERE / "contestants" / f"{name}.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, *words: object) -> str:
        stdin, stdout = t.cast("tuple[t.IO[str], ...]", (self.process.stdin, self.process.stdout))
        print(*words, file=stdin, flush=True)
        return stdout.readline().strip()

    def answer(self, body: bytes) -> FromFunction:
        return FromFunction.FromString(bytes.fromhex(self.ask("answer", body.hex())))

    def seconds(self, count: int, body: bytes) -> float:
        return float(self.ask("time", count, body.hex()))


def compare(messages: int, contestants: dict[str, Contestant], rounds: int, length: float) -> None:
    """Time one size of request and print a table."""
    body = request(messages)
    expected = contestants["floor"].answer(body)
    for name, contestant in contestants.items():
        assert contestant.answer(body) == expected, f"{name} answers something else"

    counts = {}
    for name, contestant in contestants.items():
        contestant.seconds(20, body)
        counts[name] = max(5, int(length * 20 / contestant.seconds(20, body)))
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            times[name].append(contestant.seconds(counts[name], body) / counts[name])

    ours = statistics.median(times["ours"])
    print(f"\n{messages} message{'s' * (messages > 1)} a request, median of {rounds} rounds")
    for name, measured in times.items():
        median = statistics.median(measured)
        print(
            f"  {NAMES[name]:<28} {median / messages * 1e6:8.2f} µs a message"
            f"   {median / ours:6.2f} × ours"
        )


def main() -> None:
    """Measure all contestants."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter rounds, wider error")
    parser.add_argument("--only", nargs="*", default=list(NAMES), help="contestants to run")
    options = parser.parse_args()
    contestants = {name: Contestant(name) for name in NAMES if name in options.only}
    for messages in (1, 100):
        compare(messages, contestants, 3 if options.quick else 9, 0.1 if options.quick else 0.4)
    for contestant in contestants.values():
        contestant.process.communicate()


if __name__ == "__main__":
    main()
