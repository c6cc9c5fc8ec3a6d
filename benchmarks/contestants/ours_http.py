"""The functions of the HTTP benchmark on statefun_flask, served as deployments serve them."""

from __future__ import annotations

import asyncio
import sys

import ours

from statefun_flask import Address
from statefun_flask import asgi_app
from statefun_flask import AsgiTransport
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import GranianTransport
from statefun_flask import kafka_record
from statefun_flask import StateFunFlask
from statefun_flask import ValueSpec
from statefun_flask import WaitressTransport

app = StateFunFlask(__name__)
STATES = [ValueSpec(f"s{letter}", str) for letter in "abcdefghij"]

app.statefun("example/person", states=[ours.SEEN])(ours.person)


@app.statefun("example/measure")
def measure(context: Context, text: str) -> Effects:
    return Effects().send(Address("example/relay", context.self_address.id), str(len(text)))


@app.statefun("example/keep", states=STATES)
def keep(context: Context, name: str) -> Effects:
    values = [context.get_state(state) or "" for state in STATES]
    return (
        Effects()
        .update_state(STATES[0], values[1])
        .send(Address("example/relay", name), str(sum(map(len, values))))
    )


@app.statefun("example/wait")
async def wait(context: Context, name: str) -> Effects:
    await asyncio.sleep(0.05)
    return Effects().send(Address("example/relay", name), name)


@app.statefun("example/greeter", states=[ours.SEEN])
def greet(context: Context, name: str) -> Effects:
    seen = (context.get_state(ours.SEEN) or 0) + 1
    return (
        Effects()
        .update_state(ours.SEEN, seen)
        .send(Address("example/teller", name), f"Hello {name}, seen {seen} times")
    )


@app.statefun("example/teller")
def tell(context: Context, text: str) -> Effects:
    record = kafka_record("greetings", key=context.self_address.id, value=text)
    return Effects().egress("example/greets", record)


def main() -> None:
    """Serve with the server of the command line: ``PROGRAM SERVER PORT``."""
    server, listen = sys.argv[1], f"127.0.0.1:{sys.argv[2]}"
    if server == "waitress":
        WaitressTransport(listen, threads=4).run(app)
    elif server == "waitress-direct":
        WaitressTransport(listen, threads=4, direct=True).run(app)
    elif server == "granian":
        GranianTransport(listen, threads=1).run(app)
    elif server == "granian-direct":
        GranianTransport(listen, threads=1, direct=True).run(app)
    elif server == "granian-threads":
        GranianTransport(listen, threads=256, direct=True).run(app)
    elif server == "granian-asgi":
        AsgiTransport(listen, threads=0).run(app)
    else:
        import web

        web.on_uvicorn(asgi_app(app, threads=0), int(sys.argv[2]))


if __name__ == "__main__":
    main()
