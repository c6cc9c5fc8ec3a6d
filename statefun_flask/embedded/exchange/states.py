"""The states that function types have registered, and the expiration of their values."""

from __future__ import annotations

import collections.abc as cabc
import enum

import msgspec

from ...values.address import Address
from ..errors import ReplyRefusedError
from ..records import StoredValue
from ..store.transaction import Transaction


class ExpireMode(enum.IntEnum):
    """The event that restarts the time to live of a value. The protocol defines the numbers."""

    NONE = 0
    AFTER_WRITE = 1
    AFTER_INVOKE = 2


class StateSpec(msgspec.Struct, frozen=True):
    """A registered state.

    :param ttl: The time to live of a value, in milliseconds; 0 with mode NONE.
    """

    name: str
    typename: str
    mode: ExpireMode = ExpireMode.NONE
    ttl: int = 0

    def expires(self, cell: StoredValue) -> int | None:
        """Return when a value expires, in milliseconds since 1970; None for never."""
        return cell.stamp + self.ttl if self.mode else None


StateSpecs = dict[str, StateSpec]
StoredValues = dict[str, StoredValue]


class RegisteredStates:
    """The registered states by function type.

    A registration lasts as long as the engine runs. After a restart the functions register their
    states again. Only the types of stored values are durable. A type may change when no value of it
    is left.

    :param transaction: The transaction that has the typenames of stored values.
    """

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._specs: dict[str, StateSpecs] = {}
        self._holders: dict[tuple[str, str], Address] = {}

    def of(self, typename: str) -> StateSpecs:
        """Return a function type's states by name."""
        return self._specs.get(typename, _NOTHING)

    def register(
        self, address: Address, missing: cabc.Sequence[StateSpec], attached: cabc.Container[str]
    ) -> list[StateSpec]:
        """Register the missing states of a reply, and return the new specs.

        The first registration wins, as in the runtime.

        :param attached: The states that the request had.
        :raises ReplyRefusedError: The request had all these states, or a type differs from the
            registered one or from that of stored values.
        """
        known = self._specs.get(address.type, {})
        for spec in missing:
            self._check_type(address.type, spec, known.get(spec.name))
        if all(spec.name in attached for spec in missing):
            names = ", ".join(f"'{spec.name}'" for spec in missing)
            raise ReplyRefusedError(
                f"'{address.type}' replies for id '{address.id}' that states are missing"
                f" ({names or 'an empty list'}), but the request had all of them. Reply with a"
                " result: a state without a value is in the request, with its value unset."
            )
        new = {spec.name: spec for spec in missing if spec.name not in known}
        for spec in new.values():
            self._transaction.set_state_type(address.type, spec.name, spec.typename)
        # This makes a new dict, because requests in flight refer to the old one.
        self._specs[address.type] = {**known, **new}
        return list(new.values())

    def _check_type(self, function: str, spec: StateSpec, known: StateSpec | None) -> None:
        """Refuse another type than the registered one, or than that of stored values."""
        if known is not None and known.typename != spec.typename:
            raise ReplyRefusedError(
                f"'{function}' declares the state '{spec.name}' as '{spec.typename}', but it is"
                f" registered as '{known.typename}'. Keep its type, or give the state with the new"
                " type another name."
            )
        before = self._transaction.state_types.get((function, spec.name))
        if before is None or before == spec.typename:
            return
        holder = self._holder(function, spec.name)
        if holder is not None:
            raise ReplyRefusedError(
                f"'{function}' declares the state '{spec.name}' as '{spec.typename}', but values of"
                f" type '{before}' are stored, one of them for id '{holder.id}'. Keep its type,"
                " give the state with the new type another name, or delete the values with 'flask"
                f" statefun reset DATA {function} {spec.name}'."
            )

    def _holder(self, function: str, name: str) -> Address | None:
        """Return an address with a value of a state, the same one as long as it has the value.

        If only the last of many addresses has one, it takes long to find, and each message to the
        function asks for it.
        """
        holder = self._holders.get((function, name))
        if holder is None or name not in self._transaction.state(holder):
            holder = self._transaction.holder(function, name)
        if holder is not None:
            self._holders[function, name] = holder
        return holder


_NOTHING: StateSpecs = {}


def attach(specs: StateSpecs, cells: StoredValues, now: int) -> StoredValues:
    """Return the values for a request: without expired values, and with restarted times to live.

    Each request is a call, so AFTER_INVOKE counts from the last request or write.

    :param cells: All stored values of the address. They are not changed.
    """
    seen: StoredValues = {}
    for name, spec in specs.items():
        cell = cells.get(name)
        if cell is None:
            continue
        if spec.mode:
            if now >= cell.stamp + spec.ttl:
                continue
            if spec.mode is ExpireMode.AFTER_INVOKE:
                cell = StoredValue(cell.value, now)
        seen[name] = cell
    return seen
