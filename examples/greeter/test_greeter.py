"""How a project tests its functions: they are plain functions from values to Effects."""

from __future__ import annotations

import datagen
import greeter
import greeter_json
import pytest
from greeter_pb2 import GreetRequest
from greeter_pb2 import GreetResponse

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import kafka_record

BOB = Address("example/greeter", "bob")


@pytest.mark.parametrize(("seen", "times"), [(None, 1), (1, 2), (41, 42)])
def test_each_name_is_counted(seen: int | None, times: int) -> None:
    context = Context(BOB, states={greeter.SEEN: seen})
    greeting = f"Say hello to bob from Flask. I've seen them {times} times now."
    assert greeter.greet(context, GreetRequest(name="bob")) == (
        Effects()
        .update_state(greeter.SEEN, times)
        .send(Address("example/relay", "bob"), GreetResponse(name="bob", greeting=greeting))
    )


def test_the_relay_writes_to_kafka_under_the_name() -> None:
    response = GreetResponse(name="bob", greeting="Say hello")
    effects = greeter.relay(Context(Address("example/relay", "bob"), BOB), response)
    record = kafka_record("greetings", key="bob", value=response)
    assert effects == Effects().egress("example/greets", record)


def test_json_greeter_says_the_same() -> None:
    context = Context(BOB, states={greeter_json.SEEN: 1})
    greeting = "Say hello to bob from Flask. I've seen them 2 times now."
    assert greeter_json.greet(context, greeter_json.GreetRequest("bob")) == (
        Effects().update_state(greeter_json.SEEN, 2).send(Address("example/relay", "bob"), greeting)
    )


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(ValueError, match="empty name"):
        greeter.greet(Context(BOB), GreetRequest())


def test_datagen_repeats_itself_for_a_seed() -> None:
    assert list(datagen.names(20, 7)) == list(datagen.names(20, 7))
    assert list(datagen.names(20, 7)) != list(datagen.names(20, 8))


@pytest.mark.parametrize("as_json", [False, True])
def test_datagen_writes_what_the_greeter_reads(as_json: bool) -> None:
    data = datagen.serialize("bob", as_json)
    assert data == (b'{"name": "bob"}' if as_json else GreetRequest(name="bob").SerializeToString())
