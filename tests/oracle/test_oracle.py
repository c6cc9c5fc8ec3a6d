"""Our 3.x answers beside those of apache-flink-statefun 3.3.0, for one program in both SDKs.

A message is a list of steps, which ``official.py`` takes in the same way.
"""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from statefun_flask import Address
from statefun_flask import BOOL
from statefun_flask import Context
from statefun_flask import DOUBLE
from statefun_flask import Effects
from statefun_flask import FLOAT
from statefun_flask import FunctionRegistry
from statefun_flask import INT
from statefun_flask import json_type
from statefun_flask import kafka_record
from statefun_flask import kinesis_record
from statefun_flask import LONG
from statefun_flask import Message
from statefun_flask import RequestHandler
from statefun_flask import STRING
from statefun_flask import Type
from statefun_flask import ValueSpec
from statefun_flask.protocol.schema.request_reply_v3 import FromFunction

pytestmark = pytest.mark.oracle

Answer: t.TypeAlias = cabc.Callable[[bytes], "bytes | str"]

JSON = json_type("example/Json", t.Any)
TYPES: dict[str, Type[t.Any]] = {
    "bool": BOOL,
    "int": INT,
    "long": LONG,
    "float": FLOAT,
    "double": DOUBLE,
    "string": STRING,
    "json": JSON,
}
SPECS: dict[str, ValueSpec[t.Any]] = {
    spec.name: spec
    for spec in [
        ValueSpec("count", LONG),
        ValueSpec("word", STRING, expire_after_write=dt.timedelta(milliseconds=1500)),
        ValueSpec("ratio", DOUBLE, expire_after_call=dt.timedelta(days=1)),
        ValueSpec("flag", BOOL),
        ValueSpec("small", INT),
        ValueSpec("single", FLOAT),
        ValueSpec("json", JSON, expire_after_call=dt.timedelta(hours=2)),
    ]
}
SEEN = ValueSpec("seen", INT)

# -- the program, in this SDK ---------------------------------------------------------------------


class Run:
    """What one message has done so far.

    The official SDK's storage changes at once; here effects are applied when the function returns,
    so that what a later step of the same message reads is remembered.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.effects = Effects()
        self.changed: dict[str, t.Any] = {}

    def get(self, state: str) -> t.Any:
        return self.changed[state] if state in self.changed else self.context.get_state(state)

    def set(self, state: str, value: t.Any) -> None:
        self.changed[state] = value
        self.effects.update_state(SPECS[state], value)

    def count(self, number: int) -> None:
        self.set("count", (self.get("count") or 0) + number)

    def delete(self, state: str) -> None:
        self.changed[state] = None
        self.effects.delete_state(state)

    def tell(self, state: str) -> None:
        self.send("tell", "json", [state, self.get(state)])

    def caller(self) -> None:
        caller = self.context.caller_address
        self.send("caller", "string", "ingress" if caller is None else str(caller))

    def send(self, target: str, kind: str, value: t.Any) -> None:
        self.effects.send(Address("example/other", target), value, type=TYPES[kind])

    def after(
        self, milliseconds: int, target: str, kind: str, value: t.Any, token: str | None
    ) -> None:
        self.effects.send_after(
            Address("example/other", target),
            dt.timedelta(milliseconds=milliseconds),
            value,
            type=TYPES[kind],
            cancellation_token=token,
        )

    def cancel(self, token: str) -> None:
        self.effects.cancel(token)

    def kafka(self, topic: str, key: str | None, value: str, as_bytes: bool) -> None:
        record = kafka_record(topic, key=key, value=value.encode() if as_bytes else value)
        self.effects.egress("example/kafka", record)

    def kafka_typed(self, topic: str, key: str | None, kind: str, value: t.Any) -> None:
        record = kafka_record(topic, key=key, value=value, type=TYPES[kind])
        self.effects.egress("example/kafka", record)

    def kinesis(self, stream: str, key: str, value: str, as_bytes: bool) -> None:
        content = value.encode() if as_bytes else value
        record = kinesis_record(stream, partition_key=key, value=content)
        self.effects.egress("example/kinesis", record)

    def fail(self) -> None:
        raise ValueError("as the message asked")


def program(context: Context, message: str) -> Effects:
    run = Run(context)
    for name, *arguments in json.loads(message):
        getattr(run, name)(*arguments)
    return run.effects


async def echo(context: Context, message: Message) -> Effects:
    for type in TYPES.values():
        if message.typename == type.typename:
            target = Address("example/sink", "echo")
            return Effects().send(target, message.as_type(type), type=type)
    return Effects()


def counter(context: Context, number: t.Annotated[int, INT]) -> Effects:
    seen = (context.get_state(SEEN) or 0) + number
    target = Address("example/sink", context.self_address.id)
    return Effects().update_state(SEEN, seen).send(target, seen, type=INT)


@pytest.fixture(scope="session")
def ours() -> Answer:
    registry = FunctionRegistry()
    registry.register_fn("example/program", program, states=list(SPECS.values()))
    registry.register_fn("example/echo", echo)
    registry.register_fn("example/counter", counter, states=[SEEN])
    handler = RequestHandler(registry)

    def answer(body: bytes) -> bytes | str:
        try:
            return handler(body)
        except Exception as exc:
            return repr(exc)

    return answer


# -- comparing --------------------------------------------------------------------------------


def normal(body: bytes) -> t.Any:
    """Return an answer in the form that all that mean the same have (protocol 1.2, 1.3)."""
    response = FromFunction.FromString(body)
    if response.WhichOneof("response") is None:
        response.invocation_result.SetInParent()
    for spec in response.incomplete_invocation_context.missing_values:
        if spec.expiration_spec.mode == 0:
            spec.ClearField("expiration_spec")
    if response.HasField("invocation_result"):
        # Each state has one mutation at most, so their order says nothing.
        result = response.invocation_result
        mutations = sorted(result.state_mutations, key=lambda mutation: mutation.state_name)
        result.ClearField("state_mutations")
        result.state_mutations.extend(mutations)
    else:
        response.incomplete_invocation_context.SetInParent()
    return response


def check(request: t.Any, ours: Answer, official: Answer) -> bytes | str:
    body = request.SerializeToString()
    theirs, mine = official(body), ours(body)
    if isinstance(theirs, str) or isinstance(mine, str):
        assert theirs == mine
    else:
        assert normal(mine) == normal(theirs)
    return mine


# -- requests ---------------------------------------------------------------------------------

# Not -0.0, whose sign the official SDK's protobuf drops.
VALUES: dict[str, st.SearchStrategy[t.Any]] = {
    "bool": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda f: f or 0.0),
    "double": st.floats(allow_nan=False, allow_infinity=False).map(lambda f: f or 0.0),
    "string": st.text(),
    "json": st.lists(st.booleans() | st.text() | st.integers(-1000, 1000), max_size=3),
}
KINDS = {
    "count": "long",
    "word": "string",
    "ratio": "double",
    "flag": "bool",
    "small": "int",
    "single": "float",
    "json": "json",
}
states = st.sampled_from(list(SPECS))
# The official SDK refuses the empty id.
ids = st.text(min_size=1, max_size=8)
topics = st.text(min_size=1, max_size=8)
keys = st.none() | st.text(min_size=1, max_size=8)
typed = st.sampled_from(list(TYPES)).flatmap(lambda kind: st.tuples(st.just(kind), VALUES[kind]))


def of_state(state: str) -> st.SearchStrategy[t.Any]:
    return st.tuples(st.just("set"), st.just(state), VALUES[KINDS[state]])


steps = st.one_of(
    st.tuples(st.just("count"), st.integers(-5, 5)),
    states.flatmap(of_state),
    st.tuples(st.just("delete"), states),
    st.tuples(st.just("tell"), st.sampled_from(["count", "word", "flag", "small", "json"])),
    st.just(("caller",)),
    st.tuples(st.just("send"), ids, typed).map(lambda s: (*s[:2], *s[2])),
    st.tuples(st.just("after"), st.integers(0, 10**9), ids, typed).map(
        lambda s: (*s[:3], *s[3], None)
    ),
    st.tuples(st.just("after"), st.integers(0, 10**9), ids, typed).map(
        lambda s: (*s[:3], *s[3], "token")
    ),
    st.just(("cancel", "token")),
    st.tuples(st.just("kafka"), topics, keys, st.text(min_size=1), st.booleans()),
    st.tuples(st.just("kafka_typed"), topics, keys, typed).map(lambda s: (*s[:3], *s[3])),
    st.tuples(st.just("kinesis"), topics, topics, st.text(min_size=1), st.booleans()),
)
callers = st.none() | st.builds(
    "a/b/{}".format, st.text(st.characters(categories=["L"]), min_size=1)
)


def numbered(programs: list[list[tuple[t.Any, ...]]]) -> list[str]:
    """Return the programs as messages; each token that is sent is a new one, or the last one."""
    number = 0
    messages = []
    for program in programs:
        lines: list[list[t.Any]] = []
        for step in program:
            if step[-1] == "token":
                number += step[0] == "after"
                step = (*step[:-1], f"token-{number}")
            lines.append(list(step))
        messages.append(json.dumps(lines))
    return messages


@st.composite
def stored(draw: st.DrawFn) -> dict[str, t.Any]:
    """States as a request has them: all, now and then some, each with a value or without."""
    present = draw(st.just(list(SPECS)) | st.lists(states, unique=True))
    cells = {}
    for name in present:
        value = draw(st.none() | VALUES[KINDS[name]])
        cells[name] = None if value is None else SPECS[name].encode(value)
    if draw(st.booleans()):
        cells["nobody_declares_it"] = ("x/y", b"z")
    return cells


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(steps, max_size=6), min_size=1, max_size=5), stored(), callers, ids)
def test_programs_have_the_same_answer(
    ours: Answer,
    official: Answer,
    to_function: t.Any,
    programs: list[list[tuple[t.Any, ...]]],
    cells: dict[str, t.Any],
    caller: str | None,
    id: str,
) -> None:
    messages = numbered(programs)
    request = to_function(*messages, target="example/program", id=id, caller=caller, states=cells)
    assert isinstance(check(request, ours, official), bytes)


@settings(max_examples=100, deadline=None)
@given(st.lists(typed, min_size=1, max_size=8))
def test_values_of_all_types_come_back_alike(
    ours: Answer, official: Answer, to_function: t.Any, values: list[tuple[str, t.Any]]
) -> None:
    pairs = [(TYPES[kind].typename, TYPES[kind].serialize(value)) for kind, value in values]
    request = to_function(*pairs, target="example/echo")
    answer = check(request, ours, official)
    assert isinstance(answer, bytes)
    sent = FromFunction.FromString(answer).invocation_result.outgoing_messages
    assert [(each.argument.typename, each.argument.value) for each in sent] == pairs


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=10), st.none() | st.integers(0, 99))
def test_a_counter_counts_alike(
    ours: Answer, official: Answer, to_function: t.Any, numbers: list[int], start: int | None
) -> None:
    cell = None if start is None else SEEN.encode(start)
    messages = [(INT.typename, INT.serialize(number)) for number in numbers]
    request = to_function(*messages, target="example/counter", states={"seen": cell})
    answer = check(request, ours, official)
    assert isinstance(answer, bytes)
    (mutation,) = FromFunction.FromString(answer).invocation_result.state_mutations
    assert mutation.state_value.value == INT.serialize((start or 0) + sum(numbers))


def test_all_missing_states_are_asked_for_alike(
    ours: Answer, official: Answer, to_function: t.Any
) -> None:
    answer = check(to_function("[]", target="example/program"), ours, official)
    assert isinstance(answer, bytes)
    missing = FromFunction.FromString(answer).incomplete_invocation_context.missing_values
    assert [each.state_name for each in missing] == list(SPECS)


def test_a_failing_message_fails_the_whole_batch_alike(
    ours: Answer, official: Answer, to_function: t.Any
) -> None:
    messages = ['[["count", 1]]', '[["fail"]]']
    request = to_function(*messages, target="example/program", states=dict.fromkeys(SPECS))
    assert check(request, ours, official) == "ValueError('as the message asked')"
