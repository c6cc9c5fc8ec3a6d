"""Random programs under random faults against a simple model.

A story is a list of steps: a client sends programs, time passes, and things fail. The engine, the
clock and the disk do only what the steps say, so that a story has one outcome. Whatever happens,
each message is applied once, messages of one sender to one receiver stay in their order, and each
record reaches the sink under one number.

A story that fails is shortened and printed. ``STATEFUN_FAULTS`` sets how many seconds the long form
takes.
"""

from __future__ import annotations

import collections
import collections.abc as cabc
import contextlib
import json
import os
import pathlib
import random
import shutil
import sqlite3
import time
import typing as t

import pytest
from jumping_clock import JumpingClock

from statefun_flask import Address
from statefun_flask import Context
from statefun_flask import Effects
from statefun_flask import FunctionRegistry
from statefun_flask import kafka_record
from statefun_flask import RequestHandler
from statefun_flask import ValueSpec
from statefun_flask.embedded import Control
from statefun_flask.embedded import core as cores
from statefun_flask.embedded import EgressRecord
from statefun_flask.embedded import Engine
from statefun_flask.embedded import InProcess
from statefun_flask.embedded import LocalRoutes
from statefun_flask.embedded import retention
from statefun_flask.embedded import SqliteStore
from statefun_flask.embedded import Store
from statefun_flask.embedded.endpoints.routes import Routes
from statefun_flask.embedded.errors import DataFolderError
from statefun_flask.embedded.errors import DiskFullError
from statefun_flask.embedded.errors import EndpointDownError
from statefun_flask.embedded.store import sqlite as stores
from statefun_flask.embedded.store.base import Changes
from statefun_flask.values.message import encode
from statefun_flask.values.message import Message

SECONDS = float(os.environ.get("STATEFUN_FAULTS", "60"))

HOUR = 3_600_000
DAY = 24 * HOUR
LOG = ValueSpec("log", str)
ADDRESSES = [Address(type, id) for type in ("p/a", "p/b") for id in ("1", "2")]

#: A label that no other message has, and what the message does where it arrives.
Program = tuple[str, list[t.Any]]
Step = tuple[t.Any, ...]
Story = list[Step]

pytestmark = pytest.mark.usefixtures("has_lossy_disk")


# -- programs -----------------------------------------------------------------------------------


def interpret(context: Context, text: str) -> Effects:
    label, actions = json.loads(text)
    effects = Effects().update_state(LOG, f"{context.get_state(LOG) or ''}{label} ")
    for what, *rest in actions:
        if what == "record":
            effects.egress("p/out", kafka_record("out", value=label))
        elif what == "send":
            effects.send(ADDRESSES[rest[0]], json.dumps(rest[1]))
        else:
            effects.send_after(ADDRESSES[rest[1]], _ms(rest[0]), json.dumps(rest[2]))
    return effects


def _ms(number: int) -> t.Any:
    import datetime as dt

    return dt.timedelta(milliseconds=number)


registry = FunctionRegistry()
for each in ("p/a", "p/b"):
    registry.register(each, interpret, states=[LOG])
handle = RequestHandler(registry)


def program(chance: random.Random, label: str, depth: int = 2) -> Program:
    actions: list[t.Any] = []
    for index in range(chance.randint(0, 2)):
        what = chance.choice(["record", "send", "send", "later"]) if depth else "record"
        if what == "record":
            actions.append([what])
            continue
        inner = (chance.randrange(4), program(chance, f"{label}.{index}", depth - 1))
        if what == "send":
            actions.append([what, *inner])
        else:
            actions.append([what, chance.choice([1, 50, HOUR]), *inner])
    return label, actions


class Model:
    """What programs lead to: the labels of each address and of the records, and orders to keep."""

    def __init__(self) -> None:
        self.labels: dict[Address, list[str]] = {each: [] for each in ADDRESSES}
        self.records: list[str] = []
        #: What each message sends at once, in its order.
        self.sends: dict[str, list[tuple[Address, str]]] = {}
        #: What came from outside.
        self.outside: dict[Address, list[str]] = {each: [] for each in ADDRESSES}

    def send(self, address: Address, sent: Program) -> None:
        self.outside[address].append(sent[0])
        self._add(address, sent)

    def _add(self, address: Address, sent: t.Any) -> None:
        label, actions = sent
        self.labels[address].append(label)
        self.sends[label] = []
        for what, *rest in actions:
            if what == "record":
                self.records.append(label)
            elif what == "send":
                self.sends[label].append((ADDRESSES[rest[0]], rest[1][0]))
                self._add(ADDRESSES[rest[0]], rest[1])
            else:
                self._add(ADDRESSES[rest[1]], rest[2])

    def faults(self, logs: dict[Address, list[str]], records: dict[int, str]) -> cabc.Iterator[str]:
        """Yield what is wrong with the logs of the addresses and with the records by number."""
        for address, log in logs.items():
            if sorted(log) != sorted(self.labels[address]):
                yield f"{address} got {log} in place of {self.labels[address]}"
            else:
                yield from _disorder("outside", address, self.outside[address], log)
        for sender, log in logs.items():
            sent = collections.defaultdict(list)
            for label in log:
                for target, inner in self.sends.get(label, ()):
                    sent[target].append(inner)
            for target, labels in sent.items():
                yield from _disorder(str(sender), target, labels, logs[target])
        if sorted(records) != list(range(1, len(records) + 1)):
            yield f"the records have the numbers {sorted(records)}"
        if sorted(records.values()) != sorted(self.records):
            yield f"the records are {sorted(records.values())} in place of {sorted(self.records)}"


def _disorder(sender: str, target: Address, sent: list[str], log: list[str]) -> cabc.Iterator[str]:
    arrived = [label for label in log if label in set(sent)]
    if arrived != sent and sorted(arrived) == sorted(sent):
        yield f"{target} got {arrived} in place of {sent} from {sender}"


# -- the world ------------------------------------------------------------------------------------


class Stopped(BaseException):
    """The process or the machine has stopped."""


class World:
    """An engine on a disk that fails, with its clock, its client and its sink."""

    def __init__(
        self,
        folder: pathlib.Path,
        store_class: type[SqliteStore] = SqliteStore,
        synchronous: str = "full",
        keys: bool = True,
    ) -> None:
        self.model = Model()
        self._folder = folder
        self._store_class = store_class
        self._synchronous = synchronous
        self._keys = keys
        self._clock = JumpingClock()
        self._incarnation = 0
        self._unacknowledged: list[tuple[Address, Program]] = []
        self._acknowledged = 0
        self._records: dict[int, str] = {}
        self._inconsistent: list[str] = []
        self._failing = collections.Counter[str]()
        self._away = collections.Counter[str]()
        #: How many statements go well until some fail, and how many of these there are.
        self._good, self._bad, self._code = 0, 0, sqlite3.SQLITE_FULL
        #: How many operations on files there are until a stop, and the seed of a power cut.
        self._until_stop: int | None = None
        self._seed: int | None = None
        self._left: pathlib.Path | None = None
        self._store_to_close: Store | None = None
        self._begin()

    # -- lives of the engine --------------------------------------------------------------

    def _begin(self) -> None:
        from lossy_disk import Disk

        self._disk = Disk()
        self._store_to_close = store = self._store()
        self._engine = Engine(self._routes(), store, self._clock)
        self._engine.attach("p/out", self)
        self._disk.before = self._before_operation
        for address, sent in self._unacknowledged:
            self._send(address, sent)

    def _path(self) -> pathlib.Path:
        return self._folder / f"life{self._incarnation}"

    def _store(self) -> Store:
        def connect(path: str) -> sqlite3.Connection:
            connection: t.Any = self._disk.connect(path)
            execute = connection.execute

            def replaced(statement: str, values: cabc.Sequence[t.Any] = ()) -> t.Any:
                mode = f"synchronous = {self._synchronous}"
                return execute(statement.replace("synchronous = full", mode), values)

            connection.execute = replaced
            connection.before = self._before_statement
            return t.cast("sqlite3.Connection", connection)

        return self._store_class(self._path(), connect)

    def _routes(self) -> Routes:
        def call(body: bytes) -> bytes:
            from statefun_flask.protocol.schema.request_reply_v3 import ToFunction

            target = ToFunction.FromString(body).invocation.target
            typename = f"{target.namespace}/{target.type}"
            if self._away[typename]:
                self._away[typename] -= 1
                raise EndpointDownError("test", "away")
            if self._failing[typename]:
                self._failing[typename] -= 1
                raise ValueError("not now")
            return handle(body)

        return LocalRoutes(InProcess(call), registry)

    def _before_statement(self, statement: str) -> None:
        from lossy_disk import error

        if self._left is not None:
            raise Stopped
        if self._good:
            self._good -= 1
        elif self._bad:
            self._bad -= 1
            raise error(self._code)

    def _before_operation(self, name: str) -> None:
        import apsw

        if self._left is None and name != "read" and self._until_stop is not None:
            self._until_stop -= 1
            if self._until_stop < 0:
                self._stop()
        if self._left is not None:
            raise apsw.exception_for(sqlite3.SQLITE_IOERR)

    def _stop(self) -> None:
        """Keep what is on the disk now for the next life."""
        self._incarnation += 1
        left = self._path()
        left.mkdir()
        if self._seed is None:
            for each in self._folder.glob(f"life{self._incarnation - 1}/*.sqlite3*"):
                shutil.copy(each, left)
        else:
            for name, content in self._disk.cut(random.Random(self._seed)).items():
                (left / name).write_bytes(content)
        (left / "lock").write_text("7\n")
        self._left = left

    def _restart(self) -> None:
        if self._left is None:
            self._stop()
        self.close()
        self._left = self._until_stop = self._seed = None
        self._good = self._bad = 0
        self._begin()

    def close(self) -> None:
        self._disk.before = lambda name: None
        store, self._store_to_close = self._store_to_close, None
        if store is not None:
            with contextlib.suppress(Stopped, sqlite3.Error):
                store.close()
            self._disk.close()

    # -- the sink ---------------------------------------------------------------------------

    def offer(self, records: list[EgressRecord]) -> None:
        if self._left is not None:
            return
        for record in records:
            value = record.value.decode()
            before = self._records.setdefault(record.seq, value)
            if before != value:
                self._inconsistent.append(f"record {record.seq} is {before} and {value}")

    # -- steps ------------------------------------------------------------------------------

    def do(self, step: Step) -> None:
        what, *rest = step
        try:
            getattr(self, f"_do_{what}")(*rest)
        except DiskFullError:
            pass
        except (Stopped, sqlite3.Error):
            # The loop of an engine ends then, and a supervisor starts the process again.
            self._restart()
        if self._left is not None:
            self._restart()

    def _do_send(self, at: int, sent: Program) -> None:
        self.model.send(ADDRESSES[at], sent)
        self._unacknowledged.append((ADDRESSES[at], sent))
        self._send(ADDRESSES[at], sent)

    def _send(self, address: Address, sent: Program) -> None:
        message = Message(*encode(json.dumps(sent)))
        if self._keys:
            self._engine.send_once(address, message, sent[0])
        else:
            self._engine.send(address, message)

    def _do_run(self) -> None:
        self._engine.run_until_idle()
        if self._left is None:
            self._unacknowledged.clear()

    def _do_advance(self, milliseconds: int) -> None:
        self._engine.advance(milliseconds)
        self._do_run()

    def _do_jump(self, milliseconds: int) -> None:
        self._clock.jump(milliseconds)

    def _do_crash(self, operations: int) -> None:
        self._until_stop, self._seed = operations, None

    def _do_power_cut(self, operations: int, seed: int) -> None:
        self._until_stop, self._seed = operations, seed

    def _do_full(self, good: int, bad: int, code: int) -> None:
        self._good, self._bad, self._code = good, bad, code

    def _do_away(self, typename: str, calls: int) -> None:
        self._away[typename] = calls

    def _do_fail(self, typename: str, calls: int) -> None:
        self._failing[typename] = calls

    def _do_retry(self) -> None:
        Control(self._engine).retry_all()

    def _do_acknowledge(self) -> None:
        if self._records:
            self._engine.acknowledge("p/out", max(self._records))

    def _do_send_again(self) -> None:
        for address, sent in self._unacknowledged:
            self._send(address, sent)

    # -- the end ----------------------------------------------------------------------------

    def faults(self) -> list[str]:
        """Let everything work again, wait for the end, and return what is wrong."""
        self._good = self._bad = 0
        self._until_stop = None
        self._away.clear()
        self._failing.clear()
        self._clock.jump(100 * DAY)
        for _ in range(20):
            for what in ("send_again", "retry", "run"):
                self.do((what,))
            self.do(("advance", HOUR))
            if self._is_done():
                break
        control = Control(self._engine)
        logs = {each: _log(control, each) for each in ADDRESSES}
        return [*self._inconsistent, *self.model.faults(logs, self._records)]

    def _is_done(self) -> bool:
        control, status = Control(self._engine), self._engine.status()
        waiting = status.queued or status.parked or control.delays(1) or self._unacknowledged
        return not waiting


def _log(control: Control, address: Address) -> list[str]:
    found = control.state(address).get("log")
    return [] if found is None else found.as_type(str).split()


# -- stories --------------------------------------------------------------------------------------


def story(seed: int) -> Story:
    chance = random.Random(seed)
    codes = [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY]
    types = ["p/a", "p/b"]

    def step(number: int) -> Step:
        return chance.choice(
            [
                ("send", chance.randrange(4), program(chance, str(number))),
                ("send", chance.randrange(4), program(chance, str(number))),
                ("run",),
                ("run",),
                ("run",),
                ("advance", chance.choice([1, 100, 5000, HOUR])),
                ("jump", chance.choice([-DAY, DAY])),
                ("crash", chance.randrange(30)),
                ("power_cut", chance.randrange(60), chance.randrange(10**6)),
                ("full", chance.randrange(12), chance.randint(1, 12), chance.choice(codes)),
                ("away", chance.choice(types), chance.randint(1, 4)),
                ("fail", chance.choice(types), chance.randint(1, 2)),
                ("retry",),
                ("acknowledge",),
                ("send_again",),
            ]
        )

    return [step(number) for number in range(chance.randint(5, 30))]


Judge = cabc.Callable[[Story], list[str]]


def shortest(told: Story, judge: Judge) -> Story:
    """Remove steps and actions while the story still fails."""
    size = max(1, len(told) // 2)
    while size:
        for start in reversed(range(0, len(told), size)):
            rest = told[:start] + told[start + size :]
            if judge(rest):
                told = rest
        size //= 2
    for index, step in enumerate(told):
        if step[0] == "send":
            simple = [*told[:index], ("send", step[1], (step[2][0], [])), *told[index + 1 :]]
            if judge(simple):
                told = simple
    return told


def failing(judge: Judge, seeds: cabc.Iterable[int]) -> tuple[int, Story, list[str]] | None:
    """Return the first seed with a story that fails, the story made short, and what is wrong."""
    for seed in seeds:
        told = story(seed)
        if judge(told):
            told = shortest(told, judge)
            return seed, told, judge(told)
    return None


@pytest.fixture
def judges(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> cabc.Callable[..., Judge]:
    # A client that repeats a message a day later has lost its key, and nothing can be done.
    for module in (cores, retention):
        monkeypatch.setattr(module, "REMEMBERED", 1000 * DAY)
    monkeypatch.setattr(stores, "LOG_SIZE", 50_000)

    def make(**options: t.Any) -> Judge:
        def judge(told: Story) -> list[str]:
            folder = tmp_path / "world"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            world = World(folder, **options)
            try:
                for step in told:
                    world.do(step)
                return world.faults()
            except DataFolderError as exc:
                return [str(exc)]
            finally:
                world.close()

        return judge

    return make


def check(judge: Judge, seeds: cabc.Iterable[int]) -> None:
    found = failing(judge, seeds)
    if found is not None:
        seed, told, faults = found
        lines = "\n".join(f"  {each}" for each in told)
        pytest.fail(f"Seed {seed} fails:\n{lines}\n" + "\n".join(faults))


def test_programs_under_faults(judges: t.Any) -> None:
    first = random.randrange(10**9)
    check(judges(), range(first, first + 15))


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [60.0] * int(SECONDS // 60) + [SECONDS % 60])
def test_many_programs_under_faults(judges: t.Any, seconds: float) -> None:
    end = time.monotonic() + seconds

    def seeds() -> cabc.Iterator[int]:
        seed = random.randrange(10**9)
        while time.monotonic() < end:
            yield seed
            seed += 1

    check(judges(), seeds())


class Forgetful(SqliteStore):
    """A store that does not say that it could not write."""

    def commit(self, changes: Changes) -> None:
        with contextlib.suppress(DiskFullError):
            super().commit(changes)


#: Engines with a fault, and a seed at which it is found soon.
CONTROLS: dict[str, tuple[dict[str, t.Any], int]] = {
    "no syncs": ({"synchronous": "off"}, 6),
    "no errors": ({"store_class": Forgetful}, 22),
    "no keys": ({"keys": False}, 0),
}


@pytest.mark.parametrize(("options", "first"), CONTROLS.values(), ids=CONTROLS)
def test_control_a_fault_of_the_engine_ends_as_a_short_story(
    judges: t.Any, options: dict[str, t.Any], first: int
) -> None:
    found = failing(judges(**options), range(first, first + 200))
    assert found is not None
    _, told, faults = found
    assert len(told) <= 6
    assert faults
