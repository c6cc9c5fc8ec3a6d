"""Which protocol a request speaks.

Nothing on the wire says so, and a request of one parses as the other: an argument of 2.x looks like
one of 3.x without a value, and the other way round. What tells them apart is field 2 of arguments
and of state values, the ``value`` of 2.x and the ``has_value`` of 3.x, and field 3, which only 3.x
has. Values that are all defaults have neither.
"""

from __future__ import annotations

import collections.abc as cabc
import logging
import operator
import re
import typing as t

from ..errors import ProtocolError
from ..values import _wire
from . import v2
from . import v3
from .model import Batch
from .model import Codec

logger = logging.getLogger("statefun_flask")


class Declaration(t.Protocol):
    """What is registered under a typename."""

    @property
    def specs(self) -> cabc.Sized:
        """The declared states."""


#: By namespace and name.
Tables: t.TypeAlias = cabc.Mapping[tuple[str, str], Declaration]

#: The values of the setting ``STATEFUN_PROTOCOL``.
Protocol: t.TypeAlias = t.Literal["auto", "v2", "v3"]

_NAME_OF_3 = re.compile(rb"io\.statefun\.types/")
_NAME_OF_2 = re.compile(rb"type\.googleapis\.com/google\.protobuf\.\w*Value$")


class Reader(t.Protocol):
    """Reads requests, of one protocol or of both."""

    def __call__(self, body: bytes, tables: Tables) -> tuple[Codec, Batch]:
        """Return a request and the codec that writes its answer.

        :param tables: What is registered.
        :raises ProtocolError: The bytes are no request, or none of a protocol that is read here.
        """


def reader(protocol: Protocol) -> Reader:
    """Return what reads requests under a setting of ``STATEFUN_PROTOCOL``."""
    if protocol == "auto":
        return Auto()
    if protocol in _PINNED:
        return Pinned(protocol)
    raise ValueError(f"There is no protocol {protocol!r}. Choose 'auto', 'v2' or 'v3'.")


#: How many other fields a message may have before the walk ends: it is slower than a parser, and
#: the runtime sends no batch of so many messages.
_OTHERS = 100_000


class Evidence(t.NamedTuple):
    """What speaks for which codec.

    :param strong: What only one protocol writes.
    :param weak: Names that one of them is known for.
    """

    strong: set[Codec]
    weak: set[Codec]


def evidence(body: bytes) -> Evidence:
    """Look at all arguments and state values of a request.

    :raises ProtocolError: The bytes are no request of either protocol.
    """
    found = Evidence(set(), set())
    try:
        for batch in _records(body, 100):
            for state in _records(batch, 2):
                for value in _records(state, 2):
                    _examine_state(value, found)
            for invocation in _records(batch, 3):
                for argument in _records(invocation, 2):
                    _examine(_wire.fields(argument), found)
    except ValueError as exc:
        raise ProtocolError(
            f"The body of {len(body)} bytes is a ToFunction of neither StateFun 2.x nor 3.x: {exc}."
            " Only the StateFun runtime should call this address.",
            body,
        ) from None
    return found


def _records(data: bytes, wanted: int) -> cabc.Iterator[bytes]:
    others = 0
    for number, _, content in _wire.fields(data):
        if number == wanted and isinstance(content, bytes):
            yield content
            continue
        others += 1
        if others > _OTHERS:
            raise ValueError("it is full of fields that no request has")


def _examine(fields: cabc.Iterable[_wire.Field], found: Evidence) -> None:
    for number, kind, content in fields:
        if number == 2 and kind == _wire.DELIMITED:
            found.strong.add(v2)
        elif (number == 2 and kind == _wire.VARINT) or number == 3:
            found.strong.add(v3)
        elif number == 1 and isinstance(content, bytes):
            if _NAME_OF_3.match(content):
                found.weak.add(v3)
            elif _NAME_OF_2.match(content):
                found.weak.add(v2)


def _examine_state(value: bytes, found: Evidence) -> None:
    try:
        fields = list(_wire.fields(value))
        for number, _, content in fields:
            if number == 1 and isinstance(content, bytes):
                content.decode()
    except ValueError:
        found.strong.add(v2)  # any bytes are a state of 2.x; one of 3.x is a message
    else:
        _examine(fields, found)


class Pinned:
    """Reads one protocol, and refuses requests that can only be the other one's.

    Names alone do not refuse a request: who pins the protocol knows better.
    """

    def __init__(self, protocol: t.Literal["v2", "v3"]) -> None:
        self.protocol = protocol
        self.codec, self._has_value, self._other = _PINNED[protocol]

    def __call__(self, body: bytes, tables: Tables) -> tuple[Codec, Batch]:
        """Return a request of this protocol."""
        codec = self.codec
        try:
            batch = codec.decode(body)
        except ProtocolError:
            self._refuse_other(body)
            raise

        messages = batch.messages
        if not (messages and self._has_value(messages[0][1])):
            self._refuse_other(body)
        return codec, batch

    def _refuse_other(self, body: bytes) -> None:
        if self._other in evidence(body).strong:
            raise ProtocolError(
                f"The request is one of StateFun {_VERSION[self._other]}, but STATEFUN_PROTOCOL is"
                f" '{self.protocol}'. Set it to '{_SETTING[self._other]}', or to 'auto' to answer"
                " both.",
                body,
            )


class Auto:
    """Reads both protocols.

    A request of 3.x costs a look at its first argument. The others are examined as a whole; where
    all their values are defaults, names decide, then what the same function was last sent.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], Codec] = {}
        self._warned: set[tuple[str, str]] = set()

    def __call__(self, body: bytes, tables: Tables) -> tuple[Codec, Batch]:
        """Return a request and its protocol's codec."""
        try:
            batch = v3.decode(body)
        except ProtocolError as exc:
            return self._examine(body, tables, exc)

        messages = batch.messages
        if messages and messages[0][1].has_value:
            if self._last.get(batch.target) is not v3:
                self._remember(batch, v3, tables)
            return v3, batch
        return self._examine(body, tables, batch)

    def _examine(
        self, body: bytes, tables: Tables, as_v3: Batch | ProtocolError
    ) -> tuple[Codec, Batch]:
        """Decide by evidence.

        :param as_v3: The request as 3.x, or why it is none.
        """
        strong, weak = evidence(body)
        if len(strong) > 1:
            raise ProtocolError(
                "The request mixes StateFun 2.x and 3.x: some of its values can only be of one,"
                " and some only of the other. Send what the runtime sends.",
                body,
            )
        if strong == {v2} or (not strong and weak == {v2}):
            batch = v2.decode(body)
            if strong:
                self._remember(batch, v2, tables)
            return v2, batch

        if isinstance(as_v3, ProtocolError):
            raise as_v3
        if strong:
            self._remember(as_v3, v3, tables)
        elif weak != {v3} and self._recall(as_v3, body, tables) is v2:
            return v2, v2.decode(body)
        return v3, as_v3

    def _remember(self, batch: Batch, codec: Codec, tables: Tables) -> None:
        if batch.target in tables:
            self._last[batch.target] = codec

    def _recall(self, batch: Batch, body: bytes, tables: Tables) -> Codec:
        """Return what the function was last sent; without that, 3.x if it cannot do harm."""
        target = batch.target
        typename = "/".join(target)
        last = self._last.get(target)
        if last is not None:
            return last
        table = tables.get(target)
        if table is None or not batch.messages:
            return v3

        if target not in self._warned:
            self._warned.add(target)
            logger.warning(
                "A request for '%s' does not tell whether it is of StateFun 2.x or 3.x, since all"
                " its values are defaults. Set STATEFUN_PROTOCOL to 'v2' or 'v3'.",
                typename,
            )
        if table.specs:
            raise ProtocolError(
                f"The request for '{typename}' does not tell whether it is of StateFun 2.x or"
                " 3.x, since all its values are defaults, and a wrong guess would lose its states."
                " Set STATEFUN_PROTOCOL to 'v2' or 'v3'.",
                body,
            )
        return v3


# A first message with a value settles it: in 2.x it has bytes, in 3.x a flag.
_PINNED: dict[str, tuple[Codec, cabc.Callable[[t.Any], t.Any], Codec]] = {
    "v2": (v2, operator.attrgetter("value"), v3),
    "v3": (v3, operator.attrgetter("has_value"), v2),
}
_VERSION: dict[Codec, str] = {v2: "2.x", v3: "3.x"}
_SETTING: dict[Codec, str] = {v2: "v2", v3: "v3"}
