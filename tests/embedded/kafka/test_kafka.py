"""Kafka topics without a broker: keys, settings, and brokers that do not answer."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import pathlib
import socket
import subprocess
import sys
import time
import types
import typing as t

import pytest
from confluent_kafka import Consumer
from confluent_kafka import KafkaError
from confluent_kafka import KafkaException
from confluent_kafka import Producer
from confluent_kafka import TopicPartition

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import kafka_record
from statefun_flask import Message
from statefun_flask import module_yaml
from statefun_flask import StateFunFlask
from statefun_flask.dev import shutdown
from statefun_flask.dev.session import Options
from statefun_flask.dev.session import Session
from statefun_flask.embedded import events
from statefun_flask.embedded.errors import UnknownTargetError
from statefun_flask.embedded.kafka import broker
from statefun_flask.embedded.kafka import egress as egresses
from statefun_flask.embedded.kafka import ingress as ingresses
from statefun_flask.embedded.kafka import keys
from statefun_flask.embedded.kafka import settings
from statefun_flask.embedded.kafka.assignment import Assignment
from statefun_flask.module_yaml import KafkaEgress
from statefun_flask.module_yaml import KafkaIngress
from statefun_flask.module_yaml import Topic
from statefun_flask.values.message import encode

MODULE = """\
kind: io.statefun.endpoints.v2/http
spec: {functions: t/*, urlPathTemplate: "http://127.0.0.1:1/statefun"}
---
kind: io.statefun.kafka.v1/ingress
spec:
  id: t/in
  address: 127.0.0.1:1
  consumerGroupId: t
  topics: [{topic: words, valueType: t/word, targets: [t/words]}]
---
kind: io.statefun.kafka.v1/egress
spec: {id: t/out, address: 127.0.0.1:1}
"""


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (b"", ""),
        ("naïve 🚀".encode(), "naïve 🚀"),
        (b"\xff", "\ufffd"),
        (b"a\xc3", "a\ufffd"),
        (b"\xe4\xb8z", "\ufffdz"),
        (b"\xed\xa0", "\ufffd"),
        (b"\xed\xa0\x80", "\ufffd"),  # a surrogate: one wrong character
        (b"\xc0\xaf", "\ufffd\ufffd"),
    ],
)
def test_a_key_is_read_as_the_real_engine_reads_it(key: bytes, text: str) -> None:
    assert keys.text(key) == text


# -- settings ---------------------------------------------------------------------------------


def ingress(*properties: tuple[str, str]) -> KafkaIngress:
    return KafkaIngress(id="t/in", group="g", properties=properties)


def egress(*properties: tuple[str, str]) -> KafkaEgress:
    return KafkaEgress(id="t/out", address="nowhere:1", properties=properties)


def test_an_ingress_keeps_its_properties_and_the_engine_its_offsets() -> None:
    part = ingress(("fetch.min.bytes", "7"), ("enable.auto.commit", "true"), ("group.id", "no"))
    found = settings.consumer(part, "here:9092")
    assert found["fetch.min.bytes"] == "7"
    assert (found["enable.auto.commit"], found["group.id"]) == (False, "statefun-dev-g")
    assert settings.consumer(part, "here:9092", "mine")["group.id"] == "mine"
    assert found["bootstrap.servers"] == "here:9092"
    assert found["isolation.level"] == "read_uncommitted"
    committed = ingress(("isolation.level", "read_committed"))
    assert settings.consumer(committed, "here:9092")["isolation.level"] == "read_committed"


def test_an_egress_ignores_properties_that_would_lose_or_reorder_records() -> None:
    part = egress(("acks", "0"), ("retries", "1"), ("linger.ms", "50"), ("compression.type", "lz4"))
    found = settings.producer(part, "here:9092")
    assert "acks" not in found
    assert (found["enable.idempotence"], found["message.timeout.ms"]) == (True, 0)
    assert (found["linger.ms"], found["compression.type"]) == ("50", "lz4")
    assert settings.make(Producer, found)[1] == []


def test_the_size_of_a_record_has_the_name_that_the_java_client_gives_it() -> None:
    assert egress().largest == 1 << 20
    part = egress(("max.request.size", "2000000"))
    assert part.largest == 2_000_000
    assert settings.producer(part, "here:9092")["message.max.bytes"] > 2_000_000


def test_a_property_that_only_java_knows_is_named() -> None:
    part = ingress(("key.deserializer", "x"), ("interceptor.classes", "1"))
    client, unknown = settings.make(Consumer, settings.consumer(part, "here:9092"))
    client.close()
    assert unknown == ["key.deserializer", "interceptor.classes"]


def test_a_property_with_a_wrong_value_is_refused() -> None:
    part = ingress(("fetch.min.bytes", "some"))
    with pytest.raises(ValueError, match="Kafka's client refuses its settings") as caught:
        settings.make(Consumer, settings.consumer(part, "here:9092"))
    assert "fetch.min.bytes" in str(caught.value)


def test_a_password_of_the_java_client_is_not_dropped_in_silence() -> None:
    with pytest.raises(ValueError, match="sasl") as caught:
        settings.consumer(ingress(("sasl.jaas.config", "secret")), "here:9092")
    assert str(caught.value) == (
        "'t/in' has the property 'sasl.jaas.config', which only Kafka's Java client reads. Add the"
        " properties 'sasl.username' and 'sasl.password' beside it, which Flink ignores."
    )
    both = ingress(("sasl.jaas.config", "secret"), ("sasl.username", "me"))
    assert "sasl.jaas.config" not in settings.consumer(both, "here:9092")


# -- brokers ----------------------------------------------------------------------------------


class Client:
    """A client that reports whether there are brokers."""

    def __init__(self) -> None:
        self.replies = True

    def list_topics(self, timeout: float) -> None:
        if not self.replies:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))


def error(text: str, code: int = KafkaError._TRANSPORT) -> KafkaError:
    return KafkaError(code, text)


def test_a_broker_that_goes_and_comes_is_reported_once_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker, "INTERVAL", 0)
    told: list[t.Any] = []
    one, client = broker.Broker("here:9092", told.append, lambda: 7), Client()
    one.error(error("here:9092/bootstrap: Disconnected (after 5ms in state UP)"))
    one.look(client)
    assert not told, "the broker answers, whatever the error was"

    client.replies = False
    text = "here:9092/1: Connect to ipv4#1.2.3.4:9092 failed: Connection refused (after 0ms in …)"
    one.error(error(text))
    one.error(error("1/1 brokers are down", KafkaError._ALL_BROKERS_DOWN))
    for _ in range(3):
        one.look(client)
    assert one.is_down
    client.replies = True
    for _ in range(3):
        one.look(client)
    assert told == [
        events.Disconnected(at=7, broker="here:9092", reason="Connection refused"),
        events.Connected(at=7, broker="here:9092"),
    ]
    assert not one.is_down


# -- an engine --------------------------------------------------------------------------------


@pytest.fixture
def word_app() -> StateFunFlask:
    app = StateFunFlask("words")

    @app.statefun("t/words")
    def words(context: Context, word: str) -> Effects:
        return Effects().egress(
            "t/out", kafka_record("out", key=context.self_address.id, value=word)
        )

    return app


@pytest.fixture
def module(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "module.yaml"
    path.write_text(MODULE)
    return path


@pytest.fixture
def nowhere() -> cabc.Iterator[str]:
    """An address where nothing listens during the test."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def until(what: cabc.Callable[[], t.Any]) -> t.Any:
    end = time.monotonic() + 20
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
    return found


def test_an_engine_without_its_broker_works_and_reports_once(
    word_app: StateFunFlask,
    module: pathlib.Path,
    nowhere: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker, "TIMEOUT", 0.3)
    rt = word_app.statefun.runtime(clock="real", module=module, kafka=nowhere)

    def told() -> list[events.Disconnected]:
        return [each for each in rt.events if isinstance(each, events.Disconnected)]

    with contextlib.closing(rt):
        until(told)
        rt.send("t/words/bob", "hello")
        until(lambda: rt.control.egress("out"))
        assert rt.engine.status().undelivered
        assert told() == [
            events.Disconnected(at=told()[0].at, broker=nowhere, reason="Connection refused")
        ]


def test_kafka_needs_a_module_and_a_real_clock(
    word_app: StateFunFlask, module: pathlib.Path
) -> None:
    for options in ({"module": module}, {"clock": "real"}):
        with pytest.raises(ValueError, match="Kafka topics") as caught:
            word_app.statefun.runtime(kafka="here:9092", **t.cast("t.Any", options))
        assert str(caught.value) == (
            "Kafka topics need a module.yaml and the real clock. Start the engine with module='…'"
            " and clock='real'."
        )


def test_a_module_without_kafka_cannot_be_connected(
    word_app: StateFunFlask, module: pathlib.Path
) -> None:
    module.write_text(MODULE.partition("---")[0])
    with pytest.raises(ValueError, match="no Kafka ingress") as caught:
        word_app.statefun.runtime(clock="real", module=module, kafka="here:9092")
    assert str(caught.value) == (
        f"'{module}' has no Kafka ingress and no Kafka egress to connect. Add one, or remove"
        " --kafka."
    )


def test_a_target_that_no_endpoint_serves_is_refused_at_once(
    word_app: StateFunFlask, module: pathlib.Path
) -> None:
    module.write_text(MODULE.replace("targets: [t/words]", "targets: [u/words]"))
    with pytest.raises(UnknownTargetError, match="u/words"):
        word_app.statefun.runtime(clock="real", module=module, kafka="here:9092")


def test_a_start_in_the_future_is_refused(word_app: StateFunFlask, module: pathlib.Path) -> None:
    date = "2100-01-01 00:00:00.000 +0000"
    start = f'startupPosition: {{type: date, date: "{date}"}}'
    module.write_text(MODULE.replace("  topics:", f"  {start}\n  topics:"))
    with pytest.raises(ValueError, match="in the future") as caught:
        word_app.statefun.runtime(clock="real", module=module, kafka="here:9092")
    assert str(caught.value) == (
        f"'t/in' starts at {date}, which is in the future. Write a moment that has passed, or"
        " 'type: latest'."
    )


def test_nothing_imports_the_client_unless_topics_are_connected(module: pathlib.Path) -> None:
    code = (
        "import sys; from statefun_flask import StateFunFlask; app = StateFunFlask('x')\n"
        f"rt = app.statefun.runtime(module={str(module)!r}); rt.close()\n"
        "assert 'confluent_kafka' not in sys.modules\n"
        "sys.modules['confluent_kafka'] = None\n"
        f"app.statefun.runtime(clock='real', module={str(module)!r}, kafka='here:1')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "RuntimeError: The Python package confluent-kafka, which reads and writes Kafka topics, is"
        " not installed. Install it with: pip install 'statefun-flask[kafka]'"
    )


def test_the_example_can_be_connected_by_its_own_addresses() -> None:
    module = pathlib.Path(__file__).parents[3] / "examples/greeter/module.yaml"
    (part,) = module_yaml.load(module).ingresses
    assert isinstance(part, KafkaIngress)
    assert settings.consumer(part, str(part.bootstrap))["group.id"] == "statefun-dev-greeter"


# -- clients that stand for those of a broker ---------------------------------------------------


class Brokers:
    """Topics for :class:`FakeConsumer`, and the calls of consumers."""

    def __init__(self) -> None:
        self.error: int | None = None
        self.partition_error: int | None = None
        self.low, self.high = 0, 10
        self.fail_assignments = 0
        self.assigned: list[t.Any] = []
        self.groups: list[str] = []
        self.committed: list[str] = []


class FakeConsumer:
    """A consumer of one partition without records."""

    def __init__(self, brokers: Brokers, configuration: dict[str, t.Any]) -> None:
        self._brokers = brokers
        self._group = configuration["group.id"]
        brokers.groups.append(self._group)

    def list_topics(self, topic: str | None = None, timeout: float = 0) -> t.Any:
        def error(code: int | None) -> KafkaError | None:
            return None if code is None else KafkaError(code)

        leader = -1 if self._brokers.partition_error is not None else 1
        partition = types.SimpleNamespace(error=error(self._brokers.partition_error), leader=leader)
        partitions = {} if self._brokers.error is not None else {0: partition}
        found = types.SimpleNamespace(error=error(self._brokers.error), partitions=partitions)
        return types.SimpleNamespace(cluster_id="cluster", topics={topic: found})

    def get_watermark_offsets(self, partition: t.Any, timeout: float) -> tuple[int, int]:
        return self._brokers.low, self._brokers.high

    def incremental_assign(self, partitions: list[t.Any]) -> None:
        if self._brokers.fail_assignments:
            self._brokers.fail_assignments -= 1
            raise KafkaException(KafkaError(KafkaError._STATE))
        self._brokers.assigned += [(each.topic, each.offset) for each in partitions]

    def committed(self, partitions: list[t.Any], timeout: float) -> list[t.Any]:
        self._brokers.committed.append(self._group)
        return [TopicPartition(each.topic, each.partition, 7) for each in partitions]

    def poll(self, timeout: float) -> None:
        time.sleep(0.005)

    def commit(self, **options: t.Any) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> Brokers:
    found = Brokers()

    def consumer(configuration: dict[str, t.Any]) -> FakeConsumer:
        return FakeConsumer(found, configuration)

    monkeypatch.setattr(ingresses, "Consumer", consumer)
    monkeypatch.setattr(ingresses, "SOON", 0.02)
    monkeypatch.setattr(ingresses, "UNREADABLE_AFTER", 0.2)
    return found


def assignment(rt: t.Any, brokers: Brokers, **options: t.Any) -> Assignment:
    topic = Topic(topic="words", value_type="t/word", targets=("t/words",))
    part = KafkaIngress(id="t/in", group="g", topics=(topic,), **options)
    consumer = FakeConsumer(brokers, {"group.id": "own"})
    return Assignment(
        rt.engine, part, consumer, lambda: FakeConsumer(brokers, {"group.id": "theirs"})
    )


def test_a_failed_search_for_partitions_is_repeated_as_the_first_one(
    word_app: StateFunFlask, brokers: Brokers
) -> None:
    brokers.fail_assignments = 1
    with word_app.statefun.runtime() as rt:
        found = assignment(rt, brokers, startup="latest")
        with pytest.raises(KafkaException):
            found.look()
        brokers.high = 15
        found.look()
    assert brokers.assigned == [("words", 15)]


@pytest.mark.parametrize("at", ["error", "partition_error"])
def test_a_topic_that_can_be_read_later_begins_at_its_startup_position(
    word_app: StateFunFlask, brokers: Brokers, at: str
) -> None:
    setattr(brokers, at, KafkaError.LEADER_NOT_AVAILABLE)
    with word_app.statefun.runtime() as rt:
        found = assignment(rt, brokers, startup="latest")
        assert found.look() == []
        assert list(found.unreadable) == ["words"]
        setattr(brokers, at, None)
        found.look()
    assert found.unreadable == {}
    assert brokers.assigned == [("words", 10)]


def test_the_start_is_read_from_the_group_of_the_module(
    word_app: StateFunFlask, brokers: Brokers
) -> None:
    with word_app.statefun.runtime() as rt:
        assignment(rt, brokers, startup="group-offsets").look()
    assert brokers.committed == ["theirs"]
    assert brokers.assigned == [("words", 7)]


@pytest.mark.parametrize(
    ("group", "commits", "starts"), [(None, "statefun-dev-t", "t"), ("mine", "mine", "mine")]
)
def test_offsets_are_committed_to_a_group_of_the_engines_own_unless_one_is_named(
    word_app: StateFunFlask,
    module: pathlib.Path,
    brokers: Brokers,
    group: str | None,
    commits: str,
    starts: str,
) -> None:
    start = "startupPosition: {type: group-offsets}"
    module.write_text(MODULE.replace("  topics:", f"  {start}\n  topics:"))
    options = Options(port=0, module=str(module), kafka="127.0.0.1:1", group=group)
    with word_app.app_context():
        session = Session(word_app, options)
    with contextlib.closing(session):
        session.start()
        until(lambda: brokers.assigned)
    assert (brokers.groups[0], brokers.committed) == (commits, [starts])


def test_a_topic_that_cannot_be_read_is_reported_and_fails_a_finite_run(
    word_app: StateFunFlask, module: pathlib.Path, brokers: Brokers
) -> None:
    brokers.error = KafkaError.TOPIC_AUTHORIZATION_FAILED
    options = Options(port=0, module=str(module), kafka="127.0.0.1:1", finite=True)
    with word_app.app_context():
        session = Session(word_app, options)
    reported: list[events.Event] = []
    session.engine.listeners.append(reported.append)
    session.start()
    session.wait_until_done(0, 0, lambda: None)
    said: list[str] = []
    assert shutdown.shut_down(session, lambda kind, text: said.append(text)) == 1
    (event,) = reported
    assert isinstance(event, events.Unreadable)
    assert (event.topic, event.broker) == ("words", "127.0.0.1:1")
    assert "topics of 't/in' cannot be read: 'words' (Broker: Topic authorization" in said[-1]


def test_a_topic_that_can_be_read_again_is_not_an_error(
    word_app: StateFunFlask, module: pathlib.Path, brokers: Brokers
) -> None:
    brokers.error = KafkaError.LEADER_NOT_AVAILABLE
    brokers.high = 0
    options = Options(port=0, module=str(module), kafka="127.0.0.1:1")
    with word_app.app_context():
        session = Session(word_app, options)
    with contextlib.closing(session):
        session.start()
        (source,) = session.sources
        until(lambda: source.error)
        brokers.error = None
        until(lambda: brokers.assigned)
        until(lambda: source.error is None and source.finished)


class FakeProducer:
    """A producer that acknowledges at the next poll, or fails as the test requires."""

    made: t.ClassVar[list[FakeProducer]] = []
    refuse: t.ClassVar[int] = 0
    raises: t.ClassVar[int] = 0

    def __init__(self, configuration: dict[str, t.Any]) -> None:
        self.configuration = configuration
        self.written: list[bytes] = []
        self._callbacks: list[tuple[t.Any, KafkaError | None]] = []
        FakeProducer.made.append(self)

    def produce(
        self, topic: str, value: bytes, key: t.Any, *, on_delivery: t.Any, **_: t.Any
    ) -> None:
        if FakeProducer.raises:
            FakeProducer.raises -= 1
            raise ZeroDivisionError("a fault of the client")
        error = None
        if FakeProducer.refuse:
            FakeProducer.refuse -= 1
            error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
        else:
            self.written.append(value)
        self._callbacks.append((on_delivery, error))

    def poll(self, timeout: float) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback, error in callbacks:
            callback(error, None)

    def purge(self) -> None:
        pass

    def list_topics(self, timeout: float) -> None:
        pass


@pytest.fixture
def producers(monkeypatch: pytest.MonkeyPatch) -> type[FakeProducer]:
    monkeypatch.setattr(egresses, "Producer", FakeProducer)
    monkeypatch.setattr(egresses, "RETRY", 0.01)
    FakeProducer.made.clear()
    return FakeProducer


@pytest.mark.parametrize("refused", [1, 2])
def test_a_refused_record_slows_the_rest_only_until_it_is_written(
    word_app: StateFunFlask,
    module: pathlib.Path,
    brokers: Brokers,
    producers: type[FakeProducer],
    refused: int,
) -> None:
    producers.refuse = refused
    with word_app.app_context():
        session = Session(word_app, Options(port=0, module=str(module), kafka="127.0.0.1:1"))
    with contextlib.closing(session):
        session.start()
        for word in ("a", "b", "c"):
            session.engine.send(Address("t/words", word), Message(*encode(word)))
        until(lambda: not session.engine.status().undelivered)
        until(lambda: "batch.num.messages" not in producers.made[-1].configuration)
        assert any(each.configuration.get("batch.num.messages") == 1 for each in producers.made)
        session.engine.send(Address("t/words", "d"), Message(*encode("d")))
        until(lambda: b"d" in producers.made[-1].written)


def test_an_error_of_the_client_is_reported_and_the_record_written_again(
    word_app: StateFunFlask,
    module: pathlib.Path,
    brokers: Brokers,
    producers: type[FakeProducer],
) -> None:
    producers.raises = 1
    with word_app.app_context():
        session = Session(word_app, Options(port=0, module=str(module), kafka="127.0.0.1:1"))
    reported: list[events.Event] = []
    session.engine.listeners.append(reported.append)
    with contextlib.closing(session):
        session.start()
        session.engine.send(Address("t/words", "a"), Message(*encode("a")))
        until(lambda: not session.engine.status().undelivered)
        assert producers.made[-1].written == [b"a"]
        (event,) = [each for each in reported if isinstance(each, events.Undelivered)]
        assert str(event.error) == (
            "'t/out' to Kafka: ZeroDivisionError: a fault of the client, from record 1 on"
        )
