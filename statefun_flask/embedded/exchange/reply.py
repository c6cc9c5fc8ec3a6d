"""Reads a FromFunction of the 3.x protocol. :mod:`.request` writes a ToFunction.

A reply that would end the job of the StateFun runtime (docs/protocol.md) is refused. This module
refuses what the reply alone shows; :mod:`.checks` compares a reply with the state of the engine.
"""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import typing as t

import msgspec

from ...protocol.schema import DecodeError
from ...protocol.schema.request_reply_v3 import FromFunction
from ...values.address import Address
from ...values.address import wire_type
from ...values.message import Message
from ..errors import ReplyRefusedError
from .states import ExpireMode
from .states import StateSpec

_DELETE = FromFunction.PersistedValueMutation.DELETE
_MODIFY = FromFunction.PersistedValueMutation.MODIFY

#: The type under which the runtime registers a state without a type.
UNSET = "io.statefun.types/unset"

#: The longest delay and expiration, in milliseconds, which is the longest timedelta of Python. The
#: sum of a delay and the current time fits into the 64 bits of a column of the store.
LONGEST = dt.timedelta.max // dt.timedelta(milliseconds=1)

# The runtime keeps its own states of every function under these names.
_RESERVED = ("batch", "request-state")


class Later(msgspec.Struct, frozen=True, gc=False):
    """A delayed message in a reply.

    :param delay: The delay in milliseconds.
    """

    delay: int
    target: Address
    message: Message
    token: str | None


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """A cancellation in a reply."""

    token: str


class Mutation(msgspec.Struct, frozen=True, gc=False):
    """A change of a state; the value None deletes the state."""

    name: str
    typename: str
    value: bytes | None


class Result(msgspec.Struct, frozen=True, gc=False):
    """The effects in a reply, each list in the order of the reply."""

    sends: cabc.Sequence[tuple[Address, Message]] = ()
    delayed: cabc.Sequence[Later | Cancel] = ()
    egresses: cabc.Sequence[tuple[str, Message]] = ()
    mutations: cabc.Sequence[Mutation] = ()


class IncompleteContext(msgspec.Struct, frozen=True, gc=False):
    """A reply that registers missing states."""

    specs: list[StateSpec]


def read(address: Address, body: bytes) -> Result | IncompleteContext:
    """Read the reply of an address.

    :raises ReplyRefusedError: The reply is not a FromFunction, or breaks a rule of the protocol.
    """
    try:
        response = FromFunction.FromString(body)
    except (DecodeError, UnicodeDecodeError):  # the latter by protobuf in pure Python
        raise ReplyRefusedError(
            f"The reply of '{address.type}' for id '{address.id}' ({len(body)} bytes) is not a"
            " FromFunction of StateFun 3.x. Check what the endpoint serves under that URL."
        ) from None

    if response.HasField("incomplete_invocation_context"):
        values = response.incomplete_invocation_context.missing_values
        return IncompleteContext([_spec(address, value) for value in values])

    # The frequent case is written inline, because function calls would double the time. The loops
    # read slices, because iterating over a repeated field ends with an expensive exception.
    result = response.invocation_result
    sends: list[tuple[Address, Message]] = []
    for each in result.outgoing_messages[:]:
        target, value = each.target, each.argument
        sends.append(
            (
                Address(wire_type(target.namespace, target.type), target.id),
                Message(value.typename, value.value, value.has_value),
            )
        )
    egresses: list[tuple[str, Message]] = []
    for record in result.outgoing_egresses[:]:
        content = record.argument
        egresses.append(
            (
                f"{record.egress_namespace}/{record.egress_type}",
                Message(content.typename, content.value, content.has_value),
            )
        )
    mutations: list[Mutation] = []
    for mutation in result.state_mutations[:]:
        if mutation.mutation_type == _MODIFY:
            # has_value is ignored, as the runtime does: the bytes are stored.
            cell = mutation.state_value
            mutations.append(Mutation(mutation.state_name, cell.typename, cell.value))
        else:
            mutations.append(_deletion(address, mutation))
    delayed = result.delayed_invocations
    return Result(
        sends, [_delayed(address, each) for each in delayed] if delayed else [], egresses, mutations
    )


def _message(value: t.Any) -> Message:
    return Message(value.typename, value.value, value.has_value)


def _address(target: t.Any) -> Address:
    return Address(wire_type(target.namespace, target.type), target.id)


def _delayed(address: Address, delayed: t.Any) -> Later | Cancel:
    token: str = delayed.cancellation_token
    if delayed.is_cancellation_request:
        if not token:
            raise ReplyRefusedError(
                f"'{address.type}' cancels a delayed message for id '{address.id}' without a"
                " cancellation token. Cancel with the token that the message was sent with."
            )
        return Cancel(token)
    if delayed.delay_in_ms < 0:
        raise ReplyRefusedError(
            f"'{address.type}' sends a message for id '{address.id}' with a delay of"
            f" {delayed.delay_in_ms} ms. Use a delay of zero or more."
        )
    if delayed.delay_in_ms > LONGEST:
        raise ReplyRefusedError(
            f"'{address.type}' sends a message for id '{address.id}' with a delay of"
            f" {delayed.delay_in_ms} ms. Use a delay of at most {LONGEST} ms."
        )
    return Later(
        delayed.delay_in_ms, _address(delayed.target), _message(delayed.argument), token or None
    )


def _deletion(address: Address, mutation: t.Any) -> Mutation:
    kind = mutation.mutation_type
    if kind == _DELETE:
        return Mutation(mutation.state_name, "", None)
    raise ReplyRefusedError(
        f"'{address.type}' changes the state '{mutation.state_name}' of id '{address.id}' in the"
        f" unknown way {kind}. Use MODIFY (1) or DELETE (0)."
    )


def _spec(address: Address, value: t.Any) -> StateSpec:
    name: str = value.state_name
    typename: str = value.type_typename or UNSET
    mode = value.expiration_spec.mode
    ttl: int = value.expiration_spec.expire_after_millis
    declares = f"'{address.type}' declares the state '{name}'"

    if name in _RESERVED:
        raise ReplyRefusedError(
            f"{declares}, which is a name that the StateFun runtime uses itself."
            " Give the state another name."
        )
    if typename.count("/") != 1 or typename.startswith("/") or typename.endswith("/"):
        raise ReplyRefusedError(
            f"{declares} with the type '{typename}'. Write the type as 'namespace/name', with one"
            " slash."
        )
    if mode not in (ExpireMode.AFTER_WRITE, ExpireMode.AFTER_INVOKE):
        return StateSpec(name, typename)
    if ttl <= 0:
        raise ReplyRefusedError(
            f"{declares} with an expiration of {ttl} ms. Use at least 1 ms, or no expiration."
        )
    if ttl > LONGEST:
        raise ReplyRefusedError(
            f"{declares} with an expiration of {ttl} ms. Use at most {LONGEST} ms, or no"
            " expiration."
        )
    return StateSpec(name, typename, ExpireMode(mode), ttl)
