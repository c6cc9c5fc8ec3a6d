"""The fields that say where functions are, and how they are called."""

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
from .kinds import NamespacedName
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
    NamespacedName(label="`ns/name` or `ns/*`", wildcard=True),
    "The function, or with `ns/*` all of a namespace that have no endpoint of their own.",
    required=True,
)
URL = Field(
    "urlPathTemplate",
    Text("URL"),
    "Where to send requests; `{function.name}` stands for the part behind the slash.",
    "url",
    required=True,
)
BATCH = Field(
    "maxNumBatchRequests",
    Integer(),
    "How many messages may wait for one function instance before the task takes no more input.",
    "max_batch",
    default="1000",
)


def timeout(name: str, doc: str, default: str, attribute: str = "", positive: bool = True) -> Field:
    """Return a field that is a time."""
    return Field(name, Duration(positive=positive), doc, attribute, default=default)


CALL = "The time for a request with all its retries."
_CONNECT = "The time to connect, and to wait for a free connection."
OKHTTP_TIMEOUTS: Fields = (
    timeout("call", CALL, "1min"),
    timeout("connect", "The time to connect.", "10s"),
    timeout("read", "The time between two pieces of an answer.", "10s"),
    timeout("write", "The time between two pieces of a request.", "10s"),
)
TIMEOUTS = Field(
    "timeouts",
    Group((Variant("", OKHTTP_TIMEOUTS),)),
    "How long things may take; none may be longer than `call`, the defaults included.",
)
_OF_OKHTTP = (
    "Write 'type: io.statefun.transports.v1/okhttp' in 'transport' to have it, which is not the"
    " default from StateFun 3.2 on; or remove it."
)
_ASYNC: Fields = (
    timeout("call", CALL, "2min"),
    timeout("connect", _CONNECT, "20s"),
    timeout("pool_ttl", "How long a connection is kept.", "15s", positive=False),
    Field("pool_size", Integer(1), "How many connections there are at most.", default="1024"),
    Field(
        "payload_max_bytes", Integer(1), "How long an answer may be, in bytes.", default="33554432"
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
        "Another way to say `call` and `connect`, which goes before them and has other defaults.",
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
    """A state that is its name."""

    label: str = "text"

    def read(self, node: Node, report: Report) -> State | None:
        """Return the state."""
        if isinstance(node, Mapping):
            name = node.get("name")
            called = name.text if isinstance(name, Scalar) else "name"
            report.error(
                node,
                "other-format",
                "This is a mapping, as format 2.0 has it; in 1.0 a state is its name.",
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
    """A state that is a mapping."""

    def read(self, node: Node, report: Report) -> State | None:
        """Return the state."""
        if isinstance(node, Scalar):
            text = text_of(node, report)
            report.error(
                node,
                "other-format",
                "This is a text, as format 1.0 has it; in 2.0 a state is a mapping.",
                f"Write '- name: {text}', or version: \"1.0\" at the top.",
            )
            return None
        return super().read(node, report)


STATE = StateStruct(
    model.State,
    (
        Field("name", Text(), "The state's name.", required=True),
        Field(
            "expireAfter", Duration(positive=True), "How long a value lives.", default="for ever"
        ),
        Field(
            "expireMode",
            Choice(("after-invoke", "after-write")),
            "What a life is counted from.",
            default="after-invoke",
        ),
    ),
)

#: Formats 1.0 and 2.0 have the function's name beside its spec.
TYPE = Field("type", NamespacedName(), "The function's typename.", "functions", required=True)
