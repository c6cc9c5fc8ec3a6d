"""The program of test_oracle.py for apache-flink-statefun 3.3.0.

Reads requests from stdin, each after its length in four bytes, and writes answers to stdout, each
after a byte that is 0 for an error, and its length.
"""

import datetime
import json
import struct
import sys

from statefun import BoolType
from statefun import DoubleType
from statefun import FloatType
from statefun import IntType
from statefun import kafka_egress_message
from statefun import kinesis_egress_message
from statefun import LongType
from statefun import message_builder
from statefun import RequestReplyHandler
from statefun import simple_type
from statefun import StatefulFunctions
from statefun import StringType
from statefun import ValueSpec

JsonType = simple_type(
    typename="example/Json",
    serialize_fn=lambda value: json.dumps(
        value, separators=(",", ":"), ensure_ascii=False
    ).encode(),
    deserialize_fn=json.loads,
)
TYPES = {
    "bool": BoolType,
    "int": IntType,
    "long": LongType,
    "float": FloatType,
    "double": DoubleType,
    "string": StringType,
    "json": JsonType,
}
SPECS = [
    ValueSpec(name="count", type=LongType),
    ValueSpec(
        name="word", type=StringType, expire_after_write=datetime.timedelta(milliseconds=1500)
    ),
    ValueSpec(name="ratio", type=DoubleType, expire_after_call=datetime.timedelta(days=1)),
    ValueSpec(name="flag", type=BoolType),
    ValueSpec(name="small", type=IntType),
    ValueSpec(name="single", type=FloatType),
    ValueSpec(name="json", type=JsonType, expire_after_call=datetime.timedelta(hours=2)),
]

functions = StatefulFunctions()


@functions.bind("example/program", specs=SPECS)
def program(context, message):
    for name, *arguments in json.loads(message.as_string()):
        STEPS[name](context, *arguments)


@functions.bind("example/echo")
async def echo(context, message):
    for type in TYPES.values():
        if message.is_type(type):
            value = message.as_type(type)
            context.send(message_builder("example/sink", "echo", value=value, value_type=type))


@functions.bind("example/counter", specs=[ValueSpec(name="seen", type=IntType)])
def counter(context, message):
    context.storage.seen = (context.storage.seen or 0) + message.as_int()
    context.send(
        message_builder("example/sink", context.address.id, int_value=context.storage.seen)
    )


def message_to(target, kind, value):
    return message_builder("example/other", target, value=value, value_type=TYPES[kind])


def step_count(context, number):
    context.storage.count = (context.storage.count or 0) + number


def step_set(context, state, value):
    setattr(context.storage, state, value)


def step_delete(context, state):
    delattr(context.storage, state)


def step_tell(context, state):
    value = getattr(context.storage, state)
    context.send(message_to("tell", "json", [state, value]))


def step_caller(context):
    caller = context.caller
    text = "ingress" if caller is None else f"{caller.typename}/{caller.id}"
    context.send(message_to("caller", "string", text))


def step_send(context, target, kind, value):
    context.send(message_to(target, kind, value))


def step_after(context, milliseconds, target, kind, value, token):
    delay = datetime.timedelta(milliseconds=milliseconds)
    message = message_to(target, kind, value)
    if token is None:
        context.send_after(delay, message)
    else:
        context.send_after(delay, message, cancellation_token=token)


def step_cancel(context, token):
    context.cancel_delayed_message(token)


def step_kafka(context, topic, key, value, as_bytes):
    value = value.encode() if as_bytes else value
    context.send_egress(kafka_egress_message("example/kafka", topic=topic, key=key, value=value))


def step_kafka_typed(context, topic, key, kind, value):
    context.send_egress(
        kafka_egress_message(
            "example/kafka", topic=topic, key=key, value=value, value_type=TYPES[kind]
        )
    )


def step_kinesis(context, stream, key, value, as_bytes):
    value = value.encode() if as_bytes else value
    context.send_egress(
        kinesis_egress_message("example/kinesis", stream=stream, partition_key=key, value=value)
    )


def step_fail(context):
    raise ValueError("as the message asked")


STEPS = {
    name.removeprefix("step_"): function
    for name, function in list(globals().items())
    if name.startswith("step_")
}


def main():
    handle = RequestReplyHandler(functions).handle_sync
    into, out = sys.stdin.buffer, sys.stdout.buffer
    while head := into.read(4):
        body = into.read(*struct.unpack(">I", head))
        try:
            is_answer, answer = True, bytes(handle(body))
        except Exception as exc:
            is_answer, answer = False, repr(exc).encode()
        out.write(struct.pack(">?I", is_answer, len(answer)) + answer)
        out.flush()


main()
