"""The blog's functions, called as plain functions and as a 2.x runtime calls them."""

from __future__ import annotations

import pathlib

import blog
import blog_app
import pytest
from blog_pb2 import GreetRequest
from blog_pb2 import GreetResponse

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import kafka_record
from statefun_flask import RequestHandler
from statefun_flask import WaitressTransport

BOB = Address("example/greeter", "bob")
MODULE = pathlib.Path(blog.__file__).with_name("module.yaml")

# A request as StateFun 2.2.2 sends it: the state "seen_count" is an Int32Value of 1, as the Rust
# and the Python SDK of that time stored it, and the message a GreetRequest(name="bob").
REQUEST = bytes.fromhex(
    "a2068a010a170a076578616d706c651207677265657465721a03626f6212420a0a7365656e5f636f756e7412340a"
    "2e747970652e676f6f676c65617069732e636f6d2f676f6f676c652e70726f746f6275662e496e74333256616c75"
    "65120208011a2b12290a20636f6d2e676f6f676c65617069732f626c6f672e47726565745265717565737412050a"
    "03626f62"
)


@pytest.mark.parametrize(
    ("seen", "greeting"),
    [
        (None, "Welcome bob, I haven't met you before!"),
        (1, "Hello bob, nice to see you for the 2nd time."),
        (10, "Hello bob, nice to see you for the 11th time."),
        (121, "Hello bob, nice to see you for the 122nd time."),
    ],
)
def test_a_name_is_counted_and_greeted(seen: int | None, greeting: str) -> None:
    context = Context(BOB, states={"seen_count": seen})
    times = (seen or 0) + 1
    assert blog.greet(context, GreetRequest(name="bob")) == (
        Effects()
        .update_state("seen_count", times)
        .send(Address("example/relay", "bob"), GreetResponse(name="bob", greeting=greeting))
        .send_after(BOB, blog.FORGET_AFTER, times)
    )


def test_a_name_is_forgotten_when_it_was_not_seen_again() -> None:
    context = Context(BOB, BOB, states={"seen_count": 3})
    assert blog.forget(context, 3) == Effects().delete_state("seen_count")
    assert blog.forget(context, 2) == Effects()


def test_the_relay_writes_to_kafka_under_the_name() -> None:
    response = GreetResponse(name="bob", greeting="Hello bob")
    effects = blog.relay(Context(Address("example/relay", "bob"), BOB), response)
    record = kafka_record("greetings", key="bob", value=response)
    assert effects == Effects().egress("example/greets", record)


def test_the_runtime_of_the_post_is_answered() -> None:
    answer = RequestHandler(blog.registry, protocol="v2")(REQUEST)
    client = blog_app.app.test_client()
    reply = client.post("/statefun", data=REQUEST, content_type="application/octet-stream")

    assert b"Hello bob, nice to see you for the 2nd time." in answer
    assert b"type.googleapis.com/google.protobuf.Int64Value" in answer
    assert reply.data == answer


def test_main_serves_where_the_post_does(monkeypatch: pytest.MonkeyPatch) -> None:
    served = []
    monkeypatch.setattr(
        WaitressTransport, "run", lambda self, registry: served.append((self.listen, registry))
    )
    blog.main()
    assert served == [("0.0.0.0:5000", blog.registry)]


def test_module_yaml_has_what_the_functions_declare() -> None:
    runner = blog_app.app.test_cli_runner()
    checked = runner.invoke(args=["statefun", "check", str(MODULE)])
    assert checked.exit_code == 0, checked.output
