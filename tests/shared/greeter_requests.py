"""What the runtime asks the greeter of the examples."""

from __future__ import annotations

from greeter_pb2 import GreetRequest

from statefun_flask.protocol.schema.request_reply_v3 import ToFunction


def request_of(name: str, times: int) -> bytes:
    """Return a request for the greeter of a name, with that name so often and no count yet."""
    to_function = ToFunction()
    batch = to_function.invocation
    batch.target.namespace, batch.target.type, batch.target.id = "example", "greeter", name
    batch.state.add(state_name="seen_count")
    for _ in range(times):
        argument = batch.invocations.add().argument
        argument.typename, argument.has_value = "type.googleapis.com/example.GreetRequest", True
        argument.value = GreetRequest(name=name).SerializeToString()
    return to_function.SerializeToString()
