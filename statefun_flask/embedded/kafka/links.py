"""All Kafka ingresses and egresses of a module.yaml, connected to an engine."""

from __future__ import annotations

import uuid

from ... import module_yaml
from .. import events
from ..engine import Engine
from .broker import Broker
from .egress import Egress
from .ingress import Ingress

#: Stands for the address that module.yaml gives to each component.
MODULE = "module"

_IDENTITY = "kafka:data"


class Links:
    """The connected ingresses and egresses.

    :param brokers: The addresses of their brokers.
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
        # Commit no offset to a group until every ingress has read its start from the group.
        for ingress in ingresses:
            ingress.may_commit = lambda: all(each.has_begun for each in ingresses)

    def start(self) -> None:
        """Begin to read. The engine must have started."""
        links: list[Ingress | Egress] = [*self.ingresses, *self.egresses]
        for link in links:
            for name in link.unknown:
                what = f"the property '{name}', which only Kafka's Java client has"
                at = self._engine.clock.now()
                self._engine.tell(events.LeftOut(at=at, source=link.part.id, what=what))
        for ingress in self.ingresses:
            ingress.start()

    def stop(self) -> None:
        """Stop reading, while the engine still runs. Writing ends with the engine."""
        for ingress in self.ingresses:
            ingress.stop()
        for ingress in self.ingresses:
            ingress.join()


def connect(
    engine: Engine, module: module_yaml.Module, address: str, group: str | None = None
) -> Links:
    """Connect the Kafka ingresses and egresses of a module to an engine that has not started.

    :param address: ``host:port,…`` of the brokers; :data:`MODULE` for each component's own.
    :param group: The consumer group of all ingresses, see :class:`.ingress.Ingress`.
    :raises ValueError: Nothing can be connected, or a setting is refused.
    :raises UnknownTargetError: A target of an ingress is not a function of the engine.
    """
    sources = [each for each in module.ingresses if isinstance(each, module_yaml.KafkaIngress)]
    sinks = [each for each in module.egresses if isinstance(each, module_yaml.KafkaEgress)]
    if not sources and not sinks:
        raise ValueError(
            f"'{module.file}' has no Kafka ingress and no Kafka egress to connect. Add one, or"
            " remove --kafka."
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
        ingresses.append(Ingress(engine, source, at.address, at, group))
    return Links(engine, list(brokers), ingresses, egresses)


def _identity(engine: Engine) -> str:
    """Return the stored name of the data that the records' numbers belong to."""
    known = engine.position(_IDENTITY)
    if known is None:
        known = uuid.uuid4().hex[:12]
        engine.submit([], {_IDENTITY: known})
    return known
