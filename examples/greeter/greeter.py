"""The greeter of StateFun's tutorials: it counts how often it has seen each name."""

from greeter_pb2 import GreetRequest
from greeter_pb2 import GreetResponse

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import kafka_record
from statefun_flask import StateFunFlask
from statefun_flask import ValueSpec

app = StateFunFlask(__name__)

SEEN = ValueSpec("seen_count", int)


@app.statefun("example/greeter", states=[SEEN])
def greet(context: Context, request: GreetRequest) -> Effects:
    """Count a name and pass a greeting on."""
    if not request.name:
        raise ValueError("empty name")

    seen = (context.get_state(SEEN) or 0) + 1
    greeting = f"Say hello to {request.name} from Flask. I've seen them {seen} times now."
    return (
        Effects()
        .update_state(SEEN, seen)
        .send(
            Address("example/relay", request.name),
            GreetResponse(name=request.name, greeting=greeting),
        )
    )


@app.statefun("example/relay", egresses=["example/greets"])
def relay(context: Context, response: GreetResponse) -> Effects:
    """Write a greeting to Kafka."""
    record = kafka_record("greetings", key=context.self_address.id, value=response)
    return Effects().egress("example/greets", record)
