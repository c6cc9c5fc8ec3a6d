"""Settings of librdkafka, from the properties of the Java client in module.yaml."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

from confluent_kafka import KafkaException

from ... import module_yaml

ClientSettings: t.TypeAlias = "dict[str, t.Any]"

# Properties that the engine decides: its store has the offsets, and records keep their order.
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
_COMMON: ClientSettings = {
    "client.id": "statefun_flask",
    # Detect soon that a broker is available again.
    "reconnect.backoff.max.ms": 1000,
    # The engine reports errors. The library would write them to the terminal.
    "log_level": 0,
    "log.connection.close": False,
}


def own_group(ingress: module_yaml.KafkaIngress) -> str:
    """Return the consumer group that the engine commits offsets to unless another one is named.

    The group of module.yaml is the one of a deployment, whose offsets must not move.
    """
    return f"statefun-dev-{ingress.consumer_group or ingress.id}"


def consumer(
    ingress: module_yaml.KafkaIngress, address: str, group: str | None = None
) -> ClientSettings:
    """Return the settings with which an ingress reads.

    :param address: The addresses of the brokers.
    :param group: The consumer group; :func:`own_group` without one.
    :raises ValueError: A required property has no equivalent in librdkafka.
    """
    return {
        **_COMMON,
        # The default of the Java client. That of librdkafka is read_committed.
        "isolation.level": "read_uncommitted",
        "queued.max.messages.kbytes": 16384,
        **_given(ingress, _CONSUMER),
        "bootstrap.servers": address,
        "group.id": group or own_group(ingress),
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        # The engine reports an offset that no longer exists, and decides where to continue.
        "auto.offset.reset": "error",
    }


def producer(egress: module_yaml.KafkaEgress, address: str) -> ClientSettings:
    """Return the settings with which an egress writes: it loses no record and keeps the order.

    :param address: The addresses of the brokers.
    :raises ValueError: A required property has no equivalent in librdkafka.
    """
    return {
        **_COMMON,
        # A key has the partition that the Java client gives it.
        "partitioner": "murmur2_random",
        "linger.ms": 5,
        # The engine refuses larger values earlier. The limit of librdkafka includes the headers.
        "message.max.bytes": egress.largest + 1000,
        **_given(egress, _PRODUCER),
        "bootstrap.servers": address,
        "enable.idempotence": True,
        "enable.gapless.guarantee": True,
        # librdkafka tries to write a record until the broker has it.
        "message.timeout.ms": 0,
    }


def _given(
    part: module_yaml.KafkaIngress | module_yaml.KafkaEgress, own: cabc.Container[str]
) -> ClientSettings:
    """Return the properties of module.yaml that the engine does not decide."""
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


def make(client: t.Any, settings: ClientSettings, **callbacks: t.Any) -> tuple[t.Any, list[str]]:
    """Return a client, and the names of the settings that it does not know.

    :param client: ``Consumer`` or ``Producer``.
    :raises ValueError: A setting has an invalid value.
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
