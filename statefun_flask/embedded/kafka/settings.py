"""Settings of Kafka's client: module.yaml has those of the Java client, and this one is another."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from confluent_kafka import KafkaException

from ... import module_yaml

Settings: t.TypeAlias = "dict[str, t.Any]"

# The engine's own business: its store has the offsets, and records keep their order.
_CONSUMER = ("enable.auto.commit", "auto.commit.interval.ms", "auto.offset.reset", "group.id")
_PRODUCER = (
    "acks",
    "batch.num.messages",
    "delivery.timeout.ms",
    "enable.idempotence",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "max.request.size",
    "message.timeout.ms",
    "request.required.acks",
    "retries",
    "transaction.timeout.ms",
    "transactional.id",
)
_COMMON: Settings = {
    "client.id": "statefun_flask",
    # A broker that comes back is found soon.
    "reconnect.backoff.max.ms": 1000,
    # What is wrong is told by the engine, in words; the library would write to the terminal.
    "log_level": 0,
    "log.connection.close": False,
}


def consumer(ingress: module_yaml.KafkaIngress, address: str) -> Settings:
    """Return the settings with which an ingress reads.

    :param address: The brokers.
    :raises ValueError: One cannot be kept, and nothing would work without it.
    """
    return {
        **_COMMON,
        # As Kafka's own client does; this one would read committed records only.
        "isolation.level": "read_uncommitted",
        "queued.max.messages.kbytes": 16384,
        **_given(ingress, _CONSUMER),
        "bootstrap.servers": address,
        "group.id": ingress.consumer_group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        # An offset that is gone is told, not jumped over.
        "auto.offset.reset": "error",
    }


def producer(egress: module_yaml.KafkaEgress, address: str) -> Settings:
    """Return the settings with which an egress writes: in order a key, none lost.

    :param address: The brokers.
    :raises ValueError: One cannot be kept, and nothing would work without it.
    """
    return {
        **_COMMON,
        # A key has the partition that Kafka's own client gives it.
        "partitioner": "murmur2_random",
        "linger.ms": 5,
        # What is too large is refused before, see formats.KafkaFormat; headers come on top.
        "message.max.bytes": egress.largest + 1000,
        **_given(egress, _PRODUCER),
        "bootstrap.servers": address,
        "enable.idempotence": True,
        "enable.gapless.guarantee": True,
        # It is tried until the broker has it.
        "message.timeout.ms": 0,
    }


def _given(
    part: module_yaml.KafkaIngress | module_yaml.KafkaEgress, own: cabc.Container[str]
) -> Settings:
    """Return the properties of module.yaml that are not the engine's business."""
    given = {key: value for key, value in part.properties if key not in own}
    if "sasl.jaas.config" in given:
        del given["sasl.jaas.config"]
        if "sasl.username" not in given:
            raise ValueError(
                f"'{part.id}' has the property 'sasl.jaas.config', which only Kafka's Java client"
                " reads. Add the properties 'sasl.username' and 'sasl.password' beside it, which"
                " Flink ignores."
            )
    return given


def make(client: t.Any, settings: Settings, **callbacks: t.Any) -> tuple[t.Any, list[str]]:
    """Return a client, and the names of the settings that it does not know and goes without.

    :param client: ``Consumer`` or ``Producer``.
    :raises ValueError: A setting has a value that is none.
    """
    settings = dict(settings)
    unknown: list[str] = []
    while True:
        try:
            return client({**settings, **callbacks}), unknown
        except KafkaException as exc:
            text = exc.args[0].str()
            name = next((each for each in settings if f'"{each}"' in text), None)
            if name is None or "No such configuration property" not in text:
                raise ValueError(f"Kafka's client refuses its settings: {text}.") from None
            unknown.append(name)
            del settings[name]
