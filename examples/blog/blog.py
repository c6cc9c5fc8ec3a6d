"""The greeter of a blog post about StateFun 2.x in Rust, in Python and on the same runtime.

It counts how often it has seen each name, and forgets a name that was not seen for a day.
"""

from __future__ import annotations

from datetime import timedelta

from blog_pb2 import GreetRequest
from blog_pb2 import GreetResponse

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import EgressIdentifier
from statefun_flask import FunctionRegistry
from statefun_flask import FunctionType
from statefun_flask import kafka_record
from statefun_flask import WaitressTransport

GREETER = FunctionType("example", "greeter")
RELAY = FunctionType("example", "relay")
GREETS = EgressIdentifier("example", "greets")

TOPIC = "greetings"
FORGET_AFTER = timedelta(days=1)

registry = FunctionRegistry()


def greet(context: Context, request: GreetRequest) -> Effects:
    """Count a name, send a greeting, and schedule a message that forgets the name in a day."""
    seen = (context.get_state("seen_count", int) or 0) + 1
    greeting = GreetResponse(name=request.name, greeting=greeting_for(request.name, seen))
    return (
        Effects()
        .update_state("seen_count", seen)
        .send(Address(RELAY, request.name), greeting)
        .send_after(context.self_address, FORGET_AFTER, seen)
    )


def forget(context: Context, last_seen: int) -> Effects:
    """Forget a name, if it was not seen again in the meantime.

    2.x has no cancellation, so one message arrives for each greeting. Only the last one counts.
    """
    if context.get_state("seen_count", int) != last_seen:
        return Effects()
    return Effects().delete_state("seen_count")


def relay(context: Context, response: GreetResponse) -> Effects:
    """Write a greeting to Kafka."""
    record = kafka_record(TOPIC, key=context.self_address.id, value=response)
    return Effects().egress(GREETS, record)


def greeting_for(name: str, seen: int) -> str:
    """Return the greeting for a name and the number of times it was seen."""
    if seen == 1:
        return f"Welcome {name}, I haven't met you before!"
    return f"Hello {name}, nice to see you for the {ordinal(seen)} time."


def ordinal(number: int) -> str:
    """Return an ordinal number: 1st, 2nd, 3rd, 4th …."""
    endings = {1: "st", 2: "nd", 3: "rd"}
    ending = "th" if number % 100 in (11, 12, 13) else endings.get(number % 10, "th")
    return f"{number}{ending}"


registry.register(GREETER, greet, states=["seen_count"])
registry.register(GREETER, forget, states=["seen_count"])
registry.register(RELAY, relay, egresses=[GREETS])


def main() -> None:
    """Serve the functions to a StateFun 2.x runtime."""
    WaitressTransport("0.0.0.0:5000", protocol="v2").run(registry)


if __name__ == "__main__":
    main()
