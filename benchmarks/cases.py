"""The requests of the HTTP benchmark, and the correct replies."""

from __future__ import annotations

import typing as t

from statefun_flask.protocol.schema.request_reply_v3 import FromFunction
from statefun_flask.protocol.schema.request_reply_v3 import ToFunction
from statefun_flask.protocol.schema.types import IntWrapper
from statefun_flask.protocol.schema.types import StringWrapper

from . import handler


class Case(t.NamedTuple):
    """A request that is sent over and over.

    :param connections: The number of requests in flight at a time.
    :param texts: The texts of the messages in the reply.
    :param change: The state that the reply changes, and its bytes.
    """

    name: str
    title: str
    body: bytes
    connections: int
    texts: list[str]
    change: tuple[str, bytes] | None

    def check(self, answer: bytes) -> None:
        """Raise an AssertionError for a wrong reply."""
        result = FromFunction.FromString(answer).invocation_result
        texts = [
            StringWrapper.FromString(each.argument.value).value for each in result.outgoing_messages
        ]
        assert texts == self.texts, texts
        changes = [(each.state_name, each.state_value.value) for each in result.state_mutations]
        assert changes == ([self.change] if self.change else []), changes


def _request(function: str, *texts: str, states: dict[str, str] | None = None) -> bytes:
    to_function = ToFunction()
    batch = to_function.invocation
    batch.target.namespace, batch.target.type, batch.target.id = "example", function, "bob"
    for name, text in (states or {}).items():
        state = batch.state.add(state_name=name).state_value
        state.typename, state.has_value = "io.statefun.types/string", True
        state.value = StringWrapper(value=text).SerializeToString()
    for text in texts:
        argument = batch.invocations.add().argument
        argument.typename, argument.has_value = "io.statefun.types/string", True
        argument.value = StringWrapper(value=text).SerializeToString()
    return to_function.SerializeToString()


def _greeted(messages: int) -> tuple[list[str], tuple[str, bytes]]:
    texts = [f"Hello person {n}, seen {42 + n} times" for n in range(messages)]
    return texts, ("seen", IntWrapper(value=41 + messages).SerializeToString())


def _cases() -> dict[str, Case]:
    states = {f"s{letter}": letter * 1000 for letter in "abcdefghij"}
    kept = ("sa", StringWrapper(value=states["sb"]).SerializeToString())
    cases = [
        Case("a", "1 message", handler.request(1), 32, *_greeted(1)),
        Case("b", "100 messages", handler.request(100), 32, *_greeted(100)),
        Case("c", "100 KB message", _request("measure", "x" * 100_000), 32, ["100000"], None),
        Case("d", "10 states of 1 KB", _request("keep", "bob", states=states), 32, ["10000"], kept),
        Case("e", "async, waits 50 ms", _request("wait", "bob"), 256, ["bob"], None),
    ]
    return {case.name: case for case in cases}


CASES = _cases()
