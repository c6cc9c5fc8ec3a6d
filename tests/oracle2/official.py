"""The program of test_oracle2.py for apache-flink-statefun 2.2.2: hex in, hex out, line by line."""

import datetime
import json
import sys

from google.protobuf.any_pb2 import Any
from google.protobuf.wrappers_pb2 import BoolValue
from google.protobuf.wrappers_pb2 import BytesValue
from google.protobuf.wrappers_pb2 import DoubleValue
from google.protobuf.wrappers_pb2 import FloatValue
from google.protobuf.wrappers_pb2 import Int32Value
from google.protobuf.wrappers_pb2 import Int64Value
from google.protobuf.wrappers_pb2 import StringValue
from statefun import kafka_egress_record
from statefun import kinesis_egress_record
from statefun import RequestReplyHandler
from statefun import StatefulFunctions

WRAPPERS = {
    "bool": BoolValue,
    "int": Int32Value,
    "long": Int64Value,
    "float": FloatValue,
    "double": DoubleValue,
    "string": StringValue,
    "bytes": BytesValue,
}

functions = StatefulFunctions()


def wrapped(kind, value):
    return WRAPPERS[kind](value=value.encode() if kind == "bytes" else value)


@functions.bind("example/fn")
def program(context, message: StringValue):
    for name, *arguments in json.loads(message.value):
        STEPS[name](context, *arguments)


def step_set(context, state, kind, value):
    packed = Any()
    packed.Pack(wrapped(kind, value))
    context[state] = packed


def step_delete(context, state):
    del context[state]


def step_echo(context, state, target):
    if context[state] is not None:
        context.send("example/echo", target, context[state])


def step_caller(context, target):
    caller = context.caller
    text = f"{caller.namespace}/{caller.type}/{caller.identity}" if caller.type else "ingress"
    context.pack_and_send("example/caller", target, StringValue(value=text))


def step_send(context, target, kind, value):
    context.pack_and_send("example/other", target, wrapped(kind, value))


def step_after(context, milliseconds, target, kind, value):
    delay = datetime.timedelta(milliseconds=milliseconds)
    context.pack_and_send_after(delay, "example/other", target, wrapped(kind, value))


def step_kafka(context, topic, key, kind, value):
    record = kafka_egress_record(topic=topic, key=key, value=wrapped(kind, value))
    context.pack_and_send_egress("example/kafka", record)


def step_kinesis(context, stream, key, kind, value):
    record = kinesis_egress_record(stream=stream, partition_key=key, value=wrapped(kind, value))
    context.pack_and_send_egress("example/kinesis", record)


STEPS = {
    "set": step_set,
    "delete": step_delete,
    "echo": step_echo,
    "caller": step_caller,
    "send": step_send,
    "after": step_after,
    "kafka": step_kafka,
    "kinesis": step_kinesis,
}

handle = RequestReplyHandler(functions)
for line in sys.stdin:
    try:
        answer = handle(bytes.fromhex(line)).hex()
    except Exception as exc:
        answer = f"error: {exc!r}"
    print(answer, flush=True)
