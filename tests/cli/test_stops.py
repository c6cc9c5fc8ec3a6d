"""Stops under load: what a client was told is applied, once, and in the order of each client.

``STATEFUN_STOPS`` sets the number of stops of the long form.
"""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import http.client
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import threading
import time
import typing as t
import uuid

import pytest
import waiting

from statefun_flask import Address
from statefun_flask.embedded import SqliteStore
from statefun_flask.values.message import Message

STOPS = int(os.environ.get("STATEFUN_STOPS", "200"))
CLIENTS = 8

#: A function keeps the numbers that it got, and passes them on to another one.
APP = """
from statefun_flask import Address, Context, Effects, StateFunFlask, ValueSpec

app = StateFunFlask(__name__)
LOG = ValueSpec("log", str)


@app.statefun("t/log", states=[LOG])
def log(context: Context, number: str) -> Effects:
    log = (context.get_state(LOG) or "") + number + " "
    relay = Address("t/relay", context.self_address.id)
    return Effects().update_state(LOG, log).send(relay, number)


@app.statefun("t/relay", states=[LOG])
def relay(context: Context, number: str) -> Effects:
    return Effects().update_state(LOG, (context.get_state(LOG) or "") + number + " ")
"""

#: Makes each commit take as long as on a slow disk: a stop often comes in the middle of one.
SLOW_DISK = """
import time

from statefun_flask.embedded import SqliteStore

commit = SqliteStore.commit


def commit_slowly(self, changes):
    time.sleep(0.01)
    commit(self, changes)


SqliteStore.commit = commit_slowly
"""

#: A sender hears of a message that is not on disk.
HASTY = """
from statefun_flask.embedded import Engine

Engine._resolve_when_committed = lambda self, future, result: future.set_result(result)
"""

#: A closing engine accepts messages in the threads of the senders.
OPEN_END = """
from statefun_flask.dev.server import Server
from statefun_flask.embedded import Engine, EngineState

post, resolve = Engine._post, Engine._resolve_when_committed


def post_anyway(self, act, future=None):
    if self.state is EngineState.CLOSING:
        act()
    else:
        post(self, act, future)


def resolve_anyway(self, future, result):
    if self.state is EngineState.CLOSING:
        future.set_result(result)
    else:
        resolve(self, future, result)


Engine._post, Engine._resolve_when_committed = post_anyway, resolve_anyway
Server.drain = lambda self: None
"""


class Client:
    """Sends numbers to an address of its own, over one connection as long as it lasts."""

    def __init__(self, namespace: str, id: str) -> None:
        self.address = Address(f"{namespace}/log", id)
        self._relay = Address(f"{namespace}/relay", id)
        self.sent = 0
        self.acknowledged: list[int] = []
        self._stopping = threading.Event()
        self._port = 0
        self._thread = threading.Thread(target=self._run)

    def start(self, port: int) -> None:
        self._port = port
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            with contextlib.suppress(OSError, http.client.HTTPException):
                while not self._stopping.is_set():
                    self._send(connection)
            connection.close()
            time.sleep(0.01)

    def _send(self, connection: http.client.HTTPConnection) -> None:
        # A message without an answer is not sent again: nobody knows whether it was accepted.
        self.sent += 1
        number = self.sent
        connection.request("PUT", f"/{self.address}", str(number).encode())
        response = connection.getresponse()
        response.read()
        if response.status == 200:
            self.acknowledged.append(number)
        elif response.status == 404:
            # The command has ended, and one of another test has got its port.
            raise ConnectionError("This is not the command that the client was started for.")
        elif response.status != 503:
            raise AssertionError(response.status)

    def faults(self, store: SqliteStore) -> cabc.Iterator[str]:
        """Yield what is wrong with what was applied."""
        handled = len(_numbers(store, self.address)) - len(store.queue(self.address))
        applied = _numbers(store, self.address)
        lost = sorted(set(self.acknowledged) - set(applied))
        if lost:
            yield f"{self.address}: {lost} were acknowledged and are lost"
        if sorted(set(applied)) != applied:
            yield f"{self.address}: {applied} are doubled or out of order"
        if not set(applied) <= set(range(1, self.sent + 1)):
            yield f"{self.address}: {applied} were not all sent"
        relayed = _numbers(store, self._relay)
        if relayed != applied[:handled]:
            yield f"{self.address}: {applied[:handled]} were passed on as {relayed}"


def _numbers(store: SqliteStore, address: Address) -> list[int]:
    """Return the numbers that an address got, or is going to get."""
    stored = store.state(address).get("log")
    found = []
    if stored is not None:
        typename = store.state_types()[address.type, "log"]
        found = Message(typename, stored.value).as_type(str).split()
    found += [each.message.as_type(str) for each in store.queue(address)]
    return list(map(int, found))


class Works:
    """A data folder on which the command is started and stopped under load."""

    def __init__(self, folder: pathlib.Path, patches: str = SLOW_DISK) -> None:
        self._folder = folder
        self._app = folder / "app.py"
        # No other test has these functions, whose port a client might reach after a stop.
        self._namespace = f"t{uuid.uuid4().hex[:8]}"
        self._source = (APP + patches).replace('"t/', f'"{self._namespace}/')
        self._app.write_text(self._source)
        self._process: subprocess.Popen[bytes] | None = None
        self._runs = 0
        self._clients: list[Client] = []

    def _start(self, *options: str) -> pathlib.Path:
        self._runs += 1
        output = self._folder / f"output{self._runs}"
        flask = "import sys; from flask.cli import main; sys.argv[0] = 'flask'; main()"
        command = (sys.executable, "-c", flask, "--app", "app", "statefun", "dev")
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                [
                    *command,
                    "--data",
                    "data",
                    "--port",
                    "0",
                    "--quiet",
                    "--format",
                    "json",
                    *options,
                ],
                cwd=self._folder,
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        return output

    def stop(self, how: signal.Signals | t.Literal["reload"], chance: random.Random) -> None:
        """Start the command, stop it in the middle of the clients' work, and wait for its end."""
        output = self._start(*(["--reload"] if how == "reload" else []))
        assert self._process is not None
        found: list[int] = []

        def is_listening() -> bool:
            found.extend(map(int, re.findall(rb"http://127\.0\.0\.1:(\d+)", output.read_bytes())))
            return bool(found)

        waiting.wait_for(is_listening, f"the command: {output.read_text()}", 30)
        clients = [Client(self._namespace, f"{self._runs}-{number}") for number in range(CLIENTS)]
        self._clients += clients
        for client in clients:
            client.start(found[0])
        try:
            self._wait_for(clients, chance.randint(20, 100))
            if how == "reload":
                self._app.write_text(f"{self._source}\n# version {self._runs}\n")
                # The next version has opened the folder when it says so.
                waiting.wait_for(
                    lambda: output.read_text().count('"ready"') > 1, "the next version", 30
                )
                self._wait_for(clients, 20)
            self._process.send_signal(signal.SIGTERM if how == "reload" else how)
            self._process.wait(30)
        finally:
            for client in clients:
                client.stop()

    def _wait_for(self, clients: list[Client], count: int) -> None:
        """Wait until this many further messages are acknowledged."""
        before = sum(len(each.acknowledged) for each in clients)
        waiting.wait_for(
            lambda: sum(len(each.acknowledged) for each in clients) >= before + count,
            "acknowledgements",
            30,
        )

    def faults(self) -> list[str]:
        """Return what is wrong."""
        store = SqliteStore(self._folder / "data")
        try:
            return [fault for client in self._clients for fault in client.faults(store)]
        finally:
            store.close()

    def close(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@pytest.fixture
def works(tmp_path: pathlib.Path) -> cabc.Iterator[cabc.Callable[..., Works]]:
    made: list[Works] = []

    def make(*patches: str) -> Works:
        made.append(Works(tmp_path, *patches))
        return made[-1]

    yield make
    for each in made:
        each.close()


WAYS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)


@pytest.mark.parametrize("how", WAYS)
def test_three_stops_under_load(works: t.Any, how: signal.Signals) -> None:
    work = works()
    for _ in range(3):
        work.stop(how, random.Random())
    assert work.faults() == []


def test_a_reload_under_load(works: t.Any) -> None:
    work = works()
    work.stop("reload", random.Random())
    assert work.faults() == []


@pytest.mark.parametrize(
    ("how", "fault"), [(signal.SIGKILL, HASTY), (signal.SIGTERM, OPEN_END)], ids=["kill", "term"]
)
def test_control_an_early_acknowledgement_is_noticed(works: t.Any, how: t.Any, fault: str) -> None:
    work = works(SLOW_DISK.replace("0.01", "0.1") + fault)
    for _ in range(8):  # one stop may come at a moment at which nothing is lost
        work.stop(how, random.Random())
        faults = work.faults()
        if faults:
            break
    assert any("are lost" in each for each in faults)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(STOPS // 10))
def test_many_stops_under_load(works: t.Any, part: int) -> None:
    chance = random.Random()
    work = works()
    for _ in range(10):
        work.stop(chance.choice([*WAYS, "reload"]), chance)
    assert work.faults() == []
