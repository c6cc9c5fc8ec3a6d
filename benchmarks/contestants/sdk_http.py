"""The functions of the HTTP benchmark on the other Python SDKs, which share their API."""

import asyncio

import web
from statefun import Context
from statefun import IntType
from statefun import kafka_egress_message
from statefun import Message
from statefun import message_builder
from statefun import RequestReplyHandler
from statefun import StatefulFunctions
from statefun import StringType
from statefun import ValueSpec

functions = StatefulFunctions()
NAMES = [f"s{letter}" for letter in "abcdefghij"]


def send(context: Context, id: str, text: str) -> None:
    context.send(message_builder(target_typename="example/relay", target_id=id, str_value=text))


@functions.bind("example/person", [ValueSpec("seen", IntType)])
def person(context: Context, message: Message) -> None:
    name = message.as_string()
    seen = (context.storage.seen or 0) + 1
    context.storage.seen = seen
    send(context, name, f"Hello {name}, seen {seen} times")


@functions.bind("example/measure")
def measure(context: Context, message: Message) -> None:
    send(context, context.address.id, str(len(message.as_string())))


@functions.bind("example/keep", [ValueSpec(name, StringType) for name in NAMES])
def keep(context: Context, message: Message) -> None:
    values = [getattr(context.storage, name) for name in NAMES]
    context.storage.sa = values[1]
    send(context, message.as_string(), str(sum(map(len, values))))


@functions.bind("example/wait")
async def wait(context: Context, message: Message) -> None:
    await asyncio.sleep(0.05)
    send(context, message.as_string(), message.as_string())


@functions.bind("example/greeter", [ValueSpec("seen", IntType)])
def greet(context: Context, message: Message) -> None:
    name = message.as_string()
    seen = (context.storage.seen or 0) + 1
    context.storage.seen = seen
    text = f"Hello {name}, seen {seen} times"
    context.send(message_builder(target_typename="example/teller", target_id=name, str_value=text))


@functions.bind("example/teller")
def tell(context: Context, message: Message) -> None:
    context.send_egress(
        kafka_egress_message(
            typename="example/greets",
            topic="greetings",
            key=context.address.id,
            value=message.as_string(),
        )
    )


if __name__ == "__main__":
    handler = RequestReplyHandler(functions)
    web.main(handler.handle_sync, handler.handle_async)
