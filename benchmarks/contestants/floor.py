"""The typed floor: the reply by hand, with generated classes."""

from __future__ import annotations

from statefun_flask.protocol.schema.request_reply_v3 import FromFunction
from statefun_flask.protocol.schema.request_reply_v3 import ToFunction
from statefun_flask.protocol.schema.types import IntWrapper
from statefun_flask.protocol.schema.types import StringWrapper


def handle(body: bytes) -> bytes:
    batch = ToFunction.FromString(body).invocation
    seen = 0
    for state in batch.state:
        if state.state_value.has_value:
            seen = IntWrapper.FromString(state.state_value.value).value

    answer = FromFunction()
    result = answer.invocation_result
    mutation = result.state_mutations.add(state_name="seen", mutation_type=1)
    for invocation in batch.invocations:
        name = StringWrapper.FromString(invocation.argument.value).value
        seen += 1
        value = mutation.state_value
        value.typename = "io.statefun.types/int"
        value.has_value = True
        value.value = IntWrapper(value=seen).SerializeToString()

        message = result.outgoing_messages.add()
        message.target.namespace = "example"
        message.target.type = "relay"
        message.target.id = name
        message.argument.typename = "io.statefun.types/string"
        message.argument.has_value = True
        message.argument.value = StringWrapper(
            value=f"Hello {name}, seen {seen} times"
        ).SerializeToString()
    return answer.SerializeToString()
