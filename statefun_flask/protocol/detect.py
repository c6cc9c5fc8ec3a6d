"""Detects the protocol version of a request.

A request has no version marker, and a request of either protocol can be parsed as one of the other:
an argument of 2.x looks like an argument of 3.x without a value, and vice versa. They differ in
field 2 of arguments and state values, which is the ``value`` of 2.x and the ``has_value`` of 3.x,
and in field 3, which only 3.x has. A default value has neither field.
"""

from __future__ import annotations

import collections.abc as cabc
import logging
import operator
import re
import typing as t

from ..errors import ProtocolError
from ..values import _wire
from .model import Batch
from .model import Codec
from .v2 import CODEC as V2
from .v3 import CODEC as V3

logger = logging.getLogger("statefun_flask")


class Declaration(t.Protocol):
    """The declaration of a typename."""

    @property
    def specs(self) -> cabc.Sized:
        """The declared states."""


#: Declarations by namespace and name.
Declarations: t.TypeAlias = cabc.Mapping[tuple[str, str], Declaration]

#: The values of the setting ``STATEFUN_PROTOCOL``.
Protocol: t.TypeAlias = t.Literal["auto", "v2", "v3"]

_NAME_OF_3 = re.compile(rb"io\.statefun\.types/")
_NAME_OF_2 = re.compile(rb"type\.googleapis\.com/google\.protobuf\.\w*Value$")


class RequestReader(t.Protocol):
    """Reads requests of one protocol or of both."""

    def __call__(self, body: bytes, declarations: Declarations) -> tuple[Codec, Batch]:
        """Return a request, and the codec for its reply.

        :param declarations: The registered functions.
        :raises ProtocolError: The body is not a valid request of an accepted protocol.
        """


def request_reader(protocol: Protocol) -> RequestReader:
    """Return the reader for a value of ``STATEFUN_PROTOCOL``."""
    if protocol == "auto":
        return DetectingReader()
    if protocol in _PINNED:
        return PinnedReader(protocol)
    raise ValueError(f"There is no protocol {protocol!r}. Choose 'auto', 'v2' or 'v3'.")


#: The number of unexpected fields in a message after which the examination ends. It is slower than
#: a parser, and the runtime does not send batches of so many messages.
_MOST_OTHER_FIELDS = 100_000


class Evidence(t.NamedTuple):
    """The codecs that a request may belong to.

    :param strong: Codecs of fields that only one protocol writes.
    :param weak: Codecs of typenames that are typical for one protocol.
    """

    strong: set[Codec]
    weak: set[Codec]


def evidence(body: bytes) -> Evidence:
    """Examine all arguments and state values of a request.

    :raises ProtocolError: The body is not a request of either protocol.
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
        if others > _MOST_OTHER_FIELDS:
            raise ValueError("it has too many fields that a request does not have")


def _examine(fields: cabc.Iterable[_wire.WireField], found: Evidence) -> None:
    for number, kind, content in fields:
        if number == 2 and kind == _wire.DELIMITED:
            found.strong.add(V2)
        elif (number == 2 and kind == _wire.VARINT) or number == 3:
            found.strong.add(V3)
        elif number == 1 and isinstance(content, bytes):
            if _NAME_OF_3.match(content):
                found.weak.add(V3)
            elif _NAME_OF_2.match(content):
                found.weak.add(V2)


def _examine_state(value: bytes, found: Evidence) -> None:
    try:
        fields = list(_wire.fields(value))
        for number, _, content in fields:
            if number == 1 and isinstance(content, bytes):
                content.decode()
    except ValueError:
        found.strong.add(V2)  # a state of 2.x is any bytes; a state of 3.x is a message
    else:
        _examine(fields, found)


class PinnedReader:
    """Reads one protocol, and rejects requests that only the other protocol can have written.

    Typenames alone are not a reason to reject a request, since the protocol was pinned on purpose.
    """

    def __init__(self, protocol: t.Literal["v2", "v3"]) -> None:
        self.protocol = protocol
        self.codec, self._has_value, self._other = _PINNED[protocol]

    def __call__(self, body: bytes, declarations: Declarations) -> tuple[Codec, Batch]:
        """Return a request of this protocol, and its codec."""
        codec = self.codec
        try:
            batch = codec.decode(body)
        except ProtocolError:
            self._reject_other(body)
            raise

        messages = batch.messages
        if not (messages and self._has_value(messages[0][1])):
            self._reject_other(body)
        return codec, batch

    def _reject_other(self, body: bytes) -> None:
        other = self._other
        if other in evidence(body).strong:
            raise ProtocolError(
                f"The request is one of StateFun {other.version}, but STATEFUN_PROTOCOL is"
                f" '{self.protocol}'. Set it to '{other.setting}', or to 'auto' to answer both.",
                body,
            )


class DetectingReader:
    """Reads both protocols.

    For most requests of 3.x the first argument decides. Any other request is examined as a whole.
    When all its values are defaults, the typenames decide, then the protocol of the last request
    for the same function.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], Codec] = {}
        self._warned: set[tuple[str, str]] = set()

    def __call__(self, body: bytes, declarations: Declarations) -> tuple[Codec, Batch]:
        """Return a request, and the codec of its protocol."""
        try:
            batch = V3.decode(body)
        except ProtocolError as exc:
            return self._examine(body, declarations, exc)

        messages = batch.messages
        if messages and messages[0][1].has_value:
            if self._last.get(batch.target) is not V3:
                self._remember(batch, V3, declarations)
            return V3, batch
        return self._examine(body, declarations, batch)

    def _examine(
        self, body: bytes, declarations: Declarations, as_v3: Batch | ProtocolError
    ) -> tuple[Codec, Batch]:
        """Detect the protocol by the evidence in the body.

        :param as_v3: The request as one of 3.x, or the error of reading it so.
        """
        strong, weak = evidence(body)
        if len(strong) > 1:
            raise ProtocolError(
                "The request mixes StateFun 2.x and 3.x: some of its values can only be of 2.x, and"
                " some only of 3.x. Only the StateFun runtime should call this address.",
                body,
            )
        if strong == {V2} or (not strong and weak == {V2}):
            batch = V2.decode(body)
            if strong:
                self._remember(batch, V2, declarations)
            return V2, batch

        if isinstance(as_v3, ProtocolError):
            raise as_v3
        if strong:
            self._remember(as_v3, V3, declarations)
        elif weak != {V3} and self._recall(as_v3, body, declarations) is V2:
            return V2, V2.decode(body)
        return V3, as_v3

    def _remember(self, batch: Batch, codec: Codec, declarations: Declarations) -> None:
        if batch.target in declarations:
            self._last[batch.target] = codec

    def _recall(self, batch: Batch, body: bytes, declarations: Declarations) -> Codec:
        """Return the codec of the last request for the function, or 3.x where that is harmless."""
        target = batch.target
        typename = "/".join(target)
        last = self._last.get(target)
        if last is not None:
            return last
        declaration = declarations.get(target)
        if declaration is None or not batch.messages:
            return V3

        if target not in self._warned:
            self._warned.add(target)
            logger.warning(
                "A request for '%s' may be of StateFun 2.x or 3.x, since all its values are"
                " defaults. Set STATEFUN_PROTOCOL to 'v2' or 'v3'.",
                typename,
            )
        if declaration.specs:
            raise ProtocolError(
                f"The request for '{typename}' may be of StateFun 2.x or 3.x, since all its values"
                " are defaults, and a wrong guess would lose its states. Set STATEFUN_PROTOCOL to"
                " 'v2' or 'v3'.",
                body,
            )
        return V3


# The first message decides if it has a value: bytes in 2.x, a flag in 3.x.
_PINNED: dict[str, tuple[Codec, cabc.Callable[[t.Any], t.Any], Codec]] = {
    "v2": (V2, operator.attrgetter("value"), V3),
    "v3": (V3, operator.attrgetter("has_value"), V2),
}
