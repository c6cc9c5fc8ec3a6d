"""An engine that crashes on purpose. It reads the numbers of a range, counts them and writes them.

``crashing.py FOLDER OUT COUNT [POINT:N]``. Each number goes to one of a few counters, which sends
it to a relay (an egress record) and, later, to another counter. The program prints a line for each
acknowledged part of the input; the last line has the final counts.

The process exits at the N-th pass of POINT: ``call`` (a function has replied), ``transaction``
(half of a commit is written), ``commit`` (it is on disk), ``deliver`` (records are written to OUT
and not acknowledged), ``checkpoint`` (a part of the log is moved into the database) or ``recover``
(half of the queues are read)."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import json
import os
import resource
import sys
import typing as t

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import kafka_record
from statefun_flask import RequestHandler
from statefun_flask import ValueSpec
from statefun_flask.embedded import Control
from statefun_flask.embedded import EgressRecord
from statefun_flask.embedded import Engine
from statefun_flask.embedded import engine as engines
from statefun_flask.embedded import InProcess
from statefun_flask.embedded import LocalRoutes
from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded.store import sqlite as stores
from statefun_flask.embedded.store.base import Changes
from statefun_flask.values.message import encode
from statefun_flask.values.message import Message

COUNT = ValueSpec("count", int)
ADDRESSES = 7
PART = 10
TYPES = ("t/count", "t/late")

#: The exit status of a crash.
STATUS = 86

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


class FailPoint:
    """Ends the process at the n-th pass of a point."""

    def __init__(self, text: str) -> None:
        self.point, _, count = text.partition(":")
        self._left = int(count or 1)

    def is_due(self, point: str) -> bool:
        self._left -= point == self.point
        return point == self.point and self._left == 0

    def hit(self, point: str) -> None:
        if self.is_due(point):
            os._exit(STATUS)


class CrashingStore(SqliteStore):
    """A store that ends the process at a point."""

    def __init__(self, path: str, fail: FailPoint) -> None:
        self._fail = fail
        super().__init__(path)

    def commit(self, changes: Changes) -> None:
        super().commit(changes)
        self._fail.hit("commit")

    def _write(self, name: str, statement: str, values: list[t.Any]) -> None:
        super()._write(name, statement, values)
        if name in ("consumed", "messages"):
            self._fail.hit("transaction")

    def _move_log(self) -> None:
        if not self._fail.is_due("checkpoint"):
            super()._move_log()
            return
        # SQLite has no hook in a checkpoint, so a limit on the size of files stops it halfway.
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(self.path) // 2, hard))
        try:
            super()._move_log()
        finally:
            os._exit(STATUS)

    def messages(self) -> cabc.Iterator[t.Any]:
        for index, envelope in enumerate(super().messages()):
            yield envelope
            if index == 1:
                self._fail.hit("recover")


class FileSink:
    """Writes records to a file."""

    def __init__(self, path: str, fail: FailPoint) -> None:
        self.engine: Engine
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._fail = fail

    def offer(self, records: list[EgressRecord]) -> None:
        lines = b"".join(b"%d %s\n" % (each.seq, each.value) for each in records)
        os.write(self._file, lines)
        self._fail.hit("deliver")
        self.engine.acknowledge("t/out", records[-1].seq)

    def close(self, timeout: float) -> None:
        os.close(self._file)


def main(folder: str, out: str, total: int, point: str = "") -> None:
    # The limits are small, so that queues are on disk and the log is moved often.
    engines.STEPS = 7
    stores.LOG_SIZE = 100_000
    fail = FailPoint(point)
    handler = RequestHandler(registry)

    def handle(body: bytes) -> bytes:
        reply = handler(body)
        fail.hit("call")
        return reply

    store = CrashingStore(folder, fail)
    engine = Engine(LocalRoutes(InProcess(handle)), store, concurrency=4)
    sink = FileSink(out, fail)
    sink.engine = engine
    engine.attach("t/out", sink)
    start = int(engine.position("input") or 0)
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
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
