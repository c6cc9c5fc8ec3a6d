"""Writes a ToFunction by hand, because building protobuf messages takes twice as long."""

from __future__ import annotations

import collections.abc as cabc
import functools

from ...protocol.encoding import named
from ...protocol.v3 import typed
from ...values import _wire
from ...values.address import Address
from ..records import Envelope
from .states import StateSpecs
from .states import StoredValues

_FIELD_1, _FIELD_2, _FIELD_3 = map(_wire.Header, range(1, 4))
_INVOCATION = _wire.Header(100)


def write(
    address: Address, specs: StateSpecs, cells: StoredValues, batch: cabc.Sequence[Envelope]
) -> bytes:
    """Return the ToFunction for a batch.

    :param cells: The states with a value. Other registered states are sent without a value.
    """
    pieces: list[bytes] = []
    target = _fields(address)
    pieces += _FIELD_1[len(target)], target

    for name, spec in specs.items():
        head = _wire.text(1, name)
        cell = cells.get(name)
        if cell is None:
            pieces += _FIELD_2[len(head)], head
            continue
        payload = cell.value
        head += _value(spec.typename, len(payload), True)
        pieces += _FIELD_2[len(head) + len(payload)], head, payload

    sender: Address | None = None
    caller = b""
    for envelope in batch:
        message = envelope.message
        payload = message.value
        # Messages of one reply share one caller object.
        if envelope.caller is not sender:
            sender = envelope.caller
            caller = b"" if sender is None else _wire.delimited(1, _fields(sender))
        head = caller + _value(message.typename, len(payload), message.has_value)
        pieces += _FIELD_3[len(head) + len(payload)], head, payload

    return b"".join((_INVOCATION[sum(map(len, pieces))], *pieces))


@functools.lru_cache(maxsize=4096)
def _value(typename: str, size: int, has_value: bool) -> bytes:
    """Return the part of a value before its payload of so many bytes."""
    value = typed(typename) if has_value else _wire.text(1, typename)
    if size:
        value += _FIELD_3[size]
    return _FIELD_2[len(value) + size] + value


def _fields(address: Address) -> bytes:
    identifier = address.id.encode()
    if not identifier:
        return named(address.type)
    return named(address.type) + _FIELD_3[len(identifier)] + identifier
