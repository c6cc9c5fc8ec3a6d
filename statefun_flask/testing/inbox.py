"""The door for messages from tests: a function that passes them on to any other.

It runs beside the app's functions and not among them: on Flink with a server of its own.
"""

from __future__ import annotations

import msgspec

from ..core.registry import FunctionRegistry
from ..values.address import Address
from ..values.context import Context
from ..values.effects import Effects
from ..values.json_types import json_type
from ..values.message import Message

FUNCTION = "statefun.testing/inbox"
#: The topic that it reads, and the type of the records there.
TOPIC = "statefun.testing.inbox"
TYPENAME = "statefun.testing/message"


@json_type(TYPENAME)
class Outside(msgspec.Struct):
    """A message on its way to a function."""

    target: str
    id: str
    typename: str
    value: bytes


def registry() -> FunctionRegistry:
    """Return the inbox as functions to serve."""
    functions = FunctionRegistry()
    functions.register(FUNCTION, _pass_on)
    functions.register(FUNCTION, _ignore)
    return functions


def _pass_on(context: Context, outside: Outside) -> Effects:
    message = Message(outside.typename, outside.value)
    return Effects().send(Address(outside.target, outside.id), message)


def _ignore(context: Context, reply: Message) -> Effects:
    """Take what functions send back to their caller."""
    return Effects()


def write(target: Address, message: tuple[str, bytes]) -> bytes:
    """Return the record that has a message sent."""
    typename, value = message
    return msgspec.json.encode(Outside(str(target.type), target.id, typename, value))
