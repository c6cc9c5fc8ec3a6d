"""A program whose functions end their process: ``ending.py FOLDER CONCURRENCY [MESSAGE…]``.

It sends the messages, ``id=value`` each, writes ``sent`` once they are on disk, lets the functions
run, and ends when the engine is idle with what was handled and what is parked.
"""

from __future__ import annotations

import json
import os
import sys
import time

from statefun_flask import Address
from statefun_flask.embedded import Control
from statefun_flask.embedded import Engine
from statefun_flask.embedded import InProcess
from statefun_flask.embedded import LocalRoutes
from statefun_flask.embedded import SqliteStore
from statefun_flask.protocol.schema.request_reply_v3 import FromFunction
from statefun_flask.protocol.schema.request_reply_v3 import ToFunction
from statefun_flask.values.message import Message

folder, concurrency, *texts = sys.argv[1:]
handled: list[str] = []


def call(body: bytes) -> bytes:
    """Do what the messages of a batch say."""
    reply = FromFunction()
    reply.invocation_result.SetInParent()
    request = ToFunction.FromString(body).invocation
    for each in request.invocations:
        act(request.target.id, each.argument.value.decode())
    return reply.SerializeToString()


def act(id: str, value: str) -> None:
    verb, _, rest = value.partition(":")
    if verb == "exit":
        os._exit(9)
    elif verb == "sleep":
        time.sleep(float(rest))
    handled.append(f"{id}={value}")


engine = Engine(
    LocalRoutes(InProcess(call), ["ns/fn"]), SqliteStore(folder), concurrency=int(concurrency)
)
messages = [
    (Address("ns/fn", id), Message("a/t", value.encode()))
    for id, _, value in (text.partition("=") for text in texts)
]
if messages:
    engine.submit(messages)
    engine.flush()
print("sent", flush=True)
engine.start()
engine.wait_idle()
parked = [[str(each.parked.address), each.parked.error] for each in Control(engine).parked()]
engine.close()
print(json.dumps({"handled": handled, "parked": parked}), flush=True)
