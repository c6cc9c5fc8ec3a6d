"""What a request asks and what is answered, in neither protocol's words."""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import msgspec

from ..values.address import Address
from ..values.effects import Cancellation
from ..values.effects import Delayed
from ..values.effects import Egress
from ..values.effects import Send
from ..values.message import Message
from ..values.state import Cell
from ..values.state import ValueSpec


class Batch(msgspec.Struct):
    """A request: messages for one function instance, with its states.

    :param target: The namespace and the name of the function's typename.
    :param cells: The states that the runtime knows; None for one without a value.
    :param messages: Each with its sender, which is None for a message from an ingress.
    """

    target: tuple[str, str]
    id: str
    cells: dict[str, Cell]
    messages: list[tuple[Address | None, Message]]


class Answer:
    """What a batch caused, in the order in which the protocols list it.

    :param typename: The function that answers.
    :param changes: Changed states in the order of their first change, with the final cell.
    """

    __slots__ = ("changes", "delayed", "egresses", "sends", "typename")

    def __init__(self, typename: str) -> None:
        self.typename = typename
        self.changes: dict[str, Cell] = {}
        self.sends: list[Send] = []
        self.delayed: list[Delayed | Cancellation] = []
        self.egresses: list[Egress] = []


class Incomplete(t.NamedTuple):
    """The answer to a request that lacks declared states: all of them, in declaration order."""

    typename: str
    missing: list[ValueSpec[t.Any]]


class Codec(t.Protocol):
    """One protocol version: bytes to a batch, and an answer to bytes."""

    def decode(self, body: bytes) -> Batch:
        """Read a request.

        :raises ProtocolError: The bytes are not one.
        """

    def admit(self, cells: dict[str, Cell], specs: cabc.Mapping[str, ValueSpec[t.Any]]) -> None:
        """Check what is stored in the declared states against their types.

        :param cells: What :meth:`decode` left there; all declared states are among them. Afterwards
            a state's type reads its cell.
        :raises StateTypeError: A stored value does not fit.
        """

    def encode(self, answer: Answer | Incomplete) -> bytes:
        """Write an answer."""
