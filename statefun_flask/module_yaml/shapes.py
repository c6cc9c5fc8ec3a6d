"""The table of all components of a module.yaml and their fields.

The reader, its findings, the writer and the reference use it.
"""

from __future__ import annotations

import collections.abc as cabc
import dataclasses

from . import endpoint_fields as at
from . import io_fields as io
from . import model
from . import rules
from .fields import Field
from .fields import Fields
from .kinds import Choice
from .kinds import Integer
from .kinds import Many
from .kinds import Text
from .model import Version


@dataclasses.dataclass(frozen=True)
class Shape:
    """A kind of component.

    :param model: The class that it is read to.
    :param section: Its section in formats of one document.
    :param kinds: The name of the kind in each format.
    :param fields: The fields of its ``spec``.
    :param constants: Attributes of the model that the kind implies.
    :param rules: Checks of the whole component.
    """

    title: str
    model: type[model.Component]
    section: str
    kinds: cabc.Mapping[Version, str]
    fields: Fields
    doc: str
    constants: cabc.Mapping[str, str] = dataclasses.field(default_factory=dict)
    rules: tuple[rules.Rule, ...] = ()


def _kinds(one: str, three: str, many: str) -> dict[Version, str]:
    kinds: dict[Version, str] = {"1.0": one, "2.0": one, "3.0": three, "3.1": many}
    return {version: kind for version, kind in kinds.items() if kind}


SHAPES: tuple[Shape, ...] = (
    Shape(
        "Endpoint",
        model.HttpEndpoint,
        "endpoints",
        {"3.1": "io.statefun.endpoints.v2/http"},
        (at.FUNCTIONS, at.URL, at.BATCH, at.TRANSPORT),
        "The URL of functions.",
        rules=(rules.url, rules.batch, rules.okhttp_timeouts, rules.async_timeouts, rules.tls),
    ),
    Shape(
        "Endpoint with OkHttp",
        model.HttpEndpoint,
        "endpoints",
        {"3.0": "http", "3.1": "io.statefun.endpoints.v1/http"},
        (at.FUNCTIONS, at.URL, at.BATCH, at.TIMEOUTS),
        "The URL of functions, which are called with OkHttp.",
        constants={"transport": "okhttp"},
        rules=(rules.url, rules.batch, rules.okhttp_timeouts),
    ),
    Shape(
        "Function",
        model.HttpEndpoint,
        "functions",
        {"1.0": "http", "2.0": "http"},
        (
            Field("endpoint", Text("URL"), "The URL for requests.", "url", required=True),
            Field("states", Many(at.StateName()), "The names of its states.", versions=("1.0",)),
            Field("states", Many(at.STATE), "Its states.", versions=("2.0",)),
            at.BATCH,
            at.timeout("timeout", at.CALL, "1min", "call"),
            at.timeout("connectTimeout", "The time to connect.", "10s", "connect"),
            at.timeout("readTimeout", "The time between two parts of a response.", "10s", "read"),
            at.timeout("writeTimeout", "The time between two parts of a request.", "10s", "write"),
        ),
        "A function, with its states.",
        constants={"transport": "okhttp"},
        rules=(rules.url, rules.batch, rules.okhttp_timeouts, rules.states),
    ),
    Shape(
        "Function behind gRPC",
        model.GrpcFunction,
        "functions",
        {"1.0": "grpc", "2.0": "grpc"},
        (
            Field("host", Text(), "The host.", required=True),
            Field("port", Integer(1), "The port.", required=True),
        ),
        "A function that is called over gRPC, which this package does not serve.",
    ),
    Shape(
        "Kafka ingress",
        model.KafkaIngress,
        "ingresses",
        _kinds(
            "statefun.kafka.io/routable-protobuf-ingress",
            "io.statefun.kafka/ingress",
            "io.statefun.kafka.v1/ingress",
        ),
        (
            io.ID_IN,
            io.ADDRESS,
            Field("consumerGroupId", Text(), "The consumer group.", "group"),
            io.STARTUP,
            Field(
                "autoOffsetResetPosition",
                Choice(("earliest", "latest"), any_case=True),
                "The position to continue from if an offset no longer exists.",
                "auto_offset_reset",
                default="latest",
            ),
            Field("topics", Many(io.TOPIC, minimum=1), "The topics to read.", required=True),
            io.KAFKA_PROPERTIES,
        ),
        "Reads Kafka topics. A record without a key or without a value ends the job.",
        rules=(rules.kafka_settings, rules.kafka_ingress, rules.topics),
    ),
    Shape(
        "Kafka egress",
        model.KafkaEgress,
        "egresses",
        _kinds(
            "statefun.kafka.io/generic-egress",
            "io.statefun.kafka/egress",
            "io.statefun.kafka.v1/egress",
        ),
        (
            io.ID_OUT,
            dataclasses.replace(io.ADDRESS, required=True),
            io.DELIVERY,
            io.OLD_DELIVERY,
            io.KAFKA_PROPERTIES,
        ),
        "Writes Kafka records.",
        rules=(rules.kafka_settings, rules.delivery),
    ),
    Shape(
        "Kinesis ingress",
        model.KinesisIngress,
        "ingresses",
        _kinds(
            "statefun.kinesis.io/routable-protobuf-ingress",
            "io.statefun.kinesis/ingress",
            "io.statefun.kinesis.v1/ingress",
        ),
        (
            io.ID_IN,
            io.STREAM_STARTUP,
            Field(
                "streams",
                Many(io.STREAM, minimum=1),
                "The streams to read.",
                "topics",
                required=True,
            ),
            *io.AWS,
        ),
        "Reads Kinesis streams; the partition key is the id of the function instance.",
        rules=(rules.topics,),
    ),
    Shape(
        "Kinesis egress",
        model.KinesisEgress,
        "egresses",
        _kinds(
            "statefun.kinesis.io/generic-egress",
            "io.statefun.kinesis/egress",
            "io.statefun.kinesis.v1/egress",
        ),
        (
            io.ID_OUT,
            Field(
                "maxOutstandingRecords",
                Integer(1),
                "The number of records that may wait.",
                "max_outstanding",
                default="1000",
            ),
            *io.AWS,
        ),
        "Writes Kinesis records.",
    ),
    Shape(
        "Playground ingress",
        model.PlaygroundIngress,
        "ingresses",
        {"3.1": "io.statefun.playground.v1/ingress"},
        (Field("port", Integer(1), "The port to listen on.", required=True),),
        "Receives messages over HTTP, `PUT /ns/name/id`. Only the playground's image has it.",
    ),
    Shape(
        "Playground egress",
        model.PlaygroundEgress,
        "egresses",
        {"3.1": "io.statefun.playground.v1/egress"},
        (
            Field("port", Integer(1), "The port to listen on.", required=True),
            Field("topics", Many(Text(), minimum=1), "The topics.", required=True),
        ),
        "Keeps records until `GET /topic` takes them. Only the playground's image has it.",
    ),
)


def shapes(section: str, version: str) -> dict[str, Shape]:
    """Return the shapes of a section of a format by the names of their kinds.

    :param section: ``extensions`` for the format of several documents, which has no sections.
    """
    return _SHAPES.get((section, version), {})


def _by_section() -> dict[tuple[str, str], dict[str, Shape]]:
    found: dict[tuple[str, str], dict[str, Shape]] = {}
    for shape in SHAPES:
        for version, kind in shape.kinds.items():
            section = "extensions" if version == "3.1" else shape.section
            found.setdefault((section, version), {})[kind] = shape
    return found


_SHAPES = _by_section()
