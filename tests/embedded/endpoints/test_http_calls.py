"""An engine and its endpoints over HTTP: who waits for whom, and which message is to blame."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import socket
import threading
import time
import typing as t

import pytest
from peer import Accepted
from peer import Peer

from statefun_flask import Address
from statefun_flask.embedded import Control
from statefun_flask.embedded import Engine
from statefun_flask.embedded import events
from statefun_flask.embedded import InProcess
from statefun_flask.embedded import LocalRoutes
from statefun_flask.embedded import Remote
from statefun_flask.values.message import Message

STRING = "io.statefun.types/string"


class Routes(LocalRoutes):
    """An endpoint for each function type."""

    def __init__(self, endpoints: dict[str, t.Any]) -> None:
        super().__init__(InProcess(lambda body: b""), endpoints)
        self.endpoints = endpoints

    def endpoint(self, typename: str) -> t.Any:
        super().endpoint(typename)
        return self.endpoints[typename]

    def close(self) -> None:
        for endpoint in self.endpoints.values():
            if isinstance(endpoint, Remote):
                endpoint.close()


@pytest.fixture
def peer() -> cabc.Iterator[t.Any]:
    with contextlib.ExitStack() as stack:

        def start(*given: t.Any) -> Peer:
            started = Peer(*given)
            stack.callback(started.close)
            return started

        yield start


@pytest.fixture
def run() -> cabc.Iterator[t.Any]:
    with contextlib.ExitStack() as stack:

        def start(endpoints: dict[str, t.Any], concurrency: int = 2) -> Engine:
            engine = Engine(Routes(endpoints), concurrency=concurrency)
            stack.callback(engine.close, 0.2)
            engine.start()
            return engine

        yield start


def send(engine: Engine, typename: str, *ids: str, value: bytes = b"x") -> None:
    engine.submit([(Address(typename, id), Message(STRING, value)) for id in ids]).result(10)


def wait_for(condition: cabc.Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


class Worker:
    """Answers requests, and counts them; what it does with a request a test may say."""

    def __init__(self, reply: t.Any) -> None:
        self.reply = bytes(reply())
        self.bodies: list[bytes] = []
        self.most = self.open = 0
        self.lock = threading.Lock()
        #: Returns whether it answers; it may end the connection itself.
        self.handle: cabc.Callable[[Accepted, bytes], bool] = lambda accepted, body: True

    def __call__(self, accepted: Accepted) -> None:
        while (body := accepted.request()) is not None:
            with self.lock:
                self.bodies.append(body)
                self.open += 1
                self.most = max(self.most, self.open)
            replies = self.handle(accepted, body)
            with self.lock:
                self.open -= 1
            if not replies:
                return
            accepted.reply(self.reply)


@pytest.fixture
def worker(reply: t.Any) -> Worker:
    return Worker(reply)


# -- who waits for whom -----------------------------------------------------------------------


def test_endpoint_that_hangs_holds_up_no_other_endpoint_and_no_function_of_this_process(
    peer: t.Any, run: t.Any, worker: Worker, script: t.Any
) -> None:
    over = threading.Event()
    hanging, fast = peer(lambda accepted: over.wait(20)), peer(worker)
    script.add("ns/local", lambda batch: None)
    engine = run(
        {
            "ns/hangs": Remote(hanging.url),
            "ns/fast": Remote(fast.url),
            "ns/local": InProcess(script),
        }
    )
    try:
        send(engine, "ns/hangs", *map(str, range(20)))
        wait_for(lambda: hanging.number == 2)
        send(engine, "ns/fast", *map(str, range(20)))
        send(engine, "ns/local", *map(str, range(20)))
        wait_for(lambda: len(worker.bodies) == 20 and len(script.calls) == 20)
        wait_for(lambda: engine.queued == 20)
        assert engine.status().in_flight == hanging.number == 2
    finally:
        over.set()


def test_functions_of_this_process_that_hang_hold_up_no_endpoint(
    peer: t.Any, run: t.Any, worker: Worker, script: t.Any
) -> None:
    over = threading.Event()
    script.add("ns/local", lambda batch: over.wait(20) and None)
    engine = run({"ns/fast": Remote(peer(worker).url), "ns/local": InProcess(script)})
    try:
        send(engine, "ns/local", *map(str, range(20)))
        send(engine, "ns/fast", *map(str, range(20)))
        wait_for(lambda: len(worker.bodies) == 20)
    finally:
        over.set()


def test_endpoint_has_so_many_calls_at_a_time_on_as_many_connections(
    peer: t.Any, run: t.Any, worker: Worker
) -> None:
    served = peer(worker)
    full = threading.Barrier(3)
    worker.handle = lambda accepted, body: full.wait(10) >= 0
    engine = run({"ns/fn": Remote(served.url)}, concurrency=3)
    send(engine, "ns/fn", *map(str, range(30)))
    engine.wait_idle(10)
    assert (worker.most, served.number, len(worker.bodies)) == (3, 3, 30)


def test_sender_does_not_wait_for_a_call_that_hangs(peer: t.Any, run: t.Any) -> None:
    over = threading.Event()
    hanging = peer(lambda accepted: over.wait(20))
    engine = run({"ns/fn": Remote(hanging.url)})
    try:
        send(engine, "ns/fn", "1")
        wait_for(lambda: hanging.number)
        started = time.monotonic()
        for number in range(10):
            send(engine, "ns/fn", str(number))
        assert time.monotonic() - started < 5
    finally:
        over.set()


def test_call_that_takes_too_long_pauses_its_function_type_and_goes_on(
    peer: t.Any, run: t.Any, worker: Worker
) -> None:
    over = threading.Event()
    worker.handle = lambda accepted, body: len(worker.bodies) > 1 or over.wait(20)
    engine = run({"ns/fn": Remote(peer(worker).url, timeout=0.1)})
    told: list[events.Event] = []
    engine.listeners.append(told.append)
    try:
        send(engine, "ns/fn", "1")
        wait_for(lambda: any(isinstance(each, events.Up) for each in told))
    finally:
        over.set()
    (down,) = (each for each in told if isinstance(each, events.Down))
    assert down.reason == "timeout"


def test_endpoint_that_is_away_is_probed_until_it_listens(run: t.Any, worker: Worker) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        engine = run({"ns/fn": Remote(f"http://127.0.0.1:{listener.getsockname()[1]}")})
        told: list[events.Event] = []
        engine.listeners.append(told.append)
        send(engine, "ns/fn", *map(str, range(5)))
        wait_for(lambda: engine.status().down == ("ns/fn",))
        listener.listen()
        with contextlib.closing(Peer(worker, listener)):
            wait_for(lambda: len(worker.bodies) == 5 and engine.status().idle)
            assert engine.status().down == ()
    reasons = {each.reason for each in told if isinstance(each, events.Down)}
    assert reasons == {"connection refused"}


@pytest.mark.parametrize("takes", [0.05, 20])
def test_close_waits_for_calls_in_flight_but_not_for_ever(
    peer: t.Any, worker: Worker, tmp_path: t.Any, takes: float
) -> None:
    from statefun_flask.embedded import SqliteStore

    over = threading.Event()
    worker.handle = lambda accepted, body: over.wait(takes) or True
    served = peer(worker)
    for _ in range(2):
        routes = Routes({"ns/fn": Remote(served.url)})
        engine = Engine(routes, SqliteStore(tmp_path / "data"))
        engine.start()
        if not worker.bodies:
            send(engine, "ns/fn", "1")
        wait_for(lambda: worker.bodies)
        started = time.monotonic()
        engine.close(0.3)
        assert time.monotonic() - started < 5
        over.set()
    assert len(worker.bodies) == (1 if takes < 1 else 2)  # it is repeated after the next start


# -- which message is to blame ----------------------------------------------------------------


def dies_of_poison(accepted: Accepted, body: bytes) -> bool:
    return b"poison" not in body


def test_message_that_ends_its_worker_is_parked_and_the_others_go_on(
    peer: t.Any, bench: t.Any, worker: Worker
) -> None:
    worker.handle = dies_of_poison
    served = peer(worker)
    made = bench(routes=Routes({"ns/fn": Remote(served.url)}))
    for id in ("a", "b", "c"):
        made.send("ns/fn", id, b"x")
    made.send("ns/fn", "bad", b"fine", b"poison", b"behind")
    for id in ("d", "e", "f"):
        made.send("ns/fn", id, b"x")
    made.run()
    made.advance(10_000)
    (parked,) = made.control.parked()
    assert str(parked.parked.address) == "ns/fn/bad"
    assert made.error() == (
        f"MessageEndsWorkerError: {served.url} did not answer this message (connection lost), 4"
        " times, though it was there each time. The message may crash the worker, whose log says"
        " more: correct the function and retry, or drop the message."
    )
    handled = {str(event.address) for event in made.events if isinstance(event, events.Invocation)}
    assert handled == {f"ns/fn/{id}" for id in ("a", "b", "c", "d", "e", "f", "bad")}
    status = made.engine.status()
    assert (status.down, status.queued, status.parked) == ((), 0, 1)
    made.control.drop(Address("ns/fn", "bad"))
    made.run()
    assert b"behind" in worker.bodies[-1]


def test_message_that_ends_its_worker_is_parked_when_it_is_the_only_one(
    peer: t.Any, bench: t.Any, worker: Worker
) -> None:
    worker.handle = dies_of_poison
    made = bench(routes=Routes({"ns/fn": Remote(peer(worker).url)}))
    made.run("ns/fn", "bad", b"poison")
    made.advance(10_000)
    assert "MessageEndsWorkerError" in made.error()
    assert len(worker.bodies) == 4
    made.run("ns/fn", "good", b"x")
    made.advance(10_000)
    assert len(worker.bodies) == 5
    assert made.engine.status().down == ()


def test_several_messages_that_end_their_worker_are_all_parked(
    peer: t.Any, bench: t.Any, worker: Worker
) -> None:
    worker.handle = dies_of_poison
    made = bench(routes=Routes({"ns/fn": Remote(peer(worker).url)}))
    for id in range(12):
        made.send("ns/fn", f"{id}", b"poison" if id % 3 == 0 else b"x")
    made.run()
    made.advance(120_000)
    parked = {each.parked.address.id for each in made.control.parked()}
    assert parked == {"0", "3", "6", "9"}
    assert made.engine.status().queued == 0


def test_proxy_whose_worker_is_away_parks_nothing(
    peer: t.Any, bench: t.Any, worker: Worker
) -> None:
    """A proxy that listens for a worker accepts connections, and ends them at once."""
    served = peer(lambda accepted: None)
    made = bench(routes=Routes({"ns/fn": Remote(served.url)}))
    made.run("ns/fn", "1", b"x")
    made.advance(30_000)
    assert made.control.parked() == []
    assert made.engine.status().down == ("ns/fn",)
    served.behaviour = worker
    made.advance(5_000)
    assert made.engine.status().down == ()
    assert len(worker.bodies) == 1


def test_worker_that_ends_at_every_message_of_several_addresses_parks_nothing(
    peer: t.Any, bench: t.Any, worker: Worker
) -> None:
    worker.handle = lambda accepted, body: False
    made = bench(routes=Routes({"ns/fn": Remote(peer(worker).url)}))
    for id in range(3):
        made.send("ns/fn", f"{id}", b"x")
    made.run()
    made.advance(120_000)
    assert made.control.parked() == []
    worker.handle = lambda accepted, body: True
    made.advance(20_000)
    assert (made.engine.status().queued, made.engine.status().down) == (0, ())


def test_worker_that_is_started_again_meanwhile_parks_nothing(
    peer: t.Any, bench: t.Any, worker: Worker
) -> None:
    """It died at three requests of its own accord, and then no more."""
    worker.handle = lambda accepted, body: len(worker.bodies) > 3
    made = bench(routes=Routes({"ns/fn": Remote(peer(worker).url)}))
    for id in range(3):
        made.send("ns/fn", f"{id}", b"x")
    made.run()
    made.advance(60_000)
    assert made.control.parked() == []
    assert (made.engine.status().queued, made.engine.status().down) == (0, ())


def test_message_that_ends_its_worker_among_many_in_flight(
    peer: t.Any, run: t.Any, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("statefun_flask.embedded.addresses.backoff.FIRST_DELAY", 5)
    worker.handle = dies_of_poison
    engine = run({"ns/fn": Remote(peer(worker).url)}, concurrency=4)
    for number in range(40):
        send(engine, "ns/fn", str(number), value=b"poison" if number == 7 else b"x")
    wait_for(lambda: engine.status().parked and engine.status().queued == 0)
    (parked,) = Control(engine).parked()
    assert parked.parked.address.id == "7"


def test_request_that_is_refused_for_its_size_is_parked_at_once(peer: t.Any, bench: t.Any) -> None:
    def refuse(accepted: Accepted) -> None:
        accepted.socket.recv(1000)
        accepted.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    served = peer(refuse)
    made = bench(routes=Routes({"ns/fn": Remote(served.url)}))
    made.run("ns/fn", "1", bytes(5_000_000))
    assert made.error().startswith(
        f"RequestTooLargeError: {served.url} answered with the status 413: a request of 5000"
    )
    assert served.number == 1
    assert made.engine.status().down == ()


def test_virtual_clock_calls_endpoints_in_an_order_that_depends_on_the_input_only(
    peer: t.Any, bench: t.Any, worker: Worker
) -> None:
    worker.handle = lambda accepted, body: time.sleep(0.002 * (len(worker.bodies) % 3)) is None
    runs = []
    for _ in range(2):
        worker.bodies.clear()
        made = bench(routes=Routes({"ns/fn": Remote(peer(worker).url)}))
        for number in range(12):
            made.send("ns/fn", str(number % 5), b"%d" % number)
        made.run()
        runs.append((list(worker.bodies), made.events))
    assert runs[0] == runs[1]
