"""The greeter on apache-flink-statefun 3.3.0 and aiohttp; prints its port."""

import socket

from aiohttp import web
from statefun import Context
from statefun import IntType
from statefun import kafka_egress_message
from statefun import Message
from statefun import message_builder
from statefun import RequestReplyHandler
from statefun import StatefulFunctions
from statefun import ValueSpec

functions = StatefulFunctions()


@functions.bind("example/greeter", [ValueSpec("seen", IntType)])
def greet(context: Context, message: Message) -> None:
    name = message.as_string()
    seen = (context.storage.seen or 0) + 1
    context.storage.seen = seen
    text = f"Hello {name}, seen {seen} times"
    context.send(message_builder(target_typename="example/relay", target_id=name, str_value=text))


@functions.bind("example/relay")
def tell(context: Context, message: Message) -> None:
    context.send_egress(
        kafka_egress_message(
            typename="example/greets",
            topic="greetings",
            key=context.address.id,
            value=message.as_string(),
        )
    )


handler = RequestReplyHandler(functions)


async def handle(request: web.Request) -> web.Response:
    answer = await handler.handle_async(await request.read())
    return web.Response(body=answer, content_type="application/octet-stream")


if __name__ == "__main__":
    app = web.Application(client_max_size=64 << 20)
    app.add_routes([web.post("/statefun", handle)])
    bound = socket.create_server(("127.0.0.1", 0))
    print(bound.getsockname()[1], flush=True)
    web.run_app(app, sock=bound, print=None)
