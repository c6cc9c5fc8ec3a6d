from __future__ import annotations

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import INT
from statefun_flask import RequestHandler
from statefun_flask import ValueSpec

SEEN = ValueSpec("seen", INT)


def person(context: Context, name: str) -> Effects:
    seen = (context.get_state(SEEN) or 0) + 1
    return (
        Effects()
        .update_state(SEEN, seen)
        .send(Address("example/relay", name), f"Hello {name}, seen {seen} times")
    )


registry = FunctionRegistry()
registry.register("example/person", person, states=[SEEN])
handle = RequestHandler(registry)
