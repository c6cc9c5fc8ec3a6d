"""The program of test_oracle3.py for apache-flink-statefun 3.3.0: hex in, hex out, line by line."""

import datetime
import json
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
from statefun import StatefulFunctions
from statefun import StringType
from statefun import ValueSpec

TYPES = {
    "bool": BoolType,
    "int": IntType,
    "long": LongType,
    "float": FloatType,
    "double": DoubleType,
    "string": StringType,
}
SECOND = datetime.timedelta(seconds=1)

functions = StatefulFunctions()


@functions.bind(
    "example/fn",
    specs=[
        ValueSpec("flag", BoolType),
        ValueSpec("small", IntType),
        ValueSpec("count", LongType, expire_after_write=2 * SECOND),
        ValueSpec("ratio", DoubleType, expire_after_call=3 * SECOND),
        ValueSpec("single", FloatType),
        ValueSpec("word", StringType),
    ],
)
def program(context, message):
    for name, *arguments in json.loads(message.as_string()):
        STEPS[name](context, *arguments)


def step_set(context, state, value):
    setattr(context.storage, state, value)


def step_delete(context, state):
    delattr(context.storage, state)


def step_add(context, state):
    setattr(context.storage, state, min(getattr(context.storage, state) or 0, 2**62) + 1)


def step_echo(context, state, target):
    value = getattr(context.storage, state)
    text = "nothing" if value is None else repr(value)
    context.send(message_builder("example/echo", target, str_value=text))


def step_caller(context, target):
    caller = context.caller
    text = "ingress" if caller is None else f"{caller.typename}/{caller.id}"
    context.send(message_builder("example/caller", target, str_value=text))


def typed(target, kind, value):
    return message_builder("example/other", target, value=value, value_type=TYPES[kind])


def step_send(context, target, kind, value):
    context.send(typed(target, kind, value))


def step_after(context, milliseconds, target, kind, value, token):
    delay = datetime.timedelta(milliseconds=milliseconds)
    context.send_after(delay, typed(target, kind, value), token)


def step_cancel(context, token):
    context.cancel_delayed_message(token)


def step_kafka(context, topic, key, value):
    record = kafka_egress_message(
        typename="example/kafka", topic=topic, key=key, value=value.encode()
    )
    context.send_egress(record)


def step_kinesis(context, stream, key, value):
    record = kinesis_egress_message(
        typename="example/kinesis", stream=stream, partition_key=key, value=value.encode()
    )
    context.send_egress(record)


STEPS = {
    "set": step_set,
    "delete": step_delete,
    "add": step_add,
    "echo": step_echo,
    "caller": step_caller,
    "send": step_send,
    "after": step_after,
    "cancel": step_cancel,
    "kafka": step_kafka,
    "kinesis": step_kinesis,
}

handle = RequestReplyHandler(functions)
for line in sys.stdin:
    try:
        answer = handle.handle_sync(bytes.fromhex(line)).hex()
    except Exception as exc:
        answer = f"error: {exc!r}"
    print(answer, flush=True)
