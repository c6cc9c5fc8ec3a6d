"""What a module.yaml says, whichever format it is written in.

Every part knows its node in the file it was read from, which takes no part in comparisons.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import typing as t

from .nodes import Node

#: The formats: those of one document by their ``version``, and the one of several documents.
Version: t.TypeAlias = t.Literal["1.0", "2.0", "3.0", "3.1"]
VERSIONS: tuple[Version, ...] = ("1.0", "2.0", "3.0", "3.1")

Properties: t.TypeAlias = tuple[tuple[str, str], ...]

_NAME = "{function.name}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a module.

    :param node: Where it was read from; None if it was not read.
    """

    node: Node | None = dataclasses.field(default=None, compare=False, repr=False)

    def place(self, *names: str | int) -> Node:
        """Return the node of a field by its name in the file, or the nearest there is."""
        return self.node.at(*names) if self.node is not None else Node(0, 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class State(Part):
    """A state as formats 1.0 and 2.0 declare it.

    :param expire_mode: ``after-invoke`` or ``after-write``; means nothing without `expire_after`.
    """

    name: str
    expire_after: dt.timedelta | None = None
    expire_mode: str = "after-invoke"


@dataclasses.dataclass(frozen=True, kw_only=True)
class HttpEndpoint(Part):
    """Where functions are, and how the runtime calls them.

    :param functions: ``ns/name`` or ``ns/*``.
    :param url: May hold ``{function.name}``, see :meth:`url_for`.
    :param max_batch: How many messages a request may have; 0 and less for any number.
    :param transport: ``async`` or ``okhttp``.
    :param call: The time for a request with all its retries; None for the default, see
        :attr:`call_timeout`. The others likewise; `read` and `write` exist for ``okhttp``.
    :param payload_max_bytes: How long an answer may be.
    :param states: What formats 1.0 and 2.0 declare; None in the others, where the functions do.
    """

    functions: str
    url: str
    max_batch: int = 1000
    transport: str = "async"
    call: dt.timedelta | None = None
    connect: dt.timedelta | None = None
    read: dt.timedelta | None = None
    write: dt.timedelta | None = None
    pool_ttl: dt.timedelta | None = None
    pool_size: int | None = None
    payload_max_bytes: int | None = None
    trust_cacerts: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    client_key_password: str | None = None
    states: tuple[State, ...] | None = None

    @property
    def is_wildcard(self) -> bool:
        """Whether it is for a whole namespace."""
        return self.functions.endswith("/*")

    @property
    def call_timeout(self) -> dt.timedelta:
        """The time for a request with all its retries."""
        if self.call is not None:
            return self.call
        return dt.timedelta(minutes=2 if self.transport == "async" else 1)

    def url_for(self, typename: str) -> str:
        """Return where a function is called.

        :param typename: ``ns/name``; its name takes the place of ``{function.name}``.
        """
        return self.url.replace(_NAME, typename.rpartition("/")[2])

    def serves(self, typename: str) -> bool:
        """Return whether the pattern is for a function."""
        if self.is_wildcard:
            return typename.rpartition("/")[0] == self.functions[:-2]
        return typename == self.functions


@dataclasses.dataclass(frozen=True, kw_only=True)
class GrpcFunction(Part):
    """A function behind gRPC, which only formats 1.0 and 2.0 have."""

    functions: str
    host: str
    port: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Topic(Part):
    """A Kafka topic, or a Kinesis stream, and where its records go.

    :param value_type: The typename that the records' bytes get: ``valueType``, or ``typeUrl``.
    :param targets: The functions that each record is sent to; its key is their id.
    """

    topic: str
    value_type: str
    targets: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class KafkaIngress(Part):
    """Reads Kafka topics.

    :param address: ``host:port,…``; None if `properties` say it. `group` likewise.
    :param startup: ``latest``, ``earliest``, ``group-offsets``, ``specific-offsets`` or ``date``.
    :param offsets: For ``specific-offsets``: ``topic/partition`` and its offset.
    :param date: For ``date``: ``yyyy-MM-dd HH:mm:ss.SSS Z``.
    """

    kind: t.ClassVar[str] = "kafka"

    id: str
    address: str | None = None
    group: str | None = None
    topics: tuple[Topic, ...] = ()
    auto_offset_reset: str = "latest"
    startup: str = "latest"
    offsets: tuple[tuple[str, int], ...] | None = None
    date: str | None = None
    properties: Properties = ()

    @property
    def bootstrap(self) -> str | None:
        """The address, wherever it is said."""
        return self.address or dict(self.properties).get("bootstrap.servers")

    @property
    def consumer_group(self) -> str | None:
        """The consumer group, wherever it is said."""
        return self.group or dict(self.properties).get("group.id")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Aws(Part):
    """What is common to Kinesis' both directions."""

    region: str = "default"
    region_id: str | None = None
    region_endpoint: str | None = None
    credentials: str = "default"
    access_key_id: str | None = None
    secret_access_key: str | None = None
    profile_name: str | None = None
    profile_path: str | None = None
    properties: Properties = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class KinesisIngress(Aws):
    """Reads Kinesis streams.

    :param startup: ``latest``, ``earliest`` or ``date``.
    """

    kind: t.ClassVar[str] = "kinesis"

    id: str
    topics: tuple[Topic, ...] = ()
    startup: str = "latest"
    date: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlaygroundIngress(Part):
    """Takes messages over HTTP: ``PUT /ns/name/id``."""

    kind: t.ClassVar[str] = "playground"
    id: t.ClassVar[str] = "io.statefun.playground/ingress"
    topics: t.ClassVar[tuple[Topic, ...]] = ()

    port: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class KafkaEgress(Part):
    """Writes Kafka records.

    :param delivery: ``at-least-once``, ``exactly-once`` or ``none``.
    :param transaction_timeout: For ``exactly-once``.
    """

    kind: t.ClassVar[str] = "kafka"

    id: str
    address: str
    delivery: str = "at-least-once"
    transaction_timeout: dt.timedelta | None = None
    properties: Properties = ()

    @property
    def largest(self) -> int:
        """How large a record may be, in bytes: Kafka's own limit if no property says another."""
        text = dict(self.properties).get("max.request.size", "")
        return int(text) if text.isdecimal() else 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class KinesisEgress(Aws):
    """Writes Kinesis records."""

    kind: t.ClassVar[str] = "kinesis"

    id: str
    max_outstanding: int = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlaygroundEgress(Part):
    """Keeps what functions write until ``GET /topic`` takes it."""

    kind: t.ClassVar[str] = "playground"
    id: t.ClassVar[str] = "io.statefun.playground/egress"

    port: int
    topics: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extension(Part):
    """A component of a kind that this package does not know; a jar may bring it.

    :param section: ``functions``, ``endpoints``, ``ingresses``, ``egresses`` or ``routers``; in the
        format of several documents ``extensions``.
    :param type: The kind as it is written.
    :param id: The ingress's or egress's id, or the function's typename; formats up to 3.0 have it
        beside the kind.
    :param spec: YAML.
    """

    kind: t.ClassVar[str] = "extension"
    topics: t.ClassVar[tuple[Topic, ...]] = ()

    section: str
    type: str
    id: str | None = None
    spec: str


Ingress: t.TypeAlias = KafkaIngress | KinesisIngress | PlaygroundIngress
Egress: t.TypeAlias = KafkaEgress | KinesisEgress | PlaygroundEgress
Component: t.TypeAlias = HttpEndpoint | GrpcFunction | Ingress | Egress | Extension


@dataclasses.dataclass(frozen=True)
class Module:
    """A module.yaml.

    :param version: The format; ``3.1`` stands for that of several documents.
    :param components: Everything in it, in order.
    :param file: Where it was read from.
    """

    version: Version
    components: tuple[Component, ...]
    file: str = dataclasses.field(default="module.yaml", compare=False)

    @property
    def endpoints(self) -> list[HttpEndpoint]:
        """Where functions are."""
        return [each for each in self.components if isinstance(each, HttpEndpoint)]

    @property
    def ingresses(self) -> list[Ingress]:
        """Where messages come from."""
        return [each for each in self.components if isinstance(each, Ingress)]

    @property
    def egresses(self) -> list[Egress]:
        """Where records go to."""
        return [each for each in self.components if isinstance(each, Egress)]

    @property
    def extensions(self) -> list[Extension]:
        """What is of a kind that this package does not know."""
        return [each for each in self.components if isinstance(each, Extension)]

    def endpoint_for(self, typename: str) -> HttpEndpoint | None:
        """Return where a function is, None if nowhere. Its own endpoint goes before ``ns/*``."""
        return self._by_pattern.get(typename) or self._by_pattern.get(
            f"{typename.rpartition('/')[0]}/*"
        )

    @functools.cached_property
    def _by_pattern(self) -> dict[str, HttpEndpoint]:
        return {each.functions: each for each in self.endpoints}

    def egress(self, identifier: str) -> Egress | None:
        """Return the egress of an id, None if there is none."""
        return next((each for each in self.egresses if each.id == identifier), None)
