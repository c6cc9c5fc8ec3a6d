"""An engine that is made to crash: reads numbers from a range, counts them and writes them out.

``crashing.py FOLDER OUT COUNT``. Each number goes to one of a few counters, which sends it on to a
relay (an egress record) and, later, to another counter. A line on standard output tells of each
part of the input that is acknowledged; the last one has the final counts.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import kafka_record
from statefun_flask import RequestHandler
from statefun_flask import ValueSpec
from statefun_flask.embedded import Control
from statefun_flask.embedded import Engine
from statefun_flask.embedded import engine as engines
from statefun_flask.embedded import InProcess
from statefun_flask.embedded import LocalRoutes
from statefun_flask.embedded import Store
from statefun_flask.embedded.store import store as stores
from statefun_flask.values.message import encode
from statefun_flask.values.message import Message

COUNT = ValueSpec("count", int)
ADDRESSES = 7
PART = 10
TYPES = ("t/count", "t/late")

registry = FunctionRegistry()


def count(context: Context, number: int) -> Effects:
    id = context.self_address.id
    return (
        Effects()
        .update_state(COUNT, (context.get_state(COUNT) or 0) + 1)
        .send(Address("t/relay", id), number)
        .send_after(Address("t/late", id), dt.timedelta(milliseconds=3), number)
        .send_after(Address("t/late", id), dt.timedelta(1), number, cancellation_token="t")
        .cancel("t")
    )


def late(context: Context, number: int) -> Effects:
    return Effects().update_state(COUNT, (context.get_state(COUNT) or 0) + 1)


def relay(context: Context, number: int) -> Effects:
    return Effects().egress("t/out", kafka_record("out", value=str(number)))


registry.register("t/count", count, states=[COUNT])
registry.register("t/late", late, states=[COUNT])
registry.register("t/relay", relay)


def main(folder: str, out: str, total: int) -> None:
    # Small, so that queues are on disk and the log is moved often.
    engines.STEPS = 7
    stores.LOG_SIZE = 100_000
    file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def deliver(records: list) -> None:
        os.write(file, b"".join(b"%d %s\n" % (each.seq, each.value) for each in records))

    store = Store(folder)
    engine = Engine(
        LocalRoutes(InProcess(RequestHandler(registry))), store, concurrency=4, deliver=deliver
    )
    start = int(store.position("input") or 0)
    engine.start()
    for first in range(start, total, PART):
        numbers = range(first, first + PART)
        messages = [
            (Address("t/count", str(number % ADDRESSES)), Message(*encode(number)))
            for number in numbers
        ]
        engine.submit(messages, {"input": str(first + PART)}).result()
        print(first, flush=True)
    control = Control(engine)
    engine.wait_idle()
    while control.delays():
        engine.wait_idle()
    print(json.dumps({"counts": counts(control), "parked": len(control.parked())}), flush=True)
    engine.close()


def counts(control: Control) -> list[int]:
    return [
        sum(
            control.state(Address(typename, str(id)))["count"].as_type(int)
            for id in range(ADDRESSES)
        )
        for typename in TYPES
    ]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
