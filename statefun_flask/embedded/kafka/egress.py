"""An egress: a thread that writes records to Kafka, each until the broker has it."""

from __future__ import annotations

import collections
import collections.abc as cabc
import queue
import re
import threading
import time
import typing as t

from confluent_kafka import KafkaError
from confluent_kafka import KafkaException
from confluent_kafka import Producer

from ... import module_yaml
from .. import events
from ..engine import Engine
from ..records import EgressRecord
from . import settings
from .broker import Broker

#: The header with the record's number, as decimal text; a record that comes twice has the same.
SEQ = "statefun-seq"

#: The header that names the data folder that the number is of.
DATA = "statefun-data"

#: Between tries to write a record that the broker refuses, in seconds: the first time, at most.
RETRY, LONGEST = 1.0, 30.0


class Flying:
    """A record on its way: the producer's callback for it.

    :param made: Which of the producers in turn has it.
    """

    __slots__ = ("done", "egress", "made", "record")

    def __init__(self, egress: Egress, record: EgressRecord) -> None:
        self.egress = egress
        self.record = record
        self.done = False
        self.made = 0

    def __call__(self, error: KafkaError | None, message: t.Any) -> None:
        """Note what has become of it."""
        if error is None:
            self.done = True
        else:
            self.egress.refused(self, error)


class Egress:
    """Writes the records of an egress, in their order for each key.

    It keeps a record until the broker acknowledges it, however long that takes. What the broker
    refuses for good, such as too large a record, is told and tried again; meanwhile those behind it
    wait, as on Flink.

    :param address: The brokers.
    :param data: Names what the records' numbers belong to.
    """

    def __init__(
        self, engine: Engine, part: module_yaml.KafkaEgress, address: str, broker: Broker, data: str
    ) -> None:
        self.part = part
        self._engine = engine
        self._broker = broker
        self._data = (DATA, data.encode())
        self._settings = settings.producer(part, address)
        #: The properties of module.yaml that it goes without.
        self.unknown: list[str]
        self._producer, self.unknown = self._make()
        self._offered: queue.SimpleQueue[list[EgressRecord]] = queue.SimpleQueue()
        self._flying: collections.deque[Flying] = collections.deque()
        self._made = 0
        self._refused: KafkaError | None = None
        self._told = ""
        self._delay = RETRY
        self._closing = False
        self._deadline = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="statefun-kafka-out", daemon=True)
        self._thread.start()

    def _make(self) -> tuple[t.Any, list[str]]:
        return settings.make(Producer, self._settings, error_cb=self._broker.error)

    # -- for the engine -------------------------------------------------------------------

    def offer(self, records: list[EgressRecord]) -> None:
        """Take records."""
        self._offered.put(records)

    def close(self, timeout: float) -> None:
        """Write what was offered, within so many seconds, and end."""
        self._deadline = time.monotonic() + timeout
        self._closing = True
        self._stop.set()
        self._thread.join(timeout + 2.0)

    # -- the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ended():
            self._take()
            self._poll(0.01 if self._flying else 0)
            self._acknowledge()
            if self._refused is not None and not self._closing:
                self._start_again(self._refused)
            elif self._flying:
                self._broker.look(self._producer)
        self._producer.purge()
        self._poll(0)

    def _poll(self, timeout: float) -> None:
        """Let the producer tell what has become of records."""
        try:
            self._producer.poll(timeout)
        except KafkaException as exc:
            self._refused = self._refused or exc.args[0]

    def _ended(self) -> bool:
        if not self._closing:
            return False
        done = not self._flying and self._offered.empty()
        stuck = self._broker.is_down or self._refused is not None
        return done or stuck or time.monotonic() >= self._deadline

    def _take(self) -> None:
        """Write what was offered; wait for it a little when there is nothing else to do."""
        try:
            wait = not (self._flying or self._closing)
            records = self._offered.get(wait, 0.1 if wait else None)
        except queue.Empty:
            return
        for record in records:
            flying = Flying(self, record)
            self._flying.append(flying)
            if self._refused is None:
                self._write(flying)

    def _write(self, flying: Flying) -> None:
        record = flying.record
        flying.made = self._made
        try:
            while True:
                try:
                    self._producer.produce(
                        record.topic,
                        record.value,
                        record.key,
                        on_delivery=flying,
                        headers=[(SEQ, b"%d" % record.seq), self._data],
                    )
                    return
                except BufferError:
                    self._poll(0.05)
        except KafkaException as exc:
            self._refused = self._refused or exc.args[0]

    def refused(self, flying: Flying, error: KafkaError) -> None:
        """Note that the broker will not have a record."""
        if flying.made == self._made and error.code() not in _CONSEQUENCES:
            self._refused = self._refused or error

    def _acknowledge(self) -> None:
        flying, last = self._flying, 0
        while flying and flying[0].done:
            last = flying.popleft().record.seq
        if last:
            self._engine.acknowledge(self.part.id, last)
            self._told, self._delay = "", RETRY

    def _start_again(self, error: KafkaError) -> None:
        """Write all that is not acknowledged once more, in order, with a new producer.

        The old one would let later records of a key overtake what was refused. The new one sends
        each record alone, so that none is refused with another.
        """
        self._producer.purge()
        self._poll(0)
        self._acknowledge()
        if self._settings.get(_BATCH) == 1:
            self._tell(error)
            self._stop.wait(self._delay)
            self._delay = min(2 * self._delay, LONGEST)
        self._settings[_BATCH] = 1
        self._made += 1
        self._refused = None
        self._producer, _ = self._make()
        for flying in list(self._flying):
            if not flying.done and self._refused is None:
                self._write(flying)

    def _tell(self, error: KafkaError) -> None:
        """Tell once why a record is refused."""
        record = next((each.record for each in self._flying if not each.done), None)
        cause = _CAUSE.search(error.str())
        text = f"{cause[1] if cause else error.str()}, from record {record and record.seq} on"
        if text == self._told:
            return
        self._told = text
        at, delay = self._engine.clock.now(), round(self._delay * 1000)
        told = RuntimeError(f"'{self.part.id}' to Kafka: {text}")
        self._engine.tell(events.Undelivered(at=at, error=told, delay=delay))


_BATCH = "batch.num.messages"

_CAUSE = re.compile(r"failed: (.*?)(?: \(broker .*|: unable .*)?$")

# What follows for all others once one record is refused.
_CONSEQUENCES: cabc.Container[int] = (
    KafkaError._FATAL,
    KafkaError._PURGE_INFLIGHT,
    KafkaError._PURGE_QUEUE,
)
