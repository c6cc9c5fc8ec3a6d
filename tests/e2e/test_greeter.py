"""The greeter on StateFun 3.3.0 with Kafka: each name counts once, whatever is killed meanwhile."""

from __future__ import annotations

import collections
import collections.abc as cabc
import pathlib

import greeter
import pytest
from greeter_pb2 import GreetRequest
from greeter_pb2 import GreetResponse

from statefun_flask.flink import Cluster
from statefun_flask.flink.serving import WorkerServer

pytestmark = pytest.mark.e2e

MODULE = pathlib.Path(greeter.__file__).with_name("module.yaml")
KEYS, TIMES = 100, 100

Unique = cabc.Callable[[str], str]


@pytest.fixture(autouse=True)
def quiet_waitress(caplog: pytest.LogCaptureFixture) -> None:
    """Suppress waitress's log line for each request that waits for a thread."""
    caplog.set_level("ERROR", "waitress.queue")


@pytest.fixture
def worker(serve: cabc.Callable[..., WorkerServer]) -> WorkerServer:
    return serve(greeter.app)


@pytest.fixture
def cluster(
    start_cluster: cabc.Callable[..., Cluster], worker: WorkerServer, unique: Unique, topic: str
) -> Cluster:
    """Return a cluster that runs the example's module on topics of the test's own."""
    module = MODULE.read_text().replace("topic: names", f"topic: {topic}")
    module = module.replace("consumerGroupId: greeter", f"consumerGroupId: {unique('greeter')}")
    return start_cluster(module, endpoint=worker.url)


@pytest.fixture
def topic(unique: Unique) -> str:
    return unique("names")


def requests(prefix: str, start: int, stop: int) -> cabc.Iterator[tuple[str, bytes]]:
    """Yield the names of some rounds: every key once a round."""
    for _ in range(start, stop):
        for number in range(KEYS):
            name = f"{prefix}-{number}"
            yield name, GreetRequest(name=name).SerializeToString()


def greetings_by_name(records: list[tuple[str, bytes]], prefix: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = collections.defaultdict(list)
    for key, value in records:
        response = GreetResponse.FromString(value)
        assert response.name == key
        if key.startswith(f"{prefix}-"):
            found[key].append(response.greeting)
    return found


def expected(prefix: str) -> dict[str, list[str]]:
    return {
        name: [
            f"Say hello to {name} from Flask. I've seen them {times} times now."
            for times in range(1, TIMES + 1)
        ]
        for name in (f"{prefix}-{number}" for number in range(KEYS))
    }


def test_every_name_is_greeted_in_order_through_stops_and_kills(
    cluster: Cluster,
    worker: WorkerServer,
    topic: str,
    unique: Unique,
    produce: cabc.Callable[..., None],
    consume: cabc.Callable[..., list[tuple[str, bytes]]],
) -> None:
    """10,000 names without failures, then 10,000 with a stopped worker and a killed TaskManager."""
    before = len(consume("greetings", 0, quiet=5))
    calm, storm = unique("calm"), unique("storm")
    produce(topic, requests(calm, 0, TIMES))
    records = consume("greetings", before + KEYS * TIMES, timeout=120, quiet=2)
    assert greetings_by_name(records, calm) == expected(calm)

    produce(topic, requests(storm, 0, 40))
    worker.stop()
    produce(topic, requests(storm, 40, 60))
    worker.start()
    produce(topic, requests(storm, 60, 80))
    consume("greetings", before + KEYS * TIMES + 1, timeout=120)
    assert cluster.job.failure() is None
    cluster.kill_taskmanager()
    produce(topic, requests(storm, 80, TIMES))
    cluster.start_taskmanager()

    records = consume("greetings", before + 2 * KEYS * TIMES, timeout=180, quiet=3)
    assert cluster.job.failure() is not None
    assert greetings_by_name(records, storm) == expected(storm)
    assert greetings_by_name(records, calm) == expected(calm)
