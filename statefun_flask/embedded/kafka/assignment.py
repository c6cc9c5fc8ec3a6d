"""The partitions that an ingress reads, and how far."""

from __future__ import annotations

import typing as t

from confluent_kafka import KafkaError
from confluent_kafka import TopicPartition

from ... import module_yaml
from ...values.address import function_type
from ...values.address import FunctionType
from ..engine import Engine
from .startup import Partition
from .startup import Startup

#: How long the brokers may take to say which partitions a topic has, in seconds.
TIMEOUT = 5.0


class Reading:
    """A partition that is read.

    :param name: Of its position in the engine's store.
    :param offset: Of the next record.
    :param end: What `offset` was to be for all the records that there were at the start.
    """

    __slots__ = ("end", "finished", "name", "offset", "partition", "targets", "value_type")

    def __init__(
        self, topic: module_yaml.Topic, partition: Partition, name: str, offset: int
    ) -> None:
        self.partition = partition
        self.name = name
        self.offset = offset
        self.end = 0
        self.finished = False
        self.value_type = topic.value_type
        self.targets: list[FunctionType] = [function_type(each) for each in topic.targets]


class Assignment:
    """Finds the partitions of an ingress, and where each one goes on.

    A position is known by the cluster's id too: in a new cluster there are other records.
    """

    def __init__(self, engine: Engine, ingress: module_yaml.KafkaIngress, consumer: t.Any) -> None:
        self.readings: dict[Partition, Reading] = {}
        self.missing: set[str] = {each.topic for each in ingress.topics}
        self._engine = engine
        self._ingress = ingress
        self._consumer = consumer
        self._startup = Startup(ingress, consumer)
        self._topics = {each.topic: each for each in ingress.topics}
        self._looked = False

    def look(self) -> list[Reading]:
        """Return the partitions that are new, and read them from now on.

        Those that come up later are read from their first record.

        :raises KafkaException: The brokers do not answer.
        """
        cluster, found = self._find()
        names = {each: f"kafka:{cluster}:{self._ingress.id}:{each[0]}/{each[1]}" for each in found}
        positions = self._engine.positions(names.values())
        known = {partition: positions[name] for partition, name in names.items()}
        begin = [each for each in found if known[each] is None]
        if self._looked:
            offsets = {each: self._startup.watermarks(each).low for each in begin}
        else:
            offsets = self._startup.offsets(begin)
        new = [
            Reading(self._topics[each[0]], each, names[each], int(known[each] or offsets[each]))
            for each in found
        ]
        for reading in new:
            reading.end = self._startup.watermarks(reading.partition).high
            reading.finished = self._looked or reading.offset >= reading.end
        self._looked = True
        self._consumer.incremental_assign(
            [TopicPartition(*reading.partition, reading.offset) for reading in new]
        )
        self.readings.update({reading.partition: reading for reading in new})
        return new

    def _find(self) -> tuple[str, list[Partition]]:
        """Return the cluster's id, and the partitions that are not read yet."""
        found: list[Partition] = []
        missing: set[str] = set()
        cluster = ""
        for topic in self._topics:
            metadata = self._consumer.list_topics(topic, timeout=TIMEOUT)
            cluster = metadata.cluster_id
            known = metadata.topics[topic]
            if known.error is not None and known.error.code() in _NONE:
                missing.add(topic)
            found += [(topic, each) for each in sorted(known.partitions)]
        self.missing = missing
        return cluster, [each for each in found if each not in self.readings]

    def reset(self, reading: Reading) -> int:
        """Go on elsewhere, since an offset is gone, and return the one that it was.

        :raises KafkaException: The brokers do not answer.
        """
        gone, reading.offset = reading.offset, self._startup.reset(reading.partition)
        reading.finished = reading.finished or reading.offset >= reading.end
        # The client has stopped reading it, so there is nothing to seek in.
        where = [TopicPartition(*reading.partition, reading.offset)]
        self._consumer.incremental_unassign(where)
        self._consumer.incremental_assign(where)
        return gone


_NONE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError.TOPIC_EXCEPTION)
