"""The fields of endpoints and functions."""

from __future__ import annotations

import dataclasses
import datetime as dt

from . import model
from .fields import Field
from .fields import Fields
from .fields import Group
from .fields import Struct
from .fields import Variant
from .kinds import Choice
from .kinds import Integer
from .kinds import QualifiedName
from .kinds import Text
from .kinds import text_of
from .model import State
from .nodes import Mapping
from .nodes import Node
from .nodes import Report
from .nodes import Scalar
from .times import Duration

FUNCTIONS = Field(
    "functions",
    QualifiedName(label="`ns/name` or `ns/*`", wildcard=True),
    "The function, or with `ns/*` all functions of a namespace without an endpoint of their own.",
    required=True,
)
URL = Field(
    "urlPathTemplate",
    Text("URL"),
    "The URL for requests; `{function.name}` stands for the part after the slash.",
    "url",
    required=True,
)
BATCH = Field(
    "maxNumBatchRequests",
    Integer(),
    "The number of messages that may wait for a function instance before the task stops reading.",
    "max_batch",
    default="1000",
)


def timeout(name: str, doc: str, default: str, attribute: str = "", positive: bool = True) -> Field:
    """Return a field that is a duration."""
    return Field(name, Duration(positive=positive), doc, attribute, default=default)


CALL = "The time for a request, retries included."
_CONNECT = "The time to connect, including the wait for a free connection."
OKHTTP_TIMEOUTS: Fields = (
    timeout("call", CALL, "1min"),
    timeout("connect", "The time to connect.", "10s"),
    timeout("read", "The time between two parts of a response.", "10s"),
    timeout("write", "The time between two parts of a request.", "10s"),
)
TIMEOUTS = Field(
    "timeouts",
    Group((Variant("", OKHTTP_TIMEOUTS),)),
    "Time limits; none may be longer than `call`, defaults included.",
)
_OF_OKHTTP = (
    "Remove it, or write 'type: io.statefun.transports.v1/okhttp' in 'transport', which is not the"
    " default from StateFun 3.2 on."
)
_ASYNC: Fields = (
    timeout("call", CALL, "2min"),
    timeout("connect", _CONNECT, "20s"),
    timeout("pool_ttl", "The time for which an idle connection is kept.", "15s", positive=False),
    Field("pool_size", Integer(1), "The largest number of connections.", default="1024"),
    Field(
        "payload_max_bytes",
        Integer(1),
        "The largest size of a response, in bytes.",
        default="33554432",
    ),
    Field("trust_cacerts", Text("path"), "Certificates to trust, PEM. From StateFun 3.3."),
    Field("client_cert", Text("path"), "The client's certificate, PEM. From StateFun 3.3."),
    Field("client_key", Text("path"), "The client's key, PKCS8. From StateFun 3.3."),
    Field(
        "client_key_password",
        Text("path"),
        "A file with the key's password, not the password. From StateFun 3.3.",
    ),
    Field(
        "timeouts",
        Group(
            (
                Variant(
                    "",
                    (
                        timeout("call", CALL, "1min"),
                        timeout("connect", _CONNECT, "10s"),
                    ),
                    strangers=dict.fromkeys(("read", "write"), _OF_OKHTTP),
                    presets={
                        "call": dt.timedelta(minutes=1),
                        "connect": dt.timedelta(seconds=10),
                    },
                ),
            )
        ),
        "Another form of `call` and `connect`, which takes precedence and has other defaults.",
        written=False,
    ),
)
TRANSPORT = Field(
    "transport",
    Group(
        (
            Variant("async", _ASYNC, "io.statefun.transports.v1/async", "One event loop, Netty."),
            Variant(
                "okhttp", (TIMEOUTS,), "io.statefun.transports.v1/okhttp", "A thread per request."
            ),
        ),
        "transport",
    ),
    "The HTTP client.",
)


@dataclasses.dataclass(frozen=True)
class StateName:
    """A state that is written as its name, as in format 1.0."""

    label: str = "string"

    def read(self, node: Node, report: Report) -> State | None:
        """Return the state."""
        if isinstance(node, Mapping):
            name = node.get("name")
            called = name.text if isinstance(name, Scalar) else "name"
            report.error(
                node,
                "other-format",
                "This is a mapping, as in format 2.0; in format 1.0 a state is a string.",
                f"Write '- {called}', or version: \"2.0\" at the top.",
            )
            return None
        text = Text().read(node, report)
        return None if text is None else State(node=node, name=text)

    def write(self, value: State) -> str:
        """Return the name."""
        return value.name


@dataclasses.dataclass(frozen=True)
class StateStruct(Struct[State]):
    """A state that is written as a mapping, as in format 2.0."""

    def read(self, node: Node, report: Report) -> State | None:
        """Return the state."""
        if isinstance(node, Scalar):
            text = text_of(node, report)
            report.error(
                node,
                "other-format",
                "This is a string, as in format 1.0; in format 2.0 a state is a mapping.",
                f"Write '- name: {text}', or version: \"1.0\" at the top.",
            )
            return None
        return super().read(node, report)


STATE = StateStruct(
    model.State,
    (
        Field("name", Text(), "The state's name.", required=True),
        Field(
            "expireAfter",
            Duration(positive=True),
            "The time after which a value expires.",
            default="for ever",
        ),
        Field(
            "expireMode",
            Choice(("after-invoke", "after-write")),
            "The event from which the time counts.",
            default="after-invoke",
        ),
    ),
)

#: Formats 1.0 and 2.0 have the typename of a function beside its spec.
TYPE = Field("type", QualifiedName(), "The function's typename.", "functions", required=True)
