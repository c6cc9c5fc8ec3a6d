"""The partitions that an ingress reads, and their offsets."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from confluent_kafka import KafkaError
from confluent_kafka import TopicPartition

from ... import module_yaml
from ...values.address import function_type
from ...values.address import FunctionType
from ..engine import Engine
from .startup import Partition
from .startup import Startup

#: The time limit for a list of the partitions of a topic, in seconds.
TIMEOUT = 5.0


class Reading:
    """A partition that is read.

    :param name: The name of its position in the engine's store.
    :param offset: The offset of the next record.
    :param end: The offset behind the last record that the partition had at the start.
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
    """Finds the partitions of an ingress and the offset at which reading each one continues.

    The name of a position contains the cluster's id, since another cluster has other records.
    """

    def __init__(
        self,
        engine: Engine,
        ingress: module_yaml.KafkaIngress,
        consumer: t.Any,
        group_consumer: cabc.Callable[[], t.Any],
    ) -> None:
        self.readings: dict[Partition, Reading] = {}
        #: The topics that do not exist.
        self.missing: set[str] = {each.topic for each in ingress.topics}
        #: The topics that exist and cannot be read, each with the reason.
        self.unreadable: dict[str, str] = {}
        self._engine = engine
        self._ingress = ingress
        self._consumer = consumer
        self._startup = Startup(ingress, consumer, group_consumer)
        self._topics = {each.topic: each for each in ingress.topics}
        #: The topics whose further partitions are new.
        self._begun: set[str] = set()

    def look(self) -> list[Reading]:
        """Return the partitions that are new, and read them from now on.

        Partitions that are created later are read from their first record.

        :raises KafkaException: The brokers do not answer.
        """
        cluster, found = self._find()
        names = {each: f"kafka:{cluster}:{self._ingress.id}:{each[0]}/{each[1]}" for each in found}
        positions = self._engine.positions(names.values())
        known = {partition: positions[name] for partition, name in names.items()}
        begin = [each for each in found if known[each] is None]
        offsets = self._startup.offsets([each for each in begin if each[0] not in self._begun])
        for partition in begin:
            if partition[0] in self._begun:
                offsets[partition] = self._startup.watermarks(partition).low
        new = [
            Reading(self._topics[each[0]], each, names[each], int(known[each] or offsets[each]))
            for each in found
        ]
        for reading in new:
            reading.end = self._startup.watermarks(reading.partition).high
            is_new = reading.partition[0] in self._begun
            reading.finished = is_new or reading.offset >= reading.end
        self._consumer.incremental_assign(
            [TopicPartition(*reading.partition, reading.offset) for reading in new]
        )
        # This comes last: after a failure the next search starts anew and asks for 'latest' again.
        self._begun.update(self._topics.keys() - self.unreadable.keys())
        self.readings.update({reading.partition: reading for reading in new})
        return new

    def _find(self) -> tuple[str, list[Partition]]:
        """Return the cluster's id, and the partitions that are not read yet."""
        found: list[Partition] = []
        missing: set[str] = set()
        unreadable: dict[str, str] = {}
        cluster = ""
        for topic in self._topics:
            metadata = self._consumer.list_topics(topic, timeout=TIMEOUT)
            cluster = metadata.cluster_id
            known = metadata.topics[topic]
            if known.error is not None and known.error.code() in _NONE:
                missing.add(topic)
                continue
            reason = _reason(known)
            if reason is not None:
                unreadable[topic] = reason
                continue
            found += [(topic, each) for each in sorted(known.partitions)]
        self.missing = missing
        self.unreadable = unreadable
        return cluster, [each for each in found if each not in self.readings]

    def reset(self, reading: Reading) -> int:
        """Continue at another offset, since the current one no longer exists. Return the latter.

        :raises KafkaException: The brokers do not answer.
        """
        gone, reading.offset = reading.offset, self._startup.reset(reading.partition)
        reading.finished = reading.finished or reading.offset >= reading.end
        # The client has stopped reading the partition, so it cannot seek.
        where = [TopicPartition(*reading.partition, reading.offset)]
        self._consumer.incremental_unassign(where)
        self._consumer.incremental_assign(where)
        return gone


_NONE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError.TOPIC_EXCEPTION)


def _reason(topic: t.Any) -> str | None:
    """Return why a topic of the brokers' metadata cannot be read; None if it can be read."""
    if topic.error is not None:
        return str(topic.error.str())
    for number, partition in sorted(topic.partitions.items()):
        # A partition without one of its replicas can be read.
        if partition.error is not None and partition.leader < 0:
            return f"partition {number}: {partition.error.str()}"
    return None
