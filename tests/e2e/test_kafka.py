"""Kafka topics on the embedded engine, compared with StateFun 3.3.0."""

from __future__ import annotations

import collections
import collections.abc as cabc
import contextlib
import datetime as dt
import json
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time
import typing as t
import uuid

import greeter
import pytest
from confluent_kafka import Consumer
from confluent_kafka import Producer
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin import AlterConfigOpType
from confluent_kafka.admin import ConfigEntry
from confluent_kafka.admin import ConfigResource
from confluent_kafka.admin import NewTopic
from greeter_pb2 import GreetRequest
from greeter_pb2 import GreetResponse

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import kafka_record
from statefun_flask import Message
from statefun_flask import StateFunFlask
from statefun_flask import ValueSpec
from statefun_flask.embedded import backpressure
from statefun_flask.embedded import events
from statefun_flask.embedded.kafka import ingress as ingresses
from statefun_flask.embedded.kafka.startup import Startup
from statefun_flask.flink import Cluster
from statefun_flask.flink import Kafka
from statefun_flask.flink.process import wait_until
from statefun_flask.flink.serving import WorkerServer
from statefun_flask.testing.embedded import EmbeddedTestEngine

pytestmark = pytest.mark.e2e

GREETER = pathlib.Path(greeter.__file__)
MODULE = GREETER.with_name("module.yaml")
FLASK = "import sys; from flask.cli import main; sys.argv[0] = 'flask'; main()"
KEYS, TIMES = 100, 100

Unique = cabc.Callable[[str], str]
Produce = cabc.Callable[[str, cabc.Iterable[tuple[t.Any, t.Any]]], None]
Consume = cabc.Callable[..., list[tuple[str, bytes]]]
StartCluster = cabc.Callable[..., Cluster]
Serve = cabc.Callable[..., WorkerServer]


def greeter_module(topic: str, group: str) -> str:
    """Return the example's module on a topic of the test's own."""
    text = MODULE.read_text().replace("topic: names", f"topic: {topic}")
    return text.replace("consumerGroupId: greeter", f"consumerGroupId: {group}")


def requests(times: range, keys: int = KEYS, prefix: str = "p") -> cabc.Iterator[tuple[str, bytes]]:
    """Yield the names of some rounds: every key once a round."""
    for _ in times:
        for number in range(keys):
            name = f"{prefix}{number}"
            yield name, GreetRequest(name=name).SerializeToString()


class Greetings:
    """Reads greetings and skips repeated numbers, as a consumer should.

    :param prefix: The prefix of the names that count, since tests share the topic.
    """

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.by_seq: dict[tuple[str, int], tuple[str, str]] = {}
        self._prefix = prefix
        self._consumer = reader(bootstrap)
        self._consumer.subscribe(["greetings"])

    def read(self, timeout: float = 0.1) -> None:
        for message in self._consumer.consume(500, timeout=timeout):
            key = (message.key() or b"").decode() if message.error() is None else ""
            if not key.startswith(self._prefix):
                continue
            headers = dict(message.headers() or [])
            seq = headers["statefun-data"].decode(), int(headers["statefun-seq"])
            found = key, GreetResponse.FromString(message.value() or b"").greeting
            assert self.by_seq.setdefault(seq, found) == found

    def catch_up(self) -> None:
        """Read until no record arrives for half a second."""
        before = -1
        while len(self.by_seq) > before:
            before = len(self.by_seq)
            self.read(0.5)

    def until(self, count: int, timeout: float = 90) -> None:
        end = time.monotonic() + timeout
        while len(self.by_seq) < count:
            assert time.monotonic() < end, f"{len(self.by_seq)} of {count} greetings came"
            self.read()

    def by_name(self) -> dict[str, list[str]]:
        """Return the greetings of each name, in the order in which they came first."""
        found: dict[str, list[str]] = collections.defaultdict(list)
        for name, greeting in self.by_seq.values():
            found[name].append(greeting)
        return found

    def close(self) -> None:
        self._consumer.close()


def reader(bootstrap: str, group: str = "") -> Consumer:
    """Return a consumer that begins at the earliest records."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group or uuid.uuid4().hex,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )


def expected(times: int, keys: int = KEYS, prefix: str = "p") -> dict[str, list[str]]:
    return {
        name: [
            f"Say hello to {name} from Flask. I've seen them {seen} times now."
            for seen in range(1, times + 1)
        ]
        for name in (f"{prefix}{number}" for number in range(keys))
    }


@pytest.fixture
def own_kafka() -> cabc.Iterator[Kafka]:
    """A separate broker, which the test kills."""
    with Kafka(report=print) as broker:
        yield broker


class Dev:
    """``flask statefun dev`` with the greeter, on a module of the test's own."""

    def __init__(self, folder: pathlib.Path, module: str, kafka: str) -> None:
        (folder / "module.yaml").write_text(module)
        self.folder = folder
        self._arguments = ["--module", str(folder / "module.yaml"), "--kafka", kafka]

    @contextlib.contextmanager
    def run(self, *options: str) -> cabc.Iterator[subprocess.Popen[str]]:
        """Run it until the block ends, if it still runs then. Its output is JSON lines."""
        command = [sys.executable, "-c", FLASK, "--app", str(GREETER), "statefun", "dev"]
        command += [*self._arguments, "--port", "0", "--format", "json", *options]
        log = self.folder / "dev.log"
        with (
            open(log, "a") as out,
            subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out, text=True
            ) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def said(self, event: str) -> list[dict[str, t.Any]]:
        lines = (self.folder / "dev.log").read_text().splitlines()
        objects = (json.loads(line) for line in lines if line.startswith("{"))
        return [each for each in objects if each.get("event") == event]


# -- the greeter ------------------------------------------------------------------------------


def datagen(bootstrap: str) -> list[str]:
    command = [sys.executable, str(GREETER.with_name("datagen.py")), "--bootstrap", bootstrap]
    command += ["--count", "150", "--seed", "7", "--rate", "200"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=90)
    return done.stdout.splitlines()


def test_the_same_datagen_gets_the_same_records_on_either_engine(
    tmp_path: pathlib.Path, serve: Serve, start_cluster: StartCluster
) -> None:
    text = MODULE.read_text()
    with Kafka(report=print) as kafka:
        with Dev(tmp_path, text, kafka.bootstrap).run():
            ours = datagen(kafka.bootstrap)
        ours_written = plain_records(kafka.bootstrap)
    with Kafka(topics=["names", "greetings"], report=print) as kafka:
        start_cluster(text, endpoint=serve(greeter.app).url, kafka=kafka)
        theirs = datagen(kafka.bootstrap)
        theirs_written = plain_records(kafka.bootstrap)

    assert sorted(ours) == sorted(theirs)
    assert len(ours) == 150
    assert ours_written == theirs_written


def plain_records(bootstrap: str) -> dict[bytes, list[bytes]]:
    """Return the values of all committed greetings, by key and in order."""
    consumer = reader(bootstrap)
    found: dict[bytes, list[bytes]] = collections.defaultdict(list)
    count, end = 0, time.monotonic() + 60
    with contextlib.closing(consumer):
        consumer.subscribe(["greetings"])
        while count < 150 and time.monotonic() < end:
            for message in consumer.consume(500, timeout=0.2):
                if message.error() is None:
                    count += 1
                    found[message.key() or b""].append(message.value() or b"")
    return found


def test_exit_when_idle_reads_only_the_records_of_the_start(
    tmp_path: pathlib.Path, kafka: Kafka, unique: Unique, produce: Produce
) -> None:
    topic = unique("names")
    kafka.create_topics([topic], partitions=3)
    produce(topic, requests(range(5)))
    text = greeter_module(topic, unique("g")).replace("127.0.0.1:9092", kafka.bootstrap)
    dev = Dev(tmp_path, text, "module")
    with dev.run("--exit-when-idle", "--data", str(tmp_path / "data")) as process:
        assert process.wait(60) == 0
    assert len(dev.said("invocation")) > 0
    records = [each for each in dev.said("egress") if each["topic"] == "greetings"]
    assert len(records) == 5 * KEYS

    produce(topic, [("odd", None)])
    with dev.run("--exit-when-idle", "--data", str(tmp_path / "data")) as process:
        assert process.wait(60) == 1, "a record was left out"
    assert "1 record skipped" in dev.said("end")[-1]["text"]
    assert len(dev.said("egress")) == len(records), "it went on where it was"


# -- crashes ----------------------------------------------------------------------------------


def test_ten_thousand_records_count_once_each_through_kills(
    tmp_path: pathlib.Path, kafka: Kafka, unique: Unique, produce: Produce
) -> None:
    topic = unique("names")
    kafka.create_topics([topic], partitions=3)
    prefix = unique("k")
    dev = Dev(tmp_path, greeter_module(topic, unique("g")), kafka.bootstrap)
    data = ("--data", str(tmp_path / "data"))
    greetings = Greetings(kafka.bootstrap, prefix)
    in_work = 0
    with contextlib.closing(greetings):
        for part in range(0, TIMES, TIMES // 5):
            produce(topic, requests(range(part, part + TIMES // 5), prefix=prefix))
            before = len(greetings.by_seq)
            with dev.run(*data) as process:
                while len(greetings.by_seq) == before:
                    greetings.read(0.01)
                    assert process.poll() is None
                time.sleep(random.random() * 0.05)  # at a random instant
                process.send_signal(signal.SIGKILL)
                process.wait(10)
            greetings.catch_up()
            in_work += len(greetings.by_seq) < (part + TIMES // 5) * KEYS
        assert in_work, "it was killed at work"
        with dev.run(*data, "--exit-when-idle") as process:
            assert process.wait(120) == 0
        greetings.until(KEYS * TIMES)
        greetings.read(2)
        assert greetings.by_name() == expected(TIMES, prefix=prefix)
    assert group_offsets(kafka, dev, topic) == KEYS * TIMES


def group_offsets(kafka: Kafka, dev: Dev, topic: str) -> int:
    """Return the sum of the offsets that were committed to the engine's own consumer group."""
    text = (dev.folder / "module.yaml").read_text()
    group = "statefun-dev-" + text.partition("consumerGroupId: ")[2].split()[0]
    consumer = reader(kafka.bootstrap, group)
    with contextlib.closing(consumer):
        found = consumer.committed([TopicPartition(topic, each) for each in range(3)], 10)
        return sum(each.offset for each in found)


def test_a_broker_that_goes_away_and_comes_back(own_kafka: Kafka, tmp_path: pathlib.Path) -> None:
    """No record is lost, keys keep their order, and the failure is reported once."""
    own_kafka.create_topics(["names"], partitions=2)
    own_kafka.create_topics(["greetings"], partitions=2)
    (tmp_path / "module.yaml").write_text(MODULE.read_text())
    rt = greeter.app.statefun.runtime(
        clock="real", module=tmp_path / "module.yaml", kafka=own_kafka.bootstrap
    )
    producer = Producer({"bootstrap.servers": own_kafka.bootstrap, "log_level": 0})
    greetings = Greetings(own_kafka.bootstrap, "p")
    with contextlib.closing(rt), contextlib.closing(greetings):
        for name, value in requests(range(30)):
            producer.produce("names", key=name, value=value)
        producer.flush()
        greetings.until(500)
        own_kafka.kill()
        wait_until(lambda: told(rt, events.Disconnected), "the engine tells that it is gone")
        rt.send("example/greeter/p-direct", GreetRequest(name="p-direct"))
        address = Address("example/greeter", "p-direct")
        wait_until(lambda: rt.control.state(address), "the engine continues")

        own_kafka.restart()
        for name, value in requests(range(30, 60)):
            producer.produce("names", key=name, value=value)
        assert producer.flush(60) == 0
        greetings.until(60 * KEYS + 1)
        greetings.read(1)
        found = greetings.by_name()
        assert len(found.pop("p-direct")) == 1
        assert found == expected(60)
        assert len(told(rt, events.Disconnected)) == len(told(rt, events.Connected)) == 1
        wait_until(lambda: not rt.engine.status().undelivered, "all is acknowledged")


def told(rt: EmbeddedTestEngine, kind: type[events.Event]) -> list[t.Any]:
    return [event for event in list(rt.events) if isinstance(event, kind)]


def test_a_record_that_the_broker_refuses_is_reported_and_blocks_its_key(
    kafka: Kafka, unique: Unique, produce: Produce, tmp_path: pathlib.Path
) -> None:
    source, sink = unique("in"), unique("out")
    kafka.create_topics([source])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    limit = {"max.message.bytes": "2000"}
    admin.create_topics([NewTopic(sink, 1, config=limit)])[sink].result(30)
    sizes = [10, 5000, 20, 30]
    with runtime(
        tmp_path, copying(sink), probe_module([("copy", "earliest")], source), kafka
    ) as rt:
        produce(source, [("k", b"x" * size) for size in sizes])
        wait_until(lambda: told(rt, events.Undelivered), "it tells")
        text = str(told(rt, events.Undelivered)[0].error)
        assert text == ("'probe/out' to Kafka: Broker: Message size too large, from record 2 on")
        resource = ConfigResource(ConfigResource.Type.TOPIC, sink)
        resource.add_incremental_config(
            ConfigEntry(
                "max.message.bytes",
                "100000",
                incremental_operation=AlterConfigOpType.SET,
            )
        )
        admin.incremental_alter_configs([resource])[resource].result(30)
        values = read(kafka, sink, 4)
        assert [len(value) for value in values] == sizes
        assert len(told(rt, events.Undelivered)) == 1


# -- where to begin, and what is unusual --------------------------------------------------------


MODES = {
    "earliest": "{type: earliest}",
    "latest": "{type: latest}",
    "group": "{type: group-offsets}",
    "specific": "{{type: specific-offsets, offsets: [{topic}/0: 7]}}",
    "date": '{{type: date, date: "{date}"}}',
    "recent": '{{type: date, date: "{recent}"}}',
}
HEAD = """\
kind: io.statefun.endpoints.v2/http
spec: {functions: probe/*, urlPathTemplate: "http://127.0.0.1:1/statefun"}
---
kind: io.statefun.kafka.v1/egress
spec: {id: probe/out, address: "nowhere:1"}
"""
INGRESS = """\
---
kind: io.statefun.kafka.v1/ingress
spec:
  id: probe/{mode}
  address: nowhere:1
  consumerGroupId: {group}
  autoOffsetResetPosition: earliest
  startupPosition: {startup}
  topics: [{{topic: {topic}, valueType: probe/value, targets: [probe/{mode}]}}]
"""


def probe_module(modes: list[tuple[str, str]], topic: str, group: str = "") -> str:
    """Return a module with an ingress for each mode and startup position."""
    return HEAD + "".join(
        INGRESS.format(
            mode=mode,
            topic=topic,
            group=group or uuid.uuid4().hex,
            startup=startup if startup.startswith("{") else f"{{type: {startup}}}",
        )
        for mode, startup in modes
    )


@contextlib.contextmanager
def runtime(
    folder: pathlib.Path, app: StateFunFlask, module: str, kafka: Kafka, **options: t.Any
) -> cabc.Iterator[EmbeddedTestEngine]:
    """Run an app on the embedded engine with Kafka, until the block ends."""
    path = folder / "module.yaml"
    path.write_text(module)
    rt = app.statefun.runtime(clock="real", module=path, kafka=kafka.bootstrap, **options)
    with contextlib.closing(rt):
        yield rt


Seen = dict[str, set[tuple[str, str]]]


def probe_app(modes: cabc.Iterable[str], seen: Seen) -> StateFunFlask:
    """Return an app whose functions note the ids and values that they receive."""
    app = StateFunFlask("probe")

    def add(mode: str) -> None:
        @app.statefun(f"probe/{mode}")
        def note(context: Context, message: Message) -> Effects:
            seen[mode].add((context.self_address.id, message.value.decode()))
            return Effects()

    for mode in modes:
        add(mode)
    return app


def copying(topic: str) -> StateFunFlask:
    """Return an app that writes each message to a topic."""
    app = StateFunFlask("copying")

    @app.statefun("probe/copy")
    def copy(context: Context, message: Message) -> Effects:
        record = kafka_record(topic, key=context.self_address.id, value=message.value)
        return Effects().egress("probe/out", record)

    return app


def read(kafka: Kafka, topic: str, count: int) -> list[bytes]:
    """Return the first values of a topic."""
    values: list[bytes] = []
    with contextlib.closing(reader(kafka.bootstrap)) as consumer:
        consumer.subscribe([topic])
        end = time.monotonic() + 60
        while len(values) < count:
            assert time.monotonic() < end, f"{len(values)} of {count} records came"
            for message in consumer.consume(100, timeout=0.1):
                if message.error() is None:
                    values.append(message.value() or b"")
    return values


def prepared(kafka: Kafka, topic: str, group: str) -> dict[str, str]:
    """Write ten records, a second apart, to each of two partitions.

    Return the date of the sixth record, and a date between the last record and now.
    """
    kafka.create_topics([topic], partitions=2)
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    # The records must not be so old that the broker deletes them.
    base = (round(time.time()) - 3600) * 1000
    for partition in (0, 1):
        for number in range(10):
            producer.produce(
                topic,
                key="k",
                value=f"{partition}/{number}",
                partition=partition,
                timestamp=base + 1000 * number,
            )
    assert producer.flush(30) == 0
    with contextlib.closing(reader(kafka.bootstrap, group)) as consumer:
        consumer.commit(offsets=[TopicPartition(topic, 0, 4)], asynchronous=False)
    dates = {"date": base / 1000 + 5, "recent": base / 1000 + 1800}
    return {
        name: dt.datetime.fromtimestamp(each, dt.UTC).strftime("%Y-%m-%d %H:%M:%S.000 +0000")
        for name, each in dates.items()
    }


def until_all_have_more(kafka: Kafka, topic: str, seen: Seen) -> None:
    """Write further records until each function has received one of each partition."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap})

    def more() -> bool:
        for partition in (0, 1):
            producer.produce(topic, key="k", value=f"{partition}/more", partition=partition)
        producer.flush()
        return all({("k", "0/more"), ("k", "1/more")} <= found for found in seen.values())

    wait_until(more, "all functions get what comes now")


def test_startup_positions_mean_what_they_mean_to_the_real_engine(
    kafka: Kafka,
    unique: Unique,
    serve: Serve,
    start_cluster: StartCluster,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ingresses share a consumer group. None moves it before the last one has started."""
    of_group = Startup._of_group

    def late(self: Startup, partitions: t.Any) -> t.Any:
        # Long enough for the other ingresses to commit offsets, which they must not do yet.
        time.sleep(2.5 * ingresses.COMMIT_INTERVAL)
        return of_group(self, partitions)

    monkeypatch.setattr(Startup, "_of_group", late)
    found: dict[str, Seen] = {}
    for engine in ("embedded", "flink"):
        topic, group = unique(f"start-{engine}"), unique(f"group-{engine}")
        dates = prepared(kafka, topic, group)
        seen: Seen = {mode: set() for mode in MODES}
        module = HEAD + "".join(
            INGRESS.format(
                mode=mode,
                topic=topic,
                group=group,
                startup=startup.format(topic=topic, **dates) if "{{" in startup else startup,
            )
            for mode, startup in MODES.items()
        )
        app = probe_app(MODES, seen)
        if engine == "embedded":
            with runtime(tmp_path, app, module, kafka):
                until_all_have_more(kafka, topic, seen)
        else:
            start_cluster(module, endpoint=serve(app).url)
            until_all_have_more(kafka, topic, seen)
        found[engine] = {
            mode: {each for each in seen[mode] if "more" not in each[1]} for mode in seen
        }

    def values(zero: int, one: int) -> set[tuple[str, str]]:
        first = {("k", f"0/{number}") for number in range(zero, 10)}
        return first | {("k", f"1/{number}") for number in range(one, 10)}

    assert found["embedded"] == {
        "earliest": values(0, 0),
        "latest": set(),
        "group": values(4, 0),
        "specific": values(7, 0),
        "date": values(5, 5),
        "recent": set(),
    }
    assert found["flink"] == found["embedded"]


def odd_keys() -> list[bytes]:
    """Return keys that are not UTF-8, many of them almost."""
    draw = random.Random(8)
    tricky = [0x00, 0x41, 0x7F, 0x80, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEF]
    tricky += [0xF0, 0xF1, 0xF4, 0xF5, 0xFF]
    keys = {bytes(draw.choices(tricky, k=draw.randint(1, 6))) for _ in range(500)}
    return [b"", "日本 🚀".encode(), *sorted(keys)]


def test_keys_become_the_ids_that_they_become_on_the_real_engine(
    kafka: Kafka,
    unique: Unique,
    produce: Produce,
    serve: Serve,
    start_cluster: StartCluster,
    tmp_path: pathlib.Path,
) -> None:
    topic = unique("keys")
    kafka.create_topics([topic])
    keys = odd_keys()
    produce(topic, [(key, str(index).encode()) for index, key in enumerate(keys)])
    module = probe_module([("keys", "earliest")], topic)
    found: list[dict[int, str]] = []
    for engine in ("embedded", "flink"):
        seen: Seen = {"keys": set()}
        app = probe_app(seen, seen)
        with contextlib.ExitStack() as stack:
            if engine == "embedded":
                stack.enter_context(runtime(tmp_path, app, module, kafka))
            else:
                start_cluster(module, endpoint=serve(app).url)
            wait_until(lambda s=seen: len(s["keys"]) == len(keys), "all records came")
        found.append({int(value): id for id, value in seen["keys"]})
    ours, theirs = found
    assert {keys[n]: id for n, id in ours.items()} == {keys[n]: id for n, id in theirs.items()}


UNUSUAL: dict[str, tuple[bytes | None, bytes | None]] = {
    "key": (None, b"unusual"),
    "value": (b"k", None),
}


@pytest.mark.parametrize("lacking", UNUSUAL)
def test_a_record_that_would_end_a_job_is_skipped_and_reported(
    lacking: str,
    kafka: Kafka,
    unique: Unique,
    produce: Produce,
    serve: Serve,
    start_cluster: StartCluster,
    tmp_path: pathlib.Path,
) -> None:
    topic = unique("unusual")
    kafka.create_topics([topic])
    produce(topic, [("k", b"before"), UNUSUAL[lacking], ("k", b"after")])
    module = probe_module([("one", "earliest")], topic)

    ours: Seen = {"one": set()}
    with runtime(tmp_path, probe_app(ours, ours), module, kafka) as rt:
        wait_until(lambda: len(ours["one"]) == 2, "the others come")
        why = {"key": "key, which is the id of the function", "value": "value, it is a tombstone"}
        assert [(each.source, each.what) for each in told(rt, events.LeftOut)] == [
            (f"{topic}/0", f"the record at offset 1: it has no {why[lacking]}")
        ]
    assert ours["one"] == {("k", "before"), ("k", "after")}

    theirs: Seen = {"one": set()}
    cluster = start_cluster(endpoint=serve(probe_app(theirs, theirs)).url)
    job = cluster.submit(module)
    wait_until(job.failure, "the job fails")
    assert ("k", "after") not in theirs["one"]


def test_an_offset_that_no_longer_exists_is_reported(
    kafka: Kafka, unique: Unique, produce: Produce, tmp_path: pathlib.Path
) -> None:
    topic = unique("gone")
    kafka.create_topics([topic])
    produce(topic, [("k", b"0"), ("k", b"1")])
    module = probe_module([("one", "earliest")], topic)
    seen: Seen = {"one": set()}
    app, data = probe_app(seen, seen), tmp_path / "data"
    with runtime(tmp_path, app, module, kafka, data=data):
        wait_until(lambda: len(seen["one"]) == 2, "the first come")
    produce(topic, [("k", b"%d" % number) for number in range(2, 9)])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    (deleted,) = admin.delete_records([TopicPartition(topic, 0, 5)]).values()
    deleted.result(30)
    seen["one"].clear()
    with runtime(tmp_path, app, module, kafka, data=data) as rt:
        wait_until(lambda: len(seen["one"]) == 4, "the last come")
        assert [(each.source, each.what) for each in told(rt, events.LeftOut)] == [
            (f"{topic}/0", "offset 2, which no longer exists: reading continues at offset 5")
        ]
    assert seen["one"] == {("k", str(number)) for number in range(5, 9)}


def test_an_engine_that_fails_in_a_test_continues_at_its_committed_offsets(
    kafka: Kafka, unique: Unique, produce: Produce, tmp_path: pathlib.Path
) -> None:
    topic, app, count = unique("failing"), StateFunFlask("counting"), ValueSpec("count", int)
    kafka.create_topics([topic])

    @app.statefun("probe/one", states=[count])
    def add(context: Context, message: Message) -> Effects:
        return Effects().update_state(count, (context.get_state(count) or 0) + 1)

    module = probe_module([("one", "earliest")], topic)
    with runtime(tmp_path, app, module, kafka) as engine:
        for records in (1, 2, 3):
            produce(topic, [("k", b"record")])
            engine.eventually(
                lambda total=records: engine.state("probe/one/k") == {"count": total},
                f"record {records}",
            )
            engine.fail()
        assert engine.state("probe/one/k") == {"count": 3}


def test_a_topic_that_is_made_later_is_read_from_its_start(
    kafka: Kafka, unique: Unique, produce: Produce, tmp_path: pathlib.Path
) -> None:
    topic = unique("later")
    seen: Seen = {"one": set()}
    module = probe_module([("one", "latest")], topic)
    with runtime(tmp_path, probe_app(seen, seen), module, kafka) as rt:
        wait_until(lambda: told(rt, events.TopicMissing), "it is told")
        kafka.create_topics([topic])
        produce(topic, [("k", b"first")])
        wait_until(lambda: seen["one"] == {("k", "first")}, "it comes")
        (missing,) = told(rt, events.TopicMissing)
        assert (missing.topic, missing.broker) == (topic, kafka.bootstrap)


def test_reading_stops_when_the_engine_has_no_room(
    kafka: Kafka,
    unique: Unique,
    produce: Produce,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backpressure, "MESSAGES", 200)
    monkeypatch.setattr(ingresses, "CHUNK", 50)
    monkeypatch.setattr(ingresses, "AHEAD", 2)
    topic, free = unique("room"), threading.Event()
    kafka.create_topics([topic])
    produce(topic, [(f"k{number % 7}", b"%d" % number) for number in range(5000)])
    seen: set[bytes] = set()
    app = StateFunFlask("room")

    @app.statefun("probe/room")
    def wait(context: Context, message: Message) -> Effects:
        free.wait(60)
        seen.add(message.value)
        return Effects()

    with runtime(tmp_path, app, probe_module([("room", "earliest")], topic), kafka) as rt:
        wait_until(lambda: rt.engine.queued > 200, "it is full")
        highest, end = 0, time.monotonic() + 1
        while time.monotonic() < end:
            highest = max(highest, rt.engine.queued)
        assert highest <= 200 + 3 * 50
        free.set()
        wait_until(lambda: len(seen) == 5000, "all come")
