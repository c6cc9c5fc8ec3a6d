"""The same greeter with JSON messages: a dataclass in place of greeter.proto."""

from dataclasses import dataclass

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import json_type
from statefun_flask import kafka_record
from statefun_flask import StateFunFlask
from statefun_flask import ValueSpec

app = StateFunFlask(__name__)

SEEN = ValueSpec("seen_count", int)


@json_type("example/GreetRequest")
@dataclass
class GreetRequest:
    """A person to greet: ``{"name": "bob"}``."""

    name: str


@app.statefun("example/greeter", states=[SEEN])
def greet(context: Context, request: GreetRequest) -> Effects:
    """Count a name and pass a greeting on."""
    if not request.name:
        raise ValueError("empty name")

    seen = (context.get_state(SEEN) or 0) + 1
    greeting = f"Say hello to {request.name} from Flask. I've seen them {seen} times now."
    return Effects().update_state(SEEN, seen).send(Address("example/relay", request.name), greeting)


@app.statefun("example/relay", egresses=["example/greets"])
def relay(context: Context, greeting: str) -> Effects:
    """Write a greeting to Kafka."""
    record = kafka_record("greetings", key=context.self_address.id, value=greeting)
    return Effects().egress("example/greets", record)
