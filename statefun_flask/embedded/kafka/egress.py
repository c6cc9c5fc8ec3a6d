"""An egress: a thread that writes records to Kafka until the broker acknowledges them."""

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

#: The header with the record's number, as decimal text. A record that is written twice has the same
#: number.
SEQ = "statefun-seq"

#: The header with the id of the data folder that the number belongs to.
DATA = "statefun-data"

#: The pause before a refused record is written again, in seconds: the first one and the longest.
RETRY, LONGEST = 1.0, 30.0


class Delivery:
    """A record that the broker has not acknowledged: the producer's callback for the record.

    :param producer: The number of the producer that has the record.
    """

    __slots__ = ("done", "egress", "producer", "record")

    def __init__(self, egress: Egress, record: EgressRecord) -> None:
        self.egress = egress
        self.record = record
        self.done = False
        self.producer = 0

    def __call__(self, error: KafkaError | None, message: t.Any) -> None:
        """Note whether the broker has the record."""
        if error is None:
            self.done = True
        else:
            self.egress.note_refused(self, error)


class Egress:
    """Writes the records of an egress, in their order for each key.

    It keeps a record until the broker acknowledges it, however long that takes. A record that the
    broker refuses, such as a record that is too large, is reported and written again; meanwhile the
    records behind it wait, as on Flink.

    :param address: The addresses of the brokers.
    :param data: The name of the data that the records' numbers belong to.
    """

    def __init__(
        self, engine: Engine, part: module_yaml.KafkaEgress, address: str, broker: Broker, data: str
    ) -> None:
        self.part = part
        self._engine = engine
        self._broker = broker
        self._data = (DATA, data.encode())
        self._settings = settings.producer(part, address)
        #: The properties of module.yaml that librdkafka does not know.
        self.unknown: list[str]
        self._producer, self.unknown = self._make()
        self._offered: queue.SimpleQueue[list[EgressRecord]] = queue.SimpleQueue()
        self._deliveries: collections.deque[Delivery] = collections.deque()
        self._producers = 0
        self._refused: KafkaError | None = None
        #: Whether each record is sent in a request of its own.
        self._unbatched = False
        self._reported = ""
        self._delay = RETRY
        self._closing = False
        self._deadline = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="statefun-kafka-out", daemon=True)
        self._thread.start()

    def _make(self, *, unbatched: bool = False) -> tuple[t.Any, list[str]]:
        configuration = {**self._settings, **({"batch.num.messages": 1} if unbatched else {})}
        return settings.make(Producer, configuration, error_cb=self._broker.error)

    # -- for the engine -------------------------------------------------------------------

    def offer(self, records: list[EgressRecord]) -> None:
        """Accept records."""
        self._offered.put(records)

    def close(self, timeout: float) -> None:
        """Write the offered records within so many seconds, and stop."""
        self._deadline = time.monotonic() + timeout
        self._closing = True
        self._stop.set()
        self._thread.join(timeout + 2.0)

    # -- the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ended():
            try:
                self._turn()
            except Exception as exc:
                self._recover(exc)
        self._producer.purge()
        self._poll(0)

    def _turn(self) -> None:
        self._take()
        self._poll(0.01 if self._deliveries else 0)
        self._acknowledge()
        if self._refused is not None and not self._closing:
            self._write_again(self._refused)
        elif self._deliveries:
            self._broker.look(self._producer)

    def _recover(self, exc: Exception) -> None:
        """Report an unexpected error, and write all unacknowledged records again."""
        self._report(f"{type(exc).__name__}: {exc}")
        self._stop.wait(self._delay)
        self._delay = min(2 * self._delay, LONGEST)
        try:
            self._renew_producer(unbatched=self._unbatched)
        except Exception as again:
            self._report(f"{type(again).__name__}: {again}")

    def _poll(self, timeout: float) -> None:
        """Let the producer call the deliveries."""
        try:
            self._producer.poll(timeout)
        except KafkaException as exc:
            self._refused = self._refused or exc.args[0]

    def _ended(self) -> bool:
        if not self._closing:
            return False
        done = not self._deliveries and self._offered.empty()
        stuck = self._broker.is_down or self._refused is not None
        return done or stuck or time.monotonic() >= self._deadline

    def _take(self) -> None:
        """Write offered records. Wait for them briefly if no other record is in flight."""
        if self._unbatched and self._deliveries:
            return  # the records behind a refused one wait until the normal producer is back
        try:
            wait = not (self._deliveries or self._closing)
            records = self._offered.get(wait, 0.1 if wait else None)
        except queue.Empty:
            return
        new = [Delivery(self, record) for record in records]
        self._deliveries += new
        for delivery in new:
            if self._refused is None:
                self._write(delivery)

    def _write(self, delivery: Delivery) -> None:
        record = delivery.record
        delivery.producer = self._producers
        try:
            while True:
                try:
                    self._producer.produce(
                        record.topic,
                        record.value,
                        record.key,
                        on_delivery=delivery,
                        headers=[(SEQ, b"%d" % record.seq), self._data],
                    )
                    return
                except BufferError:
                    self._poll(0.05)
        except KafkaException as exc:
            self._refused = self._refused or exc.args[0]

    def note_refused(self, delivery: Delivery, error: KafkaError) -> None:
        """Note that the broker refuses a record."""
        if delivery.producer == self._producers and error.code() not in _CONSEQUENCES:
            self._refused = self._refused or error

    def _acknowledge(self) -> None:
        """Report the records that the broker has acknowledged to the engine."""
        deliveries, last = self._deliveries, 0
        while deliveries and deliveries[0].done:
            last = deliveries.popleft().record.seq
        if last:
            self._engine.acknowledge(self.part.id, last)
            self._reported, self._delay = "", RETRY
        if self._unbatched and not deliveries:
            # The refused record and all records that were in flight with it are written.
            self._renew_producer(unbatched=False)

    def _write_again(self, error: KafkaError) -> None:
        """Write all unacknowledged records again, in order, with a new producer.

        With the current producer, later records of a key would overtake the refused one. The new
        producer sends each record in a request of its own, so that no record is refused with
        another one.
        """
        if self._unbatched:
            cause = _CAUSE.search(error.str())
            self._report(cause[1] if cause else error.str())
            self._stop.wait(self._delay)
            self._delay = min(2 * self._delay, LONGEST)
        self._renew_producer(unbatched=True)

    def _renew_producer(self, *, unbatched: bool) -> None:
        """Replace the producer, and write all unacknowledged records with the new one."""
        self._producer.purge()
        self._poll(0)
        producer, _ = self._make(unbatched=unbatched)
        self._producer, self._unbatched = producer, unbatched
        self._producers += 1
        self._refused = None
        for delivery in list(self._deliveries):
            if not delivery.done and self._refused is None:
                self._write(delivery)

    def _report(self, reason: str) -> None:
        """Report once why records are not written."""
        record = next((each.record for each in self._deliveries if not each.done), None)
        text = reason if record is None else f"{reason}, from record {record.seq} on"
        if text == self._reported:
            return
        self._reported = text
        at, delay = self._engine.clock.now(), round(self._delay * 1000)
        error = RuntimeError(f"'{self.part.id}' to Kafka: {text}")
        self._engine.tell(events.Undelivered(at=at, error=error, delay=delay))


_CAUSE = re.compile(r"failed: (.*?)(?: \(broker .*|: unable .*)?$")

# Errors of all other records once one record is refused.
_CONSEQUENCES: cabc.Container[int] = (
    KafkaError._FATAL,
    KafkaError._PURGE_INFLIGHT,
    KafkaError._PURGE_QUEUE,
)
