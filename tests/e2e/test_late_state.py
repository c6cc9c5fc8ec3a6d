"""A worker of a new version that declares one more state, on StateFun 3.3.0.

The suite of both engines, ``tests/e2e/engines``, has the other tests of the SDK.
"""

from __future__ import annotations

import collections.abc as cabc
import typing as t

import pytest

from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import kafka_record
from statefun_flask import StateFunFlask
from statefun_flask import utf8_type
from statefun_flask import ValueSpec
from statefun_flask.flink import Cluster
from statefun_flask.flink.serving import WorkerServer

pytestmark = pytest.mark.e2e

MODULE = """\
kind: io.statefun.endpoints.v2/http
spec:
  functions: test/*
  urlPathTemplate: http://127.0.0.1:1/statefun
---
kind: io.statefun.kafka.v1/ingress
spec:
  id: test/commands
  address: 127.0.0.1:9092
  consumerGroupId: {topic}
  startupPosition:
    type: earliest
  topics:
    - topic: {topic}
      valueType: test/command
      targets: [test/subject]
---
kind: io.statefun.kafka.v1/egress
spec:
  id: test/answers
  address: 127.0.0.1:9092
"""

Command: t.TypeAlias = t.Annotated[str, utf8_type("test/command")]

Serve = cabc.Callable[..., WorkerServer]
StartCluster = cabc.Callable[..., Cluster]


class Subject:
    """The id "one" of ``test/subject`` on the engine: commands go in, answers come out."""

    def __init__(
        self, topic: str, produce: cabc.Callable[..., None], consume: cabc.Callable[..., t.Any]
    ) -> None:
        self.topic = topic
        self.module = MODULE.format(topic=topic)
        self._produce = produce
        self._consume = consume
        self._count = 0

    def answer(self, value: object) -> Effects:
        """Return the effect that writes an answer."""
        record = kafka_record(f"{self.topic}-answers", value=str(value))
        return Effects().egress("test/answers", record)

    def tell(self, *commands: str) -> None:
        self._produce(self.topic, [("one", command.encode()) for command in commands])

    def ask(self, command: str) -> str:
        """Send a command, and return its answer."""
        self.tell(command)
        return self.answers(self._count + 1)[-1]

    def answers(self, count: int) -> list[str]:
        """Return all answers so far, at least so many."""
        records = self._consume(f"{self.topic}-answers", count)
        self._count = len(records)
        return [value.decode() for _, value in records]


@pytest.fixture
def subject(
    unique: cabc.Callable[[str], str],
    produce: cabc.Callable[..., None],
    consume: cabc.Callable[..., t.Any],
) -> Subject:
    return Subject(unique("commands"), produce, consume)


def test_a_state_declared_after_the_job_started(
    subject: Subject, serve: Serve, start_cluster: StartCluster
) -> None:
    """A worker of a new version registers its new state, and finds the old one unchanged."""
    old, new = ValueSpec("old", int), ValueSpec("new", str)

    def version(states: list[ValueSpec[t.Any]]) -> StateFunFlask:
        app = StateFunFlask(__name__)

        @app.statefun("test/subject", states=states)
        def answer(context: Context, command: Command) -> Effects:
            count = (context.get_state(old) or 0) + 1
            effects = Effects().update_state(old, count)
            if new in states:
                effects += subject.answer(f"{count} {context.get_state(new)}")
                return effects.update_state(new, command)
            return effects + subject.answer(count)

        return app

    class Switch:
        """Serves the current version."""

        app = version([old])

        def __call__(self, environ: t.Any, start_response: t.Any) -> t.Any:
            return self.app(environ, start_response)

    switch = Switch()
    start_cluster(subject.module, endpoint=serve(switch).url)
    assert [subject.ask("a"), subject.ask("b")] == ["1", "2"]
    switch.app = version([new, old])
    assert [subject.ask("c"), subject.ask("d")] == ["3 None", "4 c"]
