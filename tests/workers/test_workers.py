"""Workers on other SDKs, which the embedded engine calls over HTTP beside our own functions."""

from __future__ import annotations

import collections
import contextlib
import pathlib
import random

import pytest

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import kafka_record
from statefun_flask import StateFunFlask
from statefun_flask import ValueSpec
from statefun_flask.values.message import encode
from statefun_flask.values.message import Message

pytestmark = pytest.mark.oracle

NAMES, TIMES = 50, 20
SEEN = ValueSpec("seen", int)

ENDPOINT = """\
---
kind: io.statefun.endpoints.v2/http
spec: {{functions: {functions}, urlPathTemplate: "{url}"}}
"""
EGRESS = """\
---
kind: io.statefun.kafka.v1/egress
spec: {id: example/greets, address: "nowhere:1"}
"""


def greet(context: Context, name: str) -> Effects:
    seen = (context.get_state(SEEN) or 0) + 1
    text = f"Hello {name}, seen {seen} times"
    return Effects().update_state(SEEN, seen).send(Address("example/relay", name), text)


def tell(context: Context, text: str) -> Effects:
    record = kafka_record("greetings", key=context.self_address.id, value=text)
    return Effects().egress("example/greets", record)


def app_of(*ours: str) -> StateFunFlask:
    """Return an app with the named functions."""
    app = StateFunFlask("mixed")
    if "greeter" in ours:
        app.statefun("example/greeter", states=[SEEN])(greet)
    if "relay" in ours:
        app.statefun("example/relay", egresses=["example/greets"])(tell)
    return app


@pytest.mark.parametrize(
    "ours", [(), ("greeter",), ("relay",)], ids=["all theirs", "our greeter", "our relay"]
)
def test_every_name_is_counted_exactly(
    worker: str, ours: tuple[str, ...], tmp_path: pathlib.Path
) -> None:
    module = tmp_path / "module.yaml"
    module.write_text(ENDPOINT.format(functions="example/*", url=worker) + EGRESS)
    app = app_of(*ours)
    engine = app.statefun.runtime(clock="real", module=module, data=tmp_path / "data")
    names = [f"name {number} ü" for number in range(NAMES)] * TIMES
    random.shuffle(names)
    with contextlib.closing(engine):
        engine.engine.submit(
            [(Address("example/greeter", name), Message(*encode(name))) for name in names]
        ).result(60)
        engine.run_until_idle(60)
        found: dict[str | None, list[str]] = collections.defaultdict(list)
        for record in engine.records("greetings", 0):
            found[record.key].append(record.text)
        states = {name: engine.control.state(f"example/greeter/{name}") for name in set(names)}
    assert found == {
        name: [f"Hello {name}, seen {seen} times" for seen in range(1, TIMES + 1)]
        for name in set(names)
    }
    assert {each["seen"].as_type(int) for each in states.values()} == {TIMES}
