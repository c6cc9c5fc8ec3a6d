"""The functions of the suite, with one namespace for each scenario.

A function of a scenario writes its observations to the topic ``said``, with its own address as the
key. The test of the scenario reads that topic. Most scenarios consist of steps, which
:func:`follow` carries out."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
import typing as t

from statefun_flask import Address
from statefun_flask import BOOL
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import INT
from statefun_flask import json_type
from statefun_flask import kafka_record
from statefun_flask import Message
from statefun_flask import StateFunFlask
from statefun_flask import utf8_type
from statefun_flask import ValueSpec

app = StateFunFlask(__name__)
EGRESS = "suite/said"

#: A text in the form of a Kafka record, without protobuf's wrapper.
Plain: t.TypeAlias = t.Annotated[str, utf8_type("suite/plain")]


def say(context: Context, *texts: object) -> Effects:
    """Write texts under the address of the function."""
    effects = Effects()
    for text in texts:
        record = kafka_record("said", key=str(context.self_address), value=str(text))
        effects.egress(EGRESS, record)
    return effects


# -- steps ------------------------------------------------------------------------------------


@json_type("suite/step")
@dataclasses.dataclass
class Step:
    """A step of a function. Only the fields that it needs are set."""

    do: t.Literal["say", "send", "later", "cancel"]
    text: str = ""
    to: str = ""
    steps: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    delay: int = 0
    token: str | None = None


@json_type("suite/steps")
@dataclasses.dataclass
class Steps:
    """The steps of one invocation, in order."""

    steps: list[Step]


def steps(*each: Step) -> Steps:
    return Steps(list(each))


def saying(text: str) -> Step:
    return Step("say", text)


def send(to: str, *what: Step) -> Step:
    return Step("send", to=to, steps=[dataclasses.asdict(each) for each in what])


def later(delay: int, to: str, *what: Step, token: str | None = None) -> Step:
    """Send after some milliseconds."""
    inner = [dataclasses.asdict(each) for each in what]
    return Step("later", to=to, steps=inner, delay=delay, token=token)


def cancel(token: str) -> Step:
    return Step("cancel", token=token)


@app.statefun("following/a")
@app.statefun("following/b")
def follow(context: Context, wanted: Steps) -> Effects:
    effects = Effects()
    for step in wanted.steps:
        inner = Steps([Step(**each) for each in step.steps])
        if step.do == "say":
            effects += say(context, f"{step.text} (from {context.caller_address})")
        elif step.do == "send":
            effects.send(_address(step.to), inner)
        elif step.do == "later":
            delay = dt.timedelta(milliseconds=step.delay)
            effects.send_after(_address(step.to), delay, inner, cancellation_token=step.token)
        else:
            effects.cancel(str(step.token))
    return effects


def _address(text: str) -> Address:
    namespace, name, id = text.split("/", 2)
    return Address(f"{namespace}/{name}", id)


# -- delivery ---------------------------------------------------------------------------------


@app.statefun("ingress/one")
@app.statefun("ingress/two")
def arrive(context: Context, text: Plain) -> Effects:
    return say(context, f"{text} from {context.caller_address}")


@app.statefun("looping/self")
def loop(context: Context, left: int) -> Effects:
    effects = say(context, f"{left} from {context.caller_address}")
    return effects.send(context.self_address, left - 1) if left else effects


@app.statefun("ordering/sender")
def send_many(context: Context, count: int) -> Effects:
    effects = Effects()
    for number in range(count):
        effects.send(Address("ordering/receiver", context.self_address.id), number)
    return effects


@app.statefun("ordering/receiver")
def receive(context: Context, number: int) -> Effects:
    return say(context, number)


@app.statefun("typed/mixed")
def take_int(context: Context, number: int) -> Effects:
    return say(context, f"int {number}")


@app.statefun("typed/mixed")
def take_text(context: Context, text: str) -> Effects:
    return say(context, f"str {text}")


@app.statefun("typed/mixed")
def take_step(context: Context, step: Step) -> Effects:
    return say(context, f"step {step.text}")


@app.statefun("typed/mixed")
def take_any(context: Context, message: Message) -> Effects:
    return say(context, f"{message.typename} {message.value!r}")


# -- states -----------------------------------------------------------------------------------

COUNT = ValueSpec("count", int)


@app.statefun("counting/one", states=[COUNT])
@app.statefun("counting/other", states=[COUNT])
def count(context: Context, text: str) -> Effects:
    counted = (context.get_state(COUNT) or 0) + 1
    return say(context, f"{text} {counted}").update_state(COUNT, counted)


@app.statefun("counting/sender")
def count_much(context: Context, times: int) -> Effects:
    effects = Effects()
    for _ in range(times):
        effects.send(Address("counting/one", context.self_address.id), "again")
    return effects


KINDS = {
    "bool": (ValueSpec("a_bool", bool), False),
    "int": (ValueSpec("an_int", int), 0),
    "int32": (ValueSpec("an_int32", INT), -(2**31)),
    "float": (ValueSpec("a_float", float), 0.0),
    "str": (ValueSpec("a_str", str), ""),
    "bytes": (ValueSpec("some_bytes", bytes), b""),
    "json": (ValueSpec("a_step", Step), Step("say", "☃")),
}


@app.statefun("keeping/kinds", states=[spec for spec, _ in KINDS.values()])
def keep(context: Context, text: str) -> Effects:
    effects = Effects()
    for spec, value in KINDS.values():
        effects += say(context, f"{spec.name} {context.get_state(spec)!r}")
        if text == "write":
            effects.update_state(t.cast("ValueSpec[t.Any]", spec), value)
        else:
            effects.delete_state(spec)
    return effects


# -- expiration -------------------------------------------------------------------------------

TTL = dt.timedelta(seconds=3)
WRITTEN = ValueSpec("written", str, expire_after_write=TTL)
CALLED = ValueSpec("called", str, expire_after_call=TTL)


@json_type("suite/look")
@dataclasses.dataclass
class Look:
    """Reports the value of a state, and writes a new value if one is given.

    :param at: In milliseconds after the first one.
    """

    at: int
    write: str = ""


@json_type("suite/looks")
@dataclasses.dataclass
class Looks:
    """The instants at which a state is read; the first is now."""

    looks: list[Look]


@app.statefun("expiring/write", states=[WRITTEN])
@app.statefun("expiring/call", states=[CALLED])
def look(context: Context, seen: Look) -> Effects:
    spec = WRITTEN if context.self_address.type.name == "write" else CALLED
    effects = say(context, f"{seen.at}: {context.get_state(spec)}")
    return effects.update_state(spec, seen.write) if seen.write else effects


@app.statefun("expiring/write", states=[WRITTEN])
@app.statefun("expiring/call", states=[CALLED])
def look_often(context: Context, planned: Looks) -> Effects:
    first, *others = planned.looks
    effects = look(context, first)
    for each in others:
        delay = dt.timedelta(milliseconds=each.at)
        effects.send_after(context.self_address, delay, each)
    return effects


# -- delays -----------------------------------------------------------------------------------


@app.statefun("waiting/measured")
def begin_to_wait(context: Context, milliseconds: int) -> Effects:
    delay = dt.timedelta(milliseconds=milliseconds)
    return Effects().send_after(context.self_address, delay, str(time.time()))


@app.statefun("waiting/measured")
def end_to_wait(context: Context, began: str) -> Effects:
    return say(context, time.time() - float(began))


# -- egress -----------------------------------------------------------------------------------


@app.statefun("writing/records")
def write(context: Context, text: str) -> Effects:
    effects = Effects()
    for record in (
        kafka_record("kinds", key="text", value="☃"),
        kafka_record("kinds", key="bytes", value=b"\x00\xff"),
        kafka_record("kinds", key="empty", value=""),
        kafka_record("kinds", key="int", value=7, type=INT),
        kafka_record("kinds", key="bool", value=True, type=BOOL),
        kafka_record("kinds", key="json", value=Step("say", "hello")),
        kafka_record("kinds", key="kéy/☃", value="key"),
        kafka_record("kinds", value="no key"),
    ):
        effects.egress(EGRESS, record)
    for number in range(100):
        effects.egress(EGRESS, kafka_record("numbers", key="one", value=str(number)))
    return effects.egress("suite/twice", kafka_record("numbers", key="other", value="100"))


# -- failures ---------------------------------------------------------------------------------


@app.statefun("surviving/delay")
def plan(context: Context, text: str) -> Effects:
    """Schedule a message for after the failure, and cancel another one before."""
    if text != "plan":
        return say(context, text)
    me, soon = context.self_address, dt.timedelta(seconds=2)
    return (
        say(context, "planned")
        .send_after(me, soon, "cancelled", cancellation_token="token")
        .cancel("token")
        .send_after(me, soon, "kept", cancellation_token="token")
    )
