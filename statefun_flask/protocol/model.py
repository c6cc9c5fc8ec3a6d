"""Requests and results in memory, independent of the protocol version."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import typing as t

import msgspec

from ..errors import ProtocolError
from ..values.address import Address
from ..values.effects import Cancellation
from ..values.effects import DelayedSend
from ..values.effects import EgressMessage
from ..values.effects import Send
from ..values.message import Message
from ..values.state import StoredForm
from ..values.state import ValueSpec


class Batch(msgspec.Struct):
    """A request: the messages for one function instance, and the states of the instance.

    :param target: The namespace and the name of the function's typename.
    :param states: The states that the runtime knows; None for a state without a value.
    :param messages: Each message with its sender, which is None for a message from an ingress.
    """

    target: tuple[str, str]
    id: str
    states: dict[str, StoredForm]
    messages: list[tuple[Address | None, Message]]


class BatchResult:
    """The effects of a batch, in the order in which the protocols list them.

    :param typename: The typename of the function.
    """

    __slots__ = ("changes", "delayed", "records", "sent", "typename")

    def __init__(self, typename: str) -> None:
        self.typename = typename
        #: The final values of the changed states, in the order of the first change of each.
        self.changes: dict[str, StoredForm] = {}
        self.sent: list[Send] = []
        self.delayed: list[DelayedSend | Cancellation] = []
        self.records: list[EgressMessage] = []


class MissingStates(t.NamedTuple):
    """The reply to a request that lacks declared states.

    :param specs: All missing states, in the order of declaration.
    """

    typename: str
    specs: list[ValueSpec[t.Any]]


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Codec:
    """One protocol version: reads requests and writes replies.

    :param setting: The value of ``STATEFUN_PROTOCOL`` that selects it.
    :param version: The StateFun version, for messages.
    :param decode: Reads a request. It raises :class:`ProtocolError` for any other bytes.
    :param resolve_states: Checks the stored values of the declared states against their types, and
        replaces them by what the types read. The request has all declared states. It raises
        :class:`~statefun_flask.errors.StateTypeError` for a value that does not fit.
    :param encode: Writes a reply.
    """

    setting: t.Literal["v2", "v3"]
    version: str
    decode: cabc.Callable[[bytes], Batch]
    resolve_states: cabc.Callable[
        [dict[str, StoredForm], cabc.Mapping[str, ValueSpec[t.Any]]], None
    ]
    encode: cabc.Callable[[BatchResult | MissingStates], bytes]


def unreadable(body: bytes, version: str, reason: Exception) -> ProtocolError:
    """Return the error for bytes that cannot be parsed.

    :param version: The StateFun version, such as ``"3.x"``.
    """
    return ProtocolError(
        f"The body of {len(body)} bytes is not a ToFunction of StateFun {version}: {reason}."
        " Only the StateFun runtime should call this address.",
        body,
    )


def without_target(body: bytes, version: str, request: t.Any) -> ProtocolError:
    """Return the error for a ToFunction that names no function."""
    if not request.HasField("invocation"):
        return ProtocolError(
            f"The body of {len(body)} bytes holds no invocation."
            f" Send a ToFunction of StateFun {version}, as the runtime does.",
            body,
        )
    return ProtocolError(
        "The invocation names no target function."
        " Send a ToFunction with a target address, as the runtime does.",
        body,
    )
