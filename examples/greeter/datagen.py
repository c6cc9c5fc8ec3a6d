"""Produce random names on Kafka, and print the greetings that come back.

    python datagen.py --count 20

Ends when every name has its greeting, or on Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import collections.abc as cabc
import json
import os
import pathlib
import random
import signal
import time

from confluent_kafka import Consumer
from confluent_kafka import KafkaError
from confluent_kafka import KafkaException
from confluent_kafka import Producer
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]
from greeter_pb2 import GreetRequest
from greeter_pb2 import GreetResponse

NAMES = pathlib.Path(__file__).with_name("names.jsonl")


def names(count: int | None, seed: int | None) -> cabc.Iterator[str]:
    """Yield random names, without end if there is no count. A seed determines the names."""
    known = [json.loads(line)["name"] for line in NAMES.read_text().splitlines()]
    chosen = random.Random(seed)
    produced = 0
    while count is None or produced < count:
        yield chosen.choice(known)
        produced += 1


def serialize(name: str, as_json: bool) -> bytes:
    """Return the request for a name as greeter.py, or greeter_json.py, expects it."""
    if as_json:
        return json.dumps({"name": name}).encode()
    return GreetRequest(name=name).SerializeToString()


def deserialize(value: bytes, as_json: bool) -> str:
    """Return the text of a greeting."""
    return value.decode() if as_json else GreetResponse.FromString(value).greeting


def run(
    bootstrap: str,
    rate: float,
    count: int | None,
    seed: int | None,
    as_json: bool,
    alive: pathlib.Path | None = None,
) -> None:
    """Produce names at a rate, and print greetings as they arrive.

    :param alive: A file that is touched repeatedly, for a health check.
    """
    create_topics(bootstrap)
    producer = Producer({"bootstrap.servers": bootstrap})
    consumer = subscribe(bootstrap)
    pending = names(count, seed)
    due = time.monotonic()
    sent = received = 0
    finished = False
    try:
        while not finished or received < sent:
            if alive is not None:
                alive.touch()
            while not finished and time.monotonic() >= due:
                name = next(pending, None)
                if name is None:
                    finished = True
                    break
                producer.produce("names", key=name, value=serialize(name, as_json))
                producer.poll(0)
                sent += 1
                due += 1 / rate

            message = consumer.poll(0.05)
            if message is not None and message.error() is None:
                print(deserialize(message.value() or b"", as_json), flush=True)
                received += 1
    except KeyboardInterrupt:
        pass
    finally:
        producer.flush(10)
        consumer.close()


def create_topics(bootstrap: str) -> None:
    """Create the topics that do not exist."""
    topics = [NewTopic("names", 1), NewTopic("greetings", 1)]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics(topics).values():
        try:
            future.result()
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def subscribe(bootstrap: str) -> Consumer:
    """Return a consumer of the greetings that are written from now on."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"datagen-{os.getpid()}",
            # Greetings of transactions that failed are not shown.
            "isolation.level": "read_committed",
        }
    )
    assigned = []

    def start_at_the_end(_: Consumer, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            partition.offset = consumer.get_watermark_offsets(partition)[1]
        consumer.assign(partitions)
        assigned.extend(partitions)

    consumer.subscribe(["greetings"], on_assign=start_at_the_end)
    while not assigned:
        consumer.poll(0.1)
    return consumer


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--bootstrap",
        default=os.environ.get("KAFKA_BOOTSTRAP", "127.0.0.1:9092"),
        help="host:port of a Kafka broker (default: $KAFKA_BOOTSTRAP, else %(default)s)",
    )
    parser.add_argument("--rate", type=float, default=10, help="names per second (default: 10)")
    parser.add_argument("--count", type=int, help="stop after this many names")
    parser.add_argument("--seed", type=int, help="produce the same names each time")
    parser.add_argument(
        "--alive", type=pathlib.Path, help="touch this file repeatedly, for a health check"
    )
    parser.add_argument("--json", action="store_true", help="for greeter_json.py")
    options = parser.parse_args()
    if options.rate <= 0:
        parser.error("--rate must be above 0")
    # Without a handler the first process of a container ignores SIGTERM.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run(options.bootstrap, options.rate, options.count, options.seed, options.json, options.alive)


if __name__ == "__main__":
    main()
