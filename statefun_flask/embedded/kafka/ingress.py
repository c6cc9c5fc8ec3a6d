"""An ingress: a thread that sends the records of topics to the engine, each exactly once."""

from __future__ import annotations

import collections
import collections.abc as cabc
import concurrent.futures
import contextlib
import threading
import time
import typing as t

from confluent_kafka import Consumer
from confluent_kafka import KafkaError
from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition

from ... import module_yaml
from ...values.address import Address
from ...values.message import Message
from .. import events
from ..backpressure import Backpressure
from ..engine import Engine
from . import keys
from . import settings
from .assignment import Assignment
from .assignment import Reading
from .broker import Broker
from .startup import Partition

#: The number of records in a batch, and of batches that are sent before the first one is on disk.
CHUNK, AHEAD = 500, 16

#: The time between two searches for new partitions, in seconds: while a topic is missing or
#: unreadable, and at other times.
SOON, LATER = 1.0, 10.0

#: The time after which an unreadable topic is an error, in seconds. A new topic has no leader yet.
UNREADABLE_AFTER = 5.0

#: The time between two commits of offsets to the consumer group, in seconds.
COMMIT_INTERVAL = 1.0

#: The time limit for closing, in seconds.
STOP_TIMEOUT = 5.0


class Sent(t.NamedTuple):
    """Records that were sent to the engine and may not be on disk yet."""

    taken: concurrent.futures.Future[list[int]]
    offsets: dict[Partition, int]


class Ingress:
    """Reads the topics of an ingress.

    The offsets are part of the commit that accepts the messages, so that after a crash no record is
    lost and none is read twice. They are committed to a consumer group later, for monitoring only.

    A record without a key or a value, for which Flink would end the job, is skipped and reported.

    :param address: The addresses of the brokers.
    :param group: The consumer group that offsets are read from and committed to. Without one they
        are read from the group of module.yaml, and committed to a group of the engine's own.
    """

    def __init__(
        self,
        engine: Engine,
        part: module_yaml.KafkaIngress,
        address: str,
        broker: Broker,
        group: str | None,
    ) -> None:
        self.part = part
        #: Whether all records that the topics had at the start are read.
        self.finished = False
        #: Whether the offset of every partition's first record is known.
        self.has_begun = False
        #: Returns whether offsets may be committed to the consumer group.
        self.may_commit: cabc.Callable[[], bool] = lambda: self.has_begun
        #: The number of skipped records.
        self.bad = 0
        self.error: BaseException | None = None
        self._engine = engine
        self._broker = broker
        #: The properties of module.yaml that librdkafka does not know.
        self.unknown: list[str]
        configuration = settings.consumer(part, address, group)
        self._group = configuration["group.id"]
        self._consumer, self.unknown = settings.make(
            Consumer,
            configuration,
            error_cb=broker.error,
            on_commit=self._committed,
        )

        def group_consumer() -> t.Any:
            of_start = settings.consumer(part, address, group or part.consumer_group)
            return settings.make(Consumer, of_start, error_cb=broker.error)[0]

        self._assignment = Assignment(engine, part, self._consumer, group_consumer)
        self._backpressure = Backpressure(engine)
        self._sent: collections.deque[Sent] = collections.deque()
        self._durable: dict[Partition, int] = {}
        self._missing: set[str] = set()
        self._unreadable: dict[str, str] = {}
        self._unreadable_since = 0.0
        self._next_look = self._next_commit = 0.0
        self._refused_commit = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="statefun-kafka-in", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading. Records that were sent are committed or will be read again."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for the end of the thread, while the engine still runs."""
        if self._thread.ident is None:
            self._consumer.close()
        else:
            self._thread.join(2 * STOP_TIMEOUT)

    # -- the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn()
            self._settle_all()
        except BaseException as exc:
            # An engine that is closed meanwhile refuses the last records, which are read again.
            if not self._stopping.is_set():
                self.error = exc
                self.finished = True
                self._leave_out(self.part.id, f"all further records ({exc!r}); start it again")
        finally:
            self._consumer.close()

    def _turn(self) -> None:
        self._broker.look(self._consumer)
        if self._broker.is_down:
            self._settle()
            self._consumer.poll(0.1)
            return
        try:
            self._look()
        except KafkaException as exc:
            self._broker.went(exc)
            self._stopping.wait(0.1)
            return
        self._wait_for_room()
        first = self._consumer.poll(0.1)
        if first is not None:
            self._take([first, *self._consumer.consume(CHUNK - 1, 0)])
        self._settle()
        self._commit_to_group()

    def _look(self) -> None:
        """Look for partitions when the time has come, and read the new ones."""
        if time.monotonic() < self._next_look:
            return
        new = self._assignment.look()
        self.has_begun = True
        self._broker.came()
        missing, unreadable = self._assignment.missing, self._assignment.unreadable
        self._next_look = time.monotonic() + (SOON if missing or unreadable else LATER)
        self._report_missing(missing)
        self._report_unreadable(unreadable)
        if new:
            # Then 'latest' is the same instant after a crash.
            self._send([], new)
        self._note_end()

    def _report_missing(self, missing: set[str]) -> None:
        for topic in sorted(missing - self._missing):
            at, broker = self._engine.clock.now(), self._broker.address
            self._engine.tell(events.TopicMissing(at=at, topic=topic, broker=broker))
        self._missing = missing

    def _report_unreadable(self, unreadable: dict[str, str]) -> None:
        """Report each unreadable topic, once for each reason."""
        for topic, reason in sorted(unreadable.items()):
            if self._unreadable.get(topic) != reason:
                at, broker = self._engine.clock.now(), self._broker.address
                event = events.Unreadable(at=at, topic=topic, broker=broker, reason=reason)
                self._engine.tell(event)
        if unreadable and not self._unreadable:
            self._unreadable_since = time.monotonic()
        self._unreadable = unreadable
        self.error = None
        if unreadable and time.monotonic() - self._unreadable_since >= UNREADABLE_AFTER:
            names = ", ".join(f"'{topic}' ({reason})" for topic, reason in unreadable.items())
            self.error = RuntimeError(f"topics of '{self.part.id}' cannot be read: {names}")

    # -- records --------------------------------------------------------------------------

    def _take(self, records: cabc.Iterable[t.Any]) -> None:
        """Send records to the engine, with the positions behind them."""
        readings = self._assignment.readings
        messages: list[tuple[Address, Message]] = []
        touched: dict[Reading, None] = {}
        for record in records:
            error = record.error()
            if error is not None:
                self._deal_with(record, error)
                continue
            reading = readings[record.topic(), record.partition()]
            offset = record.offset()
            if offset < reading.offset:
                continue  # fetched before a seek
            reading.offset = offset + 1
            touched[reading] = None
            key, value = record.key(), record.value()
            if key is None or value is None:
                self._refuse(reading, offset, "key" if key is None else "value")
                continue
            id, message = keys.text(key), Message(reading.value_type, value)
            for target in reading.targets:
                messages.append((Address(target, id), message))
        if touched:
            self._send(messages, touched)
        self._backpressure.sent(messages)
        self._note_end()

    def _send(
        self, messages: list[tuple[Address, Message]], readings: cabc.Iterable[Reading]
    ) -> None:
        positions = {reading.name: str(reading.offset) for reading in readings}
        offsets = {reading.partition: reading.offset for reading in readings}
        self._sent.append(Sent(self._engine.submit(messages, positions), offsets))

    def _refuse(self, reading: Reading, offset: int, lacking: str) -> None:
        self.bad += 1
        which = "which is the id of the function" if lacking == "key" else "it is a tombstone"
        place = "{}/{}".format(*reading.partition)
        self._leave_out(place, f"the record at offset {offset}: it has no {lacking}, {which}")

    def _deal_with(self, record: t.Any, error: KafkaError) -> None:
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            self._assignment.readings[record.topic(), record.partition()].finished = True
        elif code == KafkaError._AUTO_OFFSET_RESET:
            reading = self._assignment.readings[record.topic(), record.partition()]
            gone = self._assignment.reset(reading)
            place = "{}/{}".format(*reading.partition)
            self._leave_out(
                place,
                f"offset {gone}, which no longer exists: reading continues at offset"
                f" {reading.offset}",
            )
            self._send([], [reading])
        elif code in (
            KafkaError.UNKNOWN_TOPIC_OR_PART,
            KafkaError._UNKNOWN_PARTITION,
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
        ):
            self._next_look = 0.0
        else:
            self._broker.error(error)

    def _note_end(self) -> None:
        readings = self._assignment.readings.values()
        for reading in readings:
            reading.finished = reading.finished or reading.offset >= reading.end
        # An unreadable topic may have unread records, until it is an error.
        waits = bool(self._unreadable) and self.error is None
        self.finished = not waits and all(reading.finished for reading in readings)

    def _leave_out(self, source: str, what: str) -> None:
        at = self._engine.clock.now()
        self._engine.tell(events.LeftOut(at=at, source=source, what=what))

    # -- offsets ---------------------------------------------------------------------------

    def _wait_for_room(self) -> None:
        self._backpressure.wait(self._stopping, self._settle)
        while len(self._sent) >= AHEAD and not self._stopping.is_set():
            concurrent.futures.wait([self._sent[0].taken], 0.1)
            self._settle()

    def _settle(self) -> None:
        """Note the offsets of the records that are on disk."""
        while self._sent and self._sent[0].taken.done():
            sent = self._sent.popleft()
            sent.taken.result()
            self._durable.update(sent.offsets)

    def _settle_all(self) -> None:
        concurrent.futures.wait([sent.taken for sent in self._sent], STOP_TIMEOUT)
        self._settle()
        if self._durable and self.may_commit() and not self._broker.is_down:
            with contextlib.suppress(KafkaException):
                self._consumer.commit(offsets=self._committable(), asynchronous=False)

    def _commit_to_group(self) -> None:
        due = time.monotonic() >= self._next_commit
        if self._durable and due and self.may_commit():
            self._next_commit = time.monotonic() + COMMIT_INTERVAL
            self._consumer.commit(offsets=self._committable(), asynchronous=True)

    def _committable(self) -> list[TopicPartition]:
        durable, self._durable = self._durable, {}
        return [TopicPartition(*partition, offset) for partition, offset in durable.items()]

    def _committed(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Report once that the group refuses offsets. The engine does not depend on them."""
        if error is None or self._refused_commit or self._broker.is_down:
            return
        if error.retriable() or error.code() == KafkaError._TRANSPORT:
            return
        self._refused_commit = True
        self._leave_out(
            self.part.id,
            f"commits to the consumer group '{self._group}' ({error.str()}); the engine has its own"
            " offsets",
        )
