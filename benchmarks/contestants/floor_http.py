"""The floors of the HTTP benchmark: typed protobuf by hand, and a constant answer."""

from __future__ import annotations

import asyncio
import sys

import floor
import web

from statefun_flask.protocol.schema.request_reply_v3 import FromFunction
from statefun_flask.protocol.schema.request_reply_v3 import ToFunction
from statefun_flask.protocol.schema.types import StringWrapper


def handle(body: bytes) -> bytes:
    """Reply for the functions that use neither numbers nor time, or for a person."""
    batch = ToFunction.FromString(body).invocation
    if batch.target.type == "person":
        return floor.handle(body)

    answer = FromFunction()
    result = answer.invocation_result
    values = [StringWrapper.FromString(each.state_value.value).value for each in batch.state]
    if values:
        mutation = result.state_mutations.add(state_name="sa", mutation_type=1)
        value = mutation.state_value
        value.typename, value.has_value = "io.statefun.types/string", True
        value.value = StringWrapper(value=values[1]).SerializeToString()
    for invocation in batch.invocations:
        text = StringWrapper.FromString(invocation.argument.value).value
        message = result.outgoing_messages.add()
        message.target.namespace = "example"
        message.target.type = "relay"
        waited = batch.target.type == "wait"
        message.target.id = text if values or waited else batch.target.id
        message.argument.typename = "io.statefun.types/string"
        message.argument.has_value = True
        length = sum(map(len, values)) if values else len(text)
        said = text if waited else str(length)
        message.argument.value = StringWrapper(value=said).SerializeToString()
    return answer.SerializeToString()


def constant(body: bytes) -> bytes:
    return b"\xa2\x06\x00"


if __name__ == "__main__":
    kind = constant if sys.argv.pop(1) == "constant" else handle

    async def handle_async(body: bytes) -> bytes:
        if b"\x12\x04wait" in body[:40]:
            await asyncio.sleep(0.05)
        return kind(body)

    web.main(kind, handle_async)
