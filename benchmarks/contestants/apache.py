from statefun import Context
from statefun import IntType
from statefun import Message
from statefun import message_builder
from statefun import RequestReplyHandler
from statefun import StatefulFunctions
from statefun import ValueSpec

functions = StatefulFunctions()


@functions.bind("example/person", [ValueSpec("seen", IntType)])
def person(context: Context, message: Message) -> None:
    name = message.as_string()
    seen = (context.storage.seen or 0) + 1
    context.storage.seen = seen
    context.send(
        message_builder(
            target_typename="example/relay",
            target_id=name,
            str_value=f"Hello {name}, seen {seen} times",
        )
    )


handle = RequestReplyHandler(functions).handle_sync
