"""What both protocols write alike: the invocation result of a FromFunction (protocol 1.2, 2).

It is written by hand, each field once and in the order of the numbers, as protobuf's serialiser
does. Building its messages instead takes twice as long for an answer of one message.
"""

from __future__ import annotations

import collections.abc as cabc
import functools

from ..values import _wire
from ..values.address import Name
from ..values.effects import Cancellation
from ..values.effects import Delayed
from ..values.effects import Egress
from ..values.effects import Send

_FIELD_1, _FIELD_2, _FIELD_3, _FIELD_4 = map(_wire.Header, range(1, 5))
_RESULT = _wire.Header(100)
_MODIFY = b"\x08\x01"
_IS_CANCELLATION = b"\x50\x01"


def write(
    mutations: list[bytes],
    sends: cabc.Iterable[Send],
    delayed: cabc.Iterable[Delayed | Cancellation],
    egresses: cabc.Iterable[Egress],
    typed: cabc.Callable[[str], bytes],
    payload_field: _wire.Header,
) -> bytes:
    """Return a FromFunction. A payload is copied once, however large.

    :param mutations: What :func:`mutation` and :func:`deletion` returned; it is used up.
    :param typed: Returns all of an argument but its payload, by the payload's typename.
    :param payload_field: The field of an argument that the payload is.
    """
    # Spelled out for each kind of record: a function call would cost a third of what it does.
    pieces = mutations
    for address, typename, payload in sends:
        size = len(payload)
        value = typed(typename) + payload_field[size] if size else typed(typename)
        identifier = address.id.encode()
        target = named(address.type)
        if identifier:
            target += _FIELD_3[len(identifier)] + identifier
        head = _FIELD_1[len(target)] + target + _FIELD_2[len(value) + size] + value
        pieces += _FIELD_2[len(head) + size], head, payload

    for receiver, delay, typename, payload, token in delayed:
        tail = _wire.text(11, token)
        if receiver is None:
            pieces += _FIELD_3[len(tail) + 2], _IS_CANCELLATION, tail
            continue
        size = len(payload)
        value = typed(typename) + payload_field[size] if size else typed(typename)
        target = named(receiver.type) + _wire.text(3, receiver.id)
        head = b"\x08" + _wire.varint(delay) if delay else b""
        head += _FIELD_2[len(target)] + target + _FIELD_3[len(value) + size] + value
        pieces += _FIELD_3[len(head) + size + len(tail)], head, payload, tail

    for egress, typename, payload in egresses:
        size = len(payload)
        value = typed(typename) + payload_field[size] if size else typed(typename)
        head = named(egress) + _FIELD_3[len(value) + size] + value
        pieces += _FIELD_4[len(head) + size], head, payload

    return b"".join((_RESULT[sum(map(len, pieces))], *pieces))


def mutation(name: str, value: bytes, payload: bytes) -> tuple[bytes, ...]:
    """Return the pieces of a state's new value.

    :param value: What of the value stands before the payload.
    """
    size = len(payload)
    head = _modified(name) + _FIELD_3[len(value) + size] + value
    return _FIELD_1[len(head) + size], head, payload


def deletion(name: str) -> tuple[bytes, ...]:
    """Return the pieces of a mutation that deletes: one of only a name, since DELETE is zero."""
    head = _wire.text(2, name)
    return _FIELD_1[len(head)], head


@functools.lru_cache(maxsize=4096)
def named(name: Name) -> bytes:
    """Return the fields 1 and 2 of an address or an egress record."""
    return _wire.text(1, name.namespace) + _wire.text(2, name.name)


@functools.lru_cache(maxsize=4096)
def _modified(name: str) -> bytes:
    return _MODIFY + _wire.text(2, name)
