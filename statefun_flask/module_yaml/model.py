"""The contents of a module.yaml, whichever format it is written in.

Every part has its node in the file, which comparisons ignore.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import typing as t

from .nodes import Node

#: The formats: those of one document have a ``version``; 3.1 stands for that of several documents.
Version: t.TypeAlias = t.Literal["1.0", "2.0", "3.0", "3.1"]
VERSIONS: tuple[Version, ...] = ("1.0", "2.0", "3.0", "3.1")
#: The formats of StateFun 2.x.
V2_VERSIONS: tuple[Version, ...] = ("1.0", "2.0")

Properties: t.TypeAlias = tuple[tuple[str, str], ...]

_NAME = "{function.name}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a module.

    :param node: Its node in the file; None if it was not read from one.
    """

    node: Node | None = dataclasses.field(default=None, compare=False, repr=False)

    def place(self, *names: str | int) -> Node:
        """Return the node of a field by its name in the file, or the nearest one that exists."""
        return self.node.at(*names) if self.node is not None else Node(0, 0)

    def name_place(self, version: str) -> Node:
        """Return the node of the id, or of the functions that the part serves.

        :param version: The format of the file.
        """
        if isinstance(self, HttpEndpoint | GrpcFunction):
            old = version in V2_VERSIONS
            return self.place("meta", "type") if old else self.place("spec", "functions")
        return self.place("spec" if version == "3.1" else "meta", "id")


@dataclasses.dataclass(frozen=True, kw_only=True)
class State(Part):
    """A state as formats 1.0 and 2.0 declare it.

    :param expire_mode: ``after-invoke`` or ``after-write``; has no effect without `expire_after`.
    """

    name: str
    expire_after: dt.timedelta | None = None
    expire_mode: str = "after-invoke"


@dataclasses.dataclass(frozen=True, kw_only=True)
class HttpEndpoint(Part):
    """An HTTP endpoint: the URL of functions, and how the runtime calls it.

    :param functions: ``ns/name`` or ``ns/*``.
    :param url: May contain ``{function.name}``, see :meth:`url_for`.
    :param max_batch: The largest number of messages in a request; 0 or less means no limit.
    :param transport: ``async`` or ``okhttp``.
    :param call: The time for a request, retries included; None is the default, see
        :attr:`call_timeout`. `read` and `write` exist for ``okhttp`` only.
    :param payload_max_bytes: The largest size of a response.
    :param states: The states in formats 1.0 and 2.0; None in later ones, where functions declare
        them.
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
        """Whether it serves a whole namespace."""
        return self.functions.endswith("/*")

    @property
    def call_timeout(self) -> dt.timedelta:
        """The time for a request, retries included."""
        if self.call is not None:
            return self.call
        return dt.timedelta(minutes=2 if self.transport == "async" else 1)

    def url_for(self, typename: str) -> str:
        """Return the URL at which a function is called.

        :param typename: ``ns/name``; its name replaces ``{function.name}``.
        """
        return self.url.replace(_NAME, typename.rpartition("/")[2])

    def serves(self, typename: str) -> bool:
        """Return whether the pattern matches a function."""
        if self.is_wildcard:
            return typename.rpartition("/")[0] == self.functions[:-2]
        return typename == self.functions


@dataclasses.dataclass(frozen=True, kw_only=True)
class GrpcFunction(Part):
    """A function that is called over gRPC; only formats 1.0 and 2.0 have it."""

    functions: str
    host: str
    port: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Topic(Part):
    """A Kafka topic or a Kinesis stream, and the functions that receive its records.

    :param value_type: The typename of the messages: ``valueType``, or ``typeUrl``.
    :param targets: The functions; the record's key is the id of the instance.
    """

    topic: str
    value_type: str
    targets: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class KafkaIngress(Part):
    """Reads Kafka topics.

    :param address: ``host:port,…``; None if `properties` have it. `group` likewise.
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
        """The address, from the field or the property."""
        return self.address or dict(self.properties).get("bootstrap.servers")

    @property
    def consumer_group(self) -> str | None:
        """The consumer group, from the field or the property."""
        return self.group or dict(self.properties).get("group.id")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Aws(Part):
    """The fields that the Kinesis ingress and egress share."""

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
    """Receives messages over HTTP: ``PUT /ns/name/id``."""

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
        """The largest size of a record in bytes: Kafka's default, or the property's."""
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
    """Keeps records until ``GET /topic`` takes them."""

    kind: t.ClassVar[str] = "playground"
    id: t.ClassVar[str] = "io.statefun.playground/egress"

    port: int
    topics: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extension(Part):
    """A component of a kind that this package does not know; a jar may provide it.

    :param section: ``functions``, ``endpoints``, ``ingresses``, ``egresses`` or ``routers``; in the
        format of several documents ``extensions``.
    :param type: The kind as it is written.
    :param id: The ingress's or egress's id, or the function's typename; formats up to 3.0 have it
        beside the kind.
    :param spec: The ``spec`` as YAML.
    """

    kind: t.ClassVar[str] = "extension"
    topics: t.ClassVar[tuple[Topic, ...]] = ()

    section: str
    type: str
    id: str | None = None
    spec: str


AnyIngress: t.TypeAlias = KafkaIngress | KinesisIngress | PlaygroundIngress
AnyEgress: t.TypeAlias = KafkaEgress | KinesisEgress | PlaygroundEgress
Component: t.TypeAlias = HttpEndpoint | GrpcFunction | AnyIngress | AnyEgress | Extension


@dataclasses.dataclass(frozen=True)
class Module:
    """A module.yaml.

    :param version: The format; ``3.1`` stands for that of several documents.
    :param components: The components in the order of the file.
    :param file: The file's name.
    """

    version: Version
    components: tuple[Component, ...]
    file: str = dataclasses.field(default="module.yaml", compare=False)

    @property
    def is_generated(self) -> bool:
        """Whether no component was read from a file."""
        return all(each.node is None for each in self.components)

    @property
    def endpoints(self) -> list[HttpEndpoint]:
        """The HTTP endpoints."""
        return [each for each in self.components if isinstance(each, HttpEndpoint)]

    @property
    def ingresses(self) -> list[AnyIngress]:
        """The ingresses."""
        return [each for each in self.components if isinstance(each, AnyIngress)]

    @property
    def egresses(self) -> list[AnyEgress]:
        """The egresses."""
        return [each for each in self.components if isinstance(each, AnyEgress)]

    @property
    def extensions(self) -> list[Extension]:
        """The components of kinds that this package does not know."""
        return [each for each in self.components if isinstance(each, Extension)]

    def endpoint_for(self, typename: str) -> HttpEndpoint | None:
        """Return the endpoint of a function, or None. Its own takes precedence over ``ns/*``."""
        return self._by_pattern.get(typename) or self._by_pattern.get(
            f"{typename.rpartition('/')[0]}/*"
        )

    @functools.cached_property
    def _by_pattern(self) -> dict[str, HttpEndpoint]:
        return {each.functions: each for each in self.endpoints}

    def egress(self, identifier: str) -> AnyEgress | None:
        """Return the egress with an id; None if it does not exist."""
        return next((each for each in self.egresses if each.id == identifier), None)
