"""A scripted endpoint, and engines that are closed after the test."""

from __future__ import annotations

import collections.abc as cabc
import importlib
import os
import typing as t

import pytest

from statefun_flask import Address
from statefun_flask.embedded import Control
from statefun_flask.embedded import Engine
from statefun_flask.embedded import InProcess
from statefun_flask.embedded import LocalRoutes
from statefun_flask.embedded import Store
from statefun_flask.embedded import VirtualClock
from statefun_flask.protocol.schema.request_reply_v3 import FromFunction
from statefun_flask.protocol.schema.request_reply_v3 import ToFunction
from statefun_flask.values.message import Message

STRING = "io.statefun.types/string"


class Reply:
    """A FromFunction that a test fills in."""

    def __init__(self) -> None:
        self.message = FromFunction()
        self.result = self.message.invocation_result
        self.result.SetInParent()

    def send(self, type: str, id: str, value: bytes = b"", typename: str = STRING) -> Reply:
        _fill(self.result.outgoing_messages.add(), type, id, value, typename)
        return self

    def later(self, delay: int, type: str, id: str, value: bytes = b"", token: str = "") -> Reply:
        delayed = self.result.delayed_invocations.add(delay_in_ms=delay, cancellation_token=token)
        _fill(delayed, type, id, value, STRING)
        return self

    def cancel(self, token: str) -> Reply:
        self.result.delayed_invocations.add(is_cancellation_request=True, cancellation_token=token)
        return self

    def egress(self, identifier: str, value: bytes, typename: str = "x/y") -> Reply:
        namespace, name = identifier.split("/")
        record = self.result.outgoing_egresses.add(egress_namespace=namespace, egress_type=name)
        record.argument.typename, record.argument.value = typename, value
        record.argument.has_value = True
        return self

    def put(self, name: str, value: bytes, typename: str = "a/t", kind: int = 1) -> Reply:
        mutation = self.result.state_mutations.add(state_name=name, mutation_type=kind)
        mutation.state_value.typename, mutation.state_value.value = typename, value
        mutation.state_value.has_value = True
        return self

    def delete(self, name: str) -> Reply:
        self.result.state_mutations.add(state_name=name)
        return self

    def missing(self, *specs: tuple[t.Any, ...]) -> Reply:
        """Reply with missing states: (name, typename, mode, milliseconds)."""
        values = self.message.incomplete_invocation_context
        values.SetInParent()
        for name, typename, *rest in specs:
            spec = values.missing_values.add(state_name=name, type_typename=typename)
            if rest:
                spec.expiration_spec.mode, spec.expiration_spec.expire_after_millis = rest
        return self

    def __bytes__(self) -> bytes:
        return self.message.SerializeToString()


def _fill(entry: t.Any, type: str, id: str, value: bytes, typename: str) -> None:
    if type:
        entry.target.namespace, _, entry.target.type = type.rpartition("/")
        entry.target.id = id
    entry.argument.typename, entry.argument.value, entry.argument.has_value = typename, value, True


class Batch:
    """The arguments of a scripted function."""

    def __init__(self, request: t.Any) -> None:
        self.request = request
        self.id: str = request.target.id
        self.values = [each.argument.value for each in request.invocations]
        self.callers = [
            f"{each.caller.namespace}/{each.caller.type}/{each.caller.id}"
            if each.HasField("caller")
            else None
            for each in request.invocations
        ]
        self.states = {
            each.state_name: each.state_value.value if each.HasField("state_value") else None
            for each in request.state
        }


Function = cabc.Callable[[Batch], "Reply | bytes | None"]


class Script:
    """An endpoint of plain functions: a batch in, an :class:`Answer` or its bytes out."""

    def __init__(self) -> None:
        self.functions: dict[str, tuple[Function, tuple[t.Any, ...]]] = {}
        #: (address, values of the batch, states) of all calls of functions
        self.calls: list[tuple[str, list[bytes], dict[str, bytes | None]]] = []
        self.batches: list[Batch] = []

    def add(self, typename: str, function: Function, *states: tuple[t.Any, ...]) -> None:
        """Register a function with its states: (name, typename, mode, milliseconds)."""
        self.functions[typename] = (function, states)

    def __call__(self, body: bytes) -> bytes:
        request = ToFunction.FromString(body).invocation
        typename = f"{request.target.namespace}/{request.target.type}"
        function, states = self.functions[typename]
        batch = Batch(request)
        lacking = [each for each in states if each[0] not in batch.states]
        if lacking:
            return bytes(Reply().missing(*lacking))
        self.calls.append((f"{typename}/{batch.id}", batch.values, batch.states))
        self.batches.append(batch)
        reply = function(batch)
        return bytes(Reply() if reply is None else reply)


class Bench:
    """An engine with a virtual clock on a script."""

    def __init__(self, script: Script, store: Store | None = None, **options: t.Any) -> None:
        self.script = script
        self.clock = options.pop("clock", None) or VirtualClock()
        self.events: list[t.Any] = []
        self.routes = options.pop("routes", None) or LocalRoutes(
            InProcess(script, batch=options.pop("batch", 1000)), script.functions
        )
        self.engine = Engine(self.routes, store, self.clock, **options)
        self.engine.listeners.append(self.events.append)
        self.control = Control(self.engine)

    def send(self, type: str, id: str, *values: bytes) -> None:
        for value in values or (b"",):
            self.engine.send(Address(type, id), Message(STRING, value))

    def run(self, type: str = "", id: str = "", *values: bytes) -> None:
        """Send messages, if any, and run until idle."""
        if type:
            self.send(type, id, *values)
        self.engine.run_until_idle()

    def advance(self, milliseconds: int) -> None:
        self.engine.advance(milliseconds)

    def told(self, kind: type) -> list[t.Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def error(self) -> str:
        """The error of the parked address."""
        (waiting,) = self.control.parked()
        return waiting.parked.error

    def state(self, type: str, id: str) -> dict[str, bytes]:
        values = self.control.state(Address(type, id))
        return {name: value.value for name, value in values.items()}

    def delivered(self, type: str, id: str) -> list[bytes]:
        return [
            each for at, values, _ in self.script.calls if at == f"{type}/{id}" for each in values
        ]


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def reply() -> type[Reply]:
    return Reply


@pytest.fixture
def bench(script: Script) -> cabc.Iterator[cabc.Callable[..., Bench]]:
    """Make engines on the script; they are closed after the test."""
    made: list[Bench] = []

    def make(store: Store | None = None, **options: t.Any) -> Bench:
        made.append(Bench(script, store, **options))
        return made[-1]

    yield make
    for each in made:
        each.engine.close()


@pytest.fixture(scope="session")
def has_lossy_disk() -> None:
    """Skip a test where apsw is not installed, unless the environment says ``CI``."""
    if os.environ.get("CI"):
        importlib.import_module("apsw")
    else:
        pytest.importorskip("apsw", reason="The lossy disk needs apsw, which 'tests' installs.")
