"""``flask statefun dev --data`` with and without ``--isolate``: ``python -m benchmarks.isolate``.

The same messages go to the same functions in turns: in this process, and in one child process for
each core. One function does next to nothing, the others compute for a while. Shown is how many
messages a second the children handle, as a multiple of what one process does; the start of the
processes does not count.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

APP = """
import time

from statefun_flask import Context, Effects, StateFunFlask, ValueSpec

app = StateFunFlask(__name__)
SEEN = ValueSpec("seen", int)


@app.statefun("bench/work", states=[SEEN])
def work(context: Context, text: str) -> Effects:
    for _ in range(int(text)):
        pass
    return Effects().update_state(SEEN, (context.get_state(SEEN) or 0) + 1)
"""

#: How much a message computes, how many messages there are, and for how many ids. With fewer ids
#: than messages a call has many messages.
CASES = ((0, 5000, 5000), (0, 20_000, 100), (20_000, 1000, 1000), (200_000, 200, 200))

FLASK = "import sys; from flask.cli import main; sys.argv[0] = 'flask'; main()"


def seconds(folder: pathlib.Path, data: str, *options: str) -> float:
    """Return how long the engine takes for the messages of a folder."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", FLASK, "--app", "app", "statefun", "dev", "--port", "0"),
            *("--data", data, "--input", "messages", "--to", "bench/work", "--exit-when-idle"),
            *("--quiet", "--format", "json", *options),
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        text=True,
    )
    if process.stdout is None:
        raise RuntimeError("The command has no output. Run the benchmark again.")
    began = 0.0
    for line in process.stdout:
        if '"event": "ready"' in line:
            began = time.perf_counter()
    if process.wait() != 0:
        raise RuntimeError("The command has failed, see its output. Correct the benchmark.")
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    for loops, messages, ids in CASES:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "app.py").write_text(APP)
            (folder / "messages").write_text(
                "".join(f"{number % ids}\t{loops}\n" for number in range(messages))
            )
            ratios, alone = [], []
            for turn in range(options.turns):
                alone.append(seconds(folder, f"a{turn}"))
                ratios.append(alone[-1] / seconds(folder, f"b{turn}", "--isolate"))
        cost = min(alone) / messages * 1e6
        label = f"{ids} ids, {loops} loops, {cost:.0f} µs a message in one process"
        print(
            f"{label:<65}× {statistics.median(ratios):.2f}"
            f"   ({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
