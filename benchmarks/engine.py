"""A greeter on StateFun 3.3.0: ``python -m benchmarks.engine [--names N]``.

The functions read names from Kafka, count them, and write greetings: two calls of the worker per
name. The table has the CPU time of the worker, which is the cost for the user."""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import statistics
import sys
import time
import uuid

from confluent_kafka import Consumer
from confluent_kafka import Producer

from statefun_flask.flink import Cluster
from statefun_flask.flink import Kafka
from statefun_flask.protocol.schema.types import StringWrapper

from .servers import Contestant
from .servers import CONTESTANTS
from .servers import cpu
from .servers import family
from .servers import Server

#: Names per second, the CPU time of the worker per name in microseconds, and its share of the CPU
#: time of the worker and the TaskManager.
Result = tuple[float, float, float]

KEYS = ("ours granian-direct", "ours uvicorn", "fork uvicorn", "apache aiohttp")
MODULE = """\
kind: io.statefun.endpoints.v2/http
spec:
  functions: example/*
  urlPathTemplate: {url}
---
kind: io.statefun.kafka.v1/ingress
spec:
  id: example/names
  address: {address}
  consumerGroupId: {group}
  startupPosition: {{type: earliest}}
  topics:
    - topic: {topic}
      valueType: io.statefun.types/string
      targets: [example/greeter]
---
kind: io.statefun.kafka.v1/egress
spec:
  id: example/greets
  address: {address}
  deliverySemantic: {{type: at-least-once}}
"""


def greet(contestant: Contestant, kafka: Kafka, topic: str, names: int) -> Result:
    """Send all names, and measure from the first quarter on."""
    server = Server(contestant, None)
    with contextlib.closing(server):
        server.wait()
        group = uuid.uuid4().hex
        module = MODULE.format(url=server.url, address=kafka.bootstrap, topic=topic, group=group)
        with contextlib.closing(reader(kafka)) as greetings, Cluster(module, kafka=kafka):
            count(greetings, names // 4)
            start, worker, engine = time.monotonic(), cpu(server.process.pid), _engine()
            count(greetings, names - names // 4)
            seconds = time.monotonic() - start
            worker, engine = cpu(server.process.pid) - worker, _engine() - engine
    counted = names - names // 4
    return counted / seconds, worker / counted * 1e6, worker / (worker + engine)


def reader(kafka: Kafka) -> Consumer:
    """Return a consumer of the greetings from now on."""
    kafka.create_topics(["greetings"])
    reader = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": uuid.uuid4().hex,
            "auto.offset.reset": "latest",
        }
    )
    assigned: list[object] = []
    reader.subscribe(["greetings"], on_assign=lambda _, partitions: assigned.extend(partitions))
    while not assigned:
        reader.poll(0.1)
    return reader


def count(reader: Consumer, records: int) -> None:
    """Return the time at which so many records have arrived.

    :raises RuntimeError: No record arrived for two minutes.
    """
    heard = time.monotonic()
    while records > 0:
        came = len(reader.consume(min(records, 1000), timeout=0.2))
        records -= came
        heard = time.monotonic() if came else heard
        if time.monotonic() - heard > 120:
            raise RuntimeError("No greeting came for two minutes.")


def produce(kafka: Kafka, topic: str, names: int, different: int = 1000) -> None:
    """Write names, with a given number of different ones."""
    kafka.create_topics([topic])
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 20})
    for number in range(names):
        name = f"person {number % different}"
        value = StringWrapper(value=name).SerializeToString()
        producer.produce(topic, key=name, value=value)
        if number % 10_000 == 0:
            producer.flush()
    producer.flush()


def _engine() -> float:
    """Return the seconds of CPU of the TaskManager, which this process has started."""
    return sum(
        cpu(pid)
        for pid in family(os.getpid())
        if b"TaskManagerRunner" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    )


def main() -> None:
    """Measure our worker beside those of the other Python SDKs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=int, default=100_000, help="how many there are")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=KEYS, help="contestants, by their key")
    options = parser.parse_args()
    contestants = [each for each in CONTESTANTS if each.key in options.only]
    topic = "names"

    results: dict[str, list[Result]] = {}
    with Kafka() as kafka:
        produce(kafka, topic, options.names)
        for turn in range(options.rounds):
            for contestant in contestants:
                result = greet(contestant, kafka, topic, options.names)
                results.setdefault(contestant.key, []).append(result)
                print(turn + 1, contestant.key, result, file=sys.stderr)

    print("| worker | names/s | worker's CPU per name | its share of all CPU |\n|---|---|---|---|")
    for key, measured in results.items():
        rate, micros, share = map(statistics.median, zip(*measured, strict=True))
        print(f"| {key} | {rate:,.0f} | {micros:,.0f} µs | {share:.0%} |")


if __name__ == "__main__":
    main()
