"""Messages with which the process ends: they are counted, called alone, and parked."""

from __future__ import annotations

import collections.abc as cabc
import functools
import json
import logging
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import typing as t

import pytest
from waiting import wait_for

from statefun_flask import Address
from statefun_flask.embedded import Control
from statefun_flask.embedded import Engine
from statefun_flask.embedded import events
from statefun_flask.embedded import InProcess
from statefun_flask.embedded import LocalRoutes
from statefun_flask.embedded import RealClock
from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded.in_flight import CALLS
from statefun_flask.embedded.in_flight import InFlight
from statefun_flask.embedded.in_flight import NAME
from statefun_flask.embedded.store.base import Changes
from statefun_flask.embedded.store.folder import DATABASE
from statefun_flask.values.message import Message

PROGRAM = pathlib.Path(__file__).with_name("ending.py")
CRASHES = (
    "The process ended 2 times while 'ns/fn' handled this message for id '{}'. Look for os._exit, a"
    " crash in C or a lack of memory, correct the function, and retry the message; or drop it."
)


class Life:
    """Engines on a data folder, one after the other; each ends as a killed process does.

    A copy of the folder while calls are in flight is what the end of a process leaves.
    """

    def __init__(self, script: t.Any, reply: t.Any, path: pathlib.Path) -> None:
        self._script = script
        self._reply = reply
        self._path = path
        self._number = 0
        self._engines: list[Engine] = []
        self.gate = threading.Semaphore(0)
        #: Ids whose function does not return; the ids in flight, and those that were handled.
        self.stuck: set[str] = set()
        self.in_flight: list[str] = []
        self.handled: list[str] = []
        #: The events of the last engine.
        self.told: list[t.Any] = []
        #: The sizes of its batches.
        self.sizes: list[int] = []
        #: The largest number of calls that were in flight together.
        self.most = 0
        script.add("ns/fn", self._call)
        script.add("ns/relay", self._relay)

    def _call(self, batch: t.Any) -> None:
        number = self._number
        self.in_flight.append(batch.id)
        self.most = max(self.most, len(self.in_flight))
        self.sizes.append(len(batch.values))
        if batch.id in self.stuck or f"{batch.id} x{len(batch.values)}" in self.stuck:
            self.gate.acquire(timeout=20)
        if number == self._number:
            self.in_flight.remove(batch.id)
            self.handled += [batch.id] * len(batch.values)

    def _relay(self, batch: t.Any) -> t.Any:
        return self._reply().send("ns/fn", batch.id)

    @property
    def folder(self) -> pathlib.Path:
        return self._path / str(self._number)

    def start(self, *, concurrency: int = 4) -> Engine:
        self.in_flight, self.handled, self.told, self.sizes = [], [], [], []
        self.most = 0
        routes = LocalRoutes(InProcess(self._script), self._script.functions)
        engine = Engine(routes, SqliteStore(self.folder), concurrency=concurrency)
        self._engines.append(engine)
        engine.listeners.append(self.told.append)
        engine.start()
        return engine

    def end(self) -> None:
        """End the process of the engine, as far as its folder can tell."""
        before = self.folder
        self._number += 1
        shutil.copytree(before, self.folder)

    def close(self) -> None:
        self.gate.release(1000)
        for engine in self._engines:
            engine.close()


@pytest.fixture
def life(script: t.Any, reply: t.Any, tmp_path: pathlib.Path) -> cabc.Iterator[Life]:
    made = Life(script, reply, tmp_path)
    yield made
    made.close()


def send(engine: Engine, *ids: str, type: str = "ns/fn") -> None:
    engine.submit([(Address(type, id), Message("a/t", b"x")) for id in ids]).result(10)


def until(condition: cabc.Callable[[], bool]) -> None:
    wait_for(condition, "the engine", 10)


def parked(engine: Engine) -> dict[str, str]:
    engine.flush()
    return {each.parked.address.id: each.parked.error for each in Control(engine).parked()}


def test_a_message_that_ended_the_process_twice_is_parked_and_others_go_on(life: Life) -> None:
    life.stuck = {"bob"}
    engine = life.start()
    send(engine, "bob")
    until(lambda: life.in_flight == ["bob"])
    life.end()

    engine = life.start()
    until(lambda: life.in_flight == ["bob"])
    assert parked(engine) == {}
    send(engine, "ann")
    life.end()

    engine = life.start()
    engine.wait_idle(10)
    assert life.handled == ["ann"]
    assert parked(engine) == {"bob": CRASHES.format("bob")}
    (failed,) = [each for each in life.told if isinstance(each, events.Failed)]
    assert (failed.parked, failed.address.id, failed.waiting) == (True, "bob", 0)


def test_a_parked_message_can_be_tried_again_and_counts_anew(life: Life) -> None:
    life.stuck = {"bob"}
    for _ in range(2):
        engine = life.start()
        if not life._number:
            send(engine, "bob")
        until(lambda: life.in_flight == ["bob"])
        life.end()
    for _ in range(2):
        engine = life.start()
        if life._number == 2:
            assert parked(engine) == {"bob": CRASHES.format("bob")}
            Control(engine).retry("ns/fn/bob")
        until(lambda: life.in_flight == ["bob"])
        life.end()
    engine = life.start()
    assert parked(engine) == {"bob": CRASHES.format("bob")}
    life.stuck = set()
    Control(engine).retry("ns/fn/bob")
    engine.wait_idle(10)
    assert life.handled == ["bob"]


def test_suspects_are_called_first_and_one_at_a_time(life: Life) -> None:
    ids = ["a", "b", "c", "d"]
    life.stuck = set(ids)
    engine = life.start()
    send(engine, *ids)
    until(lambda: len(life.in_flight) == 4)
    send(engine, *(f"other{number}" for number in range(20)))
    life.end()

    life.stuck = {"c"}
    engine = life.start()
    until(lambda: life.in_flight == ["c"])
    assert set(life.handled) < set(ids), "no other address is called before the suspects"
    assert life.most == 1
    life.end()

    life.stuck = set()
    engine = life.start()
    engine.wait_idle(10)
    assert life.handled[0] == "c"
    assert len(life.handled) == len(set(life.handled))
    assert parked(engine) == {}
    life.stuck = {"c", "d"}
    send(engine, "c", "d")
    until(lambda: len(life.in_flight) == 2)


def test_messages_of_a_batch_are_called_alone(life: Life) -> None:
    life.stuck = {"bob x1", "bob x3"}
    engine = life.start()
    send(engine, "bob")
    until(lambda: life.in_flight == ["bob"])
    send(engine, "bob", "bob", "bob")
    life.gate.release()
    until(lambda: life.sizes == [1, 3])
    engine.flush()
    life.end()

    life.stuck = set()
    engine = life.start()
    engine.wait_idle(10)
    assert life.sizes == [1, 1, 1]


def test_a_message_that_was_never_stored_is_found(life: Life) -> None:
    life.stuck = {"bob"}
    engine = life.start()
    send(engine, "bob", type="ns/relay")
    until(lambda: life.in_flight == ["bob"])
    life.end()
    life.start()
    until(lambda: life.in_flight == ["bob"])
    life.end()
    assert parked(life.start()) == {"bob": CRASHES.format("bob")}


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_clean_close_makes_no_suspects(life: Life, concurrency: int) -> None:
    for _ in range(4):
        engine = life.start(concurrency=concurrency)
        send(engine, "a", "b")
        engine.wait_idle(10)
        engine.close()
        with_nothing = InFlight(str(life.folder / NAME))
        assert len(with_nothing.suspects) == 0
        with_nothing.close()


def test_an_end_while_the_engine_closes_is_not_counted(life: Life, tmp_path: pathlib.Path) -> None:
    life.stuck = {"bob"}
    engine = life.start()
    send(engine, "bob")
    until(lambda: life.in_flight == ["bob"])
    closing = threading.Thread(target=engine.close)
    closing.start()
    until(lambda: engine.state.value == "closing")
    copy = InFlight(str(shutil.copy(str(life.folder / NAME), tmp_path / "copy")))
    assert len(copy.suspects) == 0
    copy.close()
    life.gate.release()
    closing.join(10)


def test_more_calls_than_the_file_has_room_for(tmp_path: pathlib.Path) -> None:
    from statefun_flask.embedded.addresses.mailbox import Mailbox
    from statefun_flask.embedded.endpoints.pool import Call
    from statefun_flask.embedded.records import Envelope

    path = str(tmp_path / NAME)
    first = InFlight(path)
    calls = []
    for number in range(CALLS + 10):
        address = Address("ns/fn", "x" * 600 + str(number))
        batch = [Envelope(1, 1, address, None, Message("a/t", b""))]
        calls.append(Call(address, InProcess(bytes), Mailbox(address), batch, {}, b"", RealClock()))
        first.begin(calls[-1])
    second = InFlight(path)
    assert len(second.suspects) == CALLS
    assert sum(each.address in second.suspects for each in calls) == CALLS
    for each in calls:
        first.end(each)
    first.close()
    second.close()


@pytest.mark.parametrize(
    "content", [b"", b"x", os.urandom(100_000), b"SFcalls1" + b"\xff" * 400_000]
)
def test_a_file_with_other_content_does_no_harm(life: Life, content: bytes) -> None:
    engine = life.start()
    engine.close()
    (life.folder / NAME).write_bytes(content)
    engine = life.start()
    send(engine, "bob")
    engine.wait_idle(10)
    assert life.handled == ["bob"]


def test_a_file_that_cannot_be_made_is_told(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    life.folder.mkdir()
    (life.folder / DATABASE).touch()
    (life.folder / NAME).symlink_to("/dev/null")
    with caplog.at_level(logging.WARNING):
        engine = life.start()
    send(engine, "bob")
    engine.wait_idle(10)
    assert caplog.messages == [
        (
            f"'{life.folder / NAME}' cannot be used: Too many levels of symbolic links. The engine"
            " runs, and does not count the messages that end its process."
        )
    ]


def has_ended(engine: Engine) -> bool:
    return engine.failure is not None or engine.queued == 0


class Breaking(SqliteStore):
    """A store with a fault: no commit with an egress record works."""

    def commit(self, changes: Changes) -> None:
        if changes.records:
            raise LookupError("the record cannot be written")
        super().commit(changes)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(("beside", "later", "expected"), [(5, 0, 3), (0, 5, 2)])
def test_a_message_at_which_the_engine_itself_fails_twice(
    script: t.Any, reply: t.Any, tmp_path: pathlib.Path, beside: int, later: int, expected: int
) -> None:
    """A commit fails after several steps, so that all of them are suspects at first."""
    script.add("ns/fn", lambda batch: None)
    script.add("ns/out", lambda batch: reply().egress("ns/out", b""))
    failures = 0
    while True:
        engine = Engine(
            LocalRoutes(InProcess(script), script.functions),
            Breaking(tmp_path / "data"),
            concurrency=1,
        )
        if failures < 2:
            number = later if failures else beside
            ids = [Address("ns/fn", str(each)) for each in range(number)]
            ids += [] if failures else [Address("ns/out", "bob")]
            engine.submit([(each, Message("a/t", b"")) for each in ids])
            engine.flush()
        engine.start()
        until(functools.partial(has_ended, engine))
        if engine.failure is None:
            break
        engine.close()
        failures += 1
    assert failures == expected
    assert parked(engine) == {"bob": CRASHES.format("bob").replace("ns/fn", "ns/out")}
    engine.close()


# -- real processes -------------------------------------------------------------------------


def run(folder: pathlib.Path, *messages: str, concurrency: int = 4) -> tuple[int, t.Any]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), str(concurrency), *messages],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    lines = done.stdout.splitlines()
    return done.returncode, json.loads(lines[1]) if done.returncode == 0 else done.stderr


def test_os_exit_twice(tmp_path: pathlib.Path) -> None:
    assert run(tmp_path / "data", "bob=exit", "ann=ok", concurrency=1)[0] == 9
    assert run(tmp_path / "data")[0] == 9
    status, end = run(tmp_path / "data")
    assert status == 0
    assert end == {"handled": ["ann=ok"], "parked": [["ns/fn/bob", CRASHES.format("bob")]]}


@pytest.mark.slow
@pytest.mark.parametrize("concurrency", [1, 4])
def test_kills_under_load_park_nothing_that_is_innocent(
    tmp_path: pathlib.Path, concurrency: int
) -> None:
    draw = random.Random(20)
    for number in range(40):
        messages = [f"{draw.randrange(50)}=sleep:0.002" for _ in range(400)]
        messages = list(dict.fromkeys(messages))
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(tmp_path / "data"), str(concurrency), *messages],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"sent\n", number
        # Two kills within the same call park its message. The first call is over by then.
        time.sleep(draw.uniform(0.05, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process.stdout.close()
    status, end = run(tmp_path / "data", concurrency=concurrency)
    assert status == 0
    assert end["parked"] == []
