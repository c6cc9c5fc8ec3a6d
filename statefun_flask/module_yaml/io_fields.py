"""The fields of ingresses and egresses."""

from __future__ import annotations

import dataclasses
import re

from . import model
from .fields import Field
from .fields import Fields
from .fields import Group
from .fields import Struct
from .fields import Variant
from .kinds import Integer
from .kinds import Many
from .kinds import Pair
from .kinds import PropertyValue
from .kinds import QualifiedName
from .kinds import Text
from .kinds import Typename
from .model import Version
from .times import Date
from .times import Duration
from .times import Milliseconds

V3: tuple[Version, ...] = ("3.0",)
V31: tuple[Version, ...] = ("3.1",)
NEW: tuple[Version, ...] = ("3.0", "3.1")


#: Formats up to 3.0 have an id beside the spec.
INGRESS_ID = Field("id", QualifiedName(what="ingress"), "The ingress's id.", required=True)
EGRESS_ID = Field(
    "id", QualifiedName(what="egress"), "The id that functions write to.", required=True
)

DIRECTION = {"ingresses": INGRESS_ID, "egresses": EGRESS_ID}
ID_IN = dataclasses.replace(INGRESS_ID, versions=V31)
ID_OUT = dataclasses.replace(EGRESS_ID, versions=V31)

_TARGETS = Field(
    "targets",
    Many(QualifiedName(), minimum=1),
    "The functions that receive each record; its key is the id of the instance.",
    required=True,
)
_VALUE_TYPES: Fields = (
    Field(
        "valueType",
        Typename(),
        "The typename of the messages that records become.",
        "value_type",
        required=True,
        versions=NEW,
        instead="typeUrl",
    ),
    Field(
        "typeUrl",
        Typename(),
        "The type URL of the messages that records become, such as `com.googleapis/x.Y`.",
        "value_type",
        required=True,
        versions=model.V2_VERSIONS,
        instead="valueType",
    ),
)
_TOPIC_NAME = Field("topic", Text(), "The topic.", required=True)
TOPIC = Struct(model.Topic, (_TOPIC_NAME, *_VALUE_TYPES, _TARGETS))
STREAM = Struct(
    model.Topic,
    (dataclasses.replace(_TOPIC_NAME, name="stream", attribute="topic"), *_VALUE_TYPES, _TARGETS),
)


def _partition(key: str) -> str:
    if re.fullmatch(r".+/\d+", key):
        return ""
    return f"'{key}' is not a topic and a partition."


_DATE = Field("date", Date(), "The first moment to read from.", required=True)
STARTUP = Field(
    "startupPosition",
    Group(
        (
            Variant("latest"),
            Variant("earliest"),
            Variant("group-offsets"),
            Variant(
                "specific-offsets",
                (
                    Field(
                        "offsets",
                        Many(Pair(Integer(0), "`topic/partition: offset`", _partition), minimum=1),
                        "The first offsets, as `- topic/partition: offset`.",
                        required=True,
                    ),
                ),
            ),
            Variant("date", (_DATE,)),
        ),
        "startup",
    ),
    "The first position, without a checkpoint or savepoint.",
    default="latest",
)
STREAM_STARTUP = dataclasses.replace(
    STARTUP,
    kind=Group((Variant("latest"), Variant("earliest"), Variant("date", (_DATE,))), "startup"),
)


def _properties(name: str, doc: str) -> Field:
    return Field(name, Many(Pair(PropertyValue())), doc, "properties")


ADDRESS = Field(
    "address", Text("host:port, …"), "The brokers, as `host:port`, separated by commas."
)
KAFKA_PROPERTIES = _properties(
    "properties", "Settings of Kafka's client, as `- key: value`; the fields above take precedence."
)
_MILLIS = Field(
    "transactionTimeoutMillis",
    Milliseconds(),
    "The same in milliseconds; takes precedence.",
    "transaction_timeout",
)
DELIVERY = Field(
    "deliverySemantic",
    Group(
        (
            Variant("at-least-once"),
            Variant(
                "exactly-once",
                (
                    Field(
                        "transactionTimeout",
                        Duration(positive=True),
                        "How long a transaction may take, at most the broker's limit.",
                        "transaction_timeout",
                        versions=V31,
                        instead="transactionTimeoutMillis",
                    ),
                    dataclasses.replace(_MILLIS, written=False, versions=V31),
                ),
                doc="Consumers must read with `isolation.level=read_committed`.",
            ),
            Variant("none"),
        ),
        "delivery",
    ),
    "The delivery guarantee.",
    default="at-least-once",
    versions=V31,
)
#: Runtimes 2.x and 3.0 have the time as a bare number only.
OLD_DELIVERY = dataclasses.replace(
    DELIVERY,
    kind=Group(
        (
            Variant("at-least-once"),
            Variant(
                "exactly-once",
                (
                    dataclasses.replace(
                        _MILLIS, doc="How long a transaction may take, in milliseconds."
                    ),
                    Field(
                        "transactionTimeout",
                        Duration(positive=True),
                        "The same as a duration, which only StateFun 3.1 and later read.",
                        "transaction_timeout",
                        versions=V3,
                        written=False,
                        instead="transactionTimeoutMillis",
                    ),
                ),
            ),
            Variant("none"),
        ),
        "delivery",
    ),
    versions=("1.0", "2.0", "3.0"),
)

AWS: Fields = (
    Field(
        "awsRegion",
        Group(
            (
                Variant("default"),
                Variant(
                    "specific",
                    (Field("id", Text(), "The region.", "region_id", required=True),),
                ),
                Variant(
                    "custom-endpoint",
                    (
                        Field(
                            "endpoint", Text("URL"), "The URL.", "region_endpoint", required=True
                        ),
                        Field("id", Text(), "The region.", "region_id", required=True),
                    ),
                ),
            ),
            "region",
        ),
        "The region.",
        default="the machine's",
    ),
    Field(
        "awsCredentials",
        Group(
            (
                Variant("default"),
                Variant(
                    "basic",
                    (
                        Field("accessKeyId", Text(), "The key's id.", required=True),
                        Field("secretAccessKey", Text(), "The key.", required=True),
                    ),
                ),
                Variant(
                    "profile",
                    (
                        Field("profileName", Text(), "The profile.", required=True),
                        Field("profilePath", Text("path"), "The file of the profile."),
                    ),
                ),
            ),
            "credentials",
        ),
        "The credentials for AWS.",
        default="the machine's",
    ),
    _properties("clientConfigProperties", "Settings of the client, as `- key: value`."),
)
