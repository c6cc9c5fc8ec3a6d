"""Runs one contestant in its own environment: ``contestant.py FILE``, then commands on stdin.

``answer HEX`` prints the reply to a request; ``time COUNT HEX`` prints the seconds for COUNT
requests."""

import runpy
import sys
import time
import warnings

warnings.simplefilter("ignore")
handle = runpy.run_path(sys.argv[1])["handle"]

for line in sys.stdin:
    command, *words = line.split()
    body = bytes.fromhex(words[-1])
    if command == "answer":
        print(handle(body).hex(), flush=True)
    else:
        count = range(int(words[0]))
        start = time.perf_counter()
        for _ in count:
            handle(body)
        print(time.perf_counter() - start, flush=True)
