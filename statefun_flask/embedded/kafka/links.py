"""All Kafka ingresses and egresses of a module.yaml, connected to an engine."""

from __future__ import annotations

import uuid

from ... import module_yaml
from .. import events
from ..engine import Engine
from .broker import Broker
from .egress import Egress
from .ingress import Ingress

#: In place of an address: each component's own.
MODULE = "module"

_IDENTITY = "kafka:data"


class Links:
    """What is connected.

    :param brokers: The addresses.
    """

    def __init__(
        self,
        engine: Engine,
        brokers: list[str],
        ingresses: list[Ingress],
        egresses: list[Egress],
    ) -> None:
        self.brokers = brokers
        self.ingresses = ingresses
        self.egresses = egresses
        self._engine = engine
        # Those of one consumer group all begin where it was, not where another one is by then.
        for ingress in ingresses:
            ingress.may_tell_group = lambda: all(each.has_begun for each in ingresses)

    def start(self) -> None:
        """Begin to read. The engine must have started."""
        links: list[Ingress | Egress] = [*self.ingresses, *self.egresses]
        for link in links:
            for name in link.unknown:
                what = f"the property '{name}', which only Kafka's Java client knows"
                at = self._engine.clock.now()
                self._engine.tell(events.LeftOut(at=at, source=link.part.id, what=what))
        for ingress in self.ingresses:
            ingress.start()

    def stop(self) -> None:
        """End reading, while the engine still runs. Writing ends with the engine."""
        for ingress in self.ingresses:
            ingress.stop()
        for ingress in self.ingresses:
            ingress.join()


def connect(engine: Engine, module: module_yaml.Module, address: str) -> Links:
    """Connect the Kafka ingresses and egresses of a module to an engine that did not start yet.

    :param address: ``host:port,…`` of the brokers; :data:`MODULE` for each component's own.
    :raises ValueError: There is nothing to connect, or a setting cannot be kept.
    :raises UnknownTarget: A target of an ingress is no function of the engine.
    """
    sources = [each for each in module.ingresses if isinstance(each, module_yaml.KafkaIngress)]
    sinks = [each for each in module.egresses if isinstance(each, module_yaml.KafkaEgress)]
    if not sources and not sinks:
        raise ValueError(
            f"'{module.file}' has no Kafka ingress and no Kafka egress to connect. Add one, or"
            " leave --kafka out."
        )
    targets = {each for source in sources for topic in source.topics for each in topic.targets}

    for target in sorted(targets):
        engine.check_target(target)
    brokers: dict[str, Broker] = {}

    def broker(own: str | None) -> Broker:
        chosen = str(own) if address == MODULE else address
        return brokers.setdefault(chosen, Broker(chosen, engine.tell, engine.clock.now))

    data = _identity(engine)
    egresses = []
    for sink in sinks:
        at = broker(sink.address)
        egress = Egress(engine, sink, at.address, at, data)
        engine.attach(sink.id, egress)
        egresses.append(egress)
    ingresses = []
    for source in sources:
        at = broker(source.bootstrap)
        ingresses.append(Ingress(engine, source, at.address, at))
    return Links(engine, list(brokers), ingresses, egresses)


def _identity(engine: Engine) -> str:
    """Return the name of the data that the records' numbers are of; it is kept with them."""
    known = engine.position(_IDENTITY)
    if known is None:
        known = uuid.uuid4().hex[:12]
        engine.submit([], {_IDENTITY: known})
    return known
