"""The offsets at which an ingress begins, while the engine has no position of its own."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import datetime as dt
import typing as t

from confluent_kafka import TopicPartition

from ... import module_yaml

#: The time limit for a response of the brokers, in seconds.
TIMEOUT = 10.0

Partition: t.TypeAlias = "tuple[str, int]"


class Watermarks(t.NamedTuple):
    """The offset of a partition's first record, and that of the next record to be written."""

    low: int
    high: int


class Startup:
    """Finds the first offset of each partition, as ``startupPosition`` says.

    Each method raises a KafkaException when the brokers do not answer.

    :param group_consumer: Returns a consumer of the group whose offsets are the start. It joins the
        group only if it subscribes to a topic, which it does not.
    :raises ValueError: The position is in the future, which Flink refuses as well.
    """

    def __init__(
        self,
        ingress: module_yaml.KafkaIngress,
        consumer: t.Any,
        group_consumer: cabc.Callable[[], t.Any],
    ) -> None:
        self._ingress = ingress
        self._consumer = consumer
        self._group_consumer = group_consumer
        self._moment = 0
        if ingress.startup == "date":
            date = dt.datetime.strptime(str(ingress.date), "%Y-%m-%d %H:%M:%S.%f %z")
            if date > dt.datetime.now(dt.UTC):
                raise ValueError(
                    f"'{ingress.id}' starts at {ingress.date}, which is in the future. Write a"
                    " moment that has passed, or 'type: latest'."
                )
            self._moment = round(date.timestamp() * 1000)

    def watermarks(self, partition: Partition) -> Watermarks:
        """Return the watermarks of a partition."""
        low, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), TIMEOUT)
        return Watermarks(low, high)

    def offsets(self, partitions: cabc.Iterable[Partition]) -> dict[Partition, int]:
        """Return the offset of the first record to read of each partition."""
        partitions = list(partitions)
        match self._ingress.startup:
            case "earliest":
                return {each: self.watermarks(each).low for each in partitions}
            case "latest":
                return {each: self.watermarks(each).high for each in partitions}
            case "date":
                return self._of_date(partitions)
            case "specific-offsets":
                given = dict(self._ingress.offsets or ())
                named = {each: given.get("{}/{}".format(*each)) for each in partitions}
                rest = self._of_group([each for each in partitions if named[each] is None])
                return {
                    each: rest[each] if offset is None else offset for each, offset in named.items()
                }
        return self._of_group(partitions)

    def reset(self, partition: Partition) -> int:
        """Return the offset at which to continue if the stored offset no longer exists."""
        low, high = self.watermarks(partition)
        return low if self._ingress.auto_offset_reset == "earliest" else high

    def _of_group(self, partitions: list[Partition]) -> dict[Partition, int]:
        if not partitions:
            return {}
        asked = [TopicPartition(*each) for each in partitions]
        with contextlib.closing(self._group_consumer()) as consumer:
            committed = consumer.committed(asked, TIMEOUT)
        found = {(each.topic, each.partition): each.offset for each in committed}
        return {each: found[each] if found[each] >= 0 else self.reset(each) for each in partitions}

    def _of_date(self, partitions: list[Partition]) -> dict[Partition, int]:
        """Return the first offsets from a moment on; the end if there is no such record."""
        asked = [TopicPartition(*each, self._moment) for each in partitions]
        found = self._consumer.offsets_for_times(asked, TIMEOUT)
        return {
            (each.topic, each.partition): each.offset
            if each.offset >= 0
            else self.watermarks((each.topic, each.partition)).high
            for each in found
        }
