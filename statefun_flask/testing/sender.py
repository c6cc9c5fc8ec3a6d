"""The function that sends the messages of a test to the functions of the app.

It is served beside the app, not by the app: on Flink it has an HTTP server of its own.
"""

from __future__ import annotations

import msgspec

from ..core.registry import FunctionRegistry
from ..values.address import Address
from ..values.context import Context
from ..values.effects import Effects
from ..values.json_types import json_type
from ..values.message import Message

FUNCTION = "statefun.testing/sender"
#: The topic that the function reads on Flink, and the type of the records there.
TOPIC = "statefun.testing.sender"
TYPENAME = "statefun.testing/message"


@json_type(TYPENAME)
class ForwardedMessage(msgspec.Struct):
    """A message and the address to send it to."""

    target: str
    id: str
    typename: str
    value: bytes


def registry() -> FunctionRegistry:
    """Return a registry with the function."""
    functions = FunctionRegistry()
    functions.register(FUNCTION, _forward)
    functions.register(FUNCTION, _ignore_reply)
    return functions


def _forward(context: Context, forwarded: ForwardedMessage) -> Effects:
    message = Message(forwarded.typename, forwarded.value)
    return Effects().send(Address(forwarded.target, forwarded.id), message)


def _ignore_reply(context: Context, reply: Message) -> Effects:
    """Accept a message that a function sends to its caller."""
    return Effects()


def encode(target: Address, message: tuple[str, bytes]) -> bytes:
    """Return the payload that makes the function send a message."""
    typename, value = message
    return msgspec.json.encode(ForwardedMessage(str(target.type), target.id, typename, value))
